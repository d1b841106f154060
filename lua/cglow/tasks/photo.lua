--- A user's photograph, and results in the form that it had.
-- @module cglow.tasks.photo
local core = require "cglow.core"
local image = require "cglow.image"
local source_of = require "cglow.image.source"

local M = {}

--- Read a photograph.
-- @tparam table source from `cglow.image.source`
-- @treturn[1] table `colour` (3×H×W), `alpha` (1×H×W; nil when there is none), `grey` (has it
-- no colours?), `bits` (8 or 16 a sample), `name`
-- @treturn[2] nil
-- @treturn[2] string message
function M.read(source)
  local info, message = source_of.info(source)
  if not info and not source.tensor then return nil, message end
  local channels = info and info.channels or #source.tensor
  if channels > 4 then return nil, ("%s: 1 to 4 channels expected, got %d"):format(source.name, channels) end
  local t
  t, message = source_of.load(source, {channels = 4})
  if not t then return nil, message end
  return {
    colour = t:narrow(1, 1, 3):clone(), alpha = channels % 2 == 0 and t:narrow(1, 4, 1):clone() or nil,
    grey = channels <= 2, bits = info and (info.max > 255 or info.floating) and 16 or 8, name = source.name,
  }
end

--- A result in the form of its photograph: grey stays grey, alpha stays, and so do 16 bits.
-- @tparam Tensor colour 3×H×W
-- @tparam table photo what `read` gave
-- @treturn Tensor 1 to 4 channels
-- @treturn table options of `image.save`
function M.like(colour, photo)
  local t = photo.grey and image.grey(colour) or image.rgb(colour)
  if photo.alpha then t = core.cat({t, photo.alpha}, 1) end
  return t, {bits = photo.bits}
end

return M
