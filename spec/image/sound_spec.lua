--- Sound pictures in files that some readers warn of, and what is still damage.
local exif = require "spec.fixtures.image.exif"
local image = require "cglow.image"
local png = require "spec.fixtures.image.png"
local sets = require "spec.support.sets"

local function grey_png(chunks) return exif.png(chunks) end
local function pixels(bytes, o)
  o = o or {}
  o.raw = true
  local t, message = image.decode(bytes, o)
  return t and t:totable(), message
end

local function spoilt(chunk) return chunk:sub(1, -2) .. string.char(chunk:byte(-1) ~ 1) end

local function palette_png(chunks)
  return png.file {width = 3, height = 1, bits = 8, colour = 3, chunks = chunks, pixel = function(x) return {x % 2} end}
end

local PLTE = png.chunk("PLTE", "\255\0\0\0\255\0")

describe("a PNG is read", function()
  local grey = {1, 2, 3, 4, 5, 6}
  local function coloured(colour, count, chunks)
    return png.file {width = 2, height = 1, bits = 8, colour = colour, chunks = chunks, pixel = function(x)
      return table.move({10 + x, 20, 30, 40}, 1, count, 1, {})
    end}
  end

  it("with a palette in grey, and a damaged palette that nothing uses", function()
    assert.same(grey, pixels(grey_png(png.chunk("PLTE", "abcdef"))))
    assert.same(grey, pixels(grey_png(spoilt(png.chunk("PLTE", "abcdef")))))
    assert.same({10, 11, 20, 20, 30, 30}, pixels(coloured(2, 3, png.chunk("PLTE", "abcd"))))
  end)

  it("with tRNS beside an alpha channel", function()
    assert.same({10, 11, 20, 20, 30, 30, 40, 40}, pixels(coloured(6, 4, png.chunk("tRNS", "abcdef")), {channels = 4}))
    assert.same({10, 11, 20, 20}, pixels(coloured(4, 2, spoilt(png.chunk("tRNS", "ab"))), {channels = 2}))
  end)

  it("with more transparencies than colours: each colour has its own", function()
    local t = assert(image.decode(palette_png(PLTE .. png.chunk("tRNS", "\7\200\3\4")), {channels = 4}))
    local alpha = (t[4] * 255):round():totable()
    assert.same({7, 200, 7}, alpha)
    assert.same({255, 255, 255}, (image.decode(palette_png(PLTE .. png.chunk("tRNS", "")), {channels = 4})[4] * 255)
      :totable())
    t = assert(image.decode(grey_png(png.chunk("tRNS", "\0\3\9\9")), {channels = 2}))
    assert.same({1, 1, 0, 1, 1, 1}, t[2]:totable())
  end)

  it("with bytes after its compressed stream", function()
    local bytes = exif.png()
    local at = bytes:find("IDAT", 1, true)
    local length = string.unpack(">I4", bytes, at - 4)
    local data = bytes:sub(at + 4, at + 3 + length)
    for _, extra in ipairs {"\0", "\0\0\0", ("x"):rep(300)} do
      assert.same(grey, pixels(bytes:sub(1, at - 5) .. png.chunk("IDAT", data .. extra) .. png.chunk("IEND", "")))
      assert.same(grey, pixels(bytes:sub(1, at - 5) .. png.chunk("IDAT", data) .. png.chunk("IDAT", extra)
        .. png.chunk("IEND", "") .. "after the end"))
    end
  end)

  it("with faults in chunks that no pixel depends on, wherever they are", function()
    for _, kind in ipairs {"tEXt", "zTXt", "iTXt", "tIME", "iCCP", "gAMA", "pHYs", "eXIf", "prVt"} do
      local chunk = spoilt(png.chunk(kind, "Software\0x"))
      assert.same(grey, pixels(grey_png(chunk)), kind)
      assert.same(grey, pixels(exif.png("", chunk)), kind)
    end
  end)
end)

describe("a PNG is damaged", function()
  local function damaged(bytes, what)
    local t, message = image.decode(bytes, {channels = 4})
    assert.is_nil(t)
    assert.matches(what, message)
  end

  it("when its transparency is, even by its name", function()
    local chunk = png.chunk("tRNS", "\0\3")
    damaged(grey_png(spoilt(chunk)), "wrong checksum of its transparency")
    damaged(grey_png((chunk:gsub("tRNS", "tEXt"))), "wrong checksum of its transparency")
    damaged(grey_png(png.chunk("tRNS", "\3")), "transparency .* too short")
    damaged(palette_png(PLTE .. spoilt(png.chunk("tRNS", "\3"))), "wrong checksum")
  end)

  it("when the palette that its pixels need is", function()
    damaged(palette_png(spoilt(PLTE)), "CRC error")
    damaged(palette_png(""), "PNG: ")
  end)

  it("when there are too few pixels", function()
    damaged(png.SIGNATURE .. png.header(3, 2, 8, 0) .. png.chunk("IDAT", png.stored "\0abc") .. png.chunk("IEND", ""),
      "Not enough image data")
    damaged((exif.png():gsub("IEND", "tEXt")), "ends too early")
  end)

  it("when the checksum of its stream is wrong", function()
    local stream = png.stored "\0abc\0def"
    damaged(png.SIGNATURE .. png.header(3, 2, 8, 0) .. png.chunk("IDAT", spoilt(stream)) .. png.chunk("IEND", ""),
      "incorrect data check")
  end)
end)

describe("a JPEG", function()
  for _, name in ipairs {"grey", "colour", "progressive"} do
    local bytes = sets.read("spec/fixtures/image/" .. name .. ".jpg")
    local want = assert(image.decode(bytes))
    local scan = bytes:find("\xff\xda", 1, true)
    local header = string.unpack(">I2", bytes, scan + 2)

    -- in a progressive one they mean something
    local sequential = name ~= "progressive" and it or function() end
    sequential(name .. " is read with any parameters in a sequential scan", function()
      local last = scan + 1 + header -- spectral start, end and approximation are its last three bytes
      for _, values in ipairs {"\0\0\0", "\1\5\0", "\0\x3f\x11"} do
        assert.equal(want, image.decode(bytes:sub(1, last - 3) .. values .. bytes:sub(last + 1)))
      end
    end)

    it(name .. " is read with bytes between its segments", function()
      for at in bytes:sub(1, scan):gmatch "()\xff[\xdb\xc4\xc0\xc2\xda]" do
        for _, junk in ipairs {"\0", "\0\0\0", "\1\2\3\4\5", ("z"):rep(70)} do
          assert.equal(want, image.decode(bytes:sub(1, at - 1) .. junk .. bytes:sub(at)))
        end
      end
    end)

    it(name .. " is read with padding before its end, and anything after it", function()
      for _, n in ipairs {1, 2, 3, 16, 40, 4000} do
        for _, byte in ipairs {"\0", "\xff", "\x55"} do
          assert.equal(want, image.decode(bytes:sub(1, -3) .. byte:rep(n) .. bytes:sub(-2)))
        end
      end
      assert.equal(want, image.decode(bytes .. ("trailer"):rep(9)))
    end)

    it(name .. " is damaged when coded pixels are left over or missing", function()
      local leftover = "\x12\x9a\x37\xc1\x5e\x08\xe3\x44\x71\xb6\x2d\x90\x1f\x6c\xa8\x53\xd7\x0b\x99\x42"
      local t, message = image.decode(bytes:sub(1, -3) .. leftover .. bytes:sub(-2))
      assert.is_nil(t)
      assert.matches("damaged JPEG: ", message)
      assert.is_nil((image.decode(bytes:sub(1, -4) .. bytes:sub(-2)))) -- its last byte of codes
    end)
  end
end)
