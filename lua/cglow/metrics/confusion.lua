--- Counts of predicted against true labels; `cglow.metrics.confusion` makes them.
-- @classmod cglow.Confusion
local bytes = require "cglow.util.bytes"
local check = require "cglow.util.check"
local options = require "cglow.util.options"
local same_shape = require "cglow.metrics.same_shape"

local MOST_CLASSES <const> = 4096
local CONFUSION = {ignore = {type = "integer"}}

local Confusion = {}
Confusion.__index = Confusion
Confusion.__name = "cglow.Confusion"

local function new(classes, opts)
  classes = options.arg("metrics.confusion", 1, "classes", classes, {type = "integer", min = 2, max = MOST_CLASSES})
  local ignore = options.check("metrics.confusion", opts, CONFUSION).ignore
  if ignore and ignore >= 1 and ignore <= classes then
    error(("metrics.confusion: option 'ignore' must be none of the labels 1 to %d, got %d"):format(classes, ignore), 2)
  end
  local counts = {}
  for truth = 1, classes do
    counts[truth] = {}
    for pred = 1, classes do counts[truth][pred] = 0 end
  end
  return setmetatable({classes = classes, counts = counts, images = 0, iou_sum = 0.0, ignore = ignore}, Confusion)
end

-- counts[true label][predicted label] of one image.
local function count(classes, pred, truth)
  local counts, total = {}, 0
  for t = 1, classes do
    counts[t] = {}
    local here = truth:eq(t)
    for p = 1, classes do
      counts[t][p] = math.tointeger(pred:eq(p):mul(here):sum())
      total = total + counts[t][p]
    end
  end
  return counts, total
end

-- Intersection over union of one class; nil when no pixel has or gets it.
local function iou_of(counts, class)
  local both, either = counts[class][class], -counts[class][class]
  for other = 1, #counts do either = either + counts[class][other] + counts[other][class] end
  if either == 0 then return nil end
  return both / either
end

-- Over the classes that occur.
local function mean_iou(counts)
  local sum, n = 0, 0
  for class = 1, #counts do
    local iou = iou_of(counts, class)
    if iou then sum, n = sum + iou, n + 1 end
  end
  return n > 0 and sum / n or 0 / 0
end

-- Dice's coefficient, 2·both/(one + other), which is 2·IoU/(1 + IoU).
local function dice_of(iou) return 2 * iou / (1 + iou) end

local function add_image(self, pred, truth)
  local counts, total = count(self.classes, pred, truth)
  local ignored = self.ignore and math.tointeger(truth:eq(self.ignore):sum()) or 0
  if total == 0 and ignored > 0 and ignored == truth:count() then return end -- an image that says nothing
  if total + ignored ~= truth:count() then
    error(("Confusion:add: labels must be integers from 1 to %d, got %s"):format(self.classes,
      (truth:min() < 1 or truth:max() > self.classes) and "others in truth" or "others in pred or truth"), 3)
  end
  for t, row in ipairs(counts) do
    for p, n in ipairs(row) do self.counts[t][p] = self.counts[t][p] + n end
  end
  self.images, self.iou_sum = self.images + 1, self.iou_sum + mean_iou(counts)
end

--- Count one image, or several.
-- @tparam Tensor pred labels, H×W or N×H×W
-- @tparam Tensor truth labels, of the same shape
-- @treturn Confusion itself
function Confusion:add(pred, truth)
  options.arg("Confusion:add", 1, "pred", pred, "tensor")
  same_shape("Confusion:add", 2, "truth", truth, pred)
  if truth:dim() ~= 3 then
    add_image(self, pred, truth)
    return self
  end
  for i = 1, #truth do add_image(self, pred[i], truth[i]) end
  return self
end

--- Intersection over union of one class, from the counts of all images.
-- @tparam integer class
-- @treturn number NaN when no pixel has or gets that label
function Confusion:iou(class)
  class = options.arg("Confusion:iou", 1, "class", class, {type = "integer", min = 1, max = self.classes})
  return iou_of(self.counts, class) or 0 / 0
end

--- Mean of the classes' intersection over union, from the counts of all images:
-- the paper's measure for binary segmentation. Classes that never occur do not count.
function Confusion:mean_iou() return mean_iou(self.counts) end

--- Intersection over union of class 2 of 2.
function Confusion:foreground_iou()
  if self.classes ~= 2 then
    error(("Confusion:foreground_iou: is for 2 classes, not %d"):format(self.classes), 2)
  end
  return self:iou(2)
end

--- Dice's coefficient of one class, which for two sets is their F1 score: twice the pixels that
-- have the label in both over those of one plus those of the other, from the counts of all images.
-- @tparam integer class
-- @treturn number NaN when no pixel has or gets that label
function Confusion:dice(class)
  class = options.arg("Confusion:dice", 1, "class", class, {type = "integer", min = 1, max = self.classes})
  return dice_of(iou_of(self.counts, class) or 0 / 0)
end

--- Mean of the classes' Dice coefficients (macro-averaged F1). Classes that never occur do not count.
function Confusion:mean_dice()
  local sum, n = 0, 0
  for class = 1, self.classes do
    local iou = iou_of(self.counts, class)
    if iou then sum, n = sum + dice_of(iou), n + 1 end
  end
  return n > 0 and sum / n or 0 / 0
end

--- Mean over images of each image's own mean IoU (over the classes that occur in it).
function Confusion:image_iou() return self.iou_sum / self.images end

--- Share of pixels with the right label.
function Confusion:pixel_accuracy()
  local right, all = 0, 0
  for t, row in ipairs(self.counts) do
    for p, n in ipairs(row) do
      right, all = right + (t == p and n or 0), all + n
    end
  end
  return right / all
end

function Confusion:__tostring()
  local lines = {("cglow.Confusion of %d images, rows = truth, columns = predicted"):format(self.images)}
  for _, row in ipairs(self.counts) do
    local cells = {}
    for p, n in ipairs(row) do cells[p] = ("%10d"):format(n) end
    lines[#lines + 1] = table.concat(cells)
  end
  lines[#lines + 1] = ("mean IoU %s, pixel accuracy %s"):format(bytes.number("%.4f", self:mean_iou()),
    bytes.number("%.4f", self:pixel_accuracy()))
  return table.concat(lines, "\n")
end

check.class("Confusion", Confusion, "counts")

return new
