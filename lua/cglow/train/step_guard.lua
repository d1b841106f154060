--- What to do about a step whose loss or gradient was not finite.
--
-- The step has been refused already (nothing changed). It halves the
-- step size, gives it back by doubling after a while without trouble, and
-- gives up after a number of refusals in a row.
-- @module cglow.train.step_guard
local Guard = {}
Guard.__index = Guard

local M = {}

-- Steps are never made shorter than 1/1024: a sample that is not finite in every epoch of a
-- small data set would halve them more often than good steps give back.
local MOST_HALVINGS <const> = 10

--- @tparam table options `recover_after`: good steps after which a halving is undone;
-- `max_refused`: refusals in a row that end the training
function M.new(options)
  return setmetatable({
    recover_after = options.recover_after, max_refused = options.max_refused,
    halvings = 0, good = 0, in_a_row = 0, refused = 0,
  }, Guard)
end

--- The factor on the step size now: 1, 1/2, 1/4 ...
function Guard:factor()
  return 0.5 ^ self.halvings
end

--- Note a step that was made.
-- @treturn boolean did the factor change?
function Guard:made()
  self.in_a_row = 0
  if self.halvings == 0 then return false end
  self.good = self.good + 1
  if self.good < self.recover_after then return false end
  self.halvings, self.good = self.halvings - 1, 0
  return true
end

--- Note a step that was refused.
-- @treturn boolean is it time to give up?
function Guard:refuse()
  self.refused = self.refused + 1
  self.in_a_row = self.in_a_row + 1
  self.halvings, self.good = math.min(self.halvings + 1, MOST_HALVINGS), 0
  return self.in_a_row >= self.max_refused
end

local COUNTERS = {"halvings", "good", "in_a_row", "refused"}

--- The counters, to go on from later.
-- @treturn table integers only
function Guard:state()
  local state = {}
  for _, name in ipairs(COUNTERS) do state[name] = self[name] end
  return state
end

--- @tparam table state what `state` gave
function Guard:restore(state)
  for _, name in ipairs(COUNTERS) do self[name] = state[name] end
end

return M
