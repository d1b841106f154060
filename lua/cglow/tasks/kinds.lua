--- What is the same for all tasks whose y is of a kind: a mask, a map of labels, or a picture.
--
-- Each function gives the fields of `cglow.task.define` that a definition leaves out.
-- @module cglow.tasks.kinds
local baselines = require "cglow.tasks.baselines"
local core = require "cglow.core"
local metrics = require "cglow.metrics"
local photo = require "cglow.tasks.photo"
local shared = require "cglow.tasks.shared"

local kinds = {}

-- ---- masks -----------------------------------------------------------------

-- One channel of a mask that has several equal ones, but for the noise of a sample.
local function mask_of(y) return y:mean(1):reshape(1, y:size(2), y:size(3)) end

-- A single sample's mask, 0 or 1.
local function sharp_mask(y)
  local labels = metrics.binarise(y)
  return (labels - 1):reshape(1, labels:size(1), labels:size(2))
end

-- What is above one half of it is the consensus of samples (M×C×H×W), by which it overlaps best
-- with them.
local function soft_mask(samples)
  local labels, share, threshold = metrics.consensus(metrics.binarise(samples) - 1)
  return (share + (0.5 - threshold)):reshape(1, labels:size(1), labels:size(2))
end

local function mask_score()
  local confusion = metrics.confusion(2)
  return {
    add = function(_, answer, truth) confusion:add(answer, truth) end,
    result = function()
      return {
        iou = confusion:mean_iou(), foreground_iou = confusion:foreground_iou(), image_iou = confusion:image_iou(),
        dice = confusion:dice(2),
      }
    end,
  }
end

local function show_mask(labels) return labels - 1 end

--- A mask: one channel, or several equal ones, of 0 and 1.
-- @treturn table
function kinds.mask()
  return {
    y = 1, augment_y = "mask", decide = metrics.binarise, values = mask_of, values_each = sharp_mask,
    values_all = soft_mask, channels = 1,
    decide_all = function(samples) return metrics.binarise(soft_mask(samples)) end,
    score = mask_score,
    notes = "iou: the classes' mean, dice: of the foreground, both from the counts of all images; image_iou: the mean "
      .. "of the images' own",
    rated = "image_iou",
    rate = function(answer, truth) return metrics.confusion(2):add(answer, truth):mean_iou() end,
    show = function(y) return show_mask(metrics.binarise(y)) end, -- without the noise of a discrete y
    show_answer = show_mask,
    finish = function(values)
      local mask = values[1]:gt(0.5)
      return mask, mask
    end,
    head = {
      outputs = 2, loss = "cross_entropy", target = function(sample) return metrics.binarise(sample.y) end,
      decide = metrics.argmax,
    },
    baselines = function(train)
      return {
        {name = "all background", predict = baselines.zero()}, {name = "mean mask", predict = baselines.mean(train)},
      }
    end,
  }
end

-- ---- labels ----------------------------------------------------------------

-- Colours that differ, the background black: a golden angle apart on the wheel.
local function default_colours(classes)
  local list = {{0, 0, 0}}
  for i = 2, classes do
    local hue, value = (i - 2) * 0.618034 % 1 * 6, 255 - (i - 2) // 8 % 4 * 48
    local function channel(shift)
      local k = (shift + hue) % 6
      return math.floor(value - value * 0.8 * math.max(0, math.min(k, 4 - k, 1)) + 0.5)
    end
    list[i] = {channel(5), channel(3), channel(1)}
  end
  return list
end

-- Labels from 1 on, H×W, in colours.
local function painter(colours)
  return function(labels)
    local h, w = labels:size(1), labels:size(2)
    local picture = core.zeros(3, h, w)
    for k, colour in ipairs(colours) do
      local here = labels:eq(k)
      for c = 1, 3 do picture[c]:add(here, colour[c] / 255) end
    end
    return picture
  end
end

-- A single sample's labels, H×W, as shares of 0 or 1.
local function one_hot(labels, classes)
  local planes = {}
  for k = 1, classes do planes[k] = labels:eq(k) end
  return core.stack(planes)
end

local IGNORED <const> = 0 -- no label

-- Labels where they count: a sample's `valid`, if it has one, says where.
local function counted(truth, sample) return sample and sample.valid and truth * sample.valid or truth end

local function label_score(classes)
  local confusion = metrics.confusion(classes, {ignore = IGNORED})
  return {
    add = function(_, answer, truth, sample) confusion:add(answer, counted(truth, sample)) end,
    result = function()
      return {pixel_accuracy = confusion:pixel_accuracy(), iou = confusion:mean_iou(), dice = confusion:mean_dice()}
    end,
  }
end

--- A map of labels, one-hot.
-- @tparam table task with `classes` and perhaps `colours`
-- @treturn table
function kinds.labels(task)
  local classes, colours = task.classes, task.colours or default_colours(task.classes)
  local paint = painter(colours)
  return {
    y = classes, augment_y = "labels", decide = metrics.argmax, values = function(y) return y end, channels = classes,
    values_each = function(y) return one_hot(metrics.argmax(y), classes) end,
    score = function() return label_score(classes) end,
    notes = "iou, dice: the means over the labels, from the counts of all images",
    rated = "pixel_accuracy",
    rate = function(answer, truth, sample)
      return metrics.confusion(classes, {ignore = IGNORED}):add(answer, counted(truth, sample)):pixel_accuracy()
    end,
    show = function(y) return paint(metrics.argmax(y)) end, show_answer = paint,
    finish = function(values)
      local labels = metrics.argmax(values)
      if task.colours then return labels - 1, paint(labels) end
      return labels - 1, labels - 1, {raw = true, palette = colours}
    end,
    head = {
      outputs = classes, loss = "cross_entropy", target = function(sample) return metrics.argmax(sample.y) end,
      decide = metrics.argmax,
    },
    baselines = function(train) return {{name = "majority by position", predict = baselines.majority(train)}} end,
  }
end

-- ---- pictures --------------------------------------------------------------

local function in_range(y) return y:clamp(0, 1) end

--- A picture, or other numbers from 0 to 1.
-- @tparam table task with its own `y` and `decide`, if it has them
-- @treturn table
function kinds.image(task)
  local channels = task.y and task.y(1)[1] or 3
  return {
    y = 3, augment_y = "image", decide = in_range, values = function(y, sample) return task.decide(y, sample) end,
    channels = channels,
    score = shared.image_score,
    notes = "psnr: dB for a peak of 1, averaged over the images, as is ssim" .. shared.psnr_note,
    rate = function(answer, truth) return shared.psnr(answer, truth) end, rated = "psnr",
    show = function(y, sample) return task.decide(y, sample) end, show_answer = function(answer) return answer end,
    finish = function(values, picture)
      if #values ~= 3 then return values, values, {bits = picture.bits} end
      return values, photo.like(values, {alpha = picture.alpha, bits = picture.bits})
    end,
    head = {
      outputs = channels, loss = "squared_error", scale = 1, target = function(sample) return sample.y end,
      decide = function(said, sample) return task.decide(said, sample) end,
    },
    baselines = function(train) return {{name = "mean picture", predict = baselines.mean(train)}} end,
  }
end

return kinds
