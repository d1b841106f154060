--- Binary segmentation: a photograph to the mask of what is on it.
-- Weizmann horses by default as Borenstein & Ullman published them, with --data;
-- without, the embedded samples in the same layout.
-- @module cglow.tasks.binary_segmentation
local baselines = require "cglow.tasks.baselines"
local horses = require "cglow.data.horses"
local metrics = require "cglow.metrics"
local shared = require "cglow.tasks.shared"

-- One channel of a mask that has three equal ones, but for the noise of a sample.
local function mask_of(y) return y:mean(1):reshape(1, y:size(2), y:size(3)) end

-- What is above one half of it is the answer: the consensus of samples (M×C×H×W), by which it
-- overlaps best with them, or a single answer's mask.
local function soft_mask(y, samples)
  if not samples then return mask_of(y) end
  local labels, share, threshold = metrics.consensus(metrics.binarise(samples) - 1)
  return (share + (0.5 - threshold)):reshape(1, labels:size(1), labels:size(2))
end

local function picture_of(labels) return labels - 1 end

local function score()
  local confusion = metrics.confusion(2)
  return {
    add = function(_, answer, truth) confusion:add(answer, truth) end,
    result = function()
      return {
        iou = confusion:mean_iou(), foreground_iou = confusion:foreground_iou(), image_iou = confusion:image_iou(),
      }
    end,
  }
end

return require("cglow.tasks.define").define {
  name = "binary_segmentation",
  title = "Binary segmentation: c-Glow learns the masks of photographs.",
  predicts = "Write a mask for each photograph, in its own size.",
  sizes = {32, 64, 128}, size = 32,
  x = shared.three_channels, y = shared.three_channels, augment_y = "mask",
  recipe = {
    ["augment.mirror"] = true, ["augment.shift"] = 0.06, ["augment.zoom"] = 0.1, ["augment.stretch"] = 0.05,
    ["augment.gain"] = 0.1, ["augment.tint"] = 0.05,
  },
  head = {
    outputs = 2, loss = "cross_entropy", target = function(sample) return metrics.binarise(sample.y) end,
    decide = metrics.argmax,
  },
  data = function(dir, o) return horses(dir, {split = o.split, size = o.size}) end,
  decide = metrics.binarise,
  decide_all = function(samples) return metrics.binarise(soft_mask(nil, samples)) end,
  score = score,
  notes = "iou: the classes' mean, from the counts of all images; image_iou: the mean of the images' own",
  rate = function(answer, truth) return metrics.confusion(2):add(answer, truth):mean_iou() end,
  show_input = function(sample) return sample.x end,
  show = function(y) return picture_of(metrics.binarise(y)) end, -- without the noise of a discrete y
  show_answer = picture_of,
  baselines = function(train)
    return {
      {name = "all background", predict = baselines.zero()},
      {name = "mean mask", predict = baselines.mean(train)},
    }
  end,
  read_input = shared.read_resized,
  predict_file = function(predict, path, size)
    local mask, message = shared.predict_resized(function(x) return soft_mask(predict(x)) end, path, size)
    return mask and picture_of(metrics.binarise(mask)), message
  end,
}
