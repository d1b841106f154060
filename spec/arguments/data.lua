-- Data sets of cglow: readers, what is made of them, transforms.
local cglow = require "cglow"
local core = require "cglow.core"
local K = require "spec.support.arguments"

local data = cglow.data
local boolean = K.object(true, "boolean")
local rng = K.object(function() return core.Rng(1) end, "cglow.Rng")
local function four()
  return data.Dataset { size = 4, get = function(i)
    return { x = core.full(1, 8, 8, i), y = core.full(1, 4, 4, i / 10), name = "sample " .. i }
  end }
end
local index = K.int(2, 1, 4)
local a_set = K.object(four, "cglow.Dataset")
local size = K.int(4, 1, 65535)
local dir = K.str("/nonexistent", { "a\0b" }, true)
local seed = K.int(1)
local function cache() return K.word "disk" end
local colours = K.list(function() return { { 0, 0, 0 }, { 255, 0, 0 } } end, {
  { "numbers", function() return { 1, 2 } end },
  { "beyond a byte", function() return { { 0, 0, 256 }, { 0, 0, 0 } } end } })
local function splits() return K.word "train" end

return {
  { "cglow.data.Dataset", K.opts { ["size!"] = K.int(1, 0), ["get!"] = K.fn(print), name = K.str("n", nil, true),
    random = boolean,
    info = K.list {}, recipe = K.str("r", nil, true), files = K.list {} } },
  { "cglow.data.is_dataset", K.any(1) },
  { "cglow.data.cache_dir" },
  { "cglow.data.sample_dir", K.word "denoising" },
  { "Dataset:size", self = four },
  { "Dataset:get", index, K.optional(rng), self = four },
  { "Dataset:samples", K.optional(rng), self = four },
  { "Dataset:batch", K.list({ 1, 2 }, { { "{}", function() return {} end }, { "0", function() return { 0 } end },
    { "5", function() return { 5 } end }, { "a string", function() return { "x" } end } }),
    K.optional(K.tensor({ 2, 1, 8, 8 }, { { 2 }, { 3, 1, 8, 8 } })), K.optional(K.tensor({ 2, 1, 4, 4 }, { { 2 } })),
    K.optional(rng), self = four, as = "Dataset" },
  { "Dataset:map", K.object(function() return function(s) return s end end, "function", { { "no transform",
    function() return { apply = 1 } end } }), K.opts { random = boolean, dequantised = boolean,
      recipe = K.str("r", nil, true) }, self = four },
  { "Dataset:dequantise", self = four }, { "Dataset:left_out", self = four }, { "Dataset:skip_damaged", self = four },
  { "Dataset:usable", self = four },
  { "Dataset:read_ahead", K.int(1, 1, 64), K.int(1, 1, 65536), self = four },
  { "Dataset:seeded", K.optional(seed), self = four },
  { "Dataset:subset", K.object(1, "number table", { { "0", function() return 0 end }, { "{5}",
    function() return { 5 } end },
    { "{'x'}", function() return { "x" } end } }), K.optional(K.int(2, nil, 4)), self = four },
  { "Dataset:split", K.num(0.5, { -1, 5, 1.5 }), K.optional(seed), self = four },
  { "Dataset:concat", a_set, self = four },
  { "Dataset:cache", K.opts { limit = K.num(1, { -1 }) }, self = four },
  { "Dataset:disk_cache", K.opts { dir = K.str("/nonexistent", { "a\0b" }, true), recipe = K.str("r", nil, true) },
    self = four, good = false },
  { "cglow.data.transform.resize", K.opts { ["height!"] = size, ["width!"] = size } },
  { "cglow.data.transform.centre_crop", K.opts { ["height!"] = size, ["width!"] = size } },
  { "cglow.data.transform.random_crop", K.opts { ["height!"] = size, ["width!"] = size, valid = K.num(0.5, { -1,
    2 }) } },
  { "cglow.data.transform.hide_centre", K.opts { ["height!"] = size, ["width!"] = size, value = K.num(0) } },
  { "cglow.data.transform.copy_channels", K.opts { channels = K.int(3, 1, 4096) } },
  { "cglow.data.transform.flip" }, { "cglow.data.transform.random_flip" },
  { "cglow.data.transform.augment", K.opts { mirror = boolean, transpose = boolean, shift = K.num(0.1, { -1, 2 }),
    zoom = K.num(0.1, { -1, 1 }), stretch = K.num(0.1, { -1, 1 }), rotate = K.num(1, { -1, 181 }),
    contrast = K.num(0.1, { -1, 2 }), brightness = K.num(0.1, { -1, 2 }), gain = K.num(0.1, { -1, 2 }),
    tint = K.num(0.1, { -1, 2 }), y = K.word "mask" } },
  { "cglow.data.transform.dequantise", K.opts { ["width!"] = K.num(0.5, { 0, -1, 2 }) } },
  { "cglow.data.transform.undo", K.tensor { 2 }, K.optional(K.num(0.5, { 0, -1, 2 })) },
  { "cglow.data.transform.quantise", K.opts { levels = K.int(2, 2) } },
  { "cglow.data.transform.gaussian_noise", K.opts { sigma = K.num(0.1, { -1 }) } },
  { "cglow.data.horses", dir, K.opts { split = splits(), size = K.int(32, 1, 4096), cache = cache() }, good = false },
  { "cglow.data.lfw", dir, K.opts { split = splits(), size = K.int(32, 1, 4096), superpixels = boolean,
    segments = K.int(9, 1, 1 << 20), cache = cache() }, good = false },
  { "cglow.data.bsds", dir, K.opts { split = splits(), size = K.int(32, 1, 4096), shrink = K.int(1, 1, 16),
    sigma = K.num(0.1, { -1 }), seed = seed, flip = boolean, cache = cache() }, good = false },
  { "cglow.data.celeba", dir, K.opts { split = splits(), size = K.int(32, 2, 4096), crop = K.int(9, 1, 4096),
    held_out = K.int(1, 1), seed = seed, cache = cache() }, good = false,
    wrong = { { label = "an odd size", args = { "/x",
      { size = 3 } } } } },
  { "cglow.data.seven_scenes", dir, K.opts { split = splits(), size = K.int(32, 1, 4096), frames = K.int(1, 1),
    range = K.num(4, { 0, 7 }), radius = K.int(1, 1, 200), valid = K.num(0.5, { -1, 2 }), holes = K.word "zero",
    references = K.str("x", { "a\0b" }, true), seed = seed, cache = cache(), unit = K.num(1, { 0, -1 }) },
    good = false },
  { "cglow.data.pairs", dir, K.opts { split = splits(), x = K.str("x", { "a\0b" }, true),
    y = K.str("y", { "a\0b" }, true), size = K.object(32, "number table"),
    y_size = K.object(32, "number table"), kind = K.word "image", classes = K.int(2, 2, 256),
    held_out = K.num(0.2, { 0, 1 }), seed = seed, cache = cache(), colours = colours, ignore = K.object(255,
      "number table"), known = boolean, partial = boolean, valid = dir, test = dir, test_share = K.num(0.1, { -1, 1 }),
    x_channels = K.int(3, 1, 3), y_channels = K.int(3, 1, 3) }, good = false, wrong = {
    { label = "labels without their number", args = { "/x", { kind = "labels" } }, says = "'classes' (or 'colours')" },
    { label = "ignore for masks", args = { "/x", { kind = "mask", ignore = 255 } }, says = "'ignore' is for kind" },
    { label = "two channels", args = { "/x", { x_channels = 2 } }, says = "'x_channels' must be" } } },
}
