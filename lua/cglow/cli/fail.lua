--- Ends a command with one line and exit code 2 when the user got something wrong.
-- @module cglow.cli.fail
local lfs = require "lfs"

local M = {}

local Misuse = {} -- metatable of the errors that end a command

--- End the command with one line and exit code 2.
-- @tparam string message
function M.misuse(message) error(setmetatable({message = message}, Misuse), 0) end

--- Call a constructor; what it refuses, the user asked for.
-- @tparam function make
-- @param ... its arguments
function M.try(make, ...)
  local ok, result = pcall(make, ...)
  if not ok then M.misuse((tostring(result):gsub("^[^:]+:%d+: ", ""))) end
  return result
end

--- Pass on the results of a call, or end the command with its message.
function M.must(ok, message, ...)
  if not ok then M.misuse(message) end
  return ok, message, ...
end

--- The message of an error that `misuse` raised, or nil when it is another one.
-- @param e
-- @treturn ?string
function M.message(e) return getmetatable(e) == Misuse and e.message or nil end

--- Is a folder or a file there?
-- @tparam string path
-- @tparam string mode "file" or "directory"
-- @tparam string option that named it, for the message
function M.require_path(path, mode, option)
  local found, message = lfs.attributes(path, "mode")
  if not found then M.misuse(("%s: %s: %s"):format(option, path, (message:match("([^:]+)$"):gsub("^ ", "")))) end
  if found ~= mode then M.misuse(("%s: %s is a %s, not a %s"):format(option, path, found, mode)) end
end

return M
