--- Files that were cut, changed or made to harm.
local core = require "cglow.core"
local image = require "cglow.image"
local lfs = require "lfs"
local scratch = require "spec.fixtures.scratch"
local png = require "spec.fixtures.image.png"
local tools = require "spec.fixtures.image.tools"

local function fixture(name) return scratch.read("spec/fixtures/image/" .. name) end

local function made_png(options)
  options.width, options.height = 5, 3
  return png.file(options)
end

local function bytes_of(n)
  return function(x, y)
    local samples = {}
    for c = 1, n do samples[c] = (x * 29 + y * 61 + c * 97) % 256 end
    return samples
  end
end

local colour = tools.make(3, 4, 5, tools.mixed(1))

local FILES = {
  png_rgb = made_png {bits = 8, colour = 2, pixel = bytes_of(3)},
  png_interlaced = made_png {bits = 16, colour = 6, interlace = 1, pixel = bytes_of(4)},
  png_palette = made_png {
    bits = 2, colour = 3, pixel = function(x, y) return {(x + y) % 3} end,
    chunks = png.chunk("PLTE", "\1\2\3\4\5\6\7\8\9") .. png.chunk("tRNS", "\0\128"),
  },
  png_key = made_png {bits = 8, colour = 0, pixel = bytes_of(1), chunks = png.chunk("tRNS", "\0\97")},
  png_deflated = image.encode(colour, "png", {bits = 16}),
  jpeg_grey = fixture "grey.jpg",
  jpeg_colour = fixture "colour.jpg",
  jpeg_progressive = fixture "progressive.jpg",
  pnm_plain = "P3 # three\n2 2\n99\n1 2 3  4 5 6\n7 8 9  10 11 99\n",
  pnm_binary = "P6\n2 2\n255\nabcdefghijkl",
  pnm_deep = "P5 2 2 4096\n\1\2\3\4\5\6\7\8",
}

local OPTIONS = {{}, {raw = true}, {channels = 1}, {channels = 4}}

--- An image, or nil with a message that a person can read and an error number.
local function image_or_reason(bytes, options)
  local t, message, code = image.decode(bytes, options)
  if t then
    assert.equal(3, t:dim())
    for _, v in ipairs(t:totable()) do
      if not (v >= 0 and v <= (options.raw and 65535 or 1)) then error("a number out of range: " .. v) end
    end
  else
    assert.is_truthy(#message > 0 and #message < 200 and not message:find("[%c\128-\255]"), message)
    assert.equal("integer", math.type(code))
  end
  return t
end

local function replaced(bytes, at, byte) return bytes:sub(1, at - 1) .. string.char(byte) .. bytes:sub(at + 1) end

describe("hostile image files:", function()
  for name, bytes in pairs(FILES) do
    describe(name, function()
      it("is sound", function()
        for _, options in ipairs(OPTIONS) do assert(image_or_reason(bytes, options)) end
      end)

      it("cut at every byte", function()
        for n = 0, #bytes - 1 do
          for _, options in ipairs(OPTIONS) do
            local t = image_or_reason(bytes:sub(1, n), options)
            -- only the white space at the end of the plain PNM may go
            if name ~= "pnm_plain" or n < #bytes - 2 then assert.is_nil(t) end
          end
        end
      end)

      it("with every byte changed", function()
        for at = 1, #bytes do
          for _, change in ipairs {0xff, 0x01, 0x80} do
            local options = OPTIONS[at % #OPTIONS + 1]
            local t = image_or_reason(replaced(bytes, at, bytes:byte(at) ~ change), options)
            if name:find("^png") then assert.is_nil(t) end -- its checksums cover all
          end
        end
      end)

      it("with garbage after a sound beginning", function()
        local noise = {}
        for i = 1, 300 do noise[i] = string.char(i * i * 31 % 256) end
        local tail = table.concat(noise)
        for n = 2, #bytes, 3 do
          image_or_reason(bytes:sub(1, n) .. tail, OPTIONS[n % #OPTIONS + 1])
        end
      end)
    end)
  end

  describe("sizes that the bytes cannot hold", function()
    local function claim(width, height, bits, kind)
      return png.SIGNATURE .. png.header(width, height, bits, kind) .. png.chunk("IDAT", png.stored "\0")
        .. png.chunk("IEND", "")
    end
    local function resized_jpeg(width, height)
      return (fixture "grey.jpg":gsub("(\xff\xc0\0\x0b\8)....", "%1" .. string.pack(">I2I2", height, width), 1))
    end
    local cases = {
      {"PNG, 1 bit", claim(60000, 2000, 1, 0), "bytes cannot hold 60000x2000 pixels"},
      {"PNG, 64 bits", claim(600, 300, 16, 6), "bytes cannot hold 600x300 pixels"},
      {"PNG over the limit", claim(65535, 65535, 16, 6), "65535x65535 pixels; at most"},
      {"PNG, 2^31 wide", claim(0x7fffffff, 1, 8, 0), "damaged PNG"},
      {"PNG, nothing", claim(0, 1, 8, 0), "damaged PNG"},
      {"JPEG", resized_jpeg(2000, 1000), "bytes cannot hold 2000x1000 pixels"},
      {"JPEG over the limit", resized_jpeg(65000, 65000), "65000x65000 pixels; at most"},
      {"PNM", "P6 10000 10000 255\n", "10000x10000 pixels need 300000000 bytes, 0 are left"},
      {"PNM, plain", "P2 9999 9999 1\n0", "9999x9999 pixels need 199960001 bytes, 1 are left"},
      {"PNM over the limit", "P5 65535 65535 255\n", "65535x65535 pixels; at most"},
    }
    for _, case in ipairs(cases) do
      local name, bytes, message = table.unpack(case)
      it(name, function()
        collectgarbage()
        collectgarbage("stop")
        local before = collectgarbage("count")
        local t, got = image.decode(bytes)
        local used = collectgarbage("count") - before
        collectgarbage("restart")
        assert.is_nil(t)
        assert.is_truthy(got:find(message, 1, true), got)
        assert.is_true(used < 4) -- KB: no tensor was made
      end)
    end
  end)

  it("a PNG that is smaller than its stream", function()
    local t, message = image.decode(png.SIGNATURE .. png.header(1, 1, 8, 0) .. png.chunk("IDAT", png.stored "\0ab")
      .. png.chunk("IEND", ""))
    assert.is_nil(t)
    assert.is_truthy(message:find("^damaged PNG: "))
  end)

  it("a PNG without pixel data", function()
    assert.is_nil((image.decode(png.SIGNATURE .. png.header(1, 1, 8, 0) .. png.chunk("IEND", ""))))
  end)

  it("a JPEG of more scans than anyone writes", function()
    -- one grey block whose only coefficient, 0 by a code of one bit, comes again and again
    local tables = "\xff\xdb\0\67\0" .. ("\1"):rep(64) .. "\xff\xc4\0\20\0\1" .. ("\0"):rep(16)
    local frame = "\xff\xc2\0\11\8\0\8\0\8\1\1\x11\0"
    local scan = "\xff\xda\0\8\1\1\0\0\0\0\x7f"
    local function with_scans(n) return "\xff\xd8" .. tables .. frame .. scan:rep(n) .. "\xff\xd9" end
    assert.same(core.full({64}, 128):totable(), assert(image.decode(with_scans(99), {raw = true})):totable())
    local t, message = image.decode(with_scans(101))
    assert.is_nil(t)
    assert.equal("damaged JPEG: more than 100 scans", message)
  end)

  it("leaves no file open and no temporary file", function()
    if not lfs.attributes("/proc/self/fd") then return pending("/proc tells what is open") end
    local function open_files()
      local n = 0
      for _ in lfs.dir("/proc/self/fd") do n = n + 1 end
      return n
    end
    local path = os.tmpname()
    local damaged = path .. ".png"
    local before
    collectgarbage()
    collectgarbage("stop")
    before = open_files()
    for _ = 1, 50 do
      for _, bytes in pairs(FILES) do
        local file = assert(io.open(damaged, "wb"))
        file:write(bytes:sub(1, #bytes // 2))
        file:close()
        image.load(damaged)
      end
      image.load(path .. ".none")
      image.load("/")
      image.save("/none/a.png", colour)
      assert(image.save(damaged, colour))
      assert(image.load(damaged))
    end
    local after = open_files()
    collectgarbage("restart")
    os.remove(damaged)
    os.remove(path)
    assert.equal(before, after)
    local folder, name = path:match("^(.*)/(.-)$")
    for entry in lfs.dir(folder) do assert.is_nil(entry:find(name, 1, true)) end
  end)

  it("numbers of every kind in the image to write", function()
    for _, v in ipairs {0 / 0, math.huge, -math.huge, 1e38, -1e38, 1e-45} do
      local t = core.full({1, 2, 2}, v)
      for _, format in ipairs {"png", "jpeg", "pgm"} do
        local ok, bytes = pcall(image.encode, t, format)
        assert.equal(v == v, ok)
        if ok then assert(image.decode(bytes)) end
      end
    end
  end)
end)
