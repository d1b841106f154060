-- The reader of LFW part labels: faces, hair, background, super-pixels.
local core = require "cglow.core"
local data = require "cglow.data"
local image = require "cglow.image"
local metrics = require "cglow.metrics"
local sets = require "spec.support.sets"

-- Labels 1 background, 2 face, 3 hair of an 8×8 photo: hair above, face on the left.
local function labels()
  local t = core.ones(8, 8)
  for i = 1, 8 do
    for j = 1, 8 do t:set(i, j, i <= 3 and 3 or j <= 4 and 2 or 1) end
  end
  return t
end

local COLOUR = {{0, 0, 1}, {0, 1, 0}, {1, 0, 0}} -- blue background, green face, red hair

local function coloured(t)
  local picture = core.zeros(3, 8, 8)
  for c = 1, 3 do
    for label = 1, 3 do picture[c]:add(t:eq(label), COLOUR[label][c]) end
  end
  return picture
end

describe("data.lfw", function()
  local dir, remove
  before_each(function()
    dir, remove = sets.folder()
    for _, name in ipairs {"Ann_Lee/Ann_Lee_0001", "Ann_Lee/Ann_Lee_0012", "Bo/Bo_0003"} do
      sets.save(("%s/lfw_funneled/%s.png"):format(dir, name), core.Rng(1):uniform(3, 8, 8))
      sets.save(("%s/parts_lfw_funneled_gt_images/%s.ppm"):format(dir, name:match("[^/]+$")), coloured(labels()))
    end
    sets.write(dir .. "/parts_train.txt", "Ann_Lee 0012\nBo 3\n") -- padded and not
    sets.write(dir .. "/parts_validation.txt", "Ann_Lee 1\r\n")
  end)
  after_each(function() remove() end)

  it("reads photos and coloured labels", function()
    local ds = assert(data.lfw(dir, {split = "train", size = 8}))
    assert.equal(2, #ds)
    assert.equal("Ann_Lee_0012", ds[1].name)
    assert.equal("Bo_0003", ds[2].name)
    assert.equal(metrics.one_hot(labels(), 3), ds[1].y)
    assert.equal(1, ds.info.cell_width)
    assert.equal("Ann_Lee_0001", data.lfw(dir, {split = "valid"})[1].name)
  end)

  it("reads palette indices where the labels are PNG", function()
    local plain = labels():add(-1)
    os.execute(("rm -r '%s/parts_lfw_funneled_gt_images'"):format(dir))
    for _, name in ipairs {"Ann_Lee_0012", "Bo_0003"} do
      sets.save(("%s/labels/%s.png"):format(dir, name), plain, {raw = true})
    end
    assert.equal(metrics.one_hot(labels(), 3), assert(data.lfw(dir, {size = 8}))[1].y)
  end)

  it("gives each pixel the label of the largest share of its area", function()
    local y = assert(data.lfw(dir, {size = 2}))[1].y
    -- the upper 4×4 blocks have 12 pixels of hair and 4 of others
    assert.same({3, 3, 2, 1}, metrics.argmax(y):totable())
  end)

  it("adds super-pixels: the published ones, else SLIC's", function()
    local rows = {}
    for i = 0, 7 do
      rows[i + 1] = ""
      for j = 0, 7 do rows[i + 1] = rows[i + 1] .. (i // 4 * 2 + j // 4) .. " " end
    end
    sets.write(dir .. "/parts_lfw_funneled_superpixels_mat/Bo/Bo_0003.dat", table.concat(rows, "\n"))
    local ds = assert(data.lfw(dir, {size = 4, superpixels = true, segments = 4}))
    assert.same({0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3}, ds[2].superpixels:totable())
    assert.same({4, 4}, ds[1].superpixels:size())
    assert.is_true(ds[1].superpixels:min() >= 1)
    assert.is_nil(data.lfw(dir, {size = 4})[1].superpixels)
    for _, bad in ipairs {"1 2 3", "", ("x "):rep(64), ("-1 "):rep(64), ("0.5 "):rep(64)} do
      sets.write(dir .. "/parts_lfw_funneled_superpixels_mat/Bo/Bo_0003.dat", bad)
      local sample, message = data.lfw(dir, {size = 4, superpixels = true}):get(2)
      assert.is_nil(sample)
      assert.matches("Bo_0003.dat: ", message)
    end
  end)

  it("says what is missing and where it looked", function()
    local function message(o) return (select(2, data.lfw(dir, o))) end
    assert.matches("no lfw_funneled, parts_test.txt in .*parts_test.txt", message {split = "test"})
    sets.write(dir .. "/parts_train.txt", "Bo 4")
    assert.equal(("lfw: 2 of 2 photos and labels are missing: %s/lfw_funneled/Bo/Bo_0004.jpg, "
      .. "%s/{parts_lfw_funneled_gt_images,labels}/Bo_0004.{ppm,png}"):format(dir, dir), message())
    for _, bad in ipairs {"Bo", "Bo x", "Bo 1 2", "Bo -1", "Bo 12345", "../Bo 1", "Bo 1.5"} do
      sets.write(dir .. "/parts_train.txt", bad)
      assert.matches("parts_train.txt", message())
    end
  end)

  it("refuses labels of other colours", function()
    sets.save(dir .. "/parts_lfw_funneled_gt_images/Bo_0003.ppm", core.full(3, 8, 8, 1))
    local sample, message = data.lfw(dir):get(2)
    assert.is_nil(sample)
    assert.matches("Bo_0003.ppm: labels must be red, green and blue", message)
  end)

  it("reads the embedded sample set", function()
    local ds = assert(data.lfw(assert(data.sample_dir "multiclass_segmentation"), {split = "valid", size = 32}))
    assert.equal(48, #ds)
    local confusion = metrics.confusion(3)
    for _, sample in ds:samples() do
      local truth = metrics.argmax(sample.y)
      confusion:add(core.ones(32, 32), truth)
    end
    -- as data/README.md has it for "all background"
    assert.near(0.805, confusion:pixel_accuracy(), 0.005)
  end)

  it("reads the published set", function()
    local real = sets.real "lfw_parts"
    if not real then return pending("the LFW part labels are not here") end
    local train = assert(data.lfw(real, {split = "train", size = 32}))
    local valid = assert(data.lfw(real, {split = "valid", size = 32, superpixels = true}))
    assert.equal(1500, #train)
    assert.equal(500, #valid)
    local majority = require "cglow.tasks.baselines".majority(train:subset(1, 200))
    local right, all = 0, 0
    for i = 1, 40 do
      local sample = valid[i]
      assert.is_true(sample.x:min() >= 0 and sample.x:max() <= 1)
      local _, r, n = metrics.superpixel_accuracy(metrics.argmax(majority(sample)), metrics.argmax(sample.y),
        sample.superpixels)
      right, all = right + r, all + n
    end
    assert.is_true(right / all > 0.82 and right / all < 0.94)
    assert.is_true(all / 40 > 200 and all / 40 < 300)
    local picture = image.load(real .. "/labels/" .. train[1].name .. ".png", {raw = true})
    assert.near(picture:eq(1):mean(), train[1].y[2]:mean(), 0.02) -- the face keeps its share
  end)
end)
