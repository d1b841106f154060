--- Pictures as every viewer shows them.
local exif = require "spec.fixtures.image.exif"
local image = require "cglow.image"
local png = require "spec.fixtures.image.png"
local sets = require "spec.support.sets"

-- The picture 123/456 under each of Exif's orientations.
local SHOWN = {"123/456", "321/654", "654/321", "456/123", "14/25/36", "41/52/63", "63/52/41", "36/25/14"}

local function rows_of(t)
  local rows = {}
  for y = 1, t:size(2) do
    local row = {}
    for x = 1, t:size(3) do row[x] = ("%d"):format(t[1][y][x] // 1) end
    rows[y] = table.concat(row)
  end
  return table.concat(rows, "/")
end

local function shown(bytes, o)
  o = o or {}
  o.raw = true
  return rows_of(assert(image.decode(bytes, o)))
end

local function oriented(n, o) return exif.png(png.chunk("eXIf", exif.block(n, o))) end

describe("a picture's orientation", function()
  for n, want in ipairs(SHOWN) do
    it(("%d in PNG: in both byte orders, before and after the pixels, interlaced"):format(n), function()
      local chunk = png.chunk("eXIf", exif.block(n))
      assert.equal(want, shown(exif.png(chunk)))
      assert.equal(want, shown(oriented(n, {little = true, others = 3})))
      assert.equal(want, shown(oriented(n, {long = true, others = 0})))
      assert.equal(want, shown(exif.png("", chunk)))
      assert.equal(want, shown(exif.png(chunk, "", 1)))
      assert.equal("123/456", shown(exif.png(chunk), {as_stored = true}))
    end)

    it(("%d in JPEG"):format(n), function()
      local plain = sets.read "spec/fixtures/image/grey.jpg"
      local stored = assert(image.decode(plain))
      local got = assert(image.decode(exif.jpeg(plain, exif.block(n))))
      local h, w = stored:size(2), stored:size(3)
      local first, last = want:sub(1, 1), want:match "/(%d)%d*$"
      assert.same(#want:match "^%d+" == 3 and {1, h, w} or {1, w, h}, got:size())
      local corner = {["1"] = {1, 1}, ["3"] = {1, w}, ["4"] = {h, 1}, ["6"] = {h, w}}
      local function at(t, place) return t[1][place[1]][place[2]] end
      assert.equal(at(stored, corner[first]), got[1][1][1])
      assert.equal(at(stored, corner[last]), got[1][got:size(2)][1])
      assert.equal(stored, image.decode(exif.jpeg(plain, exif.block(n)), {as_stored = true}))
    end)
  end

  it("is found behind another APP1 and another Exif does not change it", function()
    local plain = sets.read "spec/fixtures/image/grey.jpg"
    local turned = exif.jpeg(exif.jpeg(plain, exif.block(3)), exif.block(6))
    local both = exif.in_jpeg(turned, 0xe1, "http://ns.adobe.com/xap/1.0/\0<x/>")
    assert.equal(image.decode(exif.jpeg(plain, exif.block(6))), image.decode(both))
  end)

  it("is that of every channel and kind of numbers", function()
    local bytes = exif.jpeg(sets.read "spec/fixtures/image/colour.jpg", exif.block(3))
    local stored = image.decode(bytes, {as_stored = true, channels = 4})
    assert.equal(image.flip(image.flip(stored, "vertical"), "horizontal"), image.decode(bytes, {channels = 4}))
  end)

  it("is none when the block is damaged or says nonsense", function()
    local good = exif.block(6)
    for n = 0, #good - 5 do -- the last 4 bytes only say that no directory follows
      local got = shown(exif.png(png.chunk("eXIf", good:sub(1, n))))
      assert.equal("123/456", got)
    end
    for _, n in ipairs {0, 9, 255, 65535} do assert.equal("123/456", shown(oriented(n))) end
    assert.equal("123/456", shown(oriented(65536 + 6, {long = true})))
    local chunk = png.chunk("eXIf", good)
    assert.equal("123/456", shown(exif.png(chunk:sub(1, -2) .. "x")))
    assert.equal("123/456", shown(exif.png(png.chunk("eXIf", "XX" .. good:sub(3)))))
  end)

  it("is told by image.info, which gives the sides as shown", function()
    local dir, remove = sets.folder()
    local path = dir .. "/a.png"
    sets.write(path, oriented(6))
    local info = assert(image.info(path))
    assert.same({
      format = "PNG", width = 2, height = 3, channels = 1, max = 255, palette = false, orientation = 6, pages = 1,
      floating = false, lossy = false,
    }, info)
    sets.write(path, "P5 1 1 255\n")
    local nothing, message, code = image.info(path)
    assert.is_nil(nothing)
    assert.equal(path .. ": damaged PNM: 1x1 pixels need 1 bytes, 0 are left", message)
    assert.equal("integer", math.type(code))
    assert.matches("No such file", select(2, image.info(dir .. "/none.png")))
    assert.error_matches(function() image.info "a\0b" end, "path must be without NUL")
    remove()
  end)
end)

it("grey and alpha are read and written as two channels", function()
  local t = require("cglow.core").Rng(1):uniform(2, 3, 4)
  local bytes = assert(image.encode(t, "png", {bits = 16}))
  local back = assert(image.decode(bytes, {channels = 2}))
  assert.is_true((back - t):abs():max() <= 0.5 / 65535 + 1e-7) -- half a level, and float's rounding
  assert.equal(image.decode(bytes), back:narrow(1, 1, 1):clone())
  assert.equal(image.decode(bytes, {channels = 4})[4], back[2])
  assert.error_matches(function() image.encode(t, "jpeg") end, "1xHxW or 3xHxW expected, got 2x3x4")
end)
