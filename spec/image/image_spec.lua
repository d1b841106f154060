-- Reading and writing PNG, JPEG and PNM; formats_spec.lua has the others.
local core = require "cglow.core"
local image = require "cglow.image"
local lfs = require "lfs"
local png = require "spec.fixtures.image.png"
local scratch = require "spec.fixtures.scratch"
local tools = require "spec.fixtures.image.tools"

local FIXTURES = "spec/fixtures/image/"

local make, mixed, size = tools.make, tools.mixed, tools.size
local assert_equal, assert_near = tools.assert_equal, tools.assert_near

describe("image", function()
  local dir

  setup(function()
    dir = os.tmpname()
    os.remove(dir)
    assert(lfs.mkdir(dir))
  end)

  teardown(function()
    for name in lfs.dir(dir) do
      if name ~= "." and name ~= ".." then os.remove(dir .. "/" .. name) end
    end
    lfs.rmdir(dir)
  end)

  describe("reads PNG", function()
    local GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
    local CHANNELS = {[GREY] = 1, [RGB] = 3, [PALETTE] = 1, [GREY_ALPHA] = 2, [RGBA] = 4}
    local WIDTH, HEIGHT = 11, 9 -- all seven Adam7 passes, no multiple of 8

    local function palette_entry(i) return {i * 53 % 256, i * 101 % 256, (i * 197 + 5) % 256} end
    local function palette_alpha(i) return i == 0 and 0 or i == 1 and 77 or 255 end

    local function palette_chunks(bits)
      local bytes = {}
      for i = 0, 2 ^ bits - 1 do bytes[#bytes + 1] = string.char(table.unpack(palette_entry(i))) end
      return png.chunk("PLTE", table.concat(bytes)) .. png.chunk("tRNS", string.char(0, 77))
    end

    local kinds = {}
    for colour, depths in pairs {
      [GREY] = {1, 2, 4, 8, 16}, [RGB] = {8, 16}, [PALETTE] = {1, 2, 4, 8}, [GREY_ALPHA] = {8, 16}, [RGBA] = {8, 16},
    } do
      for _, bits in ipairs(depths) do
        for interlace = 0, 1 do
          kinds[#kinds + 1] = {colour = colour, bits = bits, interlace = interlace}
          if colour == GREY or colour == RGB then
            kinds[#kinds + 1] = {colour = colour, bits = bits, interlace = interlace, key = true}
          end
        end
      end
    end

    --- The file, and what a pixel of it is as {red, green, blue, alpha} out of
    -- `max`, or {grey, alpha}.
    local function build(kind)
      local value = mixed(2 ^ kind.bits - 1)
      local function stored(x, y)
        local samples = {}
        for c = 1, CHANNELS[kind.colour] do samples[c] = math.tointeger(value(c - 1, y, x)) end
        return samples
      end
      local key = stored(3, 2)
      local chunks = ""
      if kind.colour == PALETTE then chunks = palette_chunks(kind.bits) end
      if kind.key then chunks = png.chunk("tRNS", string.pack(">" .. ("I2"):rep(#key), table.unpack(key))) end
      local max = kind.colour == PALETTE and 255 or 2 ^ kind.bits - 1
      local function pixel(x, y)
        local p = stored(x, y)
        if kind.colour == PALETTE then
          local i = p[1]
          p = palette_entry(i)
          p[4] = palette_alpha(i)
        elseif kind.key then
          local same = table.concat(p, " ") == table.concat(key, " ")
          p[#p + 1] = same and 0 or max
        end
        return p
      end
      local bytes = png.file {
        width = WIDTH, height = HEIGHT, bits = kind.bits, colour = kind.colour, interlace = kind.interlace,
        pixel = stored, chunks = chunks,
      }
      return bytes, pixel, stored, max
    end

    local function as_colour(p) return #p >= 3 and p or {p[1], p[1], p[1], p[2]} end

    for _, kind in ipairs(kinds) do
      local name = ("colour type %d, %d bits%s%s"):format(kind.colour, kind.bits,
        kind.interlace == 1 and ", interlaced" or "", kind.key and ", with a transparent colour" or "")
      it(name, function()
        local bytes, pixel, stored, max = build(kind)
        local colours = #pixel(0, 0) >= 3 and 3 or 1
        -- float32 of sample/max, the nearest there is: no tolerance
        local plain = make(colours, HEIGHT, WIDTH, function(c, y, x) return pixel(x, y)[c + 1] / max end)
        assert_equal(plain, assert(image.decode(bytes)))
        local raw = make(kind.colour == PALETTE and 1 or colours, HEIGHT, WIDTH,
          function(c, y, x) return stored(x, y)[c + 1] end)
        assert_equal(raw, assert(image.decode(bytes, {raw = true})))
        local four = make(4, HEIGHT, WIDTH, function(c, y, x) return (as_colour(pixel(x, y))[c + 1] or max) / max end)
        assert_equal(four, assert(image.decode(bytes, {channels = 4})))
        local three = make(3, HEIGHT, WIDTH, function(c, y, x) return as_colour(pixel(x, y))[c + 1] / max end)
        assert_equal(three, assert(image.decode(bytes, {channels = 3})))
        local grey = make(1, HEIGHT, WIDTH, function(_, y, x)
          local p = as_colour(pixel(x, y))
          return (299 * p[1] + 587 * p[2] + 114 * p[3]) / (1000 * max)
        end)
        -- the reference rounds to double first: one float32 unit below 1
        assert_near(grey, assert(image.decode(bytes, {channels = 1})), 2 ^ -24)
      end)
    end

    it("with a palette shorter than its bits allow", function()
      local p = {width = 2, height = 1, bits = 4, colour = PALETTE, pixel = function(x) return {x} end}
      p.chunks = png.chunk("PLTE", "\1\2\3\255\0\128")
      assert.same({1, 255, 2, 0, 3, 128}, (function()
        local t = image.decode(png.file(p)):totable()
        for i, v in ipairs(t) do t[i] = math.floor(v * 255 + 0.5) end
        return t
      end)())
    end)

    it("refuses an index outside the palette", function()
      local p = {width = 2, height = 1, bits = 4, colour = PALETTE, pixel = function(x) return {x + 1} end}
      p.chunks = png.chunk("PLTE", "\1\2\3\255\0\128")
      local t, message = image.decode(png.file(p))
      assert.is_nil(t)
      assert.equal("damaged PNG: index outside the palette", message)
    end)

    it("without looking into chunks that are no pixels", function()
      local p = {width = 1, height = 1, bits = 8, colour = GREY, pixel = function() return {51} end}
      p.chunks = png.chunk("iCCP", "nonsense") .. png.chunk("gAMA", "\0\0\0\1") .. png.chunk("zTXt", "x")
      assert.equal(51, image.decode(png.file(p), {raw = true}):totable()[1])
    end)
  end)

  describe("reads JPEG", function()
    it("in grey", function()
      local want = make(1, 5, 9, function(_, y, x) return 16 * x + 4 * y end)
      -- quality 100 leaves the rounding of 64 cosine coefficients
      assert_near(want, assert(image.load(FIXTURES .. "grey.jpg", {raw = true})), 2)
    end)

    for _, name in ipairs {"colour.jpg", "progressive.jpg"} do
      it("in colour: " .. name, function()
        local left, right = {200, 30, 40}, {20, 60, 220}
        local want = make(3, 8, 16, function(c, _, x) return (x < 8 and left or right)[c + 1] / 255 end)
        -- quality 95 quantizes the mean of a block in steps of 2 or 3
        assert_near(want, assert(image.load(FIXTURES .. name)), 4 / 255)
      end)
    end

    it("but not with arithmetic coding", function()
      local bytes = scratch.read(FIXTURES .. "grey.jpg"):gsub("\xff\xc0", "\xff\xc9", 1)
      local t, message = image.decode(bytes)
      assert.is_nil(t)
      assert.equal("JPEG with arithmetic coding is not supported", message)
    end)
  end)

  describe("reads PNM", function()
    local cases = {
      {"P2\n2 2\n9\n0 3\n6 9", {0, 3, 6, 9}, 9, "1x2x2"},
      {"P2 # one\n#two\n 2\t1 # three\n7\n1 # four\n7 ", {1, 7}, 7, "1x1x2"},
      {"P3 1 2 255 1 2 3 4 5 6", {1, 4, 2, 5, 3, 6}, 255, "3x2x1"},
      {"P5 3 1 255\n\0\10\255", {0, 10, 255}, 255, "1x1x3"},
      {"P5\n# a comment\n1 2\n65535\n\1\2\255\255", {258, 65535}, 65535, "1x2x1"},
      {"P5 1 1 1000\n\3\232", {1000}, 1000, "1x1x1"},
      {"P6 1 1 255 \1\2\3", {1, 2, 3}, 255, "3x1x1"},
      {"P6 1 1 256\n\0\1\1\0\0\2", {1, 256, 2}, 256, "3x1x1"},
      {"P5 1 1 255\n\7P5 1 1 255\n\8", {7}, 255, "1x1x1"}, -- the first of several pictures
    }
    for i, case in ipairs(cases) do
      local bytes, samples, max, shape = table.unpack(case)
      it(("%d: %s"):format(i, shape), function()
        local raw = assert(image.decode(bytes, {raw = true}))
        assert.equal(shape, size(raw))
        assert.same(core.tensor(samples):totable(), raw:totable())
        local parts = {}
        for j, v in ipairs(samples) do parts[j] = v / max end
        assert.same(core.tensor(parts):totable(), image.decode(bytes):totable())
      end)
    end

    local damaged = {
      {"P5", "damaged PNM: it ends before its width"},
      {"P5 x", "damaged PNM: its width is no number"},
      {"P5 2 65536 255 ", "damaged PNM: its height is over 65535"},
      {"P5 0 3 255 ", "the picture has no pixels: 0x3"},
      {"P5 1 1 0 a", "damaged PNM: its maximum is 0"},
      {"P5 1 1 65536 a", "damaged PNM: its maximum is over 65535"},
      {"P5 1 1 255", "damaged PNM: no space after its maximum"},
      {"P5 2 2 255 abc", "damaged PNM: 2x2 pixels need 4 bytes, 3 are left"},
      {"P6 1 1 256 abcde", "damaged PNM: 1x1 pixels need 6 bytes, 5 are left"},
      {"P5 1 1 9 a", "damaged PNM: a sample of 97 is over the maximum 9"},
      {"P2 2 1 9 1", "damaged PNM: 2x1 pixels need 3 bytes, 1 are left"},
      {"P2 2 1 9 1    ", "damaged PNM: it ends before its samples' end"},
      {"P2 1 1 9 -1", "damaged PNM: its samples' end is no number"},
      {"P8 1 1 a", "neither PNG, JPEG, TIFF, WebP, PNM (P1 to P7) nor PFM"},
      {"", "the file is empty"},
    }
    for _, case in ipairs(damaged) do
      it(("refuses %q"):format(case[1]), function()
        local t, message, code = image.decode(case[1])
        assert.is_nil(t)
        assert.equal(case[2], message)
        assert.equal("integer", math.type(code))
      end)
    end
  end)

  describe("writes and reads back", function()
    for _, case in ipairs {
      {"png", 1, 8}, {"png", 3, 8}, {"png", 4, 8}, {"png", 1, 16}, {"png", 3, 16}, {"png", 4, 16},
      {"pgm", 1, 8}, {"pgm", 1, 16}, {"ppm", 3, 8}, {"ppm", 3, 16},
    } do
      local format, channels, bits = table.unpack(case)
      it(("%s, %d channels, %d bits: exactly"):format(format, channels, bits), function()
        local max = 2 ^ bits - 1
        local value = mixed(max)
        local raw = make(channels, 13, 17, value)
        local t = make(channels, 13, 17, function(c, y, x) return value(c, y, x) / max end)
        local path = dir .. "/exact." .. format
        local read_options = channels == 4 and {channels = 4} or {}
        assert.is_true(image.save(path, t, {bits = bits}))
        assert_equal(t, assert(image.load(path, read_options)))
        read_options.raw = true
        assert_equal(raw, assert(image.load(path, read_options)))
        assert.is_true(image.save(path, raw, {bits = bits, raw = true}))
        assert_equal(raw, assert(image.load(path, read_options)))
      end)
    end

    it("every 16-bit value", function()
      local t = make(1, 256, 256, function(_, y, x) return (256 * y + x) / 65535 end)
      assert_equal(t, image.decode(image.encode(t, "png", {bits = 16})))
    end)

    for _, channels in ipairs {1, 3} do
      it(("jpeg, %d channels"):format(channels), function()
        local t = make(channels, 20, 33, function(c, y, x) return (c * 20 + y * 3 + x * 2) / 255 end)
        assert.is_true(image.save(dir .. "/smooth.jpg", t, {quality = 100}))
        -- a smooth picture: rounding of coefficients and of the colour transform
        assert_near(t, assert(image.load(dir .. "/smooth.jpg")), 4 / 255)
        local coarse = image.encode(t, "jpeg", {quality = 10})
        assert.is_true(#coarse < #image.encode(t, "jpg"))
      end)
    end

    it("a tall JPEG of more than one output buffer", function()
      local t = make(3, 300, 200, mixed(1))
      local bytes = assert(image.encode(t, "jpeg"))
      assert.is_true(#bytes > 3 * 4096)
      assert.equal("3x300x200", size(assert(image.decode(bytes))))
    end)

    it("clamps and rounds", function()
      local t = core.tensor {-1, 0.4999 / 255, 0.5001 / 255, 254.6 / 255, 1.5, math.huge, -math.huge}:reshape(1, 1, 7)
      assert.same({0, 0, 1, 255, 255, 255, 0}, image.decode(image.encode(t, "png"), {raw = true}):totable())
    end)

    it("takes H×W for grey", function()
      local t = core.tensor({0, 1, 1, 0}):reshape(2, 2)
      assert_equal(t:reshape(1, 2, 2), image.decode(image.encode(t, "pgm")))
    end)
  end)

  describe("load", function()
    it("tells what io.open tells", function()
      local _, want, code = io.open(dir .. "/none.png")
      assert.same({n = 3, nil, want, code}, table.pack(image.load(dir .. "/none.png")))
    end)

    it("tells that a folder is none", function()
      local t, message, code = image.load(dir)
      assert.is_nil(t)
      assert.equal(dir .. ": Is a directory", message)
      assert.equal(21, code)
    end)

    it("names the damaged file", function()
      scratch.write(dir .. "/damaged.png", "P5 9 9 255\n")
      local t, message = image.load(dir .. "/damaged.png")
      assert.is_nil(t)
      assert.equal(dir .. "/damaged.png: damaged PNM: 9x9 pixels need 81 bytes, 0 are left", message)
    end)
  end)

  describe("save", function()
    local t = core.tensor({0, 1}):reshape(1, 1, 2)

    local function entries()
      local names = {}
      for name in lfs.dir(dir) do names[#names + 1] = name end
      table.sort(names)
      return names
    end

    it("tells what io.open tells", function()
      local ok, message, code = image.save(dir .. "/none/a.png", t)
      assert.is_nil(ok)
      assert.equal(dir .. "/none/a.png: No such file or directory", message)
      assert.equal(2, code)
    end)

    it("leaves nothing behind when the name is taken by a folder", function()
      assert(lfs.mkdir(dir .. "/folder.png"))
      local before = entries()
      local ok, message = image.save(dir .. "/folder.png", t)
      assert.is_nil(ok)
      assert.equal(dir .. "/folder.png: Is a directory", message)
      assert.same(before, entries())
      lfs.rmdir(dir .. "/folder.png")
    end)

    it("leaves the old file when the disk is full", function()
      local mounted = scratch.mount "16k"
      if not mounted then return pending "this user cannot mount a small file system" end
      finally(function() scratch.unmount(mounted) end)
      local path = mounted .. "/kept.png"
      assert(image.save(path, t))
      local before = scratch.read(path)
      local ok, message, code = image.save(path, core.Rng(1):uniform(3, 80, 80)) -- 19 kB
      assert.same({nil, path .. ": No space left on device", 28}, {ok, message, code})
      assert.equal(before, scratch.read(path))
      assert.equal("kept.png", scratch.list(mounted))
    end)
  end)
end)
