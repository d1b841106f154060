-- Resizing, cropping, padding and contact sheets.
local core = require "cglow.core"
local image = require "cglow.image"
local tools = require "spec.fixtures.image.tools"

local make, mixed, size = tools.make, tools.mixed, tools.size
local assert_equal, assert_near = tools.assert_equal, tools.assert_near

describe("image", function()
  describe("resize", function()
    local function overlap(a0, a1, b0, b1) return math.max(0, math.min(a1, b1) - math.max(a0, b0)) end

    --- The mean over each pixel's footprint, pixel by pixel.
    local function naive_area(t, height, width)
      local n = t:totable()
      local h, w = t:size(2), t:size(3)
      return make(t:size(1), height, width, function(c, y, x)
        local sum = 0
        for i = 0, h - 1 do
          for j = 0, w - 1 do
            sum = sum + n[(c * h + i) * w + j + 1] * overlap(i, i + 1, y * h / height, (y + 1) * h / height)
              * overlap(j, j + 1, x * w / width, (x + 1) * w / width)
          end
        end
        return sum * height * width / (h * w)
      end)
    end

    local function naive_bilinear(t, height, width)
      local n = t:totable()
      local h, w = t:size(2), t:size(3)
      local function at(c, i, j)
        i, j = math.max(0, math.min(h - 1, i)), math.max(0, math.min(w - 1, j))
        return n[(c * h + i) * w + j + 1]
      end
      return make(t:size(1), height, width, function(c, y, x)
        local v, u = (y + 0.5) * h / height - 0.5, (x + 0.5) * w / width - 0.5
        local i, j = v // 1 | 0, u // 1 | 0
        local a, b = v - i, u - j
        return (1 - a) * ((1 - b) * at(c, i, j) + b * at(c, i, j + 1))
          + a * ((1 - b) * at(c, i + 1, j) + b * at(c, i + 1, j + 1))
      end)
    end

    local value = mixed(255)
    local t = make(2, 12, 10, function(c, y, x) return value(c, y, x) / 255 end)
    -- results are rounded to float32 once; 1e-6 is 16 of its units below 1
    local TOLERANCE = 1e-6

    for _, s in ipairs {{12, 10}, {6, 5}, {5, 3}, {7, 9}, {1, 1}, {11, 1}, {24, 20}, {13, 17}, {30, 4}} do
      local height, width = table.unpack(s)
      it(("12x10 to %dx%d"):format(height, width), function()
        assert_near(naive_area(t, height, width), image.resize(t, height, width, {method = "area"}), TOLERANCE)
        assert_near(naive_bilinear(t, height, width), image.resize(t, height, width, {method = "bilinear"}), TOLERANCE)
        local n = t:totable()
        local nearest = make(2, height, width, function(c, y, x)
          local i, j = (2 * y + 1) * 12 // (2 * height), (2 * x + 1) * 10 // (2 * width)
          return n[(c * 12 + i) * 10 + j + 1]
        end)
        assert_equal(nearest, image.resize(t, height, width, {method = "nearest"}))
      end)
    end

    it("averages what shrinks and interpolates what grows", function()
      assert_equal(image.resize(t, 5, 4, {method = "area"}), image.resize(t, 5, 4))
      assert_equal(image.resize(t, 25, 40, {method = "bilinear"}), image.resize(t, 25, 40))
      assert_near(naive_bilinear(naive_area(t, 5, 10), 5, 23), image.resize(t, 5, 23), TOLERANCE)
    end)

    it("leaves a picture of the same size as it is", function()
      for _, method in ipairs {"area", "bilinear", "nearest"} do
        assert_equal(t, image.resize(t, 12, 10, {method = method}))
      end
    end)

    it("keeps a constant", function()
      local flat = make(1, 37, 53, function() return 0.7 end)
      assert_equal(make(1, 10, 90, function() return 0.7 end), image.resize(flat, 10, 90))
    end)

    it("takes batches and planes", function()
      assert.equal("1x2x3x4", size(image.resize(t:reshape(1, 2, 12, 10), 3, 4)))
      assert_equal(image.resize(t, 3, 4)[2], image.resize(t[2], 3, 4))
    end)
  end)

  describe("geometry", function()
    local t = make(2, 3, 4, function(c, y, x) return 100 * c + 10 * y + x end)
    local function rows(result, c)
      local n, h, w = result:totable(), result:size(2), result:size(3)
      local lines = {}
      for y = 0, h - 1 do
        local line = {}
        for x = 1, w do line[x] = ("%g"):format(n[(c * h + y) * w + x]) end
        lines[y + 1] = table.concat(line, " ")
      end
      return table.concat(lines, " / ")
    end

    it("crops", function()
      local part = image.crop(t, 2, 3, 2, 2)
      assert.equal("12 13 / 22 23", rows(part, 0))
      assert.equal("112 113 / 122 123", rows(part, 1))
      assert_equal(t, image.crop(t, 1, 1, 3, 4))
    end)

    it("flips", function()
      assert.equal("3 2 1 0 / 13 12 11 10 / 23 22 21 20", rows(image.flip(t, "horizontal"), 0))
      assert.equal("120 121 122 123 / 110 111 112 113 / 100 101 102 103", rows(image.flip(t, "vertical"), 1))
    end)

    it("pads", function()
      local o = {top = 1, bottom = 1, left = 2, right = 1, value = 7}
      assert.equal("7 7 7 7 7 7 7 / 7 7 0 1 2 3 7 / 7 7 10 11 12 13 7 / 7 7 20 21 22 23 7 / 7 7 7 7 7 7 7",
        rows(image.pad(t, o), 0))
      o.mode = "edge"
      assert.equal("0 0 0 1 2 3 3 / 0 0 0 1 2 3 3 / 10 10 10 11 12 13 13 / 20 20 20 21 22 23 23 / 20 20 20 21 22 23 23",
        rows(image.pad(t, o), 0))
      o.mode = "reflect"
      assert.equal("12 11 10 11 12 13 12 / 2 1 0 1 2 3 2 / 12 11 10 11 12 13 12 / 22 21 20 21 22 23 22 / "
        .. "12 11 10 11 12 13 12", rows(image.pad(t, o), 0))
      assert_equal(t, image.pad(t, {}))
    end)

    it("reflects into borders wider than the picture", function()
      local line = core.tensor({1, 2, 3}):reshape(1, 1, 3)
      assert.equal("2 1 2 3 2 1 2 3 2 1 2 3", rows(image.pad(line, {left = 5, right = 4, mode = "reflect"}), 0))
      assert.equal("1 1 1", rows(image.pad(core.tensor({1}):reshape(1, 1, 1), {left = 2, mode = "reflect"}), 0))
    end)

    it("pastes in place", function()
      local whole = make(2, 3, 4, function() return 0 end)
      assert.equal(whole, image.paste(whole, image.crop(t, 1, 1, 2, 2), 2, 3))
      assert.equal("0 0 0 0 / 0 0 0 1 / 0 0 10 11", rows(whole, 0))
      assert.equal("0 0 0 0 / 0 0 100 101 / 0 0 110 111", rows(whole, 1))
    end)

    it("turns colour to grey and back", function()
      local colour = core.tensor({1, 0, 0, 0.5, 0, 1, 0, 0.5, 0, 0, 1, 0.5}):reshape(3, 1, 4)
      assert_near(core.tensor({0.299, 0.587, 0.114, 0.5}):reshape(1, 1, 4), image.grey(colour), 2 ^ -24)
      local grey = core.tensor({1, 2}):reshape(1, 1, 2)
      assert.same({1, 2, 1, 2, 1, 2}, image.rgb(grey):totable())
      assert_equal(grey, image.grey(grey))
      assert_equal(colour, image.rgb(colour))
      assert_equal(grey, image.grey(image.rgb(grey)))
    end)
  end)

  describe("grid", function()
    local function flat(channels, height, width, v) return core.full({channels, height, width}, v) end
    local function at(t, c, row, column)
      return t:totable()[((c - 1) * t:size(2) + row - 1) * t:size(3) + column]
    end

    it("lays out rows of cells", function()
      local sheet = image.grid({flat(1, 2, 3, 0.25), flat(1, 2, 3, 0.5), flat(1, 2, 3, 0.75)}, {columns = 2, gap = 1})
      assert.same({
        1, 1, 1, 1, 1, 1, 1, 1, 1,
        1, 0.25, 0.25, 0.25, 1, 0.5, 0.5, 0.5, 1,
        1, 0.25, 0.25, 0.25, 1, 0.5, 0.5, 0.5, 1,
        1, 1, 1, 1, 1, 1, 1, 1, 1,
        1, 0.75, 0.75, 0.75, 1, 1, 1, 1, 1,
        1, 0.75, 0.75, 0.75, 1, 1, 1, 1, 1,
        1, 1, 1, 1, 1, 1, 1, 1, 1,
      }, sheet:totable())
      assert.equal("1x7x9", size(sheet))
    end)

    it("mixes grey and colour, sizes and blanks", function()
      local colour = make(3, 4, 4, function(c) return c / 4 end)
      local sheet = image.grid({flat(1, 2, 2, 0.5), false, colour, core.full({4, 4}, 0)}, {gap = 0, background = 0.125})
      assert.equal("3x8x8", size(sheet))
      assert.same({0.125, 0.5, 0.5, 0.125}, {at(sheet, 3, 1, 1), at(sheet, 1, 2, 2), at(sheet, 3, 3, 3),
        at(sheet, 2, 4, 4)})
      assert.equal(0.125, at(sheet, 2, 2, 6))
      assert.same({0, 0.25, 0.5}, {at(sheet, 1, 5, 1), at(sheet, 2, 5, 1), at(sheet, 3, 8, 4)})
    end)

    it("takes a batch, enlarges by whole pixels, is square by default", function()
      local batch = core.tensor({0, 1, 2, 3, 4}):reshape(5, 1, 1, 1)
      local sheet = image.grid(batch, {gap = 0, scale = 2, background = 9})
      assert.same({
        0, 0, 1, 1, 2, 2,
        0, 0, 1, 1, 2, 2,
        3, 3, 4, 4, 9, 9,
        3, 3, 4, 4, 9, 9,
      }, sheet:totable())
    end)

    it("writes captions above the columns and makes room for them", function()
      local sheet = image.grid({flat(1, 3, 3, 0.5), flat(1, 3, 3, 0.5)}, {captions = {"I", "wide"}, gap = 1})
      assert.equal("1x13x51", size(sheet)) -- 1 + 7 + 1 + 3 + 1 rows, 1 + 24 + 1 + 24 + 1 columns
      local first = image.crop(sheet, 2, 2, 7, 24)
      local letter = image.grey(image.text("I"))
      assert_equal(letter, image.crop(first, 1, 10, 7, 6))
      assert_equal(image.grey(image.text("wide")), image.crop(sheet, 2, 27, 7, 24))
      assert.equal(0.5, at(sheet, 1, 10, 12)) -- the picture, centred
    end)

    it("writes light captions on dark", function()
      local sheet = image.grid({flat(1, 7, 6, 0)}, {captions = {"-"}, gap = 0, background = 0})
      assert.same({1, 1, 1, 1, 1, 0}, image.crop(sheet, 4, 1, 1, 6):totable())
    end)
  end)

  describe("text", function()
    it("draws dots", function()
      local t = image.text("L")
      assert.equal("3x7x6", size(t))
      local n = t:totable()
      local lines = {}
      for y = 0, 6 do
        for x = 1, 6 do lines[#lines + 1] = n[y * 6 + x] == 0 and "#" or "." end
        lines[#lines + 1] = "\n"
      end
      assert.equal("#.....\n#.....\n#.....\n#.....\n#.....\n#.....\n#####.\n", table.concat(lines))
    end)

    it("takes colours and a scale", function()
      local t = image.text(".", {scale = 3, colour = {1, 0.5, 0}, background = {0, 0, 0.25}})
      assert.equal("3x21x18", size(t))
      assert.same({1, 0.5, 0}, image.crop(t, 18, 4, 1, 1):totable())
      assert.same({0, 0, 0.25}, image.crop(t, 1, 1, 1, 1):totable())
    end)

    it("has a glyph of its own for each character", function()
      local seen = {}
      for byte = 32, 126 do
        local key = table.concat(image.text(string.char(byte)):totable(), "")
        assert.is_nil(seen[key])
        seen[key] = byte
      end
    end)
  end)
end)
