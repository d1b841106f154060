--- Multi-class segmentation: a photograph to a map of its parts.
-- LFW part labels (background, face, hair) with --data; without, the embedded
-- samples in the same layout.
-- @module cglow.tasks.multiclass_segmentation
local lfw = require "cglow.data.lfw"
local metrics = require "cglow.metrics"

local CLASSES <const> = 3

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
        pixel_accuracy = confusion:pixel_accuracy(), iou = confusion:mean_iou(), dice = confusion:mean_dice(),
        superpixel_accuracy = all > 0 and right / all or nil,
      }
    end,
  }
end

return require("cglow.tasks.define").define {
  name = "multiclass_segmentation",
  kind = "labels", classes = CLASSES,
  colours = {{0, 0, 255}, {0, 255, 0}, {255, 0, 0}}, -- as the labels of LFW are published
  title = "Multi-class segmentation: c-Glow learns maps of parts of photographs.",
  predicts = "Write a map of parts in colours for each photograph, in its own size.",
  defaults = {levels = 4},
  recipe = { -- faces are aligned: less is moved
    ["augment.mirror"] = true, ["augment.shift"] = 0.024, ["augment.zoom"] = 0.04, ["augment.stretch"] = 0.02,
    ["augment.gain"] = 0.1, ["augment.tint"] = 0.05,
  },
  data = function(dir, o)
    -- The super-pixels of 500 photographs take half a minute, so they are kept.
    local scored = o.split ~= "train"
    return lfw(dir, {
      split = o.split, size = o.size, superpixels = scored, cache = scored and "disk" or "memory",
    })
  end,
  score = score,
  notes = "superpixel_accuracy: SLIC with 250 segments where the set has no super-pixels",
}
