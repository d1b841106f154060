--- What several tasks share: shapes, reading photographs, PSNR.
-- @module cglow.tasks.shared
local image = require "cglow.image"
local metrics = require "cglow.metrics"

local M = {}

--- The shape of a colour picture, or of whatever is given in three channels.
-- @int size
-- @treturn {int,...}
function M.three_channels(size) return {3, size, size} end

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

--- A photograph as a model for the whole of it wants it.
-- @string path
-- @int size
-- @treturn[1] table `x`, 3×size×size, `name`, and the `photo` itself
-- @treturn[2] nil
-- @treturn[2] string message
function M.read_resized(path, size)
  local photo, message = image.load(path, {channels = 3})
  if not photo then return nil, message end
  return {x = image.resize(photo, size, size), name = path, photo = photo}
end

--- Predict for a photograph by a model of another size: an answer in the photograph's own.
-- @tparam function predict
-- @string path
-- @int size that the model was made for
-- @treturn[1] Tensor y, C×H×W
-- @treturn[2] nil
-- @treturn[2] string message
function M.predict_resized(predict, path, size)
  local input, message = M.read_resized(path, size)
  if not input then return nil, message end
  return image.resize(predict(input.x), input.photo:size(2), input.photo:size(3))
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

return M
