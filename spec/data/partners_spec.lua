--- Which picture belongs to which, and what pictures are that nobody has said anything about.
local core = require "cglow.core"
local data = require "cglow.data"
local kind_of = require "cglow.data.kind_of"
local partners = require "cglow.data.partners"
local sets = require "spec.support.sets"

describe("partners by name", function()
  local function matched(xs, ys) return (assert(partners.match(xs, ys))) end

  it("have the same name, or a word more that says what they are", function()
    for _, y in ipairs {"horse 1", "horse 1_mask", "horse 1-gt", "horse 1.label", "horse 1_Mask", "mask_horse 1",
      "horse 1 seg"} do
      assert.same({["horse 1"] = y}, matched({"horse 1"}, {y}))
    end
    assert.same({a_img = "a_label", b = "b_label"}, matched({"a_img", "b"}, {"a_label", "b_label"}))
  end)

  it("are not merely alike", function()
    assert.same({}, matched({"horse1"}, {"horse12_mask", "horse1_masked", "orse1_mask", "_mask", "horse1mask"}))
  end)

  it("with the same name come before those with a word more", function()
    assert.same({a = "a"}, matched({"a"}, {"a", "a_mask"}))
    assert.same({a = "a", a_mask = "a_mask"}, matched({"a", "a_mask"}, {"a", "a_mask"}))
  end)

  it("say in which form their names are", function()
    local _, form = partners.match({"a", "b", "c"}, {"a_mask", "mask-b", "c"})
    assert.same({a = "NAME_mask", b = "mask-NAME"}, form)
  end)

  it("may not be two", function()
    local none, message = partners.match({"a", "b"}, {"a_mask", "a_gt", "b"})
    assert.is_nil(none)
    assert.equal("which of two is meant? a has a_mask and a_gt", message)
  end)

  it("of one folder are told apart by the word, where there is a picture without it", function()
    local xs, ys = partners.deal {"a", "a_mask", "b_img", "b_label", "the_mask"}
    assert.same({"a", "b_img", "the_mask"}, xs)
    assert.same({"a_mask", "b_label"}, ys)
    xs, ys = partners.deal {"a", "b"}
    assert.equal(xs, ys)
  end)
end)

describe("the kind of pictures", function()
  local dir, remove
  before_each(function() dir, remove = sets.folder() end)
  after_each(function() remove() end)

  -- Paths of pictures of one row each.
  local function written(rows, ending, options)
    local list = {}
    for i, row in ipairs(rows) do
      list[i] = ("%s/%d.%s"):format(dir, i, ending or "png")
      sets.save(list[i], core.tensor {{row, row}}, options or {raw = true})
    end
    return list
  end

  for _, case in ipairs {
    {"mask", "0 and 255", {{0, 255, 0, 0}, {0, 0, 0, 0}, {255, 255, 255, 0}}},
    {"mask", "0 and 1, 0 and 255", {{0, 1, 0, 0}, {0, 255, 0, 0}}},
    {"mask", "0 and 38", {{0, 38, 0, 0}, {0, 38, 38, 0}}},
    {"mask", "smooth edges", {{0, 20, 120, 130, 235, 255, 255, 255, 240, 250}}},
    {"labels", "0, 1, 2", {{0, 1, 2, 0}, {0, 1, 1, 0}}},
    {"labels", "two values each, but not the same", {{0, 1, 0, 0}, {0, 2, 0, 0}, {0, 3, 3, 0}}},
    {"labels", "0, 127, 255", {{0, 127, 127, 255}}},
  } do
    it("is " .. case[1] .. " with " .. case[2], function() assert.equal(case[1], (kind_of.guess(written(case[3])))) end)
  end

  it("is image with many values, and with colours of a JPEG", function()
    local rng = core.Rng(1)
    for ending, channels in pairs {png = 1, jpg = 3} do
      local path = ("%s/p.%s"):format(dir, ending)
      sets.save(path, core.rand(channels, 32, 32, rng))
      assert.same({"image", 1}, {kind_of.guess {path}})
      assert.equal(channels == 1, kind_of.grey {path})
    end
  end)

  it("is not guessed from what cannot be read", function()
    sets.write(dir .. "/1.png", "no picture")
    local none, message = kind_of.guess {dir .. "/1.png"}
    assert.is_nil(none)
    assert.matches("1.png: ", message, 1, true)
  end)

  it("is not guessed from a file that breaks off, and from the others where that is to be passed over", function()
    local list = written {{0, 255, 0, 0}, {0, 255, 255, 0}}
    local file = assert(io.open(list[2], "rb"))
    local bytes = file:read "a"
    file:close()
    sets.write(list[2], bytes:sub(1, -20))
    local none, message = kind_of.guess(list)
    assert.is_nil(none)
    assert.matches(list[2] .. ": damaged PNG", message, 1, true)
    assert.same({"mask", 1}, {kind_of.guess(list, true)})
    assert.is_nil((kind_of.guess({list[2]}, true)))
  end)

  it("says that colours are ignored by a colour", function()
    sets.save(dir .. "/c.png", core.tensor {{{1, 0}}, {{0, 0}}, {{0, 1}}})
    local none, message = kind_of.labels({dir .. "/c.png"}, 255)
    assert.is_nil(none)
    assert.matches("c.png has colours: there a colour is ignored, as six hexadecimal digits, not 255", message, 1, true)
  end)

  it("of labels comes with their number, or their colours where the numbers are no labels", function()
    assert.same({4}, {kind_of.labels(written {{0, 1, 0, 0}, {3, 3, 0, 2}})})
    assert.same({3, "000000 7f7f7f ffffff"}, {kind_of.labels(written {{0, 127, 0, 0}, {255, 0, 0, 0}})})
    sets.save(dir .. "/c.png", core.tensor {{{1, 0}}, {{0, 0}}, {{0, 1}}})
    assert.same({2, "0000ff ff0000"}, {kind_of.labels {dir .. "/c.png"}})
    assert.matches("one value alone: 0", select(2, kind_of.labels(written {{0, 0}})))
    assert.matches("JPEG", select(2, kind_of.labels(written({{0, 1}}, "jpg"))))
  end)

  it("reads colours from their text", function()
    assert.same({{0, 0, 0}, {255, 127, 1}}, kind_of.colours "000000 ff7f01")
    for _, text in ipairs {"", "000000", "000000 red", "000000 ff00"} do assert.is_nil(kind_of.colours(text)) end
  end)
end)

describe("data.pairs of two folders of one's own", function()
  local dir, remove
  before_each(function() dir, remove = sets.folder() end)
  after_each(function() remove() end)

  local function write(n)
    for i = 1, n do
      sets.save(("%s/photos/p%02d.png"):format(dir, i), core.full({3, 4, 4}, i / 20))
      sets.save(("%s/masks/p%02d_mask.png"):format(dir, i), core.ones(1, 4, 4))
    end
  end

  local function options(more)
    local o = {x = dir .. "/photos", y = dir .. "/masks", kind = "mask", partial = true}
    for name, value in pairs(more or {}) do o[name] = value end
    return o
  end

  it("tells what was matched and what was passed over, once, with counts", function()
    write(5)
    os.remove(dir .. "/masks/p02_mask.png")
    os.remove(dir .. "/photos/p04.png")
    local notes, ds = sets.notes(function()
      local o = options()
      assert(data.pairs(".", o))
      return (assert(data.pairs(".", o)))
    end)
    assert.same({"p01", "p03", "p05"}, {ds[1].name, ds[2].name, ds[3].name})
    assert.equal(1, #notes)
    assert.equal(("%s/photos and %s/masks: 3 pairs (partners named NAME_mask); 1 in %s/photos without a partner, "
      .. "passed over: p02; 1 in %s/masks without a partner, "
      .. "passed over: p04_mask"):format(dir, dir, dir, dir), notes[1])
    assert.matches("1 of 4 partners .* are missing: p02", select(2, data.pairs(".", options {partial = false})))
  end)

  it("says what names are like when none belong together", function()
    write(1)
    os.rename(dir .. "/masks/p01_mask.png", dir .. "/masks/q01.png")
    assert.matches("no picture of .*photos has a partner in .*masks: names there are like q01, here like p01",
      select(2, data.pairs(".", options())))
  end)

  it("holds out what a list names", function()
    write(4)
    sets.write(dir .. "/held.txt", "p02.png\np04\n")
    local function names(split)
      local list = {}
      for _, sample in assert(data.pairs(".", options {split = split, valid = dir .. "/held.txt"})):samples() do
        list[#list + 1] = sample.name
      end
      return table.concat(list, " ")
    end
    assert.equal("p02 p04", names "valid")
    assert.equal("p01 p03", names "train")
    sets.write(dir .. "/held.txt", "p01\np02\np03\np04\n")
    assert.matches("held.txt names all pairs", select(2, data.pairs(".", options {split = "train",
      valid = dir .. "/held.txt"})))
  end)

  it("reads one folder that holds both", function()
    for i = 1, 2 do
      sets.save(("%s/all/p%d.png"):format(dir, i), core.full({3, 4, 4}, 0.5))
      sets.save(("%s/all/p%d-mask.png"):format(dir, i), core.ones(1, 4, 4))
    end
    local ds = assert(data.pairs(".", options {x = dir .. "/all", y = dir .. "/all"}))
    assert.equal(2, #ds)
    assert.equal(1, ds[2].y:min())
    assert.near(0.5, ds[2].x:mean(), 0.002)
  end)
end)
