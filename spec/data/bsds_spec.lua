-- The reader of BSDS500: crops and their noise.
local core = require "cglow.core"
local data = require "cglow.data"
local image = require "cglow.image"
local metrics = require "cglow.metrics"
local sets = require "spec.support.sets"

local SIGMA <const> = 25 / 255

describe("data.bsds", function()
  local dir, remove, photo
  before_each(function()
    dir, remove = sets.folder()
    photo = core.Rng(2):uniform(3, 13, 21)
    for _, name in ipairs {"train/10", "train/11", "test/20", "val/3096", "val/101085", "val/99"} do
      sets.save(("%s/images/%s.png"):format(dir, name), photo)
    end
    photo = image.load(dir .. "/images/train/10.png") -- with a file's rounding
  end)
  after_each(function() remove() end)

  it("learns from train and test together, noisy crops of halved photos", function()
    local ds = assert(data.bsds(dir, {size = 4, flip = false}))
    assert.equal(3, #ds)
    assert.is_true(ds.random)
    local half = image.resize(image.crop(photo, 1, 1, 12, 20), 6, 10)
    local rng, seen = core.Rng(3), {}
    for _ = 1, 60 do
      local sample = ds:get(1, rng)
      assert.is_true((sample.x - sample.y - sample.clean):abs():max() < 1e-6) -- one rounding
      local found
      for top = 1, 3 do
        for left = 1, 7 do
          if image.crop(half, top, left, 4, 4) == sample.clean then found = top * 10 + left end
        end
      end
      assert.is_number(found)
      seen[found] = true
    end
    local n = 0
    for _ in pairs(seen) do n = n + 1 end
    assert.is_true(n > 12) -- of 21 places
  end)

  it("mirrors half of the training crops", function()
    local ds, rng, same = assert(data.bsds(dir, {size = 6, shrink = 2})), core.Rng(4), 0
    local plain = image.resize(image.crop(photo, 1, 1, 12, 20), 6, 10)
    for _ = 1, 40 do
      local clean = ds:get(1, rng).clean
      for left = 1, 5 do
        if image.crop(plain, 1, left, 6, 6) == clean then same = same + 1 end
      end
    end
    assert.is_true(same > 8 and same < 32) -- B(40, ½): four standard deviations
  end)

  it("has noise of the right size that is the same each time in held-out parts", function()
    local ds = assert(data.bsds(dir, {split = "valid", size = 6}))
    assert.equal(1, #ds)
    assert.equal("99", ds[1].name)
    assert.is_false(ds.random)
    assert.equal(ds[1].y, data.bsds(dir, {split = "valid", size = 6})[1].y)
    assert.not_equal(ds[1].y, data.bsds(dir, {split = "valid", size = 6, seed = 5})[1].y)
    assert.near(SIGMA, ds[1].y:std(), 0.03) -- 108 numbers: standard error 0.007
    local half = image.resize(image.crop(photo, 1, 1, 12, 20), 6, 10)
    assert.equal(image.crop(half, 1, 3, 6, 6), ds[1].clean) -- the middle
  end)

  it("tests on all the photos of Roth & Black, or says which part is there", function()
    local ds, message = data.bsds(dir, {split = "test"})
    assert.is_nil(ds)
    assert.matches("bsds: 66 of the 68 test photos of Roth & Black are missing in .*/images/val; split = \"valid\"",
      message)
    sets.write(dir .. "/foe_test.txt", "99.jpg\n3096.jpg\n")
    ds = assert(data.bsds(dir, {split = "test", size = 6}))
    assert.equal(2, #ds)
    assert.equal("101085", data.bsds(dir, {split = "valid", size = 6})[1].name)
  end)

  it("finds the images below the folder of the download", function()
    assert(os.execute(("cd '%s' && mkdir -p BSR/BSDS500/data && mv images BSR/BSDS500/data/"):format(dir)))
    for _, root in ipairs {dir, dir .. "/BSR", dir .. "/BSR/BSDS500", dir .. "/BSR/BSDS500/data"} do
      assert.equal(3, #assert(data.bsds(root, {size = 4})))
    end
    assert.matches("bsds: no images in .*/images %(looked for .*/images/images, ",
      select(2, data.bsds(dir .. "/BSR/BSDS500/data/images")))
  end)

  it("says what is missing or too small", function()
    assert.matches("bsds: there is no folder", select(2, data.bsds(dir .. "/nowhere")))
    os.execute(("rm -r '%s/images/test'"):format(dir))
    assert.equal(("bsds: there is no folder %s/images/test"):format(dir), (select(2, data.bsds(dir))))
    os.execute(("rm '%s/images/val/99.png'"):format(dir))
    assert.matches("no photo of the part 'valid'", (select(2, data.bsds(dir, {split = "valid"}))))
    sets.save(dir .. "/images/val/98.png", photo)
    assert.equal("98: clean is 6x10, too small for a crop of 128x128",
      (select(2, data.bsds(dir, {split = "valid"}):get(1))))
  end)

  it("reads the embedded sample set", function()
    local root = assert(data.sample_dir "denoising")
    assert.equal(60, #assert(data.bsds(root, {size = 64})))
    local ds, sum = assert(data.bsds(root, {split = "valid", size = 64})), 0
    assert.equal(20, #ds)
    for _, sample in ds:samples() do sum = sum + metrics.psnr(sample.x, sample.clean) / #ds end
    assert.near(-20 * math.log(SIGMA, 10), sum, 0.05) -- 20.17 dB
  end)

  it("reads the published set", function()
    local real = sets.real "BSDS500"
    if not real then return pending("BSDS500 is not here") end
    local train, valid = assert(data.bsds(real)), assert(data.bsds(real, {split = "valid"}))
    assert.equal(400, #train)
    assert.equal(32, #valid)
    assert.same({3, 128, 128}, train:get(1, core.Rng(1)).x:size())
    assert.near(-20 * math.log(SIGMA, 10), metrics.psnr(valid[1].x, valid[1].clean), 0.1)
    -- the 32 and the 68 make up BSDS500's val: none of these may be in the test list
    assert.matches("68 of the 68", select(2, data.bsds(real, {split = "test"})))
  end)
end)
