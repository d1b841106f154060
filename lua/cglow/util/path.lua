--- Where the sample sets and scripts that come with cglow are: in a checkout,
-- in the rock's folder, or where `make install` has put them.
-- @module cglow.util.path
local lfs = require "lfs"
local folder_names = require "cglow.util.folder_names"
local options = require "cglow.util.options"

local M = {}

-- The folder of the module tree that this file is in, absolute: CHECKOUT/lua, or
-- PREFIX/share/lua/5.4.
local function module_tree()
  local own = debug.getinfo(1, "S").source:match("^@(.*)/cglow/util/path%.lua$") or "."
  if own:sub(1, 1) ~= "/" then own = lfs.currentdir() .. "/" .. own end
  return (own:gsub("/%./", "/"):gsub("/[^/]+/%.%./", "/"))
end

-- The folders of the rock's versions, the newest name first.
local function rocks(prefix)
  local root, found = prefix .. "/lib/luarocks/rocks-5.4/cglow", {}
  for _, version in ipairs(folder_names(root) or {}) do
    if version:sub(1, 1) ~= "." then found[#found + 1] = root .. "/" .. version end
  end
  table.sort(found, function(a, b) return a > b end)
  return found
end

local tree <const> = module_tree()

--- Folders that may hold what comes with cglow, the likeliest first.
-- @treturn {string,...}
function M.roots()
  local checkout = tree:match("^(.*)/lua$")
  if checkout then return {checkout} end
  local prefix = tree:match("^(.*)/share/lua/5%.4$")
  if not prefix then return {} end
  local list = rocks(prefix)
  table.insert(list, 1, prefix .. "/share/cglow")
  return list
end

-- The first of the roots that has this entry.
local function find(entry)
  local roots = M.roots()
  for _, root in ipairs(roots) do
    local path = root .. "/" .. entry
    if lfs.attributes(path) then return path end
  end
  return nil, ("%s is not among what came with cglow; looked in %s"):format(entry, table.concat(roots, ", "))
end

--- The folder of the embedded sample sets.
-- @treturn[1] string
-- @treturn[2] nil
-- @treturn[2] string message that says where it was looked for
function M.data() return find "data" end

--- The pretrained model's file.
-- @treturn[1] string
-- @treturn[2] nil
-- @treturn[2] string message
function M.pretrained() return find "data/pretrained/garments.safetensors" end

--- The folder of the example scripts.
-- @treturn[1] string
-- @treturn[2] nil
-- @treturn[2] string message
function M.examples() return find "examples" end

--- An example script.
-- @string name as in "binary_segmentation"; "binary-segmentation" will do
-- @treturn[1] string
-- @treturn[2] nil
-- @treturn[2] string message
function M.script(name)
  options.arg("path.script", 1, "name", name, "string")
  return find("examples/" .. name:gsub("-", "_") .. ".lua")
end

return M
