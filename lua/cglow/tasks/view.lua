--- How much of a picture a model sees at once.
--
-- A model with an encoder takes pictures of any size: the sides are continued by reflection to
-- multiples of its `unit` and the answer is cut back. Very large ones it sees by overlapping
-- tiles, because a prediction takes 3 kB of memory for each pixel; this does not depend on the machine,
-- so that answers do not. They begin at multiples of the unit, so that a pixel of a latent is the same one
-- in all tiles that see it. A model without sees tiles of its own `size`.
-- @module cglow.tasks.view
local image = require "cglow.image"
local tiles = require "cglow.image.tiling"

local M = {}

--- Pixels of the largest picture that is seen whole: 1.5 GB.
M.WHOLE = 1 << 19

--- Sides of the tiles that larger pictures are seen in, or more where a unit needs it.
M.TILE = 512

--- How far they overlap at least: a pixel's answer depends on a few hundred pixels each way, and mostly on much
-- nearer ones.
M.OVERLAP = 64

--- The view of a model.
-- @param model
-- @int size that it was made for
-- @treturn table `size`; `unit` (sides must be multiples of it; nil: the model takes its own size alone)
function M.of(model, size)
  local encoder = model.encoder
  return {size = size, unit = encoder and encoder.unit and math.max(encoder.unit, 1 << model.config.levels) or nil}
end

local function up(n, unit) return (n + unit - 1) // unit * unit end

-- f of x with sides that are multiples of the unit; as many rows and columns are added on either side.
local function padded_for(x, unit, f)
  local h, w = x:size(2), x:size(3)
  local rows, columns = up(h, unit) - h, up(w, unit) - w
  if rows == 0 and columns == 0 then return f(x) end
  local top, left = rows // 2, columns // 2
  local reflects = rows - top < h and columns - left < w -- there is enough to reflect
  local padded = image.pad(x, {
    top = top, bottom = rows - top, left = left, right = columns - left, mode = reflects and "reflect" or "edge",
  })
  return image.crop(f(padded), top + 1, left + 1, h, w)
end

--- Is a picture seen by tiles?
-- @tparam table view
-- @int h
-- @int w
function M.by_tiles(view, h, w)
  if view.unit then return h * w > M.WHOLE end
  return h ~= view.size or w ~= view.size
end

--- Apply f to a picture, whole or by tiles.
-- @tparam table view
-- @tparam Tensor x C×H×W
-- @tparam function f from C×h×w to K×h×w; of a tile, its place is the second argument (see `image.tiling`)
-- @treturn Tensor K×H×W
function M.apply(view, x, f)
  local unit = view.unit
  if not unit then return tiles.apply(x, {size = view.size}, f) end
  if not M.by_tiles(view, x:size(2), x:size(3)) then return padded_for(x, unit, f) end
  local size = up(math.max(M.TILE, unit + M.OVERLAP), unit) -- so that they can begin a unit apart
  local step = (size - M.OVERLAP) // unit * unit
  return padded_for(x, unit, function(padded) return tiles.apply(padded, {size = size, overlap = size - step}, f) end)
end

return M
