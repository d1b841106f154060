#!/usr/bin/env lua5.4
--- The command `cglow`: runs the scripts that come with it, wherever they are.

-- The modules are in the checkout, or in the tree of rocks that this file is in:
-- LuaRocks' own launcher does not tell, when it is told not to look at dependencies.
local here = arg[0]:match("^(.*)/[^/]*$") or "."
local tree = here:match("^(.*)/lib/luarocks/")
local lua = tree and tree .. "/share/lua/5.4" or here .. "/../lua"
local so = tree and tree .. "/lib/lua/5.4" or here .. "/../lua"
package.path = ("%s/?.lua;%s/?/init.lua;%s"):format(lua, lua, package.path)
package.cpath = ("%s/?.so;%s"):format(so, package.cpath)

local lfs = require "lfs"
local cglow = require "cglow"
local path = require "cglow.util.path"

local function fail(message)
  io.stderr:write("cglow: ", message, "\n")
  os.exit(2)
end

-- How the comment that opens a script begins.
local function summary(file)
  local text = {}
  for line in io.lines(file) do
    local comment = line:match "^%-%-+ ?(.*)"
    if comment then text[#text + 1] = comment elseif #text > 0 then break end
  end
  return (table.concat(text, " "):match "^[^.:?(]*")
end

local function list()
  local folder, message = path.examples()
  if not folder then fail(message) end
  local names = {}
  for name in lfs.dir(folder) do
    name = name:match("^(.*)%.lua$")
    if name and name ~= "cglow" then names[#names + 1] = name end
  end
  table.sort(names)
  print(("cglow %s\n\nusage: cglow NAME [ARGUMENT ...]; 'cglow NAME --help' tells more\n"):format(cglow._VERSION))
  for _, name in ipairs(names) do
    print(("  %-26s %s"):format(name:gsub("_", "-"), summary(("%s/%s.lua"):format(folder, name))))
  end
  print(("\nscripts: %s\nsamples: %s"):format(folder, path.data() or "none"))
end

local name = table.remove(arg, 1)
if not name or name == "--help" or name == "-h" then
  list()
elseif name == "--version" then
  print("cglow " .. cglow._VERSION)
else
  local script = not name:find("[^%w_-]") and path.script(name)
  if not script then fail(("there is no script '%s'; 'cglow' alone lists them"):format(name)) end
  arg[0] = script
  dofile(script)
end
