--- Discrete values of y: a density of them is never trained on as they are, for it would
-- grow without bound at each of the values.
-- @module cglow.train.discrete
local core = require "cglow.core"

local M = {}

local LOOKED_AT <const> = 4 -- samples
local STEPS <const> = 255   -- masks, labels and 8-bit pictures have multiples of 1/255
local SLACK <const> = 1e-3  -- of a step: single precision
local FINE <const> = 1 << 12 -- steps: single precision has no fractions of them that SLACK could tell far above

-- Are all numbers of the first samples multiples of 1/255, and more than one of them?
local function looks_discrete(data)
  local rng, low, high = core.Rng(0), math.huge, -math.huge
  for i = 1, math.min(LOOKED_AT, data:size()) do
    local sample = data:get(i, rng)
    if not sample or not sample.y:isfinite() then return false end -- training will say so
    local steps = sample.y * STEPS
    if (steps - steps:round()):abs():max() > SLACK or steps:abs():max() > FINE then return false end
    low, high = math.min(low, (steps:min())), math.max(high, (steps:max()))
  end
  return high > low
end

--- The data set as a model can be trained on it: dequantised if it says that it is
-- discrete (`info.cell_width`) and has not been; a model that has a loss of its own takes
-- what there is.
-- @param data
-- @param model
-- @tparam string option of the trainer's, for messages
-- @treturn data set
-- @raise when the set does not say so but holds nothing but multiples of 1/255
function M.ready(data, model, option)
  if model.loss then return data end
  local info = data.info or {}
  if info.dequantised then return data end
  if info.cell_width and data.dequantise then return data:dequantise() end
  if looks_discrete(data) then
    error(("Trainer: option '%s': y is discrete (its first samples have multiples of 1/%d only), and a density of "
      .. "it would grow without bound: say info = {cell_width = …} and it is dequantised, or add noise to y"):format(
      option, STEPS), 0)
  end
  return data
end

return M
