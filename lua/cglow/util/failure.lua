--- Failures of the world that end whatever is under way: a file is damaged, a disk is
-- full. Raised deep inside, caught by the trainer or the command line, which say the
-- message alone, without a traceback.
-- @module cglow.util.failure
local M = {}

local Failure = {} -- metatable of what is raised

function Failure.__tostring(self) return self.message end

--- Raise a failure.
-- @string message
function M.raise(message) error(setmetatable({message = message}, Failure), 0) end

--- The message of a failure; nil when a value is none.
-- @param value what was caught
-- @treturn ?string
function M.message(value) return getmetatable(value) == Failure and value.message or nil end

--- Pass on the results of a call, or raise its message.
function M.must(ok, message, ...)
  if not ok then M.raise(message) end
  return ok, message, ...
end

return M
