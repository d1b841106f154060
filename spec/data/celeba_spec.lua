-- The reader of CelebA: aligned faces with a hidden centre.
local core = require "cglow.core"
local baselines = require "cglow.tasks.baselines"
local data = require "cglow.data"
local image = require "cglow.image"
local metrics = require "cglow.metrics"
local sets = require "spec.support.sets"

describe("data.celeba", function()
  local dir, remove
  before_each(function()
    dir, remove = sets.folder()
    for i = 1, 20 do sets.save(("%s/%06d.png"):format(dir, i), core.Rng(i):uniform(3, 22, 18)) end
  end)
  after_each(function() remove() end)

  it("hides the centre of the middle of a photo", function()
    local ds = assert(data.celeba(dir, {size = 8, crop = 16}))
    local sample = ds[1]
    local face = image.resize(image.crop(image.load(("%s/%s.png"):format(dir, sample.name)), 4, 2, 16, 16), 8, 8)
    assert.equal(0, image.crop(sample.x, 3, 3, 4, 4):max())
    assert.equal(16, sample.valid:eq(0):sum())
    assert.equal(0, image.crop(sample.valid, 3, 3, 4, 4):max())
    -- y in the levels of a file, half a level away at most
    local want = image.crop(face, 3, 3, 4, 4)
    assert.is_true((sample.y - want):abs():max() <= 0.5 / 255 + 1e-6)
    assert.is_true(((sample.y * 255):round() / 255 - sample.y):abs():max() < 1e-6)
    local outside = image.paste(face:clone(), core.zeros(3, 4, 4), 3, 3)
    assert.equal(outside, sample.x)
    assert.equal(1 / 256, ds.info.cell_width)
  end)

  it("splits by the partition list, here or one folder up", function()
    local list = {}
    for i = 1, 20 do list[i] = ("%06d.png %d"):format(i, i <= 12 and 0 or i <= 15 and 1 or 2) end
    list[21] = "000021.png 0" -- not here: a part of the download will do
    sets.write(dir .. "/list_eval_partition.txt", table.concat(list, "\n"))
    local o = {size = 8, crop = 16}
    local sizes = {}
    for i, split in ipairs {"train", "valid", "test"} do
      o.split = split
      sizes[i] = #assert(data.celeba(dir, o))
    end
    assert.same({12, 3, 5}, sizes)
    assert(os.execute(("cd '%s' && mkdir img_align_celeba && mv *.png img_align_celeba"):format(dir)))
    o.split = "test"
    assert.equal("000016", assert(data.celeba(dir, o))[1].name)
    assert.equal("000016", assert(data.celeba(dir .. "/img_align_celeba", o))[1].name)
  end)

  it("splits by seed without the list: every photo once, the same each time", function()
    local seen, sizes = {}, {}
    for i, split in ipairs {"train", "valid", "test"} do
      local ds = assert(data.celeba(dir, {split = split, size = 8, crop = 16}))
      sizes[i] = #ds
      for _, sample in ds:samples() do
        assert.is_nil(seen[sample.name])
        seen[sample.name] = split
      end
    end
    assert.same({15, 1, 4}, sizes) -- a fifth, and a quarter of that
    local function names(o)
      local list = {}
      for _, sample in assert(data.celeba(dir, o)):samples() do list[#list + 1] = sample.name end
      return table.concat(list, " ")
    end
    local o = {split = "test", size = 8, crop = 16, held_out = 8}
    assert.equal(names(o), names(o))
    local before = names(o)
    o.seed = 1
    assert.not_equal(before, names(o))
  end)

  it("says what is missing or malformed", function()
    local function message(o) return (select(2, data.celeba(dir, o))) end
    assert.equal("celeba: there is no folder " .. dir .. "/nowhere", (select(2, data.celeba(dir .. "/nowhere"))))
    sets.write(dir .. "/empty/readme", "no photo")
    assert.equal(("celeba: no photo in %s/empty (looked there and for %s/empty/img_align_celeba)"):format(dir, dir),
      (select(2, data.celeba(dir .. "/empty"))))
    assert.matches("20 photos are too few to hold 25 out", message {held_out = 20})
    assert.matches("22x18, too small for a crop of 20", (select(2, data.celeba(dir, {crop = 20}):get(1))))
    assert.matches("is 22x18 .*, not 218x178 as the aligned photos are: .* by 'crop'",
      (select(2, data.celeba(dir):get(1))))
    for text, expected in pairs {
      ["000001.png 3"] = "part '3' of 000001.png is none of 0, 1, 2", ["000001.png"] = "2 words expected, got 1",
      ["../000001.png 0"] = "no file name", [""] = "the list is empty",
      ["000099.png 0"] = "no photo of the part 'train'",
    } do
      sets.write(dir .. "/list_eval_partition.txt", text)
      assert.matches(expected, message(), 1, true)
    end
    assert.error_matches(function() data.celeba(dir, {size = 7}) end, "option 'size' must be even, got 7")
  end)

  it("reads the embedded sample set", function()
    local ds = assert(data.celeba(assert(data.sample_dir "inpainting"), {split = "test"}))
    assert.equal(60, #ds)
    local mean, diffusion, a, b = baselines.mean_colour(), baselines.diffusion(), 0, 0
    for _, sample in ds:samples() do
      a, b = a + metrics.psnr(mean(sample), sample.y) / #ds, b + metrics.psnr(diffusion(sample), sample.y) / #ds
    end
    assert.is_true(a > 12 and b > a + 2) -- diffusion goes on from the rim
  end)

  it("reads the published set", function()
    local real = sets.real "img_align_celeba"
    if not real then return pending("CelebA is not here") end
    local train, test = assert(data.celeba(real)), assert(data.celeba(real, {split = "test"}))
    assert.equal(5000, #train + #test + #assert(data.celeba(real, {split = "valid"})))
    assert.equal(1000, #test)
    assert.same({3, 64, 64}, train[1].x:size())
    assert.same({3, 32, 32}, train[1].y:size())
    local diffusion, sum = baselines.diffusion(), 0
    for i = 1, 30 do sum = sum + metrics.psnr(diffusion(test[i]), test[i].y) / 30 end
    assert.is_true(sum > 15 and sum < 20)
  end)
end)
