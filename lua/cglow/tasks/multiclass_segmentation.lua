--- Multi-class segmentation: a photograph to a map of its parts.
-- LFW part labels (background, face, hair) with --data; without, the embedded
-- samples in the same layout.
-- @module cglow.tasks.multiclass_segmentation
local baselines = require "cglow.tasks.baselines"
local core = require "cglow.core"
local lfw = require "cglow.data.lfw"
local metrics = require "cglow.metrics"
local shared = require "cglow.tasks.shared"

local CLASSES <const> = 3

-- Labels 1, 2, 3 in blue, green and red, as the labels of LFW are published.
local function picture_of(labels) return core.stack {labels:eq(3), labels:eq(2), labels:eq(1)} end

-- Majorities inside super-pixels: those that ship with the set, else SLIC's.
local function score()
  local confusion, right, all = metrics.confusion(CLASSES), 0, 0
  return {
    add = function(_, answer, truth, sample)
      confusion:add(answer, truth)
      if not sample.superpixels then return end
      local _, good, total = metrics.superpixel_accuracy(answer, truth, sample.superpixels)
      right, all = right + good, all + total
    end,
    result = function()
      return {
        pixel_accuracy = confusion:pixel_accuracy(), iou = confusion:mean_iou(),
        superpixel_accuracy = all > 0 and right / all or nil,
      }
    end,
  }
end

return require("cglow.tasks.define").define {
  name = "multiclass_segmentation",
  title = "Multi-class segmentation: c-Glow learns maps of parts of photographs.",
  predicts = "Write a map of parts in colours for each photograph, in its own size.",
  sizes = {32, 64, 128}, size = 32, defaults = {levels = 4},
  x = shared.three_channels, y = shared.three_channels, augment_y = "labels",
  recipe = { -- faces are aligned: less is moved
    ["augment.mirror"] = true, ["augment.shift"] = 0.024, ["augment.zoom"] = 0.04, ["augment.stretch"] = 0.02,
    ["augment.gain"] = 0.1, ["augment.tint"] = 0.05,
  },
  head = {
    outputs = CLASSES, loss = "cross_entropy", target = function(sample) return metrics.argmax(sample.y) end,
    decide = metrics.argmax,
  },
  data = function(dir, o)
    -- The super-pixels of 500 photographs take half a minute, so they are kept.
    local scored = o.split ~= "train"
    return lfw(dir, {
      split = o.split, size = o.size, superpixels = scored, cache = scored and "disk" or "memory",
    })
  end,
  decide = metrics.argmax,
  score = score,
  notes = "superpixel_accuracy: SLIC with 250 segments where the set has no super-pixels",
  rate = function(answer, truth) return metrics.confusion(CLASSES):add(answer, truth):pixel_accuracy() end,
  show_input = function(sample) return sample.x end,
  show = function(y) return picture_of(metrics.argmax(y)) end,
  show_answer = picture_of,
  baselines = function(train) return {{name = "majority by position", predict = baselines.majority(train)}} end,
  read_input = shared.read_resized,
  predict_file = function(predict, path, size)
    local y, message = shared.predict_resized(predict, path, size)
    return y and picture_of(metrics.argmax(y)), message
  end,
}
