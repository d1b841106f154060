--- Whole images of any size through a model of one size: overlapping tiles whose
-- answers fade into each other.
-- @module cglow.image.tiling
local check = require "cglow.util.check"
local core = require "cglow.core"
local image = require "cglow.image"
local options = require "cglow.util.options"

local M = {}

-- First rows (or columns) of tiles that cover `length`, the last flush with its end.
local function starts(length, size, step)
  local list, at = {}, 1
  while at + size - 1 < length do
    list[#list + 1] = at
    at = at + step
  end
  list[#list + 1] = length - size + 1
  return list
end

-- A weight for each pixel of a tile that falls linearly towards its rim, so that
-- seams do not show: C×size×size.
local function fade(channels, size, overlap)
  local function ramp(i) return math.min(1, i / (overlap + 1), (size + 1 - i) / (overlap + 1)) end
  local rows = {}
  for i = 1, size do
    rows[i] = {}
    for j = 1, size do rows[i][j] = ramp(i) * ramp(j) end
  end
  local plane, planes = core.tensor(rows), {}
  for c = 1, channels do planes[c] = plane end
  return core.stack(planes)
end

--- Apply f to tiles of an image and join what it returns.
-- @tparam Tensor t C×H×W; a side shorter than `size` is continued by its last row or column
-- @tparam table opts `size`: height and width of a tile; `overlap` = size/4: how
-- far neighbours overlap
-- @tparam function f from a tile C×size×size to K×size×size; its second argument is the tile's place: `top` and
-- `left` (from 1), and `height` and `width` of all that tiles cover
-- @treturn Tensor K×H×W
function M.apply(t, opts, f)
  options.arg("tiles.apply", 1, "t", t, "tensor")
  if t:dim() ~= 3 then
    error(("tiles.apply: t must be C×H×W, got %s"):format(table.concat(t:size(), "x")), 2)
  end
  local o = options.check("tiles.apply", opts, {
    size = { type = "integer", required = true, min = 1, max = 65535 },
    overlap = { type = "integer", min = 0, max = 65535 },
  })
  options.arg("tiles.apply", 3, "f", f, "function")
  local size = o.size
  local overlap = math.min(o.overlap or size // 4, size - 1)
  local h, w = t:size(2), t:size(3)
  local padded = t
  if h < size or w < size then
    padded = image.pad(t, { bottom = math.max(0, size - h), right = math.max(0, size - w), mode = "edge" })
  end
  local height, width = padded:size(2), padded:size(3)
  local sum, weights, weight
  for _, top in ipairs(starts(height, size, size - overlap)) do
    for _, left in ipairs(starts(width, size, size - overlap)) do
      local place = {top = top, left = left, height = height, width = width}
      local y = f(image.crop(padded, top, left, size, size), place)
      check.shape("tiles.apply", "what f returns", y, { sum and sum:size(1) or "K", size, size })
      if not sum then
        weight = fade(y:size(1), size, overlap)
        sum, weights = core.zeros(y:size(1), height, width), core.zeros(y:size(1), height, width)
      end
      image.paste(sum, image.crop(sum, top, left, size, size):add(y * weight), top, left)
      image.paste(weights, image.crop(weights, top, left, size, size):add(weight), top, left)
    end
  end
  return image.crop(sum / weights, 1, 1, h, w)
end

return M
