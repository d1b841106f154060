--- What to do about a step whose loss or gradient was not finite.
--
-- The step has been refused already (nothing changed). The policy halves the
-- step size, gives it back by doubling after a while without trouble, and
-- gives up after a number of refusals in a row.
-- @module cglow.train.step_guard
local Policy = {}
Policy.__index = Policy

local M = {}

-- Steps are never made shorter than 1/1024: a sample that is sick in every epoch of a
-- small data set would halve them more often than calm steps give back.
local MOST_HALVINGS <const> = 10

--- @tparam table options `calm`: good steps after which a halving is undone;
-- `give_up`: refusals in a row that end the training
function M.new(options)
  return setmetatable({
    calm = options.calm, give_up = options.give_up,
    halvings = 0, good = 0, in_a_row = 0, refused = 0,
  }, Policy)
end

--- The factor on the step size now: 1, 1/2, 1/4 ...
function Policy:factor()
  return 0.5 ^ self.halvings
end

--- Note a step that was made.
-- @treturn boolean did the factor change?
function Policy:made()
  self.in_a_row = 0
  if self.halvings == 0 then return false end
  self.good = self.good + 1
  if self.good < self.calm then return false end
  self.halvings, self.good = self.halvings - 1, 0
  return true
end

--- Note a step that was refused.
-- @treturn boolean is it time to give up?
function Policy:refuse()
  self.refused = self.refused + 1
  self.in_a_row = self.in_a_row + 1
  self.halvings, self.good = math.min(self.halvings + 1, MOST_HALVINGS), 0
  return self.in_a_row >= self.give_up
end

local COUNTERS = {"halvings", "good", "in_a_row", "refused"}

--- The counters, to go on from later.
-- @treturn table integers only
function Policy:state()
  local state = {}
  for _, name in ipairs(COUNTERS) do state[name] = self[name] end
  return state
end

--- @tparam table state what `state` gave
function Policy:restore(state)
  for _, name in ipairs(COUNTERS) do self[name] = state[name] end
end

return M
