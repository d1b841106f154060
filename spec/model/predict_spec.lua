--- Ways to predict: means of samples in pairs, one pass at the centre, mirror images.
local cglow = require "cglow"
local core = require "cglow.core"

-- Models whose layers do something: every parameter is moved a little.
local function lively(options)
  options.rng = core.Rng(1)
  local model, rng = cglow.Model(options), core.Rng(2)
  for _, p in ipairs(model:parameters()) do p.value:add(rng:normal(table.unpack(p.value:size())), 0.02) end
  return model
end

local function conditional()
  return lively {x = {3, 8, 8}, y = {1, 8, 8}, levels = 2, depth = 2, cn = {channels = 4, width = 8},
    coupling = {width = 8}}
end

-- Single precision through a dozen layers and back.
local CLOSE <const> = 2e-3

local function distance(a, b) return ((a - b):abs():max()) end

describe("prediction", function()
  local model, x
  before_each(function() model, x = conditional(), core.Rng(3):uniform(2, 3, 8, 8) end)

  it("draws pairs of samples whose latents are mirror images", function()
    local ys = model:sample(x, {n = 4, pairs = true, rng = core.Rng(5)})
    local repeated = core.stack {x[1], x[1], x[1], x[1], x[2], x[2], x[2], x[2]}
    local _, latents = model:log_prob(repeated, ys)
    local top = latents[2] -- what the standard normal prior made
    for first = 1, 7, 2 do
      assert.is_true(distance(top[first], -top[first + 1]) < CLOSE)
      assert.is_true(top[first]:abs():max() > 0.5)
      if first > 1 then assert.is_true(distance(top[first], top[first - 2]) > 0.5) end
    end
  end)

  it("makes samples of the numbers that it is given, level by level, as of those that it draws", function()
    local encoded = lively {x = {3, 8, 8}, y = {1, 8, 8}, levels = 2, depth = 2, encoder = {channels = {4, 4, 4}},
      coupling = {width = 8}}
    for _, m in ipairs {model, encoded} do
      local rng = core.Rng(5)
      local last = rng:normal(6, 8, 2, 2) -- the last level is drawn first
      local noise = {rng:normal(6, 2, 4, 4), last}
      local given = m:sample(x, {n = 3, temperature = 0.8, noise = noise})
      assert.is_true(given == m:sample(x, {n = 3, temperature = 0.8, rng = core.Rng(5)}))
      assert.is_true(given == m:sample(m:condition(x), {n = 3, temperature = 0.8, noise = noise})) -- which is unchanged
    end
  end)

  it("averages pairs by default, and what is asked for otherwise", function()
    local function mean(n, o)
      local ys = model:sample(x, {n = n, pairs = o.pairs, rng = core.Rng(5), temperature = o.temperature})
      return ys:reshape(2, n, 64):mean(2):reshape(2, 1, 8, 8)
    end
    local function same(o, expected)
      o.rng = core.Rng(5)
      assert.is_true(model:predict(x, o) == expected)
    end
    same({}, mean(10, {pairs = true}))
    same({samples = 4}, mean(4, {pairs = true}))
    same({samples = 4, pairs = false, temperature = 0.5}, mean(4, {pairs = false, temperature = 0.5}))
    same({samples = 3}, mean(3, {pairs = false}))
  end)

  it("has less noise in a mean of pairs", function()
    local function spread(pairs_)
      local rng, sum, squares, times = core.Rng(9), core.zeros(2, 1, 8, 8), core.zeros(2, 1, 8, 8), 40
      for _ = 1, times do
        local y = model:predict(x, {samples = 4, pairs = pairs_, rng = rng})
        sum:add(y)
        squares:add(y * y)
      end
      return (squares / times - (sum / times) * (sum / times)):mean()
    end
    -- measured: 0.003 of it is left; nearly linear layers cancel nearly all
    assert.is_true(spread(true) < 0.5 * spread(false))
  end)

  it("gives the same at the centre as a sample at temperature 0", function()
    assert.is_true(model:mode(x) == model:sample(x, {temperature = 0}))
    assert.is_true(model:mode(x) == model:predict(x, {samples = 2, temperature = 0}))
  end)

  it("averages over x and its mirror image, and so treats both alike", function()
    local function mirrored(t) return core.image.flip(t, "horizontal") end
    local y, other = model:mode(x, {mirror = true}), model:mode(mirrored(x), {mirror = true})
    assert.is_true(distance(y, mirrored(other)) < 1e-6) -- a sum of two in another order
    assert.is_true(distance(y, model:mode(x)) > 1e-3)
    local rng = core.Rng(1)
    local half = model:predict(x, {samples = 2, rng = rng})
    half = half + mirrored(model:predict(mirrored(x), {samples = 2, rng = rng}))
    assert.is_true(distance(model:predict(x, {samples = 2, mirror = true, rng = core.Rng(1)}), half * 0.5) < 1e-6)
  end)

  it("works in plain Glow, but for mirroring", function()
    local glow = lively {y = {1, 4, 4}, levels = 1, depth = 1, coupling = {width = 4}}
    assert.same({1, 1, 4, 4}, glow:mode(nil):size())
    assert.same({1, 1, 4, 4}, glow:predict(nil, {samples = 4}):size())
    assert.error_matches(function() glow:mode(nil, {mirror = true}) end, "'mirror' is for models with an x")
  end)

  it("refuses pairs of an odd number", function()
    assert.error_matches(function() model:predict(x, {samples = 3, pairs = true}) end,
      "Model:predict: option 'samples' must be even for pairs, got 3")
    assert.error_matches(function() model:sample(x, {n = 1, pairs = true}) end, "'n' must be even for pairs, got 1")
  end)
end)
