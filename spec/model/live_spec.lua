-- Does the model depend on x? What each `init` leaves without gradient for ever
-- (lua/README.md, starts), counted on the paper's number of layers.
local core = require "cglow.core"
local threads = require "spec.support.threads"
local cglow = require "cglow"

local LEVELS, DEPTH, STEPS = 3, 8, 50

setup(threads.one)
teardown(threads.restore)

-- Trains on noise. Returns the model and a list of the parameters that have
-- had no gradient in any step.
local function train(init)
  local rng = core.Rng(61)
  local model = cglow.Model {
    x = { 1, 8, 8 }, y = { 3, 8, 8 }, levels = LEVELS, depth = DEPTH, init = init, rng = rng,
    cn = { channels = 8, width = 16 }, coupling = { width = 8 },
  }
  local adam = cglow.optim.Adam(model:parameter_groups(), { lr = 1e-3, clip_value = 0.25 })
  local moved = {}
  for _ = 1, STEPS do
    model:zero_grad()
    assert(model:loss_and_grad(rng:uniform(2, 1, 8, 8), rng:uniform(2, 3, 8, 8) - 0.5))
    for _, p in ipairs(model:parameters()) do
      moved[p.name] = moved[p.name] or p.grad:abs():max() > 0
    end
    assert(adam:step())
  end
  local still = {}
  for _, p in ipairs(model:parameters()) do
    if not moved[p.name] then still[#still + 1] = p.name end
  end
  return model, still
end

-- For the parts of a kind: how many there are, how many give another condition for
-- another x, and the smallest effect of x among them, relative to the condition.
local function dependence(model, kind)
  local x = core.Rng(62):uniform(8, 1, 8, 8)
  local parts, depending, least = 0, 0, math.huge
  for _, part in ipairs(model.layers) do
    if part.kind == kind then
      local cond, effect = part.cn:forward(x):clone(), 0
      for n = 2, x:size(1) do
        effect = math.max(effect, (cond[n] - cond[1]):norm() / math.max(cond[1]:norm(), 1e-30))
      end
      parts = parts + 1
      depending = depending + (effect > 0 and 1 or 0)
      least = math.min(least, effect)
    end
  end
  return parts, depending, least
end

describe("init = live", function()
  local model, still
  setup(function() model, still = train("live") end)

  it("gives every parameter a gradient", function() assert.same({}, still) end)

  it("makes actnorm, 1x1 and coupling depend on x", function()
    for _, kind in ipairs { "actnorm", "invconv", "coupling" } do
      local parts, depending, least = dependence(model, kind)
      assert.equal(LEVELS * DEPTH, parts)
      assert.equal(parts, depending, kind)
      -- Far more than rounding, 1e-7, after 50 steps of 5e-5 for the weights of
      -- these networks.
      assert.is_true(least > 1e-5, ("%s: %.2g"):format(kind, least))
    end
  end)

  it("starts W as a rotation that does not depend on x", function()
    local fresh = cglow.Model { x = { 1, 8, 8 }, y = { 3, 8, 8 }, levels = 2, depth = 2, init = "live",
      rng = core.Rng(63) }
    assert.equal(0, (select(2, dependence(fresh, "invconv"))))
    local x = core.Rng(64):uniform(1, 1, 8, 8)
    for _, part in ipairs(fresh.layers) do
      if part.kind == "invconv" then
        local logdet, rcond = part.flow:diagnose(part.cn:forward(x))
        assert.near(0, logdet[1], 1e-5) -- tanh(atanh(q)) of up to 48 channels in float
        assert.is_true(rcond[1] > 0)
      end
    end
  end)
end)

for _, init in ipairs { "paper", "orthogonal" } do
  describe("init = " .. init, function()
    local model, still
    setup(function() model, still = train(init) end)

    -- Two stacked ReLU layers that start at 0 let no gradient through: of the
    -- twelve tensors of each network of actnorm and the 1×1 convolution only
    -- fc3.bias ever gets any.
    it("leaves 528 of the 576 tensors of actnorm's and the 1x1's networks without gradient", function()
      local networks = 0
      for _, p in ipairs(model:parameters()) do
        if p.name:find("%.actnorm%.cn%.") or p.name:find("%.invconv%.cn%.") then networks = networks + 1 end
      end
      assert.equal(576, networks)
      assert.equal(528, #still)
      for _, name in ipairs(still) do
        assert.is_truthy(name:find("%.actnorm%.cn%.") or name:find("%.invconv%.cn%."), name)
        assert.is_nil(name:find("fc3.bias", 1, true), name)
      end
    end)

    it("leaves actnorm and 1x1 independent of x; only couplings depend on it", function()
      assert.equal(0, (select(2, dependence(model, "actnorm"))))
      assert.equal(0, (select(2, dependence(model, "invconv"))))
      -- Not all: in networks this narrow a ReLU layer may be dead from the start.
      local parts, depending = dependence(model, "coupling")
      assert.is_true(depending > parts / 2, depending .. " couplings")
    end)
  end)
end
