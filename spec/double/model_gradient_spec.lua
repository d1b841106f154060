-- The loss of whole models: every parameter's gradient and dy against central
-- differences, and Taylor tests; and the checker itself.
local core = require "cglow.core"
assert(core.scalar == "double", "this spec is for the double core: LUA_CPATH='./build/double/?.so;;'")
local gradient = require "spec.support.gradient"
local models = require "spec.support.models"
local losses = require "cglow.nn.losses"

-- Mean −log p in bits per dimension, from log_prob alone.
local function loss(model, x, y)
  local logp = model:log_prob(x, y)
  return -logp:sum() / (logp:count() * model.dimensions * math.log(2))
end

-- What the head is asked for, of classes; nil without a head.
local function head_target(model, n, rng)
  if not model.config.head then return nil end
  local _, h, w = table.unpack(model.config.y)
  local classes = {}
  for i = 1, n * h * w do classes[i] = rng:integer(1, model.config.head.outputs) end
  return core.tensor(classes):reshape(n, h, w)
end

-- What is added to the loss for the head.
local function head_loss(model, x, target)
  if not target then return 0 end
  return model.config.head.weight * losses.cross_entropy(model:head(x), target)
end

local function problem(config, n)
  return function(rng)
    local model = models.random(config, rng)
    local x, y = models.batch(model, n, rng)
    local target = head_target(model, n, rng)
    local inputs = { { name = "y", tensor = y } }
    for _, p in ipairs(model:parameters()) do inputs[#inputs + 1] = { name = p.name, tensor = p.value, param = p } end
    return {
      inputs = inputs,
      sample = 24,
      value = function() return loss(model, x, y) + head_loss(model, x, target) end,
      gradients = function()
        local _, dy = model:loss_and_grad(x, y, { head = target })
        local list = { y = dy:clone() }
        for _, p in ipairs(model:parameters()) do list[p.name] = p.grad:clone() end
        return list
      end,
    }
  end
end

describe("gradient of a model's loss:", function()
  local threads = core.threads()
  setup(function() core.threads(1) end)
  teardown(function() core.threads(threads) end)

  for _, case in ipairs(models.cases) do
    it(case[1], function()
      local fault = gradient.check(problem(case[2], case[3]))
      assert.is_nil(fault, fault)
    end)
  end

  it("is what loss_and_grad returns as loss too, less the offset of the cells", function()
    local rng = core.Rng(3)
    local model = models.random(models.cases[1][2], rng)
    local x, y = models.batch(model, 2, rng)
    local want = loss(model, x, y)
    assert.near(want, model:loss_and_grad(x, y), 1e-13 * want)
    -- lua/README.md, discrete y: bits per dim = −(log p + D·log w)/(D·ln 2)
    assert.near(want + 8, model:loss_and_grad(x, y, { cell_width = 1 / 256 }), 1e-13 * want)
  end)

  it("adds up over calls until zero_grad", function()
    local rng = core.Rng(4)
    local model = models.random(models.cases[2][2], rng)
    local x, y = models.batch(model, 3, rng)
    model:loss_and_grad(x, y)
    model:loss_and_grad(x, y) -- before anybody has read a gradient
    local twice = {}
    for i, p in ipairs(model:parameters()) do twice[i] = p.grad:clone() end
    model:loss_and_grad(x, y) -- and after
    local thrice = {}
    for i, p in ipairs(model:parameters()) do thrice[i] = p.grad:clone() end
    model:zero_grad()
    for _, p in ipairs(model:parameters()) do assert.equal(0, p.grad:norm()) end
    model:loss_and_grad(x, y)
    for i, p in ipairs(model:parameters()) do
      local limit = 1e-14 * p.grad:norm() -- two roundings of each sum
      assert.near(0, (twice[i] - p.grad * 2):norm(), limit, p.name)
      assert.near(0, (thrice[i] - p.grad * 3):norm(), 2 * limit, p.name)
    end
  end)
end)

describe("the checker of gradients", function()
  local function square(error)
    return function(rng)
      local t = rng:normal(5)
      return {
        inputs = { { name = "t", tensor = t } },
        value = function() return (t * t * t):sum() end,
        gradients = function()
          local g = t * t * 3
          g[2] = g[2] * (1 + error)
          return { t = g }
        end,
      }
    end
  end

  it("passes a right gradient", function() assert.is_nil(gradient.check(square(0))) end)
  it("finds an error of 2e-6", function() assert.matches("d/dt%[2%]", gradient.check(square(2e-6))) end)

  it("leaves a point on a kink for another one", function()
    local points = 0
    local fault = gradient.check(function(rng)
      points = points + 1
      local t = rng:normal(3)
      if points == 1 then t[1] = 2e-6 end
      return {
        inputs = { { name = "t", tensor = t } },
        value = function() return t:abs():sum() + (t * t):sum() end,
        gradients = function() return { t = t:sign() + t * 2 } end,
      }
    end)
    assert.is_nil(fault)
    assert.equal(2, points)
  end)

  it("does not go on for ever", function()
    assert.matches("a kink", gradient.check(function()
      local t = core.full({ 2 }, 1e-6)
      return {
        inputs = { { name = "t", tensor = t } },
        value = function() return t:abs():sum() end,
        gradients = function() return { t = t:sign() } end,
      }
    end))
  end)

  it("finds a gradient that lacks a term across inputs", function()
    local fault = gradient.check(function(rng)
      local a, b = rng:normal(4), rng:normal(4)
      return {
        inputs = { { name = "a", tensor = a }, { name = "b", tensor = b } },
        value = function() return (a * b):sum() end,
        gradients = function() return { a = b:clone(), b = b:clone() } end,
      }
    end)
    assert.matches("d/db", fault)
  end)
end)
