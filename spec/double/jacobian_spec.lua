-- Log-determinants against log|det| of explicit Jacobians, sample by sample:
-- every flow layer, and whole models.
--
-- The Jacobian is that of the whole batch, so it also shows that samples do not
-- touch each other. Differences of fourth order with steps of 1e-3 are good to
-- about 1e-11; a point where half the step gives another Jacobian has a ReLU's
-- kink within the step and is left for another one.
local core = require "cglow.core"
local passes = require "cglow.model.passes"
local walk = require "cglow.model.walk"
assert(core.scalar == "double", "this spec is for the double core: LUA_CPATH='./build/double/?.so;;'")
local layers = require "spec.support.layers"
local models = require "spec.support.models"
local nn = require "cglow.nn"
local numeric = require "spec.support.numeric"

local TOLERANCE = 1e-8 -- relative
local STEP, AGREE = 1e-3, 1e-9
local POINTS = 10

-- At the first point without a kink: check(J, problem). Building a problem
-- gives f (to a flat list, samples after each other) and its tensor.
local function at_smooth_point(build, check)
  for seed = 1, POINTS do
    local problem = build(core.Rng(seed))
    local j = numeric.jacobian(problem.f, problem.tensor, STEP)
    if numeric.difference(j, numeric.jacobian(problem.f, problem.tensor, STEP / 2)) < AGREE then
      return check(j, problem)
    end
  end
  error(("a kink at each of %d points"):format(POINTS))
end

local function near(want, got, what)
  assert.is_true(math.abs(got - want) <= TOLERANCE * math.max(1, math.abs(want)),
    ("%s: %.12g by the Jacobian, %.12g by the layer"):format(what, want, got))
end

-- log|det| of each sample's block; what lies beside the blocks must be zero.
local function log_dets(j, samples)
  local size = #j // samples
  for r, row in ipairs(j) do
    for c, v in ipairs(row) do
      if (r - 1) // size ~= (c - 1) // size then
        assert(v == 0, ("sample %d depends on sample %d"):format((r - 1) // size + 1, (c - 1) // size + 1))
      end
    end
  end
  local list = {}
  for n = 1, samples do list[n] = numeric.log_abs_det(numeric.block(j, (n - 1) * size + 1, size)) end
  return list
end

-- log N(z; m, exp(s)²) of one sample; m and s absent: 0.
local function log_normal(z, m, s)
  local sum = 0
  for i, v in ipairs(z:totable()) do
    local mean, logs = m and m[i] or 0, s and s[i] or 0
    sum = sum - 0.5 * math.log(2 * math.pi) - logs - 0.5 * ((v - mean) / math.exp(logs)) ^ 2
  end
  return sum
end

local function tanh(v) return 1 - 2 / (math.exp(2 * v) + 1) end

-- m and s from what a convolution makes and features add, C×1×H×W, by turns.
local function bounded_moments(a, added, bound)
  local m, s = {}, {}
  for c = 1, added:size(1) do
    local list = c % 2 == 1 and m or s
    local sum = added[c] + a:narrow(2, c, 1):clone():reshape(1, added:size(3), added:size(4))
    for _, v in ipairs(sum:totable()) do list[#list + 1] = c % 2 == 1 and v or bound * tanh(v / bound) end
  end
  return m, s
end

-- The moments of a prior of features, whose bias is the same at all pixels.
local function prior_moments(bias, added, bound)
  local a = core.empty(1, added:size(1), added:size(3), added:size(4))
  for c = 1, added:size(1) do a[1][c]:fill(bias[c]) end
  return bounded_moments(a, added, bound)
end

-- m and s of a split for one z1 (1×C×H×W), by other means than the split's own.
local function split_moments(split, z1, added, bound)
  local p = split:parameters()
  local size = p[1].value:size()
  local conv = nn.Sequential {
    "c", nn.Conv2d { in_channels = size[2], out_channels = size[1], padding = 1 }, not added and nn.Tanh() or nil,
  }
  conv:parameters()[1].value:copy(p[1].value)
  conv:parameters()[2].value:copy(p[2].value)
  local out = conv:forward(z1)
  if added then return bounded_moments(out, added, bound) end
  local m, s = {}, {}
  for c = 0, size[1] - 1 do
    local list = c % 2 == 0 and m or s
    for _, v in ipairs(out:narrow(2, c + 1, 1):clone():totable()) do list[#list + 1] = v end
  end
  return m, s
end

-- Latents of a batch as a flat list, sample after sample.
local function flatten(latents, samples)
  local list = {}
  for n = 1, samples do
    for _, z in ipairs(latents) do
      local one = z:narrow(1, n, 1):clone():totable()
      table.move(one, 1, #one, #list + 1, list)
    end
  end
  return list
end

-- Σ log N over a sample's latents. Split l's moments depend on the z1 that the
-- levels above turn into their latents, so those are decoded from the top.
local function latent_density(model, x, latents, n)
  local one = {}
  for l, z in ipairs(latents) do one[l] = z:narrow(1, n, 1):clone() end
  local sum, conds = 0, {}
  for i, cond in pairs(passes.conditions(model, x and x:narrow(1, n, 1):clone())) do conds[i] = cond:clone() end
  local bound = model.config.condition and model.config.condition.bound
  walk.down(model.layers, nil, {
    prior = function(layer)
      local learned, top, added = layer.flow:parameters(), one[layer.level], conds[layer.index]
      if added then
        sum = log_normal(top, prior_moments(learned[1].value, added, bound))
        return top
      end
      sum = learned[1] and log_normal(top, learned[1].value:clone():totable(), learned[2].value:totable())
        or log_normal(top)
      return top
    end,
    split = function(layer, z)
      sum = sum + log_normal(one[layer.level], split_moments(layer.flow, z, conds[layer.index], bound))
      return layer.flow:inverse(z, one[layer.level]):clone()
    end,
    part = function(layer, z) return layer.flow:inverse(z, conds[layer.index]):clone() end,
    squeeze = function(layer, z) return layer.flow:inverse(z):clone() end,
  })
  return sum
end

describe("log-determinant of", function()
  local threads = core.threads()
  setup(function() core.threads(1) end)
  teardown(function() core.threads(threads) end)

  for _, case in ipairs(layers.flows) do
    local shape = case[3]
    if shape[1] * shape[2] * shape[3] * shape[4] <= 200 then
      it(case[1], function()
        at_smooth_point(function(rng)
          local layer, y, cond = layers.flow(case, rng)
          return {
            tensor = y,
            f = function() return (layer:forward(y, cond):totable()) end,
            logdet = function() return select(2, layer:forward(y, cond)) end,
          }
        end, function(j, problem)
          local logdet = problem.logdet()
          local want = log_dets(j, shape[1])
          assert.equal(#want, #logdet)
          for n, v in ipairs(want) do near(v, logdet[n], "sample " .. n) end
        end)
      end)
    end
  end

  it("split is zero: its channels only part", function()
    local rng = core.Rng(1)
    local split = layers.randomise(core.flow.split(4), rng)
    local y = rng:normal(2, 4, 2, 3)
    local j = numeric.jacobian(function()
      local z1, z2 = split:forward(y)
      return flatten({ z1, z2 }, 2)
    end, y, STEP)
    for _, v in ipairs(log_dets(j, 2)) do assert.near(0, v, 1e-10) end
  end)
end)

describe("log p is log|det| of the Jacobian plus the latents' log density:", function()
  local threads = core.threads()
  setup(function() core.threads(1) end)
  teardown(function() core.threads(threads) end)

  local cases = {
    { "one level", { x = { 1, 8, 8 }, y = { 2, 2, 4 }, levels = 1, depth = 2 } },
    { "two levels, learned prior", { x = { 2, 9, 8 }, y = { 1, 4, 8 }, levels = 2, depth = 1, learned_prior = true } },
    { "three levels", { x = { 1, 8, 9 }, y = { 1, 8, 8 }, levels = 3, depth = 1 } },
    { "plain Glow", { y = { 3, 4, 4 }, levels = 2, depth = 2 } },
    { "an encoder",
      { x = { 1, 8, 16 }, y = { 1, 8, 8 }, levels = 2, depth = 1, encoder = { channels = { 2, 3, 2 } } } },
    { "a flow of what the head leaves",
      { x = { 1, 8, 16 }, y = { 1, 8, 8 }, levels = 1, depth = 1, encoder = { channels = { 2, 3 } },
        head = { outputs = 1, loss = "squared_error", residual = 0.5 } } },
  }
  for _, case in ipairs(cases) do
    it(case[1], function()
      local samples = 2
      at_smooth_point(function(rng)
        local model = models.random(case[2], rng)
        local x, y = models.batch(model, samples, rng)
        return {
          tensor = y,
          model = model,
          x = x,
          f = function() return flatten(select(2, model:log_prob(x, y)), samples) end,
        }
      end, function(j, problem)
        local logp, latents = problem.model:log_prob(problem.x, problem.tensor)
        for n, v in ipairs(log_dets(j, samples)) do
          near(v + latent_density(problem.model, problem.x, latents, n), logp[n], "sample " .. n)
        end
      end)
    end)
  end
end)
