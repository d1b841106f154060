-- Any two folders of pictures as a data set.
local scratch = require "spec.fixtures.scratch"
local core = require "cglow.core"
local data = require "cglow.data"
local sets = require "spec.support.sets"

local function grey(value) return core.full(1, 6, 8, value) end

describe("data.pairs", function()
  local dir <const> = scratch.each(before_each, after_each)

  local function write_folders(n)
    for i = 1, n do
      sets.save(("%s/x/p%02d.png"):format(dir, i), core.full(3, 6, 8, i / 20))
      sets.save(("%s/y/p%02d.pgm"):format(dir, i), grey(i / 40))
    end
  end

  it("reads two folders, whatever the kinds of the files", function()
    write_folders(3)
    local ds = assert(data.pairs(dir))
    assert.equal(3, #ds)
    assert.equal("p02", ds[2].name)
    assert.same({3, 6, 8}, ds[2].x:size())
    assert.same({1, 6, 8}, ds[2].y:size())
    assert.near(0.1, ds[2].x:mean(), 0.002) -- half a level of 255
    assert.near(0.05, ds[2].y:mean(), 0.002)
    assert.equal(1 / 256, ds.info.cell_width)
    local x, y = ds:dequantise():batch {1, 3}
    assert.same({2, 3, 6, 8}, x:size())
    assert.same({2, 1, 6, 8}, y:size())
  end)

  it("reads two endings in one folder, under names of one's own", function()
    for i = 1, 2 do
      sets.save(("%s/a%d_photo.png"):format(dir, i), grey(0.25 * i))
      sets.save(("%s/a%d_mask.png"):format(dir, i), grey(i - 1))
    end
    local o = {x = "photo", y = "mask", kind = "mask", x_channels = 3, y_channels = 3, size = {3, 4}}
    local ds = assert(data.pairs(dir, o))
    assert.equal("a1", ds[1].name)
    assert.same({3, 3, 4}, ds[1].x:size())
    assert.same({3, 3, 4}, ds[1].y:size())
    assert.equal(0, ds[1].y:max())
    assert.equal(1, ds[2].y:min())
    assert.equal(1, ds.info.cell_width)
  end)

  it("knows where there is no label, and takes that of the surroundings to learn from", function()
    sets.save(dir .. "/x/p.png", grey(0.5))
    local rows = {}
    for r = 1, 6 do
      rows[r] = {}
      for c = 1, 8 do rows[r][c] = c > 6 and 255 or r <= 3 and 1 or 0 end
    end
    rows[1][1] = 255
    sets.save(dir .. "/y/p.png", core.tensor(rows):reshape(1, 6, 8), {raw = true})
    local o = {kind = "labels", classes = 2, ignore = 255, size = {3, 4}}
    local sample = assert(data.pairs(dir, o))[1]
    assert.same({1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0}, sample.valid:totable()) -- 2×2 pixels each; the last two columns
    assert.equal(1, sample.y[2][1][1]) -- of three pixels that have a label
    assert.equal(1, sample.y[2][1][4]) -- taken from the left
    assert.equal(1, sample.y[1][3][4])
    assert.equal(12, sample.y:sum())
    assert.matches("label 255 where 2 classes go from 0 to 1", (select(2, data.pairs(dir, {kind = "labels",
      classes = 2}):get(1))), 1, true)
    -- by colours
    sets.save(dir .. "/y/p.png", core.cat({core.tensor(rows):eq(255):reshape(1, 6, 8), core.zeros(1, 6, 8),
      core.tensor(rows):eq(1):reshape(1, 6, 8)}, 1))
    sample = assert(data.pairs(dir, {kind = "labels", colours = {{0, 0, 0}, {0, 0, 255}}, ignore = {255, 0, 0},
      size = {3, 4}}))[1]
    assert.equal(9, sample.valid:sum())
    assert.error_matches(function() data.pairs(dir, {kind = "mask", ignore = 255}) end, "'ignore' is for kind", 1, true)
  end)

  it("deals out parts by shares and lists", function()
    write_folders(10)
    local function names(o)
      local list = {}
      for i, sample in assert(data.pairs(dir, o)):samples() do list[i] = sample.name end
      return list
    end
    local valid = names {split = "valid"}
    assert.same(valid, names {split = "valid", test_share = 0.3}) -- a part for tests is taken from what is learned
    local test, train = names {split = "test", test_share = 0.3}, names {split = "train", test_share = 0.3}
    assert.same({2, 3, 5}, {#valid, #test, #train})
    local all = {}
    for _, part in ipairs {valid, test, train} do
      for _, name in ipairs(part) do all[name] = true end
    end
    assert.equal(10, #(function() local n = {} for name in pairs(all) do n[#n + 1] = name end return n end)())
    sets.write(dir .. "/t.txt", "p01\np02\n")
    assert.same({"p01", "p02"}, names {split = "test", test = dir .. "/t.txt"})
    sets.write(dir .. "/v.txt", "p02\np03\n")
    assert.matches("both name p02", (select(2, data.pairs(dir, {split = "train", test = dir .. "/t.txt",
      valid = dir .. "/v.txt"}))), 1, true)
    assert.matches("there is no part 'test'", (select(2, data.pairs(dir, {split = "test"}))), 1, true)
  end)

  it("reads labels, continuous values and other sizes of y", function()
    sets.save(dir .. "/x/p.png", grey(0.5))
    local labels = core.zeros(1, 6, 8)
    labels:narrow(2, 1, 2):fill(2)
    sets.save(dir .. "/y/p.png", labels, {raw = true})
    local y = assert(data.pairs(dir, {kind = "labels", classes = 3, size = 6, y_size = 2}))[1].y
    assert.same({3, 2, 2}, y:size())
    -- two of the three upper rows are label 2
    assert.same({0, 0, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0}, y:totable())
    y = data.pairs(dir, {kind = "labels", classes = 3})[1].y
    assert.same({16, 32}, {y[3]:sum(), y[1]:sum()})
    assert.matches("label 2 where 2 classes go from 0 to 1",
      select(2, data.pairs(dir, {kind = "labels", classes = 2}):get(1)))
    sets.save(dir .. "/y/p.png", grey(12345 / 65535), {bits = 16})
    local ds = assert(data.pairs(dir, {kind = "continuous"}))
    assert.near(12345 / 65535, ds[1].y:mean(), 1e-7)
    assert.is_nil(ds.info.cell_width)
    assert.equal(ds, ds:dequantise())
  end)

  it("splits by lists, or by names and a seed", function()
    write_folders(10)
    local function names(o)
      local list = {}
      for _, sample in assert(data.pairs(dir, o)):samples() do list[#list + 1] = sample.name end
      return table.concat(list, " ")
    end
    local train, valid = names {split = "train"}, names {split = "valid"}
    assert.equal(8 * 4 - 1, #train)
    assert.equal(2 * 4 - 1, #valid)
    for name in valid:gmatch("%S+") do assert.is_nil(train:find(name)) end
    assert.equal(5 * 4 - 1, #names {split = "valid", held_out = 0.5})
    sets.write(dir .. "/train.txt", "p07\np02.png\n")
    assert.equal("p07 p02", names {split = "train"})
    sets.write(dir .. "/train.txt", "p07\np12\n")
    assert.matches("1 of 2 pairs of .*train.txt are missing: p12", select(2, data.pairs(dir, {split = "train"})))
  end)

  it("says what is missing and where it looked", function()
    assert.equal("pairs: there is no folder " .. dir .. "/no", (select(2, data.pairs(dir .. "/no"))))
    assert.equal(("pairs: no pairs in %s (looked for images in %s/x/ and %s/y/, and for NAME_x and NAME_y)"):format(
      dir, dir, dir), (select(2, data.pairs(dir))))
    write_folders(3)
    os.remove(dir .. "/y/p02.pgm")
    assert.equal("pairs: 1 of 3 partners (y) of images (x) are missing: p02", (select(2, data.pairs(dir))))
  end)

  it("tells of sizes that differ when they are put in one batch", function()
    write_folders(1)
    sets.save(dir .. "/x/p02.png", core.ones(3, 5, 8))
    sets.save(dir .. "/y/p02.png", grey(1))
    assert.error_matches(function() data.pairs(dir):batch {1, 2} end, "shape 2x3x5x8 %(as p02 has it%), got 2x3x6x8")
  end)

  it("refuses options that make no sense", function()
    local cases = {
      {"option 'classes' .* is required for kind", function() data.pairs(dir, {kind = "labels"}) end},
      {"option 'classes' .* and only for it", function() data.pairs(dir, {classes = 3}) end},
      {"option 'size' must be an integer or {height, width}", function() data.pairs(dir, {size = {3}}) end},
      {"option 'y_size' must be", function() data.pairs(dir, {y_size = 0}) end},
      {"option 'kind' must be one of", function() data.pairs(dir, {kind = "depth"}) end},
      {"option 'x_channels' must be one of 1, 3, got 2", function() data.pairs(dir, {x_channels = 2}) end},
    }
    for _, case in ipairs(cases) do assert.error_matches(case[2], case[1]) end
  end)
end)
