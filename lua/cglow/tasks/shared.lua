--- What several tasks share: reading photographs, PSNR.
-- @module cglow.tasks.shared
local image = require "cglow.image"
local metrics = require "cglow.metrics"
local photo = require "cglow.tasks.photo"
local source_of = require "cglow.image.source"

local M = {}

--- The middle of a picture.
-- @tparam Tensor picture C×H×W
-- @int size height and width
-- @string path of its file, for the message
-- @treturn[1] Tensor C×size×size
-- @treturn[2] nil when it is smaller
-- @treturn[2] string message
function M.crop_middle(picture, size, path)
  local h, w = picture:size(2), picture:size(3)
  if h < size or w < size then return nil, ("%s is smaller than %d×%d"):format(path, size, size) end
  return image.crop(picture, (h - size) // 2 + 1, (w - size) // 2 + 1, size, size)
end

--- A user's picture as a task reads it: a photograph with `x`, what the model sees of it.
-- @tparam table source from `cglow.image.source`
-- @int channels of the task's x: 1 for grey
-- @treturn[1] table
-- @treturn[2] nil
-- @treturn[2] string message
function M.read(source, channels)
  local picture, message = photo.read(source)
  if not picture then return nil, message end
  picture.x = channels == 1 and image.grey(picture.colour) or picture.colour
  return picture
end

--- A user's picture as one x of the model: all of it, or its middle where the task takes tiles.
-- @tparam table task
-- @tparam string|Tensor what a path, or what else `cglow.image.source` takes
-- @int size
-- @treturn[1] table `x`, C×size×size, and `name`
-- @treturn[2] nil
-- @treturn[2] string message
function M.input(task, what, size)
  local source = source_of.of(what)
  local picture, message = task.read(source, {})
  if not picture then return nil, message end
  local x = picture.x
  if task.tiled then x, message = M.crop_middle(x, size, source.name) else x = image.resize(x, size, size) end
  if not x then return nil, message end
  return {x = x, name = source.name}
end

local MOST <const> = 100 -- dB

--- What a perfect answer counts: its PSNR is infinite, and so would be any mean with it.
M.psnr_note = "; a perfect answer counts as 100 dB"

--- PSNR of one image for a peak of 1, at most 100 dB; nil when no pixel counts.
-- @tparam Tensor answer
-- @tparam Tensor truth
-- @tparam[opt] Tensor valid H×W, 1 where a pixel counts
-- @treturn ?number
function M.psnr(answer, truth, valid)
  if valid and valid:sum() == 0 then return nil end
  return math.min(MOST, metrics.psnr(answer, truth, {mask = valid}))
end

--- A score: the mean PSNR of the images that count, and how many answers were perfect.
-- @tparam[opt=false] boolean masked does a sample's `valid` say which pixels count?
-- @treturn table an object as a task's `score` gives
function M.psnr_score(masked)
  local sum, count, perfect = 0, 0, 0
  return {
    add = function(_, answer, truth, sample)
      local value = M.psnr(answer, truth, masked and sample.valid or nil)
      if not value then return end
      sum, count, perfect = sum + value, count + 1, perfect + (value == MOST and 1 or 0)
    end,
    result = function() return {psnr = sum / count, perfect = perfect > 0 and perfect or nil} end,
  }
end

local WINDOW <const> = 11 -- pixels, of metrics.ssim

--- A score of pictures: the means of PSNR and, of those that the window fits into, of SSIM.
-- @treturn table an object as a task's `score` gives
function M.image_score()
  local psnr, sum, count = M.psnr_score(), 0, 0
  return {
    add = function(_, answer, truth, sample)
      psnr:add(answer, truth, sample)
      if math.min(answer:size(2), answer:size(3)) < WINDOW then return end
      sum, count = sum + metrics.ssim(answer, truth), count + 1
    end,
    result = function()
      local result = psnr:result()
      result.ssim = count > 0 and sum / count or nil
      return result
    end,
  }
end

return M
