--- Files that a command is about to write, and what must not be lost by it.
-- @module cglow.cli.outputs
local bytes = require "cglow.util.bytes"
local core = require "cglow.core"
local lfs = require "lfs"
local command = require "cglow.cli.command"

local M = {}

-- What stands at a path, a link itself and not what it leads to.
local function exists(path) return lfs.symlinkattributes(path, "mode") ~= nil end

local function same_file(a, b)
  local one, other = lfs.attributes(a), lfs.attributes(b)
  return one and other and one.dev == other.dev and one.ino == other.ino
end

local function check_inputs(path, inputs)
  for _, input in ipairs(inputs) do
    if same_file(path, input) then
      command.misuse(("%s would be written over %s, which is read: choose another place, or say --force"):format(path,
        input == path and "itself" or input))
    end
  end
end

--- End the command unless a file can be made at each path: before the work whose result it is.
-- @tparam {string,...} paths
function M.check_writable(paths)
  for _, path in ipairs(paths) do
    local writer <close>, message = core.file.create(path) -- dropped again
    if not writer then command.misuse(message) end
  end
end

local PICTURES <const> = {png = true, jpg = true, jpeg = true, ppm = true}

--- End the command unless a colour picture can be written under this name.
-- @string option that gave it
-- @string path
function M.check_picture(option, path)
  local ending = path:match "%.(%w+)$"
  if ending and PICTURES[bytes.lower(ending)] then return end
  command.misuse(("%s: %s must end in .png, .jpg, .jpeg or .ppm"):format(option, path))
end

--- End the command unless each path is free, or --force was given.
-- @tparam {string,...} paths
-- @tparam {string,...} inputs files that the command reads
-- @tparam ?boolean force
function M.check(paths, inputs, force)
  if force then return end
  local there = {}
  for _, path in ipairs(paths) do
    check_inputs(path, inputs)
    if exists(path) then there[#there + 1] = path end
  end
  if #there == 0 then return end
  command.misuse(("%s%s there already: choose another place, or say --force to replace %s"):format(
    table.concat(there, ", ", 1, math.min(3, #there)),
    #there > 3 and (" and %d others are"):format(#there - 3) or #there > 1 and " are" or " is",
    #there > 1 and "them" or "it"))
end

return M
