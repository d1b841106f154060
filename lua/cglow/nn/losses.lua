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

local function pixels_like(t) return {t:size(1), t:size(3), t:size(4)} end

local function check_mask(fname, mask, like)
  check.shape(fname, "option 'mask'", mask, pixels_like(like), 2)
  if not (mask:isfinite() and mask:min() >= 0) then
    error(("%s: option 'mask' must hold finite numbers >= 0, got a least one of %g"):format(fname, mask:min()), 4)
  end
end

local OPTIONS = {mask = {type = "tensor"}, gradient = {type = "tensor"}}

-- The mask, where the gradient is written, and what all that counts weighs.
local function check_options(fname, opts, out, values)
  local o = options.check(fname, opts, OPTIONS, 1)
  if o.mask then check_mask(fname, o.mask, out) end
  if o.gradient then check.shape(fname, "option 'gradient'", o.gradient, out:size(), 1) end
  local pixels = o.mask and o.mask:sum() or out:count() // out:size(2)
  return o.mask, o.gradient or core.empty(out:size()), pixels * values
end

-- log Σ_k exp(z_k) at each pixel of K×H×W. The largest z_k is taken out of the
-- sum, so that nothing overflows and at least one term is 1.
local function log_sum_exp(z)
  local largest = z:max(1)
  local sum = core.zeros(largest:size())
  for k = 1, #z do sum:add((z[k] - largest):exp()) end
  return sum:log():add(largest)
end

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

--- Softmax cross-entropy: the mean over pixels of −log p(class), in nats.
-- @tparam Tensor logits N×K×H×W
-- @tparam Tensor classes N×H×W, whole numbers from 1 to K
-- @tparam[opt] table opts `mask`, N×H×W; `gradient`: a tensor like the logits to write
-- to (a new one)
-- @treturn number loss
-- @treturn Tensor its gradient with respect to the logits
function M.cross_entropy(logits, classes, opts)
  check.shape("losses.cross_entropy", "logits", logits, {"N", "K", "H", "W"})
  check.shape("losses.cross_entropy", "classes", classes, pixels_like(logits))
  local mask, gradient, weight = check_options("losses.cross_entropy", opts, logits, 1)
  local sum = core.loss.cross_entropy(logits, classes, mask, weight > 0 and 1 / weight or 0, gradient)
  if not sum then
    error(("losses.cross_entropy: classes must be whole numbers from 1 to %d, got numbers from %g to %g"):format(
      logits:size(2), classes:min(), classes:max()), 2)
  end
  return weight > 0 and sum / weight or 0.0, gradient
end

--- Mean squared error, over pixels and channels.
-- @tparam Tensor prediction N×C×H×W
-- @tparam Tensor target N×C×H×W
-- @tparam[opt] table opts `mask`, N×H×W, the same for all channels; `gradient`: a tensor
-- like the prediction to write to (a new one)
-- @treturn number loss
-- @treturn Tensor its gradient with respect to the prediction; with respect to
-- the target it is the negative of that
function M.squared_error(prediction, target, opts)
  check.shape("losses.squared_error", "prediction", prediction, {"N", "C", "H", "W"})
  check.shape("losses.squared_error", "target", target, prediction:size())
  local mask, gradient, weight = check_options("losses.squared_error", opts, prediction, prediction:size(2))
  local sum = core.loss.squared_error(prediction, target, mask, weight > 0 and 1 / weight or 0, gradient)
  return weight > 0 and sum / weight or 0.0, gradient
end

return M
