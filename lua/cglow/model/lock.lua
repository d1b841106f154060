--- One use of a model at a time.
--
-- A model's layers keep what their backward passes read, and give tensors that their next
-- call overwrites. While a method of a model runs, a layer in Lua, a finalizer or another
-- coroutine could use the same model, and the numbers of the first use would be quietly
-- wrong. So every method that runs layers holds the model's lock as a `<close>` variable,
-- until it has copied what it gives back.
-- @module cglow.model.lock
local M = {}

local Lock = {}
Lock.__index = Lock

function Lock:__close() self.use = nil end

local WEAK <const> = { __mode = "v" }

--- A lock that nobody holds.
function M.new() return setmetatable({ holder = setmetatable({}, WEAK) }, Lock) end

-- Is the lock held? Not by a coroutine that an error has ended or that is gone: those close nothing.
local function is_held(lock)
  local holder = lock.use and lock.holder[1]
  return holder and coroutine.status(holder) ~= "dead"
end

--- Raise when a use of the model is running.
-- @tparam Model model
-- @string what the method that wants to run, for the message
-- @int[opt=3] level of the error
function M.check(model, what, level)
  if is_held(model.lock) then
    error(("%s: the model is in use by %s; a layer, a finalizer or another coroutine cannot use it meanwhile"):format(
      what, model.lock.use), level or 3)
  end
end

--- Take the lock.
-- @tparam Model model
-- @string what the method that runs, for messages
-- @return what to keep in a `<close>` variable
function M.hold(model, what)
  M.check(model, what, 4)
  local lock = model.lock
  lock.use, lock.holder[1] = what, (coroutine.running())
  return lock
end

return M
