#!/usr/bin/env lua5.4
--- The program `cglow`, which `luarocks` and `make install` put on the path: the
-- tasks, reports, baselines, and the examples.
-- @script cglow

if _VERSION ~= "Lua 5.4" then
  io.stderr:write("cglow needs Lua 5.4, this is ", _VERSION, "\n")
  os.exit(1)
end

-- The modules are in the checkout, or in the tree of rocks that this file is in:
-- LuaRocks' own launcher does not tell, when it is told not to look at dependencies.
local here = arg[0]:match("^(.*)/[^/]*$") or "."
local tree = here:match("^(.*)/lib/luarocks/")
local lua = tree and tree .. "/share/lua/5.4" or here:match("^(.*)/cglow/cli$") or here .. "/../.."
local so = tree and tree .. "/lib/lua/5.4" or lua
package.path = ("%s/?.lua;%s/?/init.lua;%s"):format(lua, lua, package.path)
package.cpath = ("%s/?.so;%s"):format(so, package.cpath)

local missing = require "cglow.util.rocks" {"lfs", "dkjson", "argparse"}
if missing then
  io.stderr:write(missing, "\n")
  os.exit(1)
end

require("cglow.cli").program(arg)
