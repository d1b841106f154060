-- Pairs of pictures turned, moved and resized alike, and changed in colour.
local core = require "cglow.core"
local transform = require "cglow.data.transform"

local augment <const> = transform.augment

-- x's channels tell the row and the column of each pixel, from the middle; y the same.
local function coordinates(height, width)
  local x = core.empty(2, height, width)
  for i = 1, height do
    for j = 1, width do
      x:set(1, i, j, i - (height + 1) / 2)
      x:set(2, i, j, j - (width + 1) / 2)
    end
  end
  return {x = x, y = x:clone(), name = "coordinates"}
end

-- Where pixel (i, j) of a result came from.
local function source(t, i, j) return t[1][i][j], t[2][i][j] end

local function near(expected, got, slack) assert.is_true(math.abs(expected - got) <= slack, expected .. " " .. got) end

describe("data.transform.augment", function()
  it("changes nothing that it is not asked to", function()
    local s = coordinates(5, 8)
    local r = augment {}(s, core.Rng(1))
    assert.equal(s.x, r.x)
    assert.equal(s.y, r.y)
    assert.equal("coordinates", r.name)
  end)

  it("mirrors half of the samples, exactly, x and y alike", function()
    local s, t, rng, mirrored = coordinates(4, 7), augment {mirror = true}, core.Rng(2), 0
    local other = transform.flip()(s)
    for _ = 1, 400 do
      local r = t(s, rng)
      if r.x ~= s.x then
        mirrored = mirrored + 1
        assert.equal(other.x, r.x)
      end
      assert.equal(r.x, r.y)
    end
    assert.is_true(math.abs(mirrored - 200) < 50) -- five standard deviations of B(400, ½)
  end)

  it("transposes half of the samples, exactly", function()
    local s, t, rng, seen = coordinates(5, 5), augment {transpose = true}, core.Rng(2), {}
    for _ = 1, 40 do
      local r = t(s, rng)
      local i, j = source(r.x, 1, 4)
      seen[("%g %g"):format(i, j)] = true
    end
    assert.same({["-2 1"] = true, ["1 -2"] = true}, seen)
  end)

  -- Bilinear blends give back coordinates exactly where nothing is beyond the edge; the
  -- rest is single precision: 20 pixels times 2^-22 or so.
  local SLACK <const> = 2e-5

  it("moves, zooms, stretches and turns as an affine map within the limits", function()
    local size, rng = 41, core.Rng(5)
    local s, mid = coordinates(size, size), 21
    local t = augment {shift = 0.05, zoom = 0.1, stretch = 0.1, rotate = 10}
    local largest = {0, 0, 0}
    for _ = 1, 60 do
      local x = t(s, rng).x
      local i0, j0 = source(x, mid, mid)
      local i1, j1 = source(x, mid + 8, mid)
      local i2, j2 = source(x, mid, mid + 8)
      local i3, j3 = source(x, mid + 8, mid + 8)
      near(i1 + i2 - i0, i3, SLACK)
      near(j1 + j2 - j0, j3, SLACK)
      local down, right = {(i1 - i0) / 8, (j1 - j0) / 8}, {(i2 - i0) / 8, (j2 - j0) / 8}
      near(0, down[1] * right[1] + down[2] * right[2], SLACK) -- at a right angle
      local zoom = math.sqrt(down[1] ^ 2 + down[2] ^ 2)
      local stretch = math.sqrt(right[1] ^ 2 + right[2] ^ 2) / zoom
      for k, v in ipairs {
        math.max(math.abs(i0), math.abs(j0)) / (0.05 * size), math.abs(zoom - 1) / 0.1, math.abs(stretch - 1) / 0.1,
      } do
        assert.is_true(v <= 1 + SLACK)
        largest[k] = math.max(largest[k], v)
      end
      assert.is_true(math.abs(math.deg(math.atan(down[2], down[1]))) <= 10 + 1e-3)
    end
    for _, v in ipairs(largest) do assert.is_true(v > 0.8) end -- of 60 uniform draws one is almost surely
  end)

  it("repeats the last pixel beyond the edge", function()
    local s, rng = coordinates(9, 9), core.Rng(1)
    local t = augment {shift = 0.5}
    for _ = 1, 20 do
      local x = t(s, rng).x
      assert.is_true(x:min() >= -4 and x:max() <= 4)
    end
  end)

  it("keeps masks of 0 and 1, and labels of one class each", function()
    local rng = core.Rng(3)
    local labels = core.Rng(4):uniform(1, 16, 16) * 3
    local one_hot = core.cat({labels:lt(1), (-labels + 1):lt(0) * labels:lt(2), (-labels + 2):lt(0)}, 1)
    for _ = 1, 10 do
      local o = {shift = 0.1, zoom = 0.2, rotate = 20, y = "labels"}
      local y = augment(o)({x = core.ones(3, 16, 16), y = one_hot}, rng).y
      assert.equal(core.ones(1, 16, 16), y:narrow(1, 1, 1) + y:narrow(1, 2, 1) + y:narrow(1, 3, 1))
      o.y = "mask"
      y = augment(o)({x = core.ones(3, 16, 16), y = labels:lt(1)}, rng).y
      assert.equal(y, y * y)
      assert.is_true(y:sum() > 0 and y:sum() < 256)
      o.y = "nearest"
      y = augment(o)({x = core.ones(3, 16, 16), y = labels}, rng).y
      for _, v in ipairs(y:totable()) do assert.is_true(labels:eq(v):sum() > 0) end
    end
  end)

  it("changes the colours of x alone, each channel as a straight line", function()
    local rng, s = core.Rng(7), {x = core.cat({core.full(2, 1, 2, 0.25), core.full(2, 1, 2, 0.75)}, 2)}
    s.y = s.x:clone()
    local t = augment {contrast = 0.2, brightness = 0.1, gain = 0.1, tint = 0.05}
    local different = 0
    for _ = 1, 50 do
      local r = t(s, rng)
      assert.equal(s.y, r.y)
      for c = 1, 2 do
        local low, high = r.x[c][1][1], r.x[c][2][1]
        -- the slope, contrast × gain, and the value at one half: ½·gain + brightness + tint
        assert.is_true(math.abs((high - low) / 0.5 - 1) <= 1.2 * 1.1 - 1 + SLACK)
        assert.is_true(math.abs((high + low) / 2 - 0.5) <= 0.05 + 0.1 + 0.05 + SLACK)
      end
      if r.x[1][1][1] ~= r.x[2][1][1] then different = different + 1 end
    end
    assert.equal(50, different)
  end)

  it("draws as many numbers whatever it is asked for, so that options do not change the rest of a run", function()
    local states = {}
    for i, o in ipairs {{}, {mirror = true}, {shift = 0.1, rotate = 5, gain = 0.3}} do
      local rng = core.Rng(1)
      augment(o)(coordinates(4, 4), rng)
      states[i] = rng:state()
    end
    assert.equal(states[1], states[2])
    assert.equal(states[1], states[3])
  end)

  it("gives the same from the same generator, with and without buffers", function()
    local t, s = augment {mirror = true, shift = 0.1, rotate = 5, gain = 0.3}, coordinates(6, 6)
    local a, b, scratch = core.Rng(1), core.Rng(1), {}
    for _ = 1, 5 do assert.equal(t(s, a).x, t(s, b, scratch).x) end
  end)

  it("moves no middle of x apart from the rest", function()
    local s = {x = core.ones(3, 8, 8), y = core.ones(3, 4, 4), name = "face"}
    local r, message = augment {shift = 0.1}(s, core.Rng(1))
    assert.is_nil(r)
    assert.equal("face: transform.augment: x is 8x8 but y is 4x4: only mirror and transpose fit both", message)
    assert.same({3, 4, 4}, augment {mirror = true, transpose = true}(s, core.Rng(1)).y:size())
    r, message = augment {transpose = true}(coordinates(4, 5), core.Rng(1))
    assert.is_nil(r)
    assert.matches("square pictures only, got 4x5", message)
  end)
end)
