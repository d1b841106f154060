--- What ends a training from inside, however deep: raised here, caught in
-- `Trainer:run`.
-- @module cglow.train.stop
local failure = require "cglow.util.failure"

local M = {}

local Stop = {}

--- End the run.
-- @tparam string reason "interrupted", "diverged" or "failed"
-- @tparam string message
function M.raise(reason, message)
  error(setmetatable({reason = reason, message = message}, Stop), 0)
end

--- What becomes of an error in the middle of a run: what `raise` raised stays, a failure of
-- the world ends the run as failed, Ctrl-C ends it at once, all else is a fault with its traceback.
function M.catch(e)
  if M.is(e) then return e end
  if type(e) == "string" and e:find "interrupted!$" then -- what lua's own program raises at Ctrl-C
    return setmetatable({reason = "interrupted"}, Stop)
  end
  local message = failure.message(e)
  return message and setmetatable({reason = "failed", message = message}, Stop) or debug.traceback(tostring(e), 2)
end

--- Is this what `raise` raised?
function M.is(value) return getmetatable(value) == Stop end

--- Pass on the results of a call, or end the run as failed: the disk is full, a
-- file is gone ...
function M.must(ok, message, ...)
  if not ok then M.raise("failed", message) end
  return ok, message, ...
end

return M
