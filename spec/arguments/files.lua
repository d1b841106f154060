-- Files, images and vision in the core, and the modules of cglow over them.
local cglow = require "cglow"
local core = require "cglow.core"
local K = require "spec.support.arguments"

local image, file = core.image, core.file

local function temporary(text)
  local path = os.tmpname()
  local f <close> = assert(io.open(path, "wb"))
  f:write(text or "0123456789abcdef")
  return path
end
local function path_that(f)
  return function()
    local path = temporary()
    local object = assert(f(path))
    os.remove(path)
    return object
  end
end
local function closed(open)
  return function()
    local object = open()
    object:close()
    return object
  end
end
-- One at a time, and closed before it is asked: asking is allowed then.
local function caught()
  local catch <close> = core.system.catch_interrupt()
  assert(not pcall(core.system.catch_interrupt), "a second catch was opened")
  return catch
end
local after_close = "an open file expected, this one is closed"
local function shut(open, ...)
  return { { label = "after close", self = closed(open), says = after_close, args = { ... } } }
end

local path = K.str(function() return temporary() end, { "a\0b" }, true)
local text = K.str "text"
local sync = K.any(true)
local function readers() return assert(require "cglow.core".readers(1, 1, "return function() end")) end
local reader, append, writer = path_that(file.open), path_that(file.append), path_that(file.create)
local function written()
  local out = writer()
  assert(out:write "text")
  return out
end
local lock = path_that(file.lock)

local picture = K.tensor({ 3, 6, 8 }, { { 6 }, { 1, 1, 1, 3 } })
local planes = K.tensor({ 3, 6, 8 }, { { 6 } })
local colour = K.tensor({ 3, 6, 8 }, { { 6 }, { 6, 8 }, { 2, 6, 8 }, { 1, 3, 6, 8 } })
local side = K.int(4, 1, (1 << 31) - 1)
local border = K.optional(K.int(1, 0, 65535))
local options_read = K.opts { channels = K.int(3, 1, 4), raw = K.object(true, "boolean"),
  as_stored = K.object(true, "boolean") }
local palette = K.optional(K.list(function() return { { 0, 0, 0 }, { 255, 255, 255 } } end, {
  { "empty", function() return {} end }, { "numbers", function() return { 1 } end },
  { "two numbers", function() return { { 1, 2 } } end }, { "beyond a byte", function() return { { 0, 0, 256 } } end },
  { "257 colours", function() local list = {} for i = 1, 257 do list[i] = { 0, 0, 0 } end return list end } }))
local options_write = K.opts { bits = K.int(8, 8, 16), quality = K.int(95, 1, 100), raw = K.object(false, "boolean") }
local indices = K.tensor({ 1, 2, 2 }, {})
local options_palette = K.also(K.optional(K.opts { ["raw!"] = K.optional(K.object(true, "boolean")),
  ["palette!"] = palette }), "table")
local png = image.encode(core.full(3, 2, 2, 0.5), "png")

local depth = K.tensor({ 6, 8 }, { { 6 }, { 1, 6, 8 } })
local valid = K.object(function() return core.ones(6, 8) end, "cglow.Tensor", {
  { "no valid pixel", function() return core.zeros(6, 8) end }, { "another shape", function() return core.ones(6,
    7) end },
  { "a plane more", function() return core.ones(1, 6, 8) end } })
local positive = K.num(1, { 0, -1, 1e7 })
local count = K.int(2, 1, 1 << 20)
local function numbers(n)
  return K.list(function()
    local t = {}
    for i = 1, n do t[i] = i end
    return t
  end, { { "too few", function() return { 1 } end }, { "strings", function()
    local t = {}
    for i = 1, n do t[i] = "x" end
    return t
  end }, { "NaN", function()
    local t = {}
    for i = 1, n do t[i] = 0 / 0 end
    return t
  end } })
end

return {
  { "core.file.open", path }, { "core.file.append", path }, { "core.file.create", path }, { "core.file.lock", path },
  { "core.file.write", path, text, sync },
  { "core.file.crc32c", K.also(K.str "x", "cglow.Tensor") }, { "core.file.before", text, text },
  { "Reader:size", self = reader, wrong = shut(reader) },
  { "Reader:read", K.int(1, 0, 16), K.int(2, 0), self = reader, wrong = shut(reader, 0, 1) },
  { "Reader:read_tensor", K.int(0, 0, 16), K.word "F32", K.list({ 2, 2 }, { { "{}", function() return {} end },
    { "5 sizes", function() return { 1, 1, 1, 1, 1 } end }, { "{0}", function() return { 0 } end },
    { "past 2^64", function() return { 1 << 32, 1 << 32 } end } }), self = reader, wrong = shut(reader, 0, "F32",
      { 1 }) },
  { "Reader:close", self = reader },
  { "Append:write", text, self = append, wrong = shut(append, "x") },
  { "Append:sync", self = append, wrong = shut(append) },
  { "Append:close", self = append },
  { "Dataset:expect", K.list({ 1 }, { { "0", function() return { 0 } end }, { "5", function() return { 5 } end } }),
    self = function() return require("cglow.data").Dataset { size = 4, get = function() end } end },
  { "Readers:ask", K.int(1), self = readers }, { "Readers:take", K.int(1), self = readers },
  { "Readers:ready", K.int(1), self = readers }, { "Readers:close", self = readers },
  { "Writer:write", text, K.optional(K.int(0, 0, 0)), self = written, wrong = shut(writer, "x") },
  { "Writer:write_tensor", K.tensor { 2 }, self = writer, wrong = shut(writer, core.zeros(1)) },
  { "Writer:commit", sync, self = writer, wrong = shut(writer) },
  { "Writer:close", self = writer },
  { "Lock:close", self = lock },
  { "InterruptCatch:received", self = caught },

  { "core.image.decode", K.str(png), K.optional(K.int(3, 1, 4)), sync },
  { "core.image.encode", picture, K.word "png", K.optional(K.int(8, 8, 16)), K.optional(K.int(90, 1, 100)), sync },
  { "core.image.resize", planes, side, side, K.optional(K.word "area"),
    wrong = { { label = "past all memory", args = { core.zeros(3, 4, 4), (1 << 31) - 1, (1 << 31) - 1 } } } },
  { "core.image.crop", planes, K.int(1, 1, 6), K.int(1, 1, 8), K.int(6, 1, 6), K.int(8, 1, 8) },
  { "core.image.paste", planes, K.tensor({ 3, 2, 2 }, { { 2 }, { 1, 2, 2 }, { 3, 7, 2 } }), K.int(1, 1, 5), K.int(1,
    1, 7),
    wrong = { { label = "into itself", args = function()
      local t = core.zeros(3, 6, 8)
      return t, t, 1, 1
    end }, { label = "a view of it", args = function()
      local t = core.zeros(1, 6, 8)
      return t, t:narrow(2, 1, 2), 1, 1
    end } } },
  { "core.image.flip", planes, K.word "vertical" },
  { "core.image.pad", planes, K.int(1, 0, (1 << 31) - 1), K.int(1, 0, (1 << 31) - 1), K.int(1, 0, (1 << 31) - 1),
    K.int(1, 0, (1 << 31) - 1), K.optional(K.word "edge"), K.optional(K.num(0, nil, true)),
    wrong = { { label = "past all memory", args = { core.zeros(3, 4, 4), (1 << 31) - 1, (1 << 31) - 1, (1 << 31) - 1,
      (1 << 31) - 1 } } } },
  { "core.image.grey", colour }, { "core.image.rgb", colour },

  { "core.image.describe", K.str(png) },
  { "core.vision.values", K.object(function() return core.ones(4, 4) end, "cglow.Tensor", { { "a fraction",
    function() return core.full(2, 2, 0.5) end } }), K.int(4, 1) },
  { "core.vision.slic", K.tensor({ 3, 6, 8 }, { { 6 }, { 4, 6, 8 }, { 1, 3, 6, 8 } }), count, positive, count },
  { "core.vision.fill_median", planes, valid, K.int(2, 1, 32) },
  { "core.vision.fill_diffusion", planes, valid, positive, count },
  { "core.vision.reproject", depth, numbers(4), numbers(12), positive, K.tensor({ 6, 8 }, { { 8, 6 }, { 6 } }),
    wrong = { { label = "onto itself", args = function()
      local t = core.ones(6, 8)
      return t, { 1, 1, 1, 1 }, { 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0 }, 1, t
    end } } },
  { "core.vision.fuse", K.tensor({ 2, 6, 8 }, { { 6, 8 } }), K.tensor({ 6, 8 }, { { 6, 7 }, { 2, 6, 8 } }), positive,
    count },
  { "core.vision.ssim", K.tensor({ 3, 12, 12 }, { { 12 }, { 3, 10, 12 } }), K.tensor({ 3, 12, 12 }, { { 3, 12, 13 } }),
    K.num(1, { 0, -1 }) },
  { "core.vision.consensus", K.tensor({ 3, 6, 8 }, { { 6, 8 }, { 1, 3, 6, 8 } }) },
  { "core.vision.augment", planes, K.tensor({ 3, 6, 8 }, { { 6, 8 }, { 3, 6, 7 } }), K.word "image", numbers(6),
    K.optional(K.tensor({ 3 }, { { 2 }, { 3, 1 } })), K.optional(K.tensor({ 3 }, { { 2 } })),
    wrong = { { label = "onto itself", args = function()
      local t = core.ones(3, 6, 8)
      return t, t, "image", { 1, 0, 0, 0, 1, 0 }
    end } } },
  { "core.vision.window", planes, K.int(1, 1, 5), K.int(1, 1, 5), K.tensor({ 3, 2, 4 }, { { 2 }, { 1, 2, 2 }, { 3, 7,
    2 } }),
    sync, wrong = { { label = "onto itself", args = function()
      local t = core.ones(1, 6, 8)
      return t, 1, 1, t:narrow(2, 1, 2)
    end } } },

  { "cglow.image.decode", K.str(png, nil, true), options_read },
  { "cglow.image.load", path, options_read }, { "cglow.image.info", path }, { "cglow.image.formats" },
  { "cglow.image.encode", picture, K.word "png", options_write, wrong = {
    { label = "quality of a png", args = { core.ones(3, 2, 2), "png", { quality = 3 } } },
    { label = "16 bits of a jpeg", args = { core.ones(3, 2, 2), "jpeg", { bits = 16 } } },
    { label = "a palette without raw", args = { core.ones(1, 2, 2), "png", { palette = { { 1, 2, 3 } } } },
      says = "'palette' is for raw samples in png" },
    { label = "a palette of a ppm", args = { core.ones(1, 2, 2), "pgm", { raw = true, palette = { { 1, 2, 3 } } } },
      says = "'palette' is for raw samples in png" },
    { label = "NaN", args = { core.full(3, 2, 2, 0 / 0), "png" }, says = "NaN" } } },
  { "cglow.image.save", K.str(function() return os.tmpname() .. ".png" end, { "a.gif", "a", "a\0.png" }, true), picture,
    options_write, good = false },
  { "cglow.image.encode", indices, K.word "png", options_palette },
  { "cglow.image.save", K.str(function() return os.tmpname() .. ".png" end, {}, true), indices, options_palette,
    good = false },
  { "cglow.image.resize", planes, side, side, K.opts { method = K.word "area" } },
  { "cglow.image.pad", planes, K.opts { top = border, bottom = border, left = border, right = border,
    mode = K.word "edge", value = K.num(1) } },
  { "cglow.image.text", K.str("text", { "" }, true), K.opts { scale = K.int(2, 1, 64), colour = numbers(3),
    background = numbers(3) } },
  { "cglow.image.grid", K.object(function() return { core.ones(3, 4, 4) } end, "table", {
    { "empty", function() return {} end }, { "numbers", function() return { 1 } end } }),
    K.opts { columns = K.int(1, 1, 65535), gap = K.int(0, 0, 65535), background = K.num(1), scale = K.int(1, 1, 64),
      caption_scale = K.int(1, 1, 64), captions = K.list({ "a" }, { { "numbers", function() return { 1 } end } }) } },

  { "vision.slic", K.tensor({ 3, 6, 8 }, { { 6 }, { 4, 6, 8 }, { 1, 3, 6, 8 } }), K.opts { segments = count,
    compactness = positive, iterations = K.int(2, 1, 1000) } },
  { "vision.fill_median", planes, valid, K.opts { radius = K.int(2, 1, 32) } },
  { "vision.fill_diffusion", planes, valid, K.opts { tolerance = positive, sweeps = count } },
  { "vision.reproject", depth, K.opts { ["camera!"] = numbers(4), ["motion!"] = numbers(12), jump = positive,
    out = K.tensor({ 6, 8 }, { { 6 }, { 8, 6 } }) } },
  { "vision.fuse", K.tensor({ 2, 6, 8 }, { { 6, 8 } }), K.tensor({ 6, 8 }, { { 6, 7 } }),
    K.opts { tolerance = positive, support = count } },

  { "cglow.save_tensors", path, K.list(function() return { a = core.zeros(2) } end, {
    { "a number", function() return { a = 1 } end }, { "a list", function() return { core.zeros(1) } end },
    { "no UTF-8", function() return { ["\xff"] = core.zeros(1) } end } }),
    K.optional(K.list({ k = "v" }, { { "a number", function() return { k = 1 } end },
      { "a key of its own", function() return { format = 1 } end }, { "no UTF-8",
        function() return { k = "\xff" } end } })) },
  { "cglow.load_tensors", path },
  { "cglow.npy.load", path },
  { "cglow.npy.save", path, K.tensor({ 2, 3 }, {}), K.opts { dtype = K.word "f4" } },
  { "safetensors.save", path, K.list(function() return { a = core.zeros(2) } end) },
  { "safetensors.load", path },
  { "safetensors.metadata", path },
  { "json.encode", K.object({ 1 }, "nil boolean string number table", { { "NaN", function() return 0 / 0 end },
    { "a mixed table", function() return { 1, a = 2 } end }, { "a loop", function()
      local t = {}
      t[1] = t
      return t
    end } }), K.opts { indent = K.object(true, "boolean"), not_finite = K.word "null" } },
  { "json.decode", K.str("[1]", nil, true), K.opts { keep_null = K.object(true, "boolean") } },
  { "json.read", K.str(function() return temporary "[1]" end, { "a\0b" }, true) },
  { "tiles.apply", K.tensor({ 3, 6, 8 }, { { 6 }, { 6, 8 }, { 1, 3, 6, 8 } }), K.opts { ["size!"] = K.int(4, 1, 65535),
    overlap = K.int(1, 0, 65535) }, K.fn(function(t) return t end), wrong = {
      { label = "f gives nothing", args = { core.ones(3, 6, 8), { size = 4 }, function() end } },
      { label = "f gives another size", args = { core.ones(3, 6, 8), { size = 4 },
        function(t) return t:narrow(2, 1, 2) end } } } },
  { "cglow.show", K.tensor({ 3, 6, 8 }, { { 6 } }), K.opts { colour = K.word "none", width = K.int(8, 1, 65535),
    scale = K.int(1, 1, 64), min = K.num(0), max = K.num(1) }, good = false },
  { "cglow.show.text", K.tensor({ 3, 6, 8 }, { { 6 } }), K.opts { colour = K.word "none", width = K.int(8, 1, 65535),
    scale = K.int(1, 1, 64), min = K.num(0), max = K.num(1) }, wrong = {
      { label = "max below min", args = { core.ones(2, 2), { min = 1, max = 0 } } } } },
  { "cglow.report.render", K.list({ "/nonexistent" }, { { "empty", function() return {} end },
    { "numbers", function() return { 1 } end } }) },
  { "cglow.report.save", K.list({ "/nonexistent" }, { { "empty", function() return {} end } }),
    K.optional(K.str("/nonexistent/x", nil, true)) },
  { "options.check", inside = true, K.any "check", K.optional(K.list {}), K.any { a = {} } },
  { "options.fields", K.any { a = 1 }, K.any { a = {} } },
  { "options.arg", K.any "f", K.any(1), K.any "a", K.any(1), K.any "number" },
  { "options.show", K.any(1) },
  { "cglow.help", K.any "Tensor", good = false },
  { "cglow.help.text", K.any "Tensor" },
}, cglow
