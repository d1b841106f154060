-- The reader of Weizmann horses: photographs and masks.
local core = require "cglow.core"
local data = require "cglow.data"
local metrics = require "cglow.metrics"
local sets = require "spec.support.sets"

-- A 4×8 photo that is bright on the right and an 8×16 mask of its right half.
local function write_pair(dir, name, brightness)
  local photo, mask = core.full(3, 4, 8, brightness), core.zeros(1, 8, 16)
  for i = 1, 8 do
    for j = 9, 16 do mask:set(1, i, j, 1) end
  end
  sets.save(dir .. "/rgb/" .. name .. ".png", photo)
  sets.save(dir .. "/figure_ground/" .. name .. ".png", mask)
end

describe("data.horses", function()
  local dir, remove
  before_each(function()
    dir, remove = sets.folder()
    for i = 1, 4 do write_pair(dir, "horse00" .. i, i / 5) end
    sets.write(dir .. "/train.txt", "horse003.jpg\r\n\nhorse001.jpg\n") -- kinds and line ends may differ
    sets.write(dir .. "/valid.txt", "horse004.png")
  end)
  after_each(function() remove() end)

  it("reads the pairs that a list names, in its order", function()
    local ds = assert(data.horses(dir, {split = "train", size = 2}))
    assert.equal(2, #ds)
    assert.equal("horse003", ds[1].name)
    assert.same({3, 2, 2}, ds[1].x:size())
    assert.near(3 / 5, ds[1].x:mean(), 1e-6)
    assert.same({0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1}, ds[2].y:totable())
    assert.equal(1, ds.info.cell_width)
    assert.equal("horse004", data.horses(dir, {split = "valid", size = 2})[1].name)
    assert.equal(4, #data.horses(dir, {split = "all", size = 2}))
  end)

  it("finds the set one folder up", function()
    assert(os.execute(("mkdir '%s/above' && cp -r '%s/rgb' '%s/figure_ground' '%s/train.txt' '%s/above'"):format(
      dir, dir, dir, dir, dir)))
    assert(os.rename(dir .. "/above", dir .. "/weizmann_horse_db"))
    for _, name in ipairs {"rgb", "figure_ground", "train.txt"} do os.execute(("rm -r '%s/%s'"):format(dir, name)) end
    assert.equal(2, #assert(data.horses(dir, {split = "train"})))
  end)

  it("makes a split of its own that never changes where there are no lists", function()
    os.remove(dir .. "/train.txt")
    os.remove(dir .. "/valid.txt")
    for i = 5, 9 do write_pair(dir, "horse00" .. i, 0.5) end
    local seen, sizes = {}, {}
    for _, split in ipairs {"train", "valid", "test"} do
      local ds = assert(data.horses(dir, {split = split, size = 1}))
      sizes[#sizes + 1] = #ds
      for _, sample in ds:samples() do
        assert.is_nil(seen[sample.name])
        seen[sample.name] = split
      end
    end
    assert.same({7, 1, 1}, sizes) -- three quarters of 9, and half of the rest each
    for name, split in pairs(seen) do
      local found = false
      for _, sample in data.horses(dir, {split = split, size = 1}):samples() do found = found or sample.name == name end
      assert.is_true(found)
    end
  end)

  it("says that a photo is black and goes on", function()
    write_pair(dir, "horse003", 0)
    local notes, ds = sets.notes(function()
      local ds = data.horses(dir, {split = "train", size = 2, cache = "none"})
      for _ = 1, 2 do assert(ds:get(1)) end
      return ds
    end)
    assert.same({dir .. "/rgb/horse003.png is black; it is used as it is"}, notes)
    assert.equal(0, ds[1].x:max())
    assert.equal(1, ds[1].y:max())
  end)

  it("says what is missing and where it looked", function()
    local function message(...) return (select(2, data.horses(...))) end
    assert.equal("horses: there is no folder " .. dir .. "/nowhere", message(dir .. "/nowhere"))
    assert.matches("horses: no rgb, figure_ground in .*/rgb %(looked for .*/rgb/rgb, ", message(dir .. "/rgb"))
    assert.equal(("horses: there is no %s/test.txt (but train.txt, valid.txt)"):format(dir),
      message(dir, {split = "test"}))
    os.remove(dir .. "/figure_ground/horse001.png")
    assert.equal(("horses: 1 of 4 photos and masks are missing: %s/figure_ground/horse001.jpg"):format(dir),
      message(dir))
  end)

  it("answers a damaged image with nil and a message", function()
    local path = dir .. "/figure_ground/horse001.png"
    sets.write(path, sets.read(path):sub(1, 60))
    local ds = assert(data.horses(dir))
    assert.is_table(ds:get(1))
    local sample, message = ds:get(2)
    assert.is_nil(sample)
    assert.matches("horse001.png: ", message)
    assert.is_nil((ds:batch {1, 2}))
  end)

  -- Lists come from anywhere: whatever is in them, an answer and no way out of the folder.
  it("survives hostile lists", function()
    local cases = {
      {"../rgb/horse001.png", "train.txt:1: that is no file name"},
      {"horse001.png\n..", "train.txt:2: that is no file name"},
      {"a/b.png", "that is no file name"},
      {"a\\b.png", "that is no file name"},
      {"horse\0001.png", "that is no file name"},
      {("x"):rep(300), "that is no file name"},
      {"horse001.png horse002.png", "rgb/horse001.png horse002.png, "},
      {"", "the list is empty"},
      {"\n \r\n\t", "the list is empty"},
      {"nothere.png", "2 of 2 photos and masks are missing"},
    }
    for _, case in ipairs(cases) do
      sets.write(dir .. "/train.txt", case[1])
      local ds, message = data.horses(dir)
      assert.is_nil(ds)
      assert.matches(case[2], message, 1, true)
    end
    local whole = "horse003.jpg\nhorse001.jpg\n"
    for length = 0, #whole do -- cut anywhere: either fewer names, or a message
      sets.write(dir .. "/train.txt", whole:sub(1, length))
      local ds, message = data.horses(dir)
      assert.is_true(ds ~= nil or type(message) == "string")
    end
    for place = 1, #whole do -- any byte in any place
      for _, byte in ipairs {0, 10, 32, 46, 47, 92, 127, 128, 255} do
        sets.write(dir .. "/train.txt", whole:sub(1, place - 1) .. string.char(byte) .. whole:sub(place + 1))
        local ds, message = data.horses(dir)
        assert.is_true(ds ~= nil or type(message) == "string")
      end
    end
  end)

  it("reads the embedded sample set, which has the same layout", function()
    local ds = assert(data.horses(assert(data.sample_dir "binary_segmentation"), {split = "valid", size = 32}))
    assert.equal(64, #ds)
    local share = 0
    for _, sample in ds:samples() do share = share + sample.y:mean() / #ds end
    assert.is_true(share > 0.15 and share < 0.35)
  end)

  it("reads the published set", function()
    local real = sets.real "weizmann_horse_db"
    if not real then return pending("the Weizmann horses are not here") end
    local train = assert(data.horses(real, {split = "train", size = 32}))
    local valid = assert(data.horses(real, {split = "valid", size = 32}))
    assert.equal(200, #train)
    assert.equal(64, #valid)
    local notes = sets.notes(function()
      for _, ds in ipairs {train, valid} do
        for _, sample in ds:samples() do
          assert.is_true(sample.y:gt(0.5) == sample.y) -- nothing but 0 and 1
          assert.is_true(sample.y:mean() > 0.02 and sample.y:mean() < 0.7) -- a horse, and something else
        end
      end
    end)
    assert.equal(1, #notes)
    assert.matches("horse318", notes[1])
    -- the mean training mask is better than nothing, and far from the paper's 0.81
    local mean = require "cglow.tasks.baselines".mean(train)
    local confusion = metrics.confusion(2)
    for _, sample in valid:samples() do confusion:add(metrics.binarise(mean(sample)), metrics.binarise(sample.y)) end
    assert.is_true(confusion:mean_iou() > 0.6 and confusion:mean_iou() < 0.7)
  end)
end)
