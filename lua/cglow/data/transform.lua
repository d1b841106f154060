--- Transforms for `Dataset:map`.
--
-- Each is a table with `apply` (function(sample, rng, scratch) → sample),
-- `random` (does it draw from rng?) and `recipe` (a string that names it), and
-- may be called like the function. None changes the sample that it is given.
-- @module cglow.data.transform
local core = require "cglow.core"
local image = require "cglow.image"
local options = require "cglow.util.options"
local sort_by_bytes = require("cglow.util.bytes").sort

local window <const> = core.vision.window

local M = {}

local meta = {__call = function(self, ...) return self.apply(...) end, __name = "cglow.Transform"}

function meta.__tostring(self) return "cglow.Transform " .. self.recipe end

local function transform(recipe, apply, random)
  return setmetatable({recipe = recipe, apply = apply, random = random or false}, meta)
end

local function copied(sample)
  local copy = {}
  for key, value in pairs(sample) do copy[key] = value end
  return copy
end

-- A tensor of this shape, kept in scratch under an owner and a name.
local function buffer(scratch, owner, name, ...)
  local shape = {...}
  local mine = scratch and scratch[owner]
  local t = mine and mine[name]
  if t and table.concat(t:size(), "x") == table.concat(shape, "x") then return t end
  t = core.empty(shape)
  if scratch then
    scratch[owner] = mine or {}
    scratch[owner][name] = t
  end
  return t
end

local function is_image(value)
  return core.type(value) == "cglow.Tensor" and value:dim() >= 2
end

-- Fields in a fixed order, so that nothing depends on the order of a table.
local function image_fields(sample)
  local fields = {}
  for key, value in pairs(sample) do
    if is_image(value) then fields[#fields + 1] = key end
  end
  sort_by_bytes(fields)
  return fields
end

local function sides(t) return t:size(t:dim() - 1), t:size(t:dim()) end

-- The shape of t with other sides.
local function with_sides(t, height, width)
  if t:dim() == 2 then return height, width end
  return t:size(1), height, width
end

local SIZE = {type = "integer", required = true, min = 1, max = 65535}

--- x and y (and every other image of the sample) resized, averaging areas when shrinking.
-- @tparam table opts `height`, `width`
-- @treturn table transform
function M.resize(opts)
  local o = options.check("transform.resize", opts, {height = SIZE, width = SIZE})
  return transform(("resize %dx%d"):format(o.height, o.width), function(sample)
    local result = copied(sample)
    for _, field in ipairs(image_fields(sample)) do result[field] = image.resize(sample[field], o.height, o.width) end
    return result
  end)
end

--- y's single channel in `channels` equal copies.
-- @tparam[opt] table opts `channels` = 3
-- @treturn table transform
function M.copy_channels(opts)
  local o = options.check("transform.copy_channels", opts,
    {channels = {type = "integer", default = 3, min = 1, max = 4096}})
  return transform(("copy to %d channels"):format(o.channels), function(sample)
    local list = {}
    for c = 1, o.channels do list[c] = sample.y end
    local result = copied(sample)
    result.y = core.cat(list, 1)
    return result
  end)
end

-- Left and right exchanged in every image, into buffers.
local function mirrored(sample, owner, scratch)
  local result = copied(sample)
  for _, field in ipairs(image_fields(sample)) do
    local t = sample[field]
    result[field] = window(t, 1, 1, buffer(scratch, owner, field, with_sides(t, sides(t))), true)
  end
  return result
end

--- Left and right exchanged.
-- @treturn table transform
function M.flip()
  local self
  self = transform("flip", function(sample, _, scratch) return mirrored(sample, self, scratch) end)
  return self
end

--- Left and right exchanged in every second sample, at random.
-- @treturn table transform, random
function M.random_flip()
  local self
  self = transform("random flip", function(sample, rng, scratch)
    if rng:integer(0, 1) == 0 then return sample end
    return mirrored(sample, self, scratch)
  end, true)
  return self
end

-- One window cut out of every image of a sample, into buffers; nil and a message when an image is
-- too small.
local function cropped(sample, owner, scratch, height, width, place)
  local top, left
  local result, first = copied(sample), nil
  for _, field in ipairs(image_fields(sample)) do
    local t = sample[field]
    local h, w = sides(t)
    first = first or field
    if h < height or w < width then
      return nil, ("%s: %s is %dx%d, too small for a crop of %dx%d"):format(
        sample.name or "sample", field, h, w, height, width)
    end
    local h1, w1 = sides(sample[first])
    if h ~= h1 or w ~= w1 then
      return nil, ("%s: %s is %dx%d, but %s is %dx%d: crop them before they differ"):format(
        sample.name or "sample", field, h, w, first, h1, w1)
    end
    if not top then top, left = place(h - height, w - width) end
    result[field] = window(t, top, left, buffer(scratch, owner, field, with_sides(t, height, width)))
  end
  return result
end

--- The middle of x, y and every other image of the sample.
-- @tparam table opts `height`, `width`
-- @treturn table transform
function M.centre_crop(opts)
  local o = options.check("transform.centre_crop", opts, {height = SIZE, width = SIZE})
  local self
  self = transform(("centre crop %dx%d"):format(o.height, o.width), function(sample, _, scratch)
    return cropped(sample, self, scratch, o.height, o.width, function(rows, columns)
      return rows // 2 + 1, columns // 2 + 1
    end)
  end)
  return self
end

-- Crops that are tried for enough valid pixels; the best of them is taken.
local TRIES <const> = 20

local function random_place(rng)
  return function(rows, columns) return rng:integer(1, rows + 1), rng:integer(1, columns + 1) end
end

--- A random window, the same of x, y and every other image of the sample.
-- @tparam table opts `height`, `width`; `valid` = 0: the share of the sample's
-- `valid` pixels that a window should have: up to 20 windows are drawn, and the
-- first good enough or else the best one is taken
-- @treturn table transform, random
function M.random_crop(opts)
  local o = options.check("transform.random_crop", opts,
    {height = SIZE, width = SIZE, valid = {type = "number", default = 0, min = 0, max = 1}})
  local self
  local function draw(sample, place, scratch)
    return cropped(sample, self, scratch, o.height, o.width, place)
  end
  local function apply(sample, rng, scratch)
    if o.valid == 0 or not sample.valid then return draw(sample, random_place(rng), scratch) end
    local best, share = nil, -1
    for _ = 1, TRIES do
      local at
      local crop, message = draw({valid = sample.valid, name = sample.name}, function(...)
        at = {random_place(rng)(...)}
        return at[1], at[2]
      end, scratch)
      if not crop then return nil, message end
      local this = crop.valid:mean()
      if this > share then best, share = at, this end
      if share >= o.valid then break end
    end
    return draw(sample, function() return best[1], best[2] end, scratch)
  end
  self = transform(("random crop %dx%d valid %g"):format(o.height, o.width, o.valid), apply, true)
  return self
end

-- ---- augmentation ----------------------------------------------------------

local function share(most) return {type = "number", default = 0, min = 0, max = most} end

local AUGMENT = {
  mirror = {type = "boolean", default = false}, transpose = {type = "boolean", default = false},
  shift = share(1), zoom = share(0.9), stretch = share(0.9), rotate = share(180),
  contrast = share(1), brightness = share(1), gain = share(1), tint = share(1),
  y = {type = "string", default = "image", one_of = {"image", "mask", "labels", "nearest"}},
}

-- Draws for one sample: as many whatever is asked for, and two more for each channel of x.
local MIRROR <const>, TRANSPOSE <const>, ZOOM <const>, STRETCH <const>, ROTATE <const>, DOWN <const>, RIGHT <const>,
  CONTRAST <const>, BRIGHTNESS <const>, COLOURS <const> = 1, 2, 3, 4, 5, 6, 7, 8, 9, 9

-- Where a pixel of the result comes from, in pixels from the middle of a picture.
local function affine(o, u, height, width)
  local function about(most, place) return most * (2 * u[place] - 1) end
  local zoom, angle = 1 + about(o.zoom, ZOOM), math.rad(about(o.rotate, ROTATE))
  local tall, wide = zoom, zoom * (1 + about(o.stretch, STRETCH))
  local c, s = math.cos(angle), math.sin(angle)
  local a, b, d, e = c * tall, -s * wide, s * tall, c * wide
  if o.mirror and u[MIRROR] < 0.5 then b, e = -b, -e end
  if o.transpose and u[TRANSPOSE] < 0.5 then a, b, d, e = b, a, e, d end
  return {a, b, about(o.shift, DOWN) * height, d, e, about(o.shift, RIGHT) * width}
end

-- Colours v of channel c become gain[c]·v + offset[c]; contrast turns about one half.
local function colours(o, u, gain, offset)
  local function about(most, place) return most * (2 * u[place] - 1) end
  local contrast = 1 + about(o.contrast, CONTRAST)
  for c = 1, #gain do
    local own = 1 + about(o.gain, COLOURS + 2 * c - 1)
    gain[c] = contrast * own
    offset[c] = (1 - contrast) / 2 * own + about(o.brightness, BRIGHTNESS) + about(o.tint, COLOURS + 2 * c)
  end
end

-- Only turning over leaves y in place when it is not as large as x: its middle.
local function check_augment(o, sample)
  local h, w = sides(sample.x)
  local hy, wy = sides(sample.y)
  if o.transpose and (h ~= w or hy ~= wy) then
    return nil, ("%s: transform.augment transposes square pictures only, got %dx%d"):format(
      sample.name or "sample", h, w)
  end
  local moves = o.shift + o.zoom + o.stretch + o.rotate > 0
  if moves and (h ~= hy or w ~= wy) then
    return nil, ("%s: transform.augment: x is %dx%d but y is %dx%d: only mirror and transpose fit both"):format(
      sample.name or "sample", h, w, hy, wy)
  end
  return true
end

--- x, y and every other image of the sample turned, moved and resized at random, all in the
-- same way, and x's colours changed, for more variety than a data set has. Pictures go on
-- beyond their edge as their last pixel.
-- @tparam table opts
--
-- * `mirror` = false, `transpose` = false: every second sample, left and right exchanged;
--   rows and columns
-- * `shift` = 0: by up to this share of each side; `zoom` = 0: larger or smaller by up to this
--   share; `stretch` = 0: the width besides; `rotate` = 0: by up to so many degrees
-- * of x: `contrast` = 0: about one half, by up to this share; `brightness` = 0: up to this
--   much more or less; `gain` = 0, `tint` = 0: the same for each channel, times and plus
-- * `y` = "image": blended; "mask": 0 or 1, whichever its blend is nearer to; "labels": one
--   channel for each class, 1 where its blend is the largest; "nearest": the nearest pixel
-- @treturn table transform, random
function M.augment(opts)
  local o = options.check("transform.augment", opts, AUGMENT)
  local recolours = o.contrast + o.brightness + o.gain + o.tint > 0
  local kinds, self = {x = "image", y = o.y}, nil
  local function recolour(u, channels, scratch)
    if not recolours then return end
    local gain, offset = buffer(scratch, self, "gain", channels), buffer(scratch, self, "offset", channels)
    colours(o, u, gain, offset)
    return gain, offset
  end
  self = transform("augment", function(sample, rng, scratch)
    local ok, message = check_augment(o, sample)
    if not ok then return nil, message end
    local channels = sample.x:dim() == 3 and sample.x:size(1) or 1
    local u = rng:fill_uniform(buffer(scratch, self, "draws", COLOURS + 2 * channels))
    local result, gain, offset = copied(sample), recolour(u, channels, scratch)
    for _, field in ipairs(image_fields(sample)) do
      local t, is_x = sample[field], field == "x"
      local map = affine(o, u, sides(t))
      result[field] = core.vision.augment(t, buffer(scratch, self, field .. "_out", table.unpack(t:size())),
        kinds[field] or "nearest", map, is_x and gain or nil, is_x and offset or nil)
    end
    return result
  end, true)
  return self
end

-- ---- discrete y ----------------------------------------------------------

local WIDTH = {type = "number", required = true, above = 0, max = 1}

-- Factor from values to the dequantised scale: masks keep theirs (0 and 1 are 1
-- apart); an image of n = 1/w levels k/(n−1) becomes k/n.
local function scale(width)
  return width == 1 and 1 or 1 - width
end

--- Uniform noise over the cells of a discrete y, so that a density can model it.
--
-- y' = s·y + w·(u − ½), u uniform in [0, 1), with w the cell width. A 0/1 mask
-- has w = 1 and s = 1: y' is in [−½, 3/2). An 8-bit image of values k/255 has
-- w = 1/256 and s = 255/256: y' is in [(k − ½)/256, (k + ½)/256). Then
-- log P(y) ≥ E[log p(y')] + D·log w, and the mean of y' over u is s·y.
-- @tparam table opts `width`: w, in (0, 1]
-- @treturn table transform, random
-- @see undo
function M.dequantise(opts)
  local width <const> = options.check("transform.dequantise", opts, {width = WIDTH}).width
  local s <const> = scale(width)
  local self
  self = transform(("dequantise %.17g"):format(width), function(sample, rng, scratch)
    local t = sample.y
    local noise = rng:fill_uniform(buffer(scratch, self, "y", table.unpack(t:size())))
    local result = copied(sample)
    result.y = noise:add(-0.5):mul(width):add(t, s)
    return result
  end, true)
  self.dequantises = true
  return self
end

--- y on its own scale again: what a model of dequantised y predicts, divided by
-- s (see `dequantise`); the noise has mean 0 and needs no undoing.
-- @tparam Tensor y
-- @tparam ?number width cell width; nil for a continuous y
-- @treturn Tensor a new tensor, neither rounded nor clamped
function M.undo(y, width)
  options.arg("transform.undo", 1, "y", y, "tensor")
  width = options.arg("transform.undo", 2, "width", width, {type = "number", above = 0, max = 1, optional = true})
  return width and y / scale(width) or y:clone()
end

--- y rounded to the nearest of `levels` equal steps from 0 to 1, as a file of
-- that depth would hold it (resizing leaves values between them).
-- @tparam[opt] table opts `levels` = 256
-- @treturn table transform
function M.quantise(opts)
  local o = options.check("transform.quantise", opts, {levels = {type = "integer", default = 256, min = 2}})
  return transform("quantise " .. o.levels, function(sample)
    local result = copied(sample)
    result.y = (sample.y:clamp(0, 1) * (o.levels - 1)):round() / (o.levels - 1)
    return result
  end)
end

-- ---- the tasks' own ------------------------------------------------------

--- Gaussian noise on `clean`: x = clean + noise, y = noise, neither clipped nor rounded.
-- @tparam[opt] table opts `sigma` = 25/255
-- @treturn table transform, random
function M.gaussian_noise(opts)
  local o = options.check("transform.gaussian_noise", opts, {sigma = {type = "number", default = 25 / 255, min = 0}})
  local self
  self = transform(("noise %.17g"):format(o.sigma), function(sample, rng, scratch)
    local shape = sample.clean:size()
    local result = copied(sample)
    result.y = rng:fill_normal(buffer(scratch, self, "y", table.unpack(shape))):mul(o.sigma)
    result.x = buffer(scratch, self, "x", table.unpack(shape)):copy(sample.clean):add(result.y)
    return result
  end, true)
  return self
end

--- The middle of x hidden: y = the hidden block, x = the rest with `value` there,
-- `valid` = 0 in the block and 1 elsewhere (H×W).
-- @tparam table opts `height`, `width` of the block; `value` = 0
-- @treturn table transform
function M.hide_centre(opts)
  local o = options.check("transform.hide_centre", opts,
    {height = SIZE, width = SIZE, value = {type = "number", default = 0}})
  return transform(("hide %dx%d value %.17g"):format(o.height, o.width, o.value), function(sample)
    local h, w = sides(sample.x)
    if h < o.height or w < o.width then
      return nil, ("%s: x is %dx%d, too small to hide %dx%d"):format(sample.name or "sample", h, w, o.height, o.width)
    end
    local top, left = (h - o.height) // 2 + 1, (w - o.width) // 2 + 1
    local result = copied(sample)
    result.y = image.crop(sample.x, top, left, o.height, o.width)
    result.x = image.paste(sample.x:clone(), core.full({sample.x:size(1), o.height, o.width}, o.value), top, left)
    result.valid = image.paste(core.ones(h, w), core.zeros(o.height, o.width), top, left)
    return result
  end)
end

return M
