--- Losses of feed-forward networks, each with its gradient.
--
-- A mask (N×H×W) weighs the pixels: 1 for those that count, 0 for those that do
-- not. A loss is the weighted mean; when no pixel counts it is 0, and so is the
-- gradient. What lies under the mask must be finite all the same.
-- @module cglow.nn.losses
local core = require "cglow.core"
local check = require "cglow.util.check"
local options = require "cglow.util.options"

local M = {}

-- log Σ_k exp(z_k) at each pixel of K×H×W. The largest z_k is taken out of the
-- sum, so that nothing overflows and at least one term is 1.
local function log_sum_exp(z)
  local largest = z:max(1)
  local sum = core.zeros(largest:size())
  for k = 1, #z do sum:add((z[k] - largest):exp()) end
  return sum:log():add(largest)
end

local function pixels_like(t) return {t:size(1), t:size(3), t:size(4)} end

local function check_mask(fname, mask, like)
  check.shape(fname, "option 'mask'", mask, pixels_like(like))
  if not (mask:isfinite() and mask:min() >= 0) then
    error(("%s: option 'mask' must hold finite numbers >= 0, got a least one of %g"):format(fname, mask:min()), 3)
  end
end

local function check_classes(classes, logits)
  check.shape("losses.cross_entropy", "classes", classes, pixels_like(logits))
  local count = logits:size(2)
  if not (classes:min() >= 1 and classes:max() <= count and classes == classes:round()) then
    error(("losses.cross_entropy: classes must be whole numbers from 1 to %d, got numbers from %g to %g"):format(
      count, classes:min(), classes:max()), 3)
  end
end

-- A sum over weighted pixels and its gradient, turned into the mean's.
local function mean(sum, gradient, weight)
  if weight == 0 then return 0.0, gradient:zero() end
  return sum / weight, gradient:mul(1 / weight)
end

local OPTIONS = {mask = {type = "tensor"}}

--- exp(z_k) / Σ_j exp(z_j) over the channels.
-- @tparam Tensor logits N×K×H×W
-- @treturn Tensor probabilities, N×K×H×W
function M.softmax(logits)
  check.shape("losses.softmax", "logits", logits, {"N", "K", "H", "W"})
  local probabilities = core.empty(logits:size())
  for n = 1, #logits do
    local z, log_sum = logits[n], log_sum_exp(logits[n])
    for k = 1, #z do probabilities[n][k] = (z[k] - log_sum):exp() end
  end
  return probabilities
end

-- Σ mask·(log Σ_k exp(z_k) − z_class) for one sample; sets its gradient.
local function cross_entropy_of(z, classes, mask, gradient)
  local log_sum = log_sum_exp(z)
  local entropy = log_sum:clone()
  for k = 1, #z do
    local is_k = classes:eq(k)
    local slope = (z[k] - log_sum):exp():add(is_k, -1)
    gradient[k] = mask and slope:mul(mask) or slope
    entropy:add(is_k:mul(z[k]), -1)
  end
  return (mask and entropy:mul(mask) or entropy):sum()
end

--- Softmax cross-entropy: the mean over pixels of −log p(class), in nats.
-- @tparam Tensor logits N×K×H×W
-- @tparam Tensor classes N×H×W, whole numbers from 1 to K
-- @tparam[opt] table opts `mask`, N×H×W
-- @treturn number loss
-- @treturn Tensor its gradient with respect to the logits
function M.cross_entropy(logits, classes, opts)
  check.shape("losses.cross_entropy", "logits", logits, {"N", "K", "H", "W"})
  check_classes(classes, logits)
  local mask = options.check("losses.cross_entropy", opts, OPTIONS).mask
  if mask then check_mask("losses.cross_entropy", mask, logits) end
  local sum, gradient = 0.0, core.empty(logits:size())
  for n = 1, #logits do
    sum = sum + cross_entropy_of(logits[n], classes[n], mask and mask[n], gradient[n])
  end
  return mean(sum, gradient, mask and mask:sum() or classes:count())
end

--- Mean squared error, over pixels and channels.
-- @tparam Tensor prediction N×C×H×W
-- @tparam Tensor target N×C×H×W
-- @tparam[opt] table opts `mask`, N×H×W, the same for all channels
-- @treturn number loss
-- @treturn Tensor its gradient with respect to the prediction; with respect to
-- the target it is the negative of that
function M.squared_error(prediction, target, opts)
  check.shape("losses.squared_error", "prediction", prediction, {"N", "C", "H", "W"})
  check.shape("losses.squared_error", "target", target, prediction:size())
  local mask = options.check("losses.squared_error", opts, OPTIONS).mask
  if mask then check_mask("losses.squared_error", mask, prediction) end
  local difference = prediction - target
  local weighted = difference:clone()
  for n = 1, mask and #mask or 0 do
    for c = 1, #weighted[n] do weighted[n][c]:mul(mask[n]) end
  end
  local weight = mask and mask:sum() * prediction:size(2) or prediction:count()
  return mean((difference:mul(weighted)):sum(), weighted:mul(2), weight)
end

return M
