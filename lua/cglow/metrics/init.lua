--- Metrics of the paper's tasks.
--
-- Labels are tensors of integers from 1 on: H×W, or N×H×W for several images.
-- @module cglow.metrics
local check = require "cglow.util.check"
local core = require "cglow.core"
local options = require "cglow.util.options"
local same_shape = require "cglow.metrics.same_shape"

local M = {}

local POSITIVE = {type = "integer", min = 1}
local MOST_CLASSES <const> = 4096

-- ---- from outputs to labels ----------------------------------------------

-- The dimension of y's channels.
local function check_channels(fname, y)
  options.arg(fname, 1, "y", y, "tensor", 1)
  if y:dim() < 3 then
    error(("%s: y must be C×H×W or N×C×H×W, got %s"):format(fname, table.concat(y:size(), "x")), 3)
  end
  return y:dim() - 2
end

--- Labels of a class-per-channel output: at each pixel the largest channel.
-- @tparam Tensor y C×H×W or N×C×H×W
-- @treturn Tensor H×W or N×H×W, 1 … C; the first of equals
function M.argmax(y)
  local channels = check_channels("metrics.argmax", y)
  return y:argmax(channels)
end

--- Labels of a mask: 2 (foreground) where the mean of the channels is above ½,
-- 1 (background) elsewhere.
-- @tparam Tensor y C×H×W or N×C×H×W, all channels the same mask
-- @treturn Tensor H×W or N×H×W
function M.binarise(y)
  local channels = check_channels("metrics.binarise", y)
  return y:mean(channels):gt(0.5):add(1)
end

--- The mask to answer with when several samples of it differ: the pixels that are in at
-- least so many of them that the answer's intersection over union with a sample, the mean
-- of both classes', is the largest on average over the samples. That is what a score by
-- intersection over union asks for if the samples' distribution is right; a mean above one half,
-- which trusts it less, was better on the masks that were measured here.
-- @tparam Tensor masks M×H×W, 0 or 1 (1 ≤ M ≤ 4096)
-- @treturn Tensor H×W: 2 (foreground) and 1 (background), as from `binarise`
-- @treturn Tensor H×W: the share of the samples that have a pixel
-- @treturn number the share from which on a pixel is in the answer
function M.consensus(masks)
  check.shape("metrics.consensus", "masks", masks, { "M", "H", "W" })
  local votes, least = core.vision.consensus(masks)
  local count = masks:size(1)
  return votes:gt(least - 0.5):add(1), votes / count, (least - 0.5) / count
end

--- One channel for each class, 1 where a pixel has that label: undoes `argmax`.
-- @tparam Tensor labels H×W
-- @tparam integer classes
-- @treturn Tensor classes×H×W
function M.one_hot(labels, classes)
  options.arg("metrics.one_hot", 1, "labels", labels, "tensor")
  classes = options.arg("metrics.one_hot", 2, "classes", classes, {type = "integer", min = 1, max = MOST_CLASSES})
  local channels = {}
  for c = 1, classes do channels[c] = labels:eq(c) end
  return core.stack(channels)
end

-- ---- segmentation --------------------------------------------------------

--- Counts of predicted against true labels, over any number of images.
-- @function confusion
-- @tparam integer classes
-- @tparam[opt] table opts `ignore`: a label that is none of the classes, such as 0 or 256; pixels
-- whose true label it is count nowhere, whatever was predicted there
-- @treturn Confusion
-- @usage local c = metrics.confusion(2)
-- c:add(metrics.binarise(prediction), metrics.binarise(sample.y))
-- print(c:mean_iou())
M.confusion = require "cglow.metrics.confusion"

-- super-pixel → its most frequent label, the smallest of equals.
local function majorities(labels, superpixels)
  local votes = {}
  for i, label in ipairs(labels) do
    local of = votes[superpixels[i]] or {}
    votes[superpixels[i]] = of
    of[label] = (of[label] or 0) + 1
  end
  local winners = {}
  for superpixel, of in pairs(votes) do
    local best
    for label, n in pairs(of) do
      if not best or n > of[best] or (n == of[best] and label < best) then best = label end
    end
    winners[superpixel] = best
  end
  return winners
end

--- Share of super-pixels whose majority label is right, as the literature on LFW
-- part labels counts it: each super-pixel takes the most frequent label in it,
-- in the prediction as in the truth.
-- @tparam Tensor pred labels, H×W
-- @tparam Tensor truth labels, H×W
-- @tparam Tensor superpixels H×W, equal numbers in one super-pixel (`cglow.vision.slic`)
-- @treturn number share
-- @treturn integer super-pixels that are right
-- @treturn integer super-pixels in all; sum both over images for the accuracy of a set
function M.superpixel_accuracy(pred, truth, superpixels)
  options.arg("metrics.superpixel_accuracy", 1, "pred", pred, "tensor")
  same_shape("metrics.superpixel_accuracy", 2, "truth", truth, pred)
  same_shape("metrics.superpixel_accuracy", 3, "superpixels", superpixels, pred)
  local regions = superpixels:totable()
  local got, want = majorities(pred:totable(), regions), majorities(truth:totable(), regions)
  local right, all = 0, 0
  for superpixel, label in pairs(want) do
    right, all = right + (got[superpixel] == label and 1 or 0), all + 1
  end
  return right / all, right, all
end

-- ---- images --------------------------------------------------------------

-- Sum of squared differences over the pixels of the mask (H×W), and how many numbers that are.
local function squared_error(a, b, mask)
  local d = a - b
  d:mul(d)
  if not mask then return d:sum(), d:count() end
  if d:dim() == 2 then return d:mul(mask):sum(), mask:sum() end
  local sum = 0
  for c = 1, #d do sum = sum + d[c]:mul(mask):sum() end
  return sum, mask:sum() * #d
end

local function check_mask(fname, mask, a)
  if not mask then return end
  if mask:dim() ~= 2 or mask:size(1) ~= a:size(a:dim() - 1) or mask:size(2) ~= a:size(a:dim()) then
    error(("%s: option 'mask' must be H×W for images of %s, got %s"):format(
      fname, table.concat(a:size(), "x"), table.concat(mask:size(), "x")), 3)
  end
end

local PSNR = {peak = {type = "number", default = 1, above = 0}, mask = {type = "tensor"}}

--- Peak signal-to-noise ratio of one image: 10·log10(peak² / mean squared error).
-- @tparam Tensor a C×H×W or H×W
-- @tparam Tensor b of the same shape
-- @tparam[opt] table opts `peak` = 1: the largest value there can be; `mask`: H×W, 1
-- where a pixel counts and 0 where not
-- @treturn number dB; infinite when the images are equal, NaN when no pixel counts
function M.psnr(a, b, opts)
  options.arg("metrics.psnr", 1, "a", a, "tensor")
  same_shape("metrics.psnr", 2, "b", b, a)
  local o = options.check("metrics.psnr", opts, PSNR)
  if a:dim() ~= 2 and a:dim() ~= 3 then
    error(("metrics.psnr: a must be C×H×W or H×W, got %s"):format(table.concat(a:size(), "x")), 2)
  end
  check_mask("metrics.psnr", o.mask, a)
  local sum, n = squared_error(a, b, o.mask)
  return 10 * math.log(o.peak ^ 2 * n / sum, 10)
end

local SSIM = {peak = {type = "number", default = 1, above = 0}}
local WINDOW <const> = 11

--- Structural similarity of two images (Wang, Bovik, Sheikh & Simoncelli 2004, equation 13): an
-- 11×11 Gaussian window of σ = 1.5, constants 0.01 and 0.03, the mean over all places where
-- the window lies inside the image, and over the channels.
-- @tparam Tensor a C×H×W or H×W, at least 11×11 pixels
-- @tparam Tensor b of the same shape
-- @tparam[opt] table opts `peak` = 1: the largest value there can be
-- @treturn number at most 1, which equal images have
function M.ssim(a, b, opts)
  options.arg("metrics.ssim", 1, "a", a, "tensor")
  same_shape("metrics.ssim", 2, "b", b, a)
  local o = options.check("metrics.ssim", opts, SSIM)
  local dims = a:dim()
  if dims < 2 or dims > 3 or math.min(a:size(dims), a:size(dims - 1)) < WINDOW then
    error(("metrics.ssim: a must be C×H×W or H×W of at least %d×%d pixels, got %s"):format(WINDOW, WINDOW,
      table.concat(a:size(), "x")), 2)
  end
  return core.vision.ssim(a, b, o.peak)
end

-- ---- densities and samples -----------------------------------------------

--- Bits per dimension of P(y): −(log p + D·log w) / (D·ln 2).
-- @tparam number|Tensor logp nats: one number, or N of them, which are averaged
-- @tparam integer dims D, how many numbers one y has
-- @tparam[opt=1] number cell_width w, the spacing of y's values
-- @treturn number
function M.bits_per_dim(logp, dims, cell_width)
  options.arg("metrics.bits_per_dim", 1, "logp", logp, {type = "number|tensor", finite = false})
  dims = options.arg("metrics.bits_per_dim", 2, "dims", dims, POSITIVE)
  cell_width = options.arg("metrics.bits_per_dim", 3, "cell_width", cell_width,
    {type = "number", default = 1, above = 0})
  local nats = type(logp) == "number" and logp or logp:mean()
  return -(nats / dims + math.log(cell_width)) / math.log(2)
end

local function check_samples(fname, samples, least)
  options.arg(fname, 1, "samples", samples, "tensor|table", 1)
  if core.type(samples) == "cglow.Tensor" and samples:dim() < 2 then
    error(("%s: samples must be a list of tensors, or a tensor of at least 2 dimensions, got %d numbers"):format(
      fname, #samples), 3)
  end
  if #samples < least then
    error(("%s: samples must be at least %d, got %d"):format(fname, least, #samples), 3)
  end
  for i = 1, type(samples) == "table" and #samples or 0 do
    if i == 1 then
      options.arg(fname, 1, "samples[1]", samples[1], "tensor", 1)
    else
      same_shape(fname, 1, ("samples[%d]"):format(i), samples[i], samples[1], 1)
    end
  end
end

--- How much samples of one y differ: the mean over all pairs of the root of
-- their mean squared difference.
-- @tparam Tensor|{Tensor,...} samples M of them along the first dimension, or a list; M ≥ 2
-- @treturn number in the units of y; 0 when all are equal
function M.diversity(samples)
  check_samples("metrics.diversity", samples, 2)
  local sum, pairs_seen = 0, 0
  for i = 1, #samples do
    for j = i + 1, #samples do
      local squares, n = squared_error(samples[i], samples[j])
      sum, pairs_seen = sum + math.sqrt(squares / n), pairs_seen + 1
    end
  end
  return sum / pairs_seen
end

--- The score of the best sample.
-- @tparam Tensor|{Tensor,...} samples M of them along the first dimension, or a list
-- @tparam Tensor truth
-- @tparam function score function(sample, truth) that gives a number, higher = better
-- @treturn number the best score
-- @treturn integer which sample has it
function M.best_of(samples, truth, score)
  check_samples("metrics.best_of", samples, 1)
  options.arg("metrics.best_of", 2, "truth", truth, "tensor")
  options.arg("metrics.best_of", 3, "score", score, "function")
  local best, which = -math.huge, 1
  for i = 1, #samples do
    local s = score(samples[i], truth)
    if type(s) ~= "number" then
      error(("metrics.best_of: score must return a number, got %s"):format(options.show(s)), 2)
    end
    if s > best then best, which = s, i end
  end
  return best, which
end

return M
