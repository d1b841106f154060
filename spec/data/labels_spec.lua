--- What masks and label maps mean, and which pictures belong together.
local scratch = require "spec.fixtures.scratch"
local core = require "cglow.core"
local data = require "cglow.data"
local image = require "cglow.image"
local labels = require "cglow.data.labels"
local png = require "spec.fixtures.image.png"
local sets = require "spec.support.sets"

local dir <const> = scratch.each(before_each, after_each)

-- A row of samples as a file; o: `bits`, `colour` (PNG's type), `palette` ({{r, g, b}, …}).
local function write(name, samples, o)
  o = o or {}
  local chunks = ""
  if o.palette then
    local bytes = {}
    for i, c in ipairs(o.palette) do bytes[i] = string.char(table.unpack(c)) end
    chunks = png.chunk("PLTE", table.concat(bytes))
  end
  local path = dir .. "/" .. name
  sets.write(path, png.file {
    width = #samples, height = 2, bits = o.bits or 8, colour = o.palette and 3 or o.colour or 0, chunks = chunks,
    pixel = function(x) return type(samples[x + 1]) == "table" and samples[x + 1] or {samples[x + 1]} end,
  })
  return path
end

local function mask_of(...)
  local mask, message = labels.mask(write("m.png", ...))
  if not mask then return nil, message end
  local row = {}
  for i = 1, mask:size(3) do row[i] = mask[1][1][i] end
  return row
end

local BLACK, WHITE, RED, GREEN, GREY = {0, 0, 0}, {255, 255, 255}, {255, 0, 0}, {0, 255, 0}, {90, 90, 90}

describe("a mask says by its own values what is foreground:", function()
  local two = {
    {"0 and 255", {0, 255, 255, 0}}, {"0 and 1", {0, 1, 1, 0}}, {"0 and 38", {0, 38, 38, 0}},
    {"0 and 1 of one bit", {0, 1, 1, 0}, {bits = 1}}, {"0 and 3 of two bits", {0, 3, 3, 0}, {bits = 2}},
    {"0 and 65535", {0, 65535, 65535, 0}, {bits = 16}}, {"0 and 1 of 16 bits", {0, 1, 1, 0}, {bits = 16}},
    {"16 and 235", {16, 235, 235, 16}},
    {"black and white in colours", {BLACK, WHITE, WHITE, BLACK}, {colour = 2}},
    {"0 and 1 in colours", {BLACK, {1, 1, 1}, {1, 1, 1}, BLACK}, {colour = 2}},
    {"black and red", {BLACK, RED, RED, BLACK}, {colour = 2}},
    {"a palette as VOC has it", {0, 15, 1, 0}, {palette = {BLACK, RED, GREEN, BLACK, BLACK, BLACK, BLACK, BLACK, BLACK,
      BLACK, BLACK, BLACK, BLACK, BLACK, BLACK, WHITE}}},
    {"a palette of black and white", {0, 1, 1, 0}, {palette = {BLACK, WHITE}, bits = 1}},
    {"a palette whose background is a colour", {0, 1, 2, 0}, {palette = {GREEN, RED, BLACK}}},
    {"a grey palette with instances", {0, 1, 2, 0}, {palette = {BLACK, {1, 1, 1}, {2, 2, 2}}}},
  }
  for _, case in ipairs(two) do
    it(case[1], function() assert.same({0, 1, 1, 0}, mask_of(case[2], case[3])) end)
  end

  it("smooth edges keep their shares", function()
    local row = {}
    for i = 0, 15 do row[i + 1] = i < 6 and 0 or i > 9 and 255 or 51 * (i - 5) end
    local got = assert(mask_of(row))
    for i, v in ipairs(row) do assert.near(v / 255, got[i], 1e-7) end
  end)

  it("nothing, and everything", function()
    assert.same({0, 0}, mask_of {0, 0})
    for _, v in ipairs {1, 255} do assert.same({1, 1}, mask_of {v, v}) end
    assert.same({1, 1}, mask_of({WHITE, WHITE}, {colour = 2}))
  end)

  local unclear = {
    {"a trimap", {0, 128, 255, 0}, "values are 0, 128, 255 (of 255)"},
    {"a trimap without an outside", {127, 255, 255, 127}, "values are 127, 255 (of 255)"},
    {"a dark and a bright grey", {60, 180, 180, 60}, "values are 60, 180 (of 255)"},
    {"classes", {0, 1, 2, 3}, "values are 0, 1, 2, 3 (of 255)"},
    {"Oxford's trimap", {1, 2, 3, 1}, "values are 1, 2, 3 (of 255)"},
    {"a class and a void", {0, 1, 255, 0}, "values are 0, 1, 255 (of 255)"},
    {"one strange value", {38, 38}, "values are 38 (of 255)"},
    {"two dark values", {3, 38}, "values are 3, 38 (of 255)"},
    {"many classes", {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, "values are 0, 1, 2, 3, 4, 5, … (of 255)"},
    {"two colours", {RED, GREEN}, "colours are #00ff00, #ff0000", {colour = 2}},
    {"three colours", {BLACK, RED, GREEN}, "colours are #000000, #00ff00, #ff0000", {colour = 2}},
    {"a palette the other way round", {0, 1}, "colour 0 of its palette is #ffffff, and it has #000000",
      {palette = {WHITE, BLACK}}},
    {"alpha alone", {{255, 255, 255, 0}, {255, 255, 255, 255}}, "only its alpha differs", {colour = 6}},
    {"colours of 16 bits", {{0, 0, 0}, {65535, 0, 0}}, "colours of 16 bits", {colour = 2, bits = 16}},
  }
  for _, case in ipairs(unclear) do
    it("not clearly: " .. case[1], function()
      local mask, message = mask_of(case[2], case[4])
      assert.is_nil(mask)
      assert.is_truthy(message:find(dir .. "/m.png: not clearly a mask: ", 1, true), message)
      assert.is_truthy(message:find(case[3], 1, true), message)
    end)
  end

  it("a photograph is none", function()
    sets.save(dir .. "/photo.png", core.Rng(1):uniform(1, 40, 40))
    assert.matches("not clearly a mask: its values go from %d+ to %d+ %(of 255%) through all greys",
      select(2, labels.mask(dir .. "/photo.png")))
  end)

  it("a JPEG by its greys, and never a dark one or one in colours", function()
    local square = core.zeros(1, 32, 32)
    image.paste(square, core.ones(1, 16, 11), 3, 5)
    sets.save(dir .. "/m.jpg", square)
    assert.is_true((labels.mask(dir .. "/m.jpg"):gt(0.5) - square):abs():max() == 0)
    sets.save(dir .. "/m.jpg", image.rgb(square))
    assert.is_true((labels.mask(dir .. "/m.jpg"):gt(0.5) - square):abs():max() == 0)
    sets.save(dir .. "/m.jpg", square * (3 / 255))
    assert.matches("not clearly a mask: its values are 0, ", select(2, labels.mask(dir .. "/m.jpg")))
    sets.save(dir .. "/m.jpg", core.cat({square, square * 0, square * 0}, 1))
    assert.matches("a JPEG in colours", select(2, labels.mask(dir .. "/m.jpg")))
  end)

  it("what cannot be read is told", function()
    assert.matches("No such file", select(2, labels.mask(dir .. "/none.png")))
    sets.write(dir .. "/m.png", "P5 2 2 255\n")
    assert.matches("damaged PNM", select(2, labels.mask(dir .. "/m.png")))
    assert.matches("damaged PNM", select(2, labels.map(dir .. "/m.png", 2)))
  end)
end)

describe("a label map", function()
  local function map_of(samples, o, classes, colours)
    local map, message = labels.map(write("l.png", samples, o), classes, colours)
    return map and map[1]:totable(), message
  end

  it("has whole numbers: grey, palette indices, grey in colours", function()
    assert.same({0, 2, 1}, map_of({0, 2, 1}, nil, 3))
    assert.same({0, 2, 1}, map_of({0, 2, 1}, {palette = {RED, WHITE, GREEN}}, 3))
    assert.same({0, 2, 1}, map_of({BLACK, {2, 2, 2}, {1, 1, 1}}, {colour = 2}, 3))
    assert.same({nil, dir .. "/l.png: label 75 where 3 classes go from 0 to 2"}, {map_of({0, 75}, nil, 3)})
  end)

  it("in colours needs a table, and says which colours it has", function()
    local samples = {RED, BLACK, GREEN, RED}
    assert.matches("l%.png: labels in colours %(#000000, #00ff00, #ff0000%); which class",
      select(2, map_of(samples, {colour = 2}, 3)))
    assert.same({1, 0, 2, 1}, map_of(samples, {colour = 2}, 3, {BLACK, RED, GREEN}))
    assert.same({1, 0, 2, 1}, map_of({2, 0, 1, 2}, {palette = {BLACK, GREEN, RED}}, 3, {BLACK, RED, GREEN}))
    assert.matches("colours that are not in the table: #00ff00, #5a5a5a$",
      select(2, map_of({RED, BLACK, GREEN, GREY}, {colour = 2}, 2, {BLACK, RED})))
  end)

  it("is no JPEG", function()
    sets.save(dir .. "/l.jpg", core.zeros(1, 8, 8))
    assert.matches("a JPEG does not keep labels", select(2, labels.map(dir .. "/l.jpg", 2)))
  end)
end)

describe("pictures of one scene", function()
  local function pair(h, w, h2, w2)
    return labels.same_scene("a", core.zeros(3, h, w), "b", core.zeros(1, h2, w2))
  end

  it("have sides in the same proportion, but for rounding", function()
    local sides = {{450, 600, 450, 600}, {600, 800, 150, 201}, {252, 400, 156, 249}, {10, 10, 3, 3}, {7, 10, 3, 5}}
    for _, s in ipairs(sides) do
      assert.is_true(pair(table.unpack(s)))
    end
    local ok, message = pair(450, 600, 600, 450)
    assert.is_nil(ok)
    assert.equal("a is 450x600 (rows x columns) and b is 600x450: they do not show the same; "
      .. "one of them lies on its side", message)
    assert.equal("a is 600x600 (rows x columns) and b is 600x450: they do not show the same",
      select(2, pair(600, 600, 600, 450)))
  end)

  it("are compared by every reader of pairs", function()
    sets.save(dir .. "/x/p.png", core.zeros(3, 45, 60))
    sets.save(dir .. "/y/p.png", core.zeros(1, 60, 45))
    for _, kind in ipairs {"mask", "image", "continuous", "labels"} do
      local ds = assert(data.pairs(dir, {kind = kind, size = 8, classes = kind == "labels" and 2 or nil}))
      assert.matches("x/p%.png is 45x60 .*y/p%.png is 60x45: they do not", select(2, ds:get(1)))
    end
    assert(assert(data.pairs(dir, {size = {45, 60}, y_size = {60, 45}})):get(1)) -- the options say so
    os.rename(dir .. "/x", dir .. "/rgb")
    os.rename(dir .. "/y", dir .. "/figure_ground")
    assert.matches("they do not show the same", select(2, data.horses(dir, {split = "all"}):get(1)))
  end)
end)

describe("a part without any foreground", function()
  it("is told once, with the number of its masks", function()
    for i = 1, 3 do
      sets.save(("%s/x/p%d.png"):format(dir, i), core.zeros(3, 4, 4))
      sets.save(("%s/y/p%d.png"):format(dir, i), core.zeros(1, 4, 4))
    end
    local function notes()
      return (sets.notes(function()
        local ds = assert(data.pairs(dir, {kind = "mask", cache = "none"}))
        for _ = 1, 2 do
          for i = 1, 3 do assert(ds:get(i)) end
        end
      end))
    end
    assert.same({("pairs all in %s: all 3 masks are empty: nothing in them is foreground"):format(dir)}, notes())
    sets.save(dir .. "/y/p2.png", core.ones(1, 4, 4))
    assert.same({}, notes())
    for _, i in ipairs {1, 3} do sets.save(("%s/y/p%d.png"):format(dir, i), core.ones(1, 4, 4)) end
    assert.matches("all 3 masks are full", notes()[1])
  end)
end)

describe("floating-point and lossy files", function()
  local function pfm(name, numbers)
    assert(image.save(dir .. "/" .. name, core.tensor(numbers):reshape(1, 1, #numbers)))
    return dir .. "/" .. name
  end

  it("hold masks of 0 and 1, with smooth edges", function()
    assert.same({0, 1, 1, 0}, labels.mask(pfm("a.pfm", {0, 1, 1, 0})):totable())
    assert.same({0, 0, 1, 0.5}, labels.mask(pfm("b.pfm", {0, 0, 1, 0.5})):totable())
    assert.matches("not clearly a mask: its floating%-point numbers go from 0 to 3.5",
      select(2, labels.mask(pfm("c.pfm", {0, 3.5}))))
    assert.matches("go from %-1 to 1", select(2, labels.mask(pfm("d.pfm", {-1, 1}))))
    assert.matches("go from 0 to 0.3", select(2, labels.mask(pfm("e.pfm", {0, 0.2, 0.3, 0.3}))))
  end)

  it("hold labels that are whole numbers", function()
    assert.same({0, 2, 1}, labels.map(pfm("a.pfm", {0, 2, 1}), 3):totable())
    for i, wrong in ipairs {{0, 0.5}, {-1, 0}, {0, 1e9}} do
      assert.matches("whole numbers from 0 on", select(2, labels.map(pfm(i .. ".pfm", wrong), 3)))
    end
    assert.matches("no colours of a table", select(2, labels.map(pfm("b.pfm", {0, 1}), 2, {{0, 0, 0}, {1, 1, 1}})))
  end)

  it("keep no labels where there is loss", function()
    for _, format in ipairs(image.formats()) do
      if format == "WebP" then
        sets.write(dir .. "/l.webp", scratch.read "spec/fixtures/image/lossy.webp")
        assert.matches("a WebP with loss does not keep labels", select(2, labels.map(dir .. "/l.webp", 2)))
      end
    end
  end)
end)
