--- Step sizes over a training: they grow, stay and fall, or are what a function says.
-- @module cglow.train.schedule
local options = require "cglow.util.options"

local M = {}

local FALL <const> = 0.6 -- the share of the steps over which a named curve falls, when nothing else is said

-- From 1 to 0 as `left`, the share of the fall that is still to come, does.
local CURVES = {
  constant = function() return 1 end,
  linear = function(left) return left end,
  cosine = function(left) return (1 - math.cos(math.pi * left)) / 2 end,
}

-- Errors point at whoever called the trainer's constructor.
local function refuse(text, ...) error("Trainer: " .. text:format(...), 5) end

local function check(o)
  if type(o.schedule) == "string" and not CURVES[o.schedule] then
    refuse("option 'schedule' must be a function or one of 'constant', 'linear', 'cosine', got %s",
      options.show(o.schedule))
  end
  if o.fall and o.cooldown > 0 then refuse "options 'fall' and 'cooldown' say one thing twice: give one of them" end
  local falls = o.schedule == nil or CURVES[o.schedule] and o.schedule ~= "constant"
  if not falls and (o.fall or o.cooldown > 0) then
    refuse "options 'fall' and 'cooldown' belong to the schedules 'linear' and 'cosine'"
  end
end

-- How many of the last steps have a smaller step size.
local function falling(o)
  if o.cooldown > 0 then return o.cooldown end
  return math.floor((o.fall or o.schedule and FALL or 0) * o.steps + 0.5)
end

local function checked(factor)
  if type(factor) == "number" and factor >= 0 and factor <= 1e9 then return factor end
  error(("Trainer: option 'schedule' must give a number from 0 to 1e9, got %s"):format(options.show(factor)), 0)
end

--- The factor on the step size as a function of where the training stands.
-- @tparam table o the trainer's options `schedule`, `warmup`, `fall`, `cooldown`, `steps`
-- @treturn function from a table with `step`, the number of steps made, to a number
-- @raise when they contradict each other
function M.new(o)
  check(o)
  local curve, length = CURVES[o.schedule or "linear"], math.max(1, falling(o))
  return function(state)
    local warm = math.min(1, (state.step + 1) / math.max(1, o.warmup))
    if not curve then return warm * checked(o.schedule(state)) end
    return warm * curve(math.min(1, (o.steps - state.step) / length))
  end
end

return M
