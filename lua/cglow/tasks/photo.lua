--- A user's photograph, and results in the form that it had.
-- @module cglow.tasks.photo
local core = require "cglow.core"
local image = require "cglow.image"

local M = {}

--- Read a photograph.
-- @string path
-- @treturn[1] table `colour` (3×H×W), `alpha` (1×H×W; nil when the file has none), `grey` (has
-- the file no colours?), `bits` (8 or 16 a sample)
-- @treturn[2] nil
-- @treturn[2] string message
function M.read(path)
  local info, message = image.info(path)
  if not info then return nil, message end
  local t
  t, message = image.load(path, {channels = 4})
  if not t then return nil, message end
  return {
    colour = t:narrow(1, 1, 3):clone(), alpha = info.channels % 2 == 0 and t:narrow(1, 4, 1):clone() or nil,
    grey = info.channels <= 2, bits = info.max > 255 and 16 or 8,
  }
end

--- A result in the form of its photograph: grey stays grey, alpha stays, and so do 16 bits.
-- @tparam Tensor colour 3×H×W
-- @tparam table photo what `read` gave
-- @treturn Tensor 1 to 4 channels
-- @treturn table options of `image.save`
function M.like(colour, photo)
  local t = photo.grey and image.grey(colour) or colour
  if photo.alpha then t = core.cat({t, photo.alpha}, 1) end
  return t, {bits = photo.bits}
end

return M
