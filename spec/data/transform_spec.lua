-- Transforms of samples, and noise within the cells of a discrete y.
local core = require "cglow.core"
local transform = require "cglow.data.transform"

-- x counts 1, 2, 3 … through its pixels; y is its negative in one channel.
local function ramp(height, width)
  local x = core.empty(2, height, width)
  for c = 1, 2 do
    for i = 1, height do
      for j = 1, width do x:set(c, i, j, 1000 * c + 10 * i + j) end
    end
  end
  return {x = x, y = -x:narrow(1, 1, 1), name = "ramp"}
end

describe("data.transform", function()
  it("resizes every image by averaging areas", function()
    local s = transform.resize {height = 2, width = 1}({x = core.tensor {{{1, 3}, {5, 7}, {2, 2}, {4, 4}}},
      y = core.ones(1, 4, 4), name = "a"})
    assert.same({4, 3}, s.x:totable())
    assert.same({1, 2, 1}, s.y:size())
    assert.equal("a", s.name)
  end)

  it("copies a mask to three channels", function()
    local s = transform.copy_channels()({x = core.ones(1, 1, 2), y = core.tensor {{{0, 1}}}})
    assert.same({3, 1, 2}, s.y:size())
    assert.same({0, 1, 0, 1, 0, 1}, s.y:totable())
  end)

  it("flips x and y together and leaves the sample as it was", function()
    local s = ramp(2, 3)
    local before = s.x:clone()
    local f = transform.flip()(s)
    assert.same({1013, 1012, 1011, 1023, 1022, 1021, 2013, 2012, 2011, 2023, 2022, 2021}, f.x:totable())
    assert.equal(-f.x:narrow(1, 1, 1), f.y)
    assert.equal(before, s.x)
  end)

  it("flips about half of the samples at random", function()
    local s, t, rng, flipped = ramp(2, 3), transform.random_flip(), core.Rng(3), 0
    for _ = 1, 400 do
      local f = t(s, rng)
      if f.x ~= s.x then
        flipped = flipped + 1
        assert.equal(-f.x:narrow(1, 1, 1), f.y)
      end
    end
    assert.is_true(math.abs(flipped - 200) < 50) -- five standard deviations of B(400, ½)
    assert.is_true(t.random)
  end)

  it("crops the middle", function()
    local s = transform.centre_crop {height = 2, width = 2}(ramp(5, 6))
    -- 3 rows and 4 columns too many: 1 and 2 of them before
    assert.same({1023, 1024, 1033, 1034}, s.x[1]:reshape(-1):totable())
  end)

  it("crops x and y at one random place, every place in the long run", function()
    local t, s, rng, seen, n = transform.random_crop {height = 3, width = 2}, ramp(4, 4), core.Rng(1), {}, 0
    for _ = 1, 300 do
      local c = t(s, rng)
      assert.equal(-c.x:narrow(1, 1, 1), c.y)
      local first = c.x:get(1, 1, 1)
      if not seen[first] then
        seen[first], n = true, n + 1
        for i = 1, 3 do
          for j = 1, 2 do assert.equal(first + 10 * (i - 1) + j - 1, c.x:get(1, i, j)) end
        end
      end
    end
    assert.equal(2 * 3, n)
  end)

  it("keeps drawing until enough of a crop is valid", function()
    local s = ramp(40, 40)
    s.valid = core.zeros(40, 40)
    for i = 11, 40 do
      for j = 1, 40 do s.valid:set(i, j, 1) end
    end
    local t, rng, good = transform.random_crop {height = 8, width = 8, valid = 1}, core.Rng(2), 0
    for _ = 1, 100 do
      local c = t(s, rng)
      if c.valid:mean() == 1 then good = good + 1 end
      assert.equal((c.x[1]:gt(1109)):sum(), c.valid:sum()) -- rows from 11 on
    end
    -- a third of the places is bad; 20 bad draws in a row have a chance of 1e-9
    assert.equal(100, good)
    s.valid:zero()
    s.valid:set(40, 40, 1)
    assert.same({8, 8}, t(s, rng).valid:size()) -- none is good: still a crop
  end)

  it("says which image is too small or does not fit", function()
    local s = ramp(4, 4)
    assert.same({nil, "ramp: x is 4x4, too small for a crop of 5x2"},
      {transform.random_crop {height = 5, width = 2}(s, core.Rng(1))})
    s.y = core.ones(1, 6, 6)
    assert.same({nil, "ramp: y is 6x6, but x is 4x4: crop them before they differ"},
      {transform.centre_crop {height = 2, width = 2}(s)})
  end)

  it("reuses the buffers of a scratch table", function()
    local scratch, rng, s = {}, core.Rng(1), ramp(6, 6)
    local crop, flip = transform.random_crop {height = 4, width = 4}, transform.flip()
    local noise = transform.dequantise {width = 1}
    local function run() return noise(flip(crop(s, rng, scratch), rng, scratch), rng, scratch) end
    local first = run()
    local before = core.stats().tensors
    local second = run()
    assert.equal(before, core.stats().tensors)
    assert.equal(first.x, second.x)
    assert.not_equal(run(), second)
  end)

  -- The convention: y' = s·y + w·(u − ½), s = 1 for masks and 1 − w else.
  it("dequantises a mask to cells of width 1 around its values", function()
    local mask = core.Rng(5):uniform(3, 50, 50):gt(0.5)
    local y = transform.dequantise {width = 1}({y = mask}, core.Rng(6)).y
    local u = y - mask + 0.5
    assert.is_true(u:min() >= 0 and u:max() < 1)
    assert.near(0.5, u:mean(), 0.02)        -- 7500 numbers: standard error 0.0033
    assert.near(math.sqrt(1 / 12), u:std(), 0.02)
    assert.is_true((y:gt(0.5) - mask):abs():sum() == 0) -- the mask can be read off
  end)

  it("dequantises an 8-bit image to cells of width 1/256, which give the bytes back", function()
    local bytes = (core.Rng(7):uniform(3, 64, 64) * 256):floor()
    local width <const> = 1 / 256
    local y = transform.dequantise {width = width}({y = bytes / 255}, core.Rng(8)).y
    assert.equal(bytes, (y * 256 + 0.5):floor():clamp(0, 255))
    -- without noise in the mean: E y' = 255/256·y, and undo divides that out;
    -- 12288 numbers of deviation w/√12 have a mean within 1.5e-5 of it (4 sigma)
    assert.near((bytes / 255):mean(), transform.undo(y, width):mean(), 5e-5)
  end)

  it("undoes nothing for masks and continuous y", function()
    local y = core.tensor {{-0.3, 1.2}}
    assert.equal(y, transform.undo(y, 1))
    assert.equal(y, transform.undo(y))
  end)

  it("quantises to the levels of a file", function()
    local s = transform.quantise {levels = 5}({y = core.tensor {{-0.1, 0.1, 0.13, 0.49, 0.9, 2}}})
    assert.same({0, 0, 0.25, 0.5, 1, 1}, s.y:totable())
  end)

  it("adds Gaussian noise: x = clean + y", function()
    local s = transform.gaussian_noise {sigma = 0.1}({clean = core.full(3, 40, 40, 0.5)}, core.Rng(4))
    assert.near(0, s.y:mean(), 0.006) -- 4800 numbers: standard error 0.0014
    assert.near(0.1, s.y:std(), 0.005)
    assert.is_true((s.x - s.y - 0.5):abs():max() < 1e-6) -- one rounding of numbers near 0.5
    assert.is_true(s.x:max() > 0.7) -- not clipped to some range
  end)

  it("hides the centre", function()
    local s = ramp(4, 6)
    local h = transform.hide_centre {height = 2, width = 2, value = 0.25}(s)
    assert.same({1023, 1024, 1033, 1034}, h.y[1]:reshape(-1):totable())
    assert.same({2, 2, 2}, h.y:size())
    assert.equal(0.25, h.x:get(2, 3, 4))
    assert.equal(1022, h.x:get(1, 2, 2))
    assert.equal(1023, s.x:get(1, 2, 3))
    assert.same({1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1}, h.valid:reshape(-1):totable())
    assert.matches("too small to hide", select(2, transform.hide_centre {height = 5, width = 2}(s)))
  end)

  it("refuses options that make no sense", function()
    local cases = {
      {"transform.resize: option 'width' is required", function() transform.resize {height = 2} end},
      {"transform.dequantise: option 'width' must be a number > 0 and <= 1, got 2", function()
        transform.dequantise {width = 2}
      end},
      {"transform.random_crop: unknown option 'size'", function() transform.random_crop {size = 3} end},
      {"transform.quantise: option 'levels' must be an integer >= 2", function() transform.quantise {levels = 1} end},
      {"transform.undo.*y must be a tensor, got nil", function() transform.undo() end},
    }
    for _, case in ipairs(cases) do assert.error_matches(case[2], case[1]) end
  end)
end)
