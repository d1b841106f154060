--- Answers that need no learning, to hold every figure against.
--
-- Each gives a function(sample) that predicts the sample's y.
-- @module cglow.tasks.baselines
local check = require "cglow.util.check"
local core = require "cglow.core"
local failure = require "cglow.util.failure"
local left_out = require "cglow.data.left_out"
local metrics = require "cglow.metrics"
local options = require "cglow.util.options"
local vision = require "cglow.image.vision"

local M = {}

local function mean_of(fname, ds)
  if not (check.has(ds, "samples") and check.has(ds, "size")) then
    error(("bad argument #1 to '%s': ds must be a data set, got %s"):format(fname, core.type(ds)), 3)
  end
  local sum, count = nil, 0 -- of those that are not left out
  for i = 1, ds:size() do
    local sample, message, skip = ds:get(i)
    if sample then sum, count = sum and sum:add(sample.y) or sample.y:clone(), count + 1
    elseif skip then left_out.note(ds, message)
    else failure.raise(message) end
  end
  if not sum then error(("%s: the data set is empty"):format(fname), 3) end
  return sum:mul(1 / count)
end

--- The mean y of a data set, whatever x is: for masks, the share of samples in
-- which a pixel is set; at least one half of them makes it foreground.
-- @tparam Dataset ds to learn from
-- @treturn function(sample) → y
function M.mean(ds)
  local mean = mean_of("baselines.mean", ds)
  return function() return mean end
end

--- The most frequent label at each position, one-hot.
-- @tparam Dataset ds to learn from, y one-hot
-- @treturn function(sample) → y
function M.majority(ds)
  local mean = mean_of("baselines.majority", ds)
  local y = metrics.one_hot(metrics.argmax(mean), #mean)
  return function() return y end
end

--- All zero: background everywhere, or for denoising, the noisy picture itself.
-- @treturn function(sample) → y
function M.zero()
  return function(sample) return core.zeros(sample.y:size()) end
end

--- The raw depth, its holes filled by medians from the rim inwards.
-- @tparam[opt] table opts `radius` = 2 of the median's square
-- @treturn function(sample) → y; the sample's first channel of x is the depth, 0 = no reading
function M.median_depth(opts)
  local o = options.check("baselines.median_depth", opts, {radius = {type = "integer", default = 2, min = 1, max = 32}})
  return function(sample)
    local depth = sample.x:narrow(1, 1, 1)
    local known = depth[1]:gt(0)
    if known:sum() == 0 then return depth:clone() end
    return vision.fill_median(depth, known, {radius = o.radius})
  end
end

-- The hidden block of a filled x: y's size, in the middle.
local function centre(x, y)
  local out = core.empty(y:size())
  return core.vision.window(x, (x:size(2) - y:size(2)) // 2 + 1, (x:size(3) - y:size(3)) // 2 + 1, out)
end

--- The hidden block in the mean colour of what surrounds it.
-- @treturn function(sample) → y; the sample has `valid`
function M.mean_colour()
  return function(sample)
    local out, n = core.empty(sample.y:size()), sample.valid:sum()
    for c = 1, #out do out[c]:fill((sample.x[c] * sample.valid):sum() / n) end
    return out
  end
end

--- The hidden block filled by diffusion from its rim.
-- @treturn function(sample) → y; the sample has `valid`
function M.diffusion()
  return function(sample)
    return centre((vision.fill_diffusion(sample.x, sample.valid)), sample.y)
  end
end

return M
