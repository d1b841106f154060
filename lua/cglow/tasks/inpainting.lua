--- Inpainting: a photograph with its centre hidden to what was there.
-- Aligned CelebA with --data: the middle 108×108 (the face) at 64×64, its centre
-- 32×32 hidden. Without, the embedded samples in the same layout.
-- @module cglow.tasks.inpainting
local cglow = require "cglow"
local baselines = require "cglow.baselines"
local core = require "cglow.core"
local image, metrics = cglow.image, cglow.metrics

local function in_range(y) return y:clamp(0, 1) end

-- x with y in its middle.
local function fill(y, sample)
  local x = sample.x
  local top, left = (x:size(2) - y:size(2)) // 2 + 1, (x:size(3) - y:size(3)) // 2 + 1
  return image.paste(x:clone(), in_range(y), top, left)
end

-- PSNR of the hidden block of each image, averaged; the peak is 1.
local function score()
  local sum, count = 0, 0
  return {
    add = function(_, answer, truth) sum, count = sum + metrics.psnr(answer, truth), count + 1 end,
    result = function() return {psnr = sum / count} end,
  }
end

-- The hole of a photograph: where its alpha is below one half, or where the mask
-- file is above; H×W of 0 and 1.
local function read_hole(path, mask)
  local photo, message = image.load(path, {channels = 4})
  if not photo then return nil, message end
  local colour, hole = photo:narrow(1, 1, 3), photo[4]:lt(0.5)
  if mask then
    local given
    given, message = image.load(mask, {channels = 1})
    if not given then return nil, message end
    if given:size(2) ~= photo:size(2) or given:size(3) ~= photo:size(3) then
      return nil, ("%s and its mask %s differ in size"):format(path, mask)
    end
    hole = given[1]:gt(0.5)
  end
  if hole:sum() == 0 then
    return nil, ("%s has no hole: make it transparent there, or name a mask with --mask (white = hole)"):format(path)
  end
  return colour:clone(), hole
end

-- First and last row and column of the hole.
local function bounds(hole)
  local rows, columns = hole:max(2), hole:max(1)
  local function ends(t)
    local first, last
    for i = 1, #t do
      if t[i] > 0 then first, last = first or i, i end
    end
    return first, last
  end
  local top, bottom = ends(rows)
  local left, right = ends(columns)
  return top, bottom, left, right
end

-- The square window around a hole whose middle half holds it, as the model wants
-- it; what lies outside of the photograph continues its rim.
local function window(photo, hole, size)
  local top, bottom, left, right = bounds(hole)
  local half = math.max(bottom - top + 1, right - left + 1)
  half = half + half % 2
  local side = 2 * half
  local row, column = (top + bottom + 1) // 2 - half, (left + right + 1) // 2 - half
  local padded = image.pad(photo, {top = side, bottom = side, left = side, right = side, mode = "edge"})
  local x = image.resize(image.crop(padded, row + side, column + side, side, side), size, size)
  image.paste(x, core.zeros(3, size // 2, size // 2), size // 4 + 1, size // 4 + 1)
  return x, {row = row + half // 2, column = column + half // 2, side = half}
end

local function read_input(path, size)
  local photo, message = image.load(path, {channels = 3})
  if not photo then return nil, message end
  local side = math.min(photo:size(2), photo:size(3))
  local top, left = (photo:size(2) - side) // 2 + 1, (photo:size(3) - side) // 2 + 1
  local x = image.resize(image.crop(photo, top, left, side, side), size, size)
  return {x = image.paste(x, core.zeros(3, size // 2, size // 2), size // 4 + 1, size // 4 + 1), name = path}
end

local function predict_file(predict, path, size, args)
  local photo, hole = read_hole(path, args.mask)
  if not photo then return nil, hole end
  local x, place = window(photo, hole, size)
  local block = image.resize(in_range(predict(x)), place.side, place.side)
  local margin = place.side
  local canvas = image.pad(photo, {top = margin, bottom = margin, left = margin, right = margin, mode = "edge"})
  image.paste(canvas, block, place.row + margin, place.column + margin)
  local filled = image.crop(canvas, margin + 1, margin + 1, photo:size(2), photo:size(3))
  for c = 1, 3 do photo[c] = photo[c] * (-hole + 1) + filled[c] * hole end
  return photo
end

return require("cglow.task").define {
  name = "inpainting",
  title = "Inpainting: c-Glow learns what the hidden centre of a photograph shows.",
  predicts = "Fill the hole of each photograph: transparent, or white in --mask.",
  sizes = {64}, size = 64,
  x = function(size) return {3, size, size} end,
  y = function(size) return {3, size // 2, size // 2} end,
  data = function(dir, o) return cglow.data.celeba(dir, {split = o.split, size = o.size, seed = o.seed}) end,
  decide = in_range,
  score = score,
  rate = function(answer, truth) return metrics.psnr(answer, truth) end,
  show_input = function(sample) return sample.x end,
  show = fill,
  baselines = function()
    return {
      {name = "mean colour", predict = baselines.mean_colour()},
      {name = "diffusion", predict = baselines.diffusion()},
    }
  end,
  predict_options = function(command)
    command:option("--mask"):argname "FILE":description "Mask of the hole, white, as large as the photograph."
  end,
  read_input = read_input,
  predict_file = predict_file,
}
