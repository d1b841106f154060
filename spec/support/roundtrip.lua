-- Specs of inverses: the same examples for the float and the double core, with
-- tolerances in units of the core's rounding error.
--
-- Layers. Limits from the arithmetic, with eps the spacing of numbers at 1:
--   squeeze, split   exact: numbers only move
--   actnorm          y' = z·e^−s − b: a few roundings of y + b and of y
--   1×1              two products, so eps·κ(W) for each, with the 1-norm's
--                    condition number from InvConv:diagnose
--   coupling         both directions compute the same t and σ from the same y1,
--                    so y2' = z2/σ − t: a few roundings of y2 + t and of y2;
--                    a prepared inverse sums the first convolution in two parts;
--                    with a bound α, |t| is what it makes of y2 = 0, times e^α
--
-- Models. Every layer leaves a rounding error in proportion to each number, and
-- the layers after it carry that to the result. What they make of it is
-- measured: each number that goes in is changed by a random part, of deviation
-- CHANGE, of itself and INNER (where latents are 0, the biases of actnorm and
-- coupling soon make numbers of that size), and the result changes by S (the
-- largest number of it, the largest of three tries). One layer's rounding then makes eps·S/CHANGE; the
-- limit is that times the number of layers, and 2, because errors need not add
-- up as random changes do.
local busted = require "busted"
local assert = require "luassert"
local core = require "cglow.core"
local cglow = require "cglow"
local layers = require "spec.support.layers"
local models = require "spec.support.models"

local describe, it, setup, teardown = busted.describe, busted.it, busted.setup, busted.teardown

local EPS = core.scalar == "double" and 2.0 ^ -52 or 2.0 ^ -23

local M = {}

local function largest(t) return t:abs():max() end

local function at_most(limit, got, what)
  assert.is_true(got <= limit, ("%s: %.3g, more than %.3g"):format(what, got, limit))
end

-- ---- layers ----------------------------------------------------------------

-- The largest |t| of a coupling with a bound on its log-scale, or of an injector.
local function largest_shift(bound, layer, y, cond)
  local injector = core.type(layer) == "cglow.Injector"
  local blank, keep = y:clone(), injector and 0 or y:size(2) // 2
  for n = 1, y:size(1) do blank[n]:narrow(1, keep + 1, y:size(2) - keep):fill(0) end
  local z = layer:forward(blank, cond, false)
  return math.exp(bound) * largest(z:narrow(2, keep + 1, y:size(2) - keep))
end

local function layer_limit(case, layer, y, cond)
  local kind = case[1]
  if kind:find("squeeze") then return 0 end
  if case.bound then return 2 * EPS * (largest(y) + largest_shift(case.bound, layer, y, cond)) end
  if kind:find("invconv") then
    local _, rcond = layer:diagnose(cond)
    return 2 * EPS / math.min(table.unpack(rcond)) * largest(y)
  end
  return 2 * EPS * (largest(y) + 1) -- |b| and |t| are at most 1
end

local function check_layer(case, rng)
  local layer, y, cond = layers.flow(case, rng)
  local limit = layer_limit(case, layer, y, cond)
  local z = layer:forward(y, cond):clone()
  local back = layer:inverse(z, cond):clone()
  at_most(limit, largest(back - y), case[1])
  if layer.prepare then
    at_most(limit, largest(layer:inverse_prepared(z, layer:prepare(cond)) - y), "prepared inverse")
  end
end

-- A large 1×1, or coupling: name, shape of y and of the condition.
local function wide_cases()
  local list = {}
  for _, c in ipairs { 12, 48, 96, 192 } do
    list[#list + 1] = { ("conditional invconv of %d channels"):format(c),
      function() return core.flow.invconv(c, true) end, { 2, c, 3, 2 }, { 2, c * c } }
  end
  list[#list + 1] = { "coupling of 192 channels",
    function() return core.flow.coupling(192, 96, 32) end, { 2, 192, 2, 3 }, { 2, 96, 2, 3 } }
  return list
end

-- Each sample of t n times; samples are numbered by this dimension.
local function repeated(t, n, dimension)
  local list, d = {}, dimension or 1
  for i = 1, t:size(d) do
    for _ = 1, n do list[#list + 1] = t:narrow(d, i, 1) end
  end
  return core.cat(list, d)
end

local function define_layers()
  for _, list in ipairs { layers.flows, wide_cases() } do
    for _, case in ipairs(list) do
      it(case[1], function() check_layer(case, core.Rng(11)) end)
    end
  end

  it("split", function()
    local rng = core.Rng(12)
    for _, channels in ipairs { 2, 5, 192 } do
      local split = layers.randomise(core.flow.split(channels), rng)
      local y = rng:normal(2, channels, 3, 2)
      local z1, z2 = split:forward(y)
      assert.is_true(y:equal(split:inverse(z1:clone(), z2:clone())))
    end
  end)

  for _, case in ipairs(layers.flows) do
    if case[4] then
      it(case[1] .. ", one condition for several samples", function()
        local layer, _, cond = layers.flow(case, core.Rng(13))
        local samples = case.added and 2 or 1
        local y = core.Rng(14):normal(3 * cond:size(samples), table.unpack(case[3], 2))
        local z, logdet = layer:forward(y, repeated(cond, 3, samples))
        z, logdet = z:clone(), table.move(logdet, 1, #logdet, 1, {})
        local limit = layer_limit(case, layer, y, cond)
        local shared, shared_logdet = layer:forward(y, cond, false)
        at_most(limit, largest(z - shared), "z")
        -- Both are sums in double of as many terms as a sample has numbers, in orders that
        -- depend on the processor: their roundings are a random walk.
        local walk = 2.0 ^ -53 * math.sqrt(y:count() / y:size(1))
        for n, v in ipairs(logdet) do
          at_most(EPS + (EPS + 2 * walk) * math.abs(v), math.abs(v - shared_logdet[n]), "log-det")
        end
        at_most(limit, largest(layer:inverse(shared:clone(), cond) - y), "y")
      end)
    end
  end
end

-- ---- models ----------------------------------------------------------------

-- Steps of Adam on noise, so that parameters are nobody's choice.
local function train(model, steps, rng)
  local x, y = models.batch(model, 2, rng)
  local adam = cglow.optim.Adam(model:parameters(), { lr = 3e-3 })
  for _ = 1, steps do
    model:zero_grad()
    assert(model:loss_and_grad(x, y))
    assert(adam:step())
  end
end

local CHANGE, INNER = 2.0 ^ -10, 0.5

-- The change of every tensor that f returns (a list) when those that go in are
-- changed, for each unit of relative change.
local function sensitivity(f, tensors, rng)
  local at, most = f(tensors), {}
  for _ = 1, 3 do
    local changed = {}
    for i, t in ipairs(tensors) do changed[i] = t + (t:abs() + INNER) * rng:normal(table.unpack(t:size())) * CHANGE end
    for i, t in ipairs(f(changed)) do
      most[i] = math.max(most[i] or 0, largest(t - at[i]) / CHANGE)
    end
  end
  return most
end

local function clones(list)
  local c = {}
  for i, t in ipairs(list) do c[i] = t:clone() end
  return c
end

-- How many flow layers round: squeezing and splitting only move numbers.
local function parts_of(model) return 3 * model.config.levels * model.config.depth end

-- Limit of the error of y, decoded.
local function y_limit(model, x, latents, rng)
  local s = sensitivity(function(zs) return { model:decode(x, zs) } end, latents, rng)
  return 2 * EPS * parts_of(model) * s[1]
end

-- Limits of the errors of latents that were decoded and encoded again: those of
-- encoding, and those of decoding, which were relative ones of the latents.
local function latent_limits(model, x, y, latents, rng)
  local s = sensitivity(function(ys) return clones(select(2, model:log_prob(x, ys[1]))) end, { y }, rng)
  local limits = {}
  for l, z in ipairs(latents) do limits[l] = 2 * EPS * parts_of(model) * (s[l] + largest(z)) end
  return limits
end

local CASES = {
  { "x and y of other sizes, not square", { x = { 2, 9, 17 }, y = { 3, 8, 4 }, levels = 2, depth = 2 }, 3 },
  { "x smaller than y, learned prior",
    { x = { 3, 8, 8 }, y = { 1, 16, 8 }, levels = 3, depth = 1, learned_prior = true }, 1 },
  { "192 channels", { x = { 1, 8, 8 }, y = { 48, 2, 4 }, levels = 1, depth = 2 }, 2 },
  { "four levels, eight samples", { x = { 1, 8, 8 }, y = { 1, 16, 16 }, levels = 4, depth = 1 }, 8 },
  { "plain Glow", { y = { 3, 8, 4 }, levels = 2, depth = 2 }, 5 },
  { "an encoder of a larger x", { x = { 2, 16, 24 }, y = { 3, 8, 16 }, levels = 2, depth = 2,
    encoder = { channels = { 3, 5, 4 } }, head = { outputs = 2 } }, 3 },
}

local function check_y(case, model, rng)
  local x, y = models.batch(model, case[3], rng)
  local _, latents = model:log_prob(x, y)
  at_most(y_limit(model, x, latents, rng), largest(model:decode(x, latents) - y), "y")
end

-- From latents at a temperature to y and back.
local function check_latents(case, model, rng, temperature)
  local x = models.batch(model, case[3], rng)
  local latents = {}
  for l, shape in ipairs(model.latent_shapes) do
    latents[l] = rng:normal(case[3], table.unpack(shape)) * temperature
  end
  local y = model:decode(x, latents)
  local _, back = model:log_prob(x, y)
  local limits = latent_limits(model, x, y, latents, rng)
  for l, z in ipairs(latents) do at_most(limits[l], largest(back[l] - z), "latent " .. l) end
end

-- Samples by the prepared inverses are what decode makes of their latents.
local function check_samples(case, model, rng, temperature)
  local x = models.batch(model, case[3], rng)
  local y = model:sample(model:condition(x), { n = 2, temperature = temperature, rng = rng })
  local xs = x and repeated(x, 2)
  assert.equal((x and case[3] or 1) * 2, y:size(1))
  local _, latents = model:log_prob(xs, y)
  local limit = y_limit(model, xs, latents, rng)
  at_most(limit, largest(model:decode(xs, latents) - y), "y")
  if temperature == 0 then
    for n = 1, y:size(1), 2 do at_most(limit, largest(y[n] - y[n + 1]), "samples at temperature 0 differ") end
  end
end

local function define_models()
  for _, case in ipairs(CASES) do
    describe(case[1], function()
      local model, rng
      setup(function()
        rng = core.Rng(21)
        model = models.random(case[2], rng)
        train(model, 20, rng)
      end)
      it("y to latents and back", function() check_y(case, model, rng) end)
      for _, temperature in ipairs { 0, 2 } do
        local at = (" at temperature %d"):format(temperature)
        it("latents" .. at .. " to y and back", function() check_latents(case, model, rng, temperature) end)
        it("samples" .. at, function() check_samples(case, model, rng, temperature) end)
      end
    end)
  end
end

--- Define the examples.
function M.define()
  local threads = core.threads()
  describe("round trip of", function()
    setup(function() core.threads(1) end)
    teardown(function() core.threads(threads) end)
    define_layers()
    define_models()
  end)
end

return M
