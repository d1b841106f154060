--- PBM, PAM, PFM, TIFF, WebP and CMYK: what they hold, said by hand.
local core = require "cglow.core"
local data = require "cglow.data"
local image = require "cglow.image"
local scratch = require "spec.fixtures.scratch"
local tiff = require "spec.fixtures.image.tiff"

local FIXTURES <const> = "spec/fixtures/image/"

local READS = {}
for _, name in ipairs(image.formats()) do READS[name] = true end

local function raw(bytes, o)
  o = o or {}
  o.raw = true
  local t = assert(image.decode(bytes, o))
  return t:totable()
end

local function refused(bytes, message, code)
  local t, got, number = image.decode(bytes)
  assert.is_nil(t)
  assert.matches(message, got)
  assert.equal(code or core.file.EBADMSG, number)
end

describe("PBM", function()
  it("is read, black as 0 and white as 1", function()
    assert.same({1, 0, 1, 0, 1, 1}, raw "P1\n# a mask\n3 2\n0 1 0\n1 0 0\n")
    assert.same({1, 0, 1, 0, 1, 1}, raw "P1 3 2 010100")
    assert.same({1, 0, 1, 0, 1, 1}, raw "P4\n3 2\n\x5f\x9f")
    assert.same({0, 1, 0, 1, 0, 1, 0, 1, 0, 1}, raw "P4 10 1\n\xaa\xbf")
    assert.same({1, 0}, image.decode("P1 2 1 01"):totable())
  end)

  it("is refused when damaged", function()
    refused("P4\n9 2\nabc", "9x2 pixels need 4 bytes, 3 are left")
    refused("P1 2 2 011", "2x2 pixels need 4 bytes, 3 are left")
    refused("P1 2 2 0121", "a bit is 2, not 0 or 1")
    refused("P1 2 2 01x1", "its samples' end is no number")
    refused("P4 2 2", "no space after its height")
  end)
end)

describe("PAM", function()
  local function pam(depth, max, kind, samples)
    return ("P7\nWIDTH 2\n# a comment\nHEIGHT 1\nDEPTH %d\nMAXVAL %d\n%sENDHDR\n%s"):format(depth, max,
      kind and "TUPLTYPE " .. kind .. "\n" or "", samples)
  end

  it("is read with 1 to 4 samples a pixel", function()
    assert.same({1, 2}, raw(pam(1, 255, "GRAYSCALE", "\1\2")))
    assert.same({0, 1}, raw(pam(1, 1, "BLACKANDWHITE", "\0\1")))
    assert.same({1, 3, 2, 4}, raw(pam(2, 9, "GRAYSCALE_ALPHA", "\1\2\3\4"), {channels = 2}))
    assert.same({1, 4, 2, 5, 3, 6}, raw(pam(3, 255, "RGB", "\1\2\3\4\5\6")))
    assert.same({1, 5, 2, 6, 3, 7, 4, 8}, raw(pam(4, 255, "RGB_ALPHA", "\1\2\3\4\5\6\7\8"), {channels = 4}))
    assert.same({258, 772}, raw(pam(1, 65535, nil, "\1\2\3\4")))
    assert.same({1, 4, 2, 5, 3, 6}, raw(pam(3, 255, nil, "\1\2\3\4\5\6")))
  end)

  it("is refused when damaged or of another kind", function()
    refused(pam(1, 255, "GRAYSCALE", "\1"), "damaged PAM: 2x1 pixels need 2 bytes, 1 are left")
    refused(pam(1, 5, "GRAYSCALE", "\1\6"), "a sample of 6 is over the maximum 5")
    refused(pam(1, 0, "GRAYSCALE", "\1\2"), "its maximum is 0")
    refused(pam(1, 70000, "GRAYSCALE", "\1\2"), "its maximum is over 65535")
    refused(pam(4, 255, "CMYK", ("\1"):rep(8)), "PAM of 4 samples a pixel and an unknown tuple type", 95)
    refused(pam(3, 255, "GRAYSCALE", ("\1"):rep(8)), "PAM of 3 samples a pixel and an unknown tuple type", 95)
    refused(pam(5, 255, nil, ("\1"):rep(10)), "PAM of 5 samples a pixel", 95)
    refused("P7\nWIDTH 2\nHEIGHT 1\n", "it ends before ENDHDR")
    refused("P7\nWIDTH 2x\nHEIGHT 1\nENDHDR\n", "its width is no number")
    refused("P7\nHEIGHT 1\nDEPTH 1\nMAXVAL 1\nENDHDR\n\1", "no pixels")
    refused("P7\nSIZE 2\nENDHDR\n", "a line of its header is unknown")
  end)
end)

describe("PFM", function()
  local little = "Pf\n2 2\n-1.0\n" .. string.pack("<ffff", 3, 4, 1, -2.5)

  it("is read as the numbers it holds, the lowest row first", function()
    assert.same({1, -2.5, 3, 4}, image.decode(little):totable())
    assert.same({1, -2.5, 3, 4}, raw("Pf 2 2 0.003922\n" .. string.pack(">ffff", 3, 4, 1, -2.5)))
    assert.same({1, 4, 2, 5, 3, 6}, raw("PF\n2 1\n-1\n" .. string.pack("<ffffff", 1, 2, 3, 4, 5, 6)))
  end)

  it("is written, and comes back the same", function()
    for _, t in ipairs {core.tensor {1e-30, -7, 3e30, 0.1}:reshape(1, 2, 2), core.Rng(1):normal(3, 4, 5)} do
      local bytes = assert(image.encode(t, "pfm"))
      assert.is_true(image.decode(bytes):eq(t):min() == 1)
    end
    assert.equal(little, image.encode(image.decode(little), "pfm"))
    for option, value in pairs {bits = 16, raw = true} do
      local ok, message = pcall(image.encode, core.tensor {1}:reshape(1, 1), "pfm", {[option] = value})
      assert.is_false(ok)
      assert.matches(("option '%s' is not for pfm"):format(option), message)
    end
  end)

  it("gives numbers that are not finite only when asked for raw ones", function()
    local bytes = "Pf\n2 1\n-1\n" .. string.pack("<ff", 1 / 0, 2)
    refused(bytes, "numbers that are not finite")
    assert.same({1 / 0, 2}, raw(bytes))
  end)

  it("is refused when damaged", function()
    refused(little:sub(1, -2), "damaged PFM: 2x2 pixels need 16 bytes, 15 are left")
    refused("Pf\n2 2\n0.0\n" .. ("x"):rep(16), "its scale is 0")
    refused("Pf\n2 2\none\n" .. ("x"):rep(16), "its scale is no number")
    refused("Pf\n2 2\n-1", "it ends before its numbers")
    refused("Pf\n0 2\n-1\n", "no pixels")
  end)

  it("is known as floating point", function()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    scratch.write(path, little)
    local info = assert(image.info(path))
    assert.same({"PFM", true, 1, false, 1}, {info.format, info.floating, info.max, info.lossy, info.pages})
  end)
end)

describe("CMYK", function()
  -- (10, 20, 30, 40) of 255: red is (255 - 10)·(255 - 40)/255
  local function near(want, t)
    for c = 1, 3 do
      assert.is_true((t[c] - want[c]):abs():max() <= 1, tostring(t)) -- JPEG's own rounding
    end
  end

  it("of a JPEG becomes RGB, as Adobe writes it and as others do", function()
    local cmyk = scratch.read(FIXTURES .. "cmyk.jpg")
    near({207, 198, 190}, assert(image.decode(cmyk, {raw = true})))
    near({207, 198, 190}, assert(image.load(FIXTURES .. "ycck.jpg", {raw = true})))
    local at = cmyk:find("\xff\xee\0\x0eAdobe")
    local plain = cmyk:sub(1, at - 1) .. cmyk:sub(at + 16) -- then 255 is full ink
    near({2, 3, 5}, assert(image.decode(plain, {raw = true})))
  end)
end)

local BLACK_IS_0, WHITE_IS_0, RGB, MAP, CMYK = 1, 0, 2, 3, 5

local function tiff_reads(name, f)
  it(name, READS.TIFF and f or function() pending "this build has no TIFF" end)
end

describe("TIFF", function()
  tiff_reads("is read in every depth, in either byte order", function()
    local page = tiff.page
    for _, order in ipairs {"<", ">"} do
      local function numbers(format, ...)
        return string.pack(order .. format:rep(select("#", ...)), ...)
      end
      local function check(want, p, o) assert.same(want, raw(tiff.file({p}, order), o)) end
      check({1, 0, 1, 1}, page(4, 1, 1, 1, BLACK_IS_0, "\xb0"))
      check({0, 1, 0, 0}, page(4, 1, 1, 1, WHITE_IS_0, "\xb0"))
      check({2, 3, 0}, page(3, 1, 2, 1, BLACK_IS_0, "\xb0"))
      check({11, 1}, page(2, 1, 4, 1, BLACK_IS_0, "\xb1"))
      check({7, 250}, page(2, 1, 8, 1, BLACK_IS_0, "\7\250"))
      check({248, 5}, page(2, 1, 8, 1, WHITE_IS_0, "\7\250"))
      check({7, 65000}, page(2, 1, 16, 1, BLACK_IS_0, numbers("I2", 7, 65000)))
      check({1, 4, 2, 5, 3, 6}, page(2, 1, 8, 3, RGB, "\1\2\3\4\5\6"))
      check({1, 400, 2, 500, 3, 600}, page(2, 1, 16, 3, RGB, numbers("I2", 1, 2, 3, 400, 500, 600)))
      check({-1.5, 1e10}, page(2, 1, 32, 1, BLACK_IS_0, numbers("f", -1.5, 1e10), {format = 3}))
    end
  end)

  -- Codes of 9 bits, the lowest bit first, as the first versions of libtiff wrote them: of which
  -- libtiff warns. Clear, each pixel by itself, end.
  tiff_reads("is read with the LZW of long ago", function()
    local codes, pixels, bits, filled, bytes = {256}, {}, 0, 0, {}
    for i = 1, 60 do
      pixels[i] = i * 37 % 256
      codes[i + 1] = pixels[i]
    end
    codes[#codes + 1] = 257
    for _, code in ipairs(codes) do
      bits, filled = bits | code << filled, filled + 9
      while filled >= 8 do
        bytes[#bytes + 1] = string.char(bits & 255)
        bits, filled = bits >> 8, filled - 8
      end
    end
    bytes[#bytes + 1] = string.char(bits)
    local page = tiff.page(10, 6, 8, 1, BLACK_IS_0, table.concat(bytes), {compression = 5})
    assert.same(pixels, raw(tiff.file {page}))
  end)

  tiff_reads("is read in strips, tiles and planes", function()
    local strips = tiff.page(2, 3, 8, 1, BLACK_IS_0, {"\1\2\3\4", "\5\6"}, {rows = 2})
    assert.same({1, 2, 3, 4, 5, 6}, raw(tiff.file {strips}))
    local tiles = {}
    for i = 0, 1 do
      local pixels = {}
      for y = 0, 15 do
        for x = 0, 15 do pixels[#pixels + 1] = string.char((i * 16 + x + 40 * y) % 256) end
      end
      tiles[i + 1] = table.concat(pixels)
    end
    local tiled = tiff.page(18, 2, 8, 1, BLACK_IS_0, tiles, {tile_width = 16, tile_height = 16})
    tiled.tags.rows = nil
    local want = {}
    for y = 0, 1 do
      for x = 0, 17 do want[#want + 1] = x + 40 * y end
    end
    assert.same(want, raw(tiff.file {tiled}))
    local planes = tiff.page(2, 1, 8, 3, RGB, {"\1\2", "\3\4", "\5\6"}, {planar = 2})
    assert.same({1, 2, 3, 4, 5, 6}, raw(tiff.file {planes}))
    assert.same({0, 40, 80, 120, 0, 40, 80, 120, 0, 40, 80, 120, 0, 0, 0, 0, 50, 50, 50, 50, 100, 100, 100, 100,
      0, 10, 20, 30, 7, 17, 27, 37, 14, 24, 34, 44}, assert(image.load(FIXTURES .. "lzw.tif", {raw = true})):totable())
  end)

  tiff_reads("has palettes of 16 bits, and of 8 as they are and times 256", function()
    local function map(...)
      local colours = {...}
      for i = #colours + 1, 48 do colours[i] = 0 end
      return tiff.file {tiff.page(2, 1, 4, 1, MAP, "\x01", {map = colours})}
    end
    assert.same({0, 1}, raw(map(1, 2)))
    local first = {[1] = 10, [2] = 20, [17] = 30, [18] = 40, [33] = 50, [34] = 60}
    for _, times in ipairs {1, 256, 257} do
      local colours = {}
      for i = 1, 48 do colours[i] = (first[i] or 0) * times end
      local t = assert(image.decode(map(table.unpack(colours))))
      assert.same({10, 20, 30, 40, 50, 60}, (t * 255):round():totable())
    end
    local t = assert(image.decode(map(1000, 65535)))
    assert.is_true(math.abs(t[1][1][1] - 1000 / 65535) < 1e-7) -- a float's rounding
  end)

  tiff_reads("has alpha; colours that were multiplied by it are divided again", function()
    local straight = tiff.page(1, 1, 8, 4, RGB, "\10\20\30\40", {extra = 2})
    local multiplied = tiff.page(1, 1, 8, 4, RGB, "\10\20\30\40", {extra = 1})
    assert.same({10, 20, 30, 40}, raw(tiff.file {straight}, {channels = 4}))
    assert.same({10, 20, 30, 40}, raw(tiff.file {multiplied}, {channels = 4}))
    local t = assert(image.decode(tiff.file {multiplied}, {channels = 4}))
    assert.same({64, 128, 191, 40}, (t * 255):round():totable()) -- 10·255/40 = 63.75
    local nothing = tiff.page(1, 1, 8, 4, RGB, "\10\20\30\0", {extra = 1})
    assert.same({0, 0, 0, 0}, image.decode(tiff.file {nothing}, {channels = 4}):totable())
    local unknown = tiff.page(1, 1, 8, 4, RGB, "\10\20\30\40", {extra = 0})
    assert.same({10, 20, 30, 255}, raw(tiff.file {unknown}, {channels = 4}))
    local unsaid = tiff.page(1, 1, 8, 4, RGB, "\10\20\30\40") -- alpha for viewers
    assert.same({10, 20, 30, 40}, raw(tiff.file {unsaid}, {channels = 4}))
  end)

  tiff_reads("has CMYK", function()
    assert.same({207, 198, 190}, raw(tiff.file {tiff.page(1, 1, 8, 4, CMYK, "\10\20\30\40")}))
  end)

  tiff_reads("is turned as its orientation says", function()
    local want = {
      {1, 2, 3, 4, 5, 6}, {2, 1, 4, 3, 6, 5}, {6, 5, 4, 3, 2, 1}, {5, 6, 3, 4, 1, 2},
      {1, 3, 5, 2, 4, 6}, {5, 3, 1, 6, 4, 2}, {6, 4, 2, 5, 3, 1}, {2, 4, 6, 1, 3, 5},
    }
    for orientation, numbers in ipairs(want) do
      local bytes = tiff.file {tiff.page(2, 3, 8, 1, BLACK_IS_0, "\1\2\3\4\5\6", {orientation = orientation})}
      assert.same(numbers, raw(bytes))
      assert.same({1, 2, 3, 4, 5, 6}, raw(bytes, {as_stored = true}))
    end
  end)

  tiff_reads("gives its first page, and says once that there are more", function()
    local path = os.tmpname()
    local said, notify = {}, data.notify
    data.notify = function(text) said[#said + 1] = text end
    finally(function()
      os.remove(path)
      data.notify = notify
    end)
    local function page(v, kind) return tiff.page(1, 1, 8, 1, BLACK_IS_0, string.char(v), {kind = kind}) end
    scratch.write(path, tiff.file {page(1, 1), page(2, 0), page(3, 1), page(4, 2)}) -- previews beside two pages
    assert.equal(2, image.info(path).pages)
    local mine = package.loaded["cglow.image"]
    package.loaded["cglow.image"] = nil
    local fresh = require "cglow.image"
    package.loaded["cglow.image"] = mine
    assert.equal(2, fresh.load(path, {raw = true})[1][1][1])
    assert.equal(2, fresh.load(path, {raw = true})[1][1][1])
    assert.same({path .. " holds 2 pictures: the first is read, of this file and of others like it"}, said)
    scratch.write(path, tiff.file {page(1, 1)})
    assert.same({nil, path .. ": TIFF of previews only, as raw files of cameras are", 95}, {image.load(path)})
  end)

  tiff_reads("is refused when damaged, or of a kind that is not read", function()
    local function page(...) return tiff.file {tiff.page(...)} end
    local whole = page(2, 3, 8, 1, BLACK_IS_0, "\1\2\3\4\5\6")
    refused(whole:sub(1, -2), "damaged TIFF: ")
    refused(whole:sub(1, 40), "damaged TIFF: ")
    refused("II*\0\xff\xff\xff\xff", "damaged TIFF: ")
    refused(page(2, 3, 8, 1, BLACK_IS_0, {"\1\2"}, {rows = 1}), "damaged TIFF: ")
    refused(page(60000, 2000, 8, 1, BLACK_IS_0, "\1"), "bytes cannot hold 60000x2000 pixels")
    refused(page(60000, 60000, 8, 1, BLACK_IS_0, "\1"), "at most 65535 a side", 27)
    refused(page(0, 1, 8, 1, BLACK_IS_0, "\1"), "damaged TIFF: ")
    refused(page(1, 1, 8, 1, MAP, "\1"), "no palette")
    refused(page(1, 1, 12, 1, BLACK_IS_0, "\1\2"), "number of bits", 95)
    refused(page(1, 1, 16, 1, BLACK_IS_0, "\1\2", {format = 2}), "signed", 95)
    refused(page(1, 1, 32, 1, BLACK_IS_0, "\1\2\3\4"), "number of bits", 95)
    refused(page(1, 1, 64, 1, BLACK_IS_0, ("\1"):rep(8), {format = 3}), "32 bits", 95)
    refused(page(1, 1, 8, 2, BLACK_IS_0, "\1\2", {extra = 0}), "more samples a pixel", 95)
    refused(page(1, 1, 8, 5, RGB, "\1\2\3\4\5"), "more samples a pixel", 95)
    refused(page(1, 1, 8, 2, RGB, "\1\2"), "too few samples", 95)
    refused(page(1, 1, 8, 3, 8, "\1\2\3"), "its colours", 95)
    refused(page(1, 1, 8, 1, BLACK_IS_0, "\1", {compression = 60000}), "its compression", 95)
    local huge = tiff.page(1, 1, 8, 1, BLACK_IS_0, "\1", {tile_width = 65520, tile_height = 65520})
    refused(tiff.file {huge}, "its tiles are too large")
  end)

  tiff_reads("is refused before memory is taken for it", function()
    local before = collectgarbage "count"
    local t = image.decode(tiff.file {tiff.page(60000, 2000, 8, 1, BLACK_IS_0, ("x"):rep(1000))})
    assert.is_nil(t)
    assert.is_true(collectgarbage "count" - before < 1000)
  end)
end)

local function webp_reads(name, f)
  it(name, READS.WebP and f or function() pending "this build has no WebP" end)
end

describe("WebP", function()
  local colours = {{}, {}, {}, {}}
  for y = 0, 2 do
    for x = 0, 3 do
      for c, v in ipairs {40 * x, 50 * y, 10 * x + 7 * y, 255 - 60 * x} do table.insert(colours[c], v) end
    end
  end
  local function load(name, o)
    o = o or {}
    o.raw = true
    return assert(image.load(FIXTURES .. name .. ".webp", o))
  end

  webp_reads("is read, with alpha and turned", function()
    for c = 1, 3 do
      assert.same(colours[c], load("lossless")[c]:totable())
      assert.same(colours[c], load("alpha")[c]:totable())
      assert.same(colours[c], load("turned", {as_stored = true})[c]:totable())
    end
    assert.same(colours[4], load("alpha", {channels = 4})[4]:totable())
    assert.is_true(load("turned"):eq(image.flip(load("lossless"):transpose(2, 3), "horizontal")):min() == 1)
    for c, v in ipairs {200, 100, 50} do
      assert.is_true((load("lossy")[c] - v):abs():max() <= 3) -- 4:2:0 of 8 bits, quality 95
    end
    assert.is_true(image.info(FIXTURES .. "lossy.webp").lossy)
    assert.is_false(image.info(FIXTURES .. "lossless.webp").lossy)
  end)

  webp_reads("gives its first frame, on a canvas that is transparent elsewhere", function()
    local t = load("animated", {channels = 4})
    assert.equal("4x3x4", table.concat(t:size(), "x"))
    assert.same({0, 0, 255, 255, 0, 0, 255, 255, 0, 0, 0, 0}, t[4]:totable())
    assert.same({0, 0, 100, 100, 0, 0, 100, 100, 0, 0, 0, 0}, t[2]:totable())
    assert.equal(2, image.info(FIXTURES .. "animated.webp").pages)
  end)

  webp_reads("is refused when damaged", function()
    for _, name in ipairs {"lossless", "alpha", "lossy", "animated", "turned"} do
      local bytes = scratch.read(FIXTURES .. name .. ".webp")
      for _, n in ipairs {12, 20, #bytes // 2, #bytes - 3} do refused(bytes:sub(1, n), "damaged WebP") end
    end
    refused(scratch.read(FIXTURES .. "lossless.webp"):gsub("VP8L....", "%0\0", 1), "damaged WebP")
  end)
end)

describe("a format without its library", function()
  it("is named, not called unknown", function()
    for name, bytes in pairs {TIFF = "II*\0\8\0\0\0", WebP = "RIFF\4\0\0\0WEBP"} do
      local _, message = image.decode(bytes)
      assert.matches(READS[name] and "damaged " .. name or "a " .. name .. " picture, which this build cannot read",
        message)
    end
  end)
end)
