-- A model's faults: numbers that are not finite, singular matrices, scales that vanish or
-- overflow, batches of one sample or of one number. A step is refused as a whole, with the
-- name of what is not finite, or survived.
local cglow = require "cglow"
local core = require "cglow.core"
local small = require "spec.support.small"
local threads = require "spec.support.threads"

local batch, bytes, parameter = small.batch, small.bytes, small.parameter
local NAN, INF <const> = 0 / 0, math.huge

-- loss_and_grad refuses, names this, and changes no gradient: neither those that
-- are zero by construction nor those that somebody has looked at.
local function refused(model, x, y, says)
  model:zero_grad()
  local had = {}
  for i, p in ipairs(model:parameters()) do had[i] = p.has_grad end
  for _ = 1, 2 do
    local loss, message = model:loss_and_grad(x, y)
    assert.is_nil(loss)
    assert.are.equal(says, message)
  end
  for i, p in ipairs(model:parameters()) do
    assert.are.equal(had[i], p.has_grad)
    p.grad:fill(0.5)
  end
  local before = bytes(model, "grad")
  assert.is_nil(model:loss_and_grad(x, y))
  assert.are.equal(before, bytes(model, "grad"))
end

describe("A model", function()
  setup(threads.one)
  teardown(threads.restore)

  for label, value in pairs { NaN = NAN, ["+inf"] = INF, ["-inf"] = -INF } do
    it(("refuses %s in x and in y"):format(label), function()
      local model = small.model()
      local x, y = batch()
      x:set(1, 1, 3, 3, value)
      refused(model, x, y, "x is not finite")
      x = batch()
      y:set(2, 1, 8, 8, value)
      refused(model, x, y, "y is not finite")
      assert.is_number(model:loss_and_grad(batch()))
    end)
  end

  local blame = "loss is not finite; the first layer to blame is "

  -- A weight, and the layer that its NaN shows in first.
  for name, layer in pairs {
    ["level.1.step.1.actnorm.cn.fc3.bias"] = "level.1.step.1.actnorm.cn",
    ["level.1.step.2.invconv.cn.conv1.bias"] = "level.1.step.2.invconv.cn",
    ["level.1.step.1.coupling.cn.conv2.bias"] = "level.1.step.1.coupling.cn",
    ["level.1.step.2.coupling.net.conv1.weight"] = "level.1.step.2.coupling",
    ["level.2.step.1.coupling.net.conv3.logs"] = "level.2.step.1.coupling",
    ["level.1.split.conv.weight"] = "level.1.split",
  } do
    for _, recompute in ipairs { false, true } do
      it(("names %s for a NaN in %s%s"):format(layer, name, recompute and ", recomputing" or ""), function()
        local model = small.model { recompute = recompute }
        local x, y = batch()
        local p = parameter(model, name)
        local kept = p.value:clone()
        p.value:reshape(-1):set(1, NAN)
        refused(model, x, y, blame .. layer)
        p.value:copy(kept)
        assert.is_number(model:loss_and_grad(x, y))
      end)
    end
  end

  it("names a learned prior", function()
    local model = small.model { learned_prior = true }
    parameter(model, "prior.logs").value:fill(-INF)
    local x, y = batch()
    refused(model, x, y, blame .. "prior")
  end)

  it("names a singular W, of one sample in the batch or of all", function()
    local model = small.model()
    local x, y = batch()
    local bias = parameter(model, "level.1.step.2.invconv.cn.fc3.bias")
    bias.value:zero()
    refused(model, x, y, blame .. "level.1.step.2.invconv")
  end)

  it("names the layer whose scale overflows", function()
    -- tanh bounds the standard layers' scales; an unconditional actnorm has none.
    local model = cglow.Glow { y = { 1, 8, 8 }, levels = 1, depth = 2, coupling = { width = 4 } }
    local logs = parameter(model, "level.1.step.2.actnorm.logs")
    local y = core.randn(2, 1, 8, 8)
    logs.value:fill(200) -- e^200 is beyond single precision; double holds it
    if core.scalar == "float" then
      refused(model, nil, y, blame .. "level.1.step.2.actnorm")
    end
    logs.value:fill(800)
    local loss, message = model:loss_and_grad(nil, y)
    assert.is_nil(loss)
    assert.are.equal(blame .. "level.1.step.2.actnorm", message)
    logs.value:zero()
    assert.is_number(model:loss_and_grad(nil, y))
  end)

  it("survives a scale of 0, which loses y but no finite number", function()
    local model = cglow.Glow { y = { 1, 8, 8 }, levels = 1, depth = 2, coupling = { width = 4 } }
    parameter(model, "level.1.step.2.actnorm.logs").value:fill(-200) -- e^-200 is 0 in single precision
    local loss = model:loss_and_grad(nil, core.randn(2, 1, 8, 8))
    assert.is_true(loss == loss and loss < INF)
  end)

  it("survives constant batches, batches of one, and both", function()
    for _, n in ipairs { 1, 2, 5 } do
      for _, value in ipairs { 0, 1, -3 } do
        local model = small.model()
        local opt = cglow.optim.Adam(model:parameters(), { lr = 1e-3 })
        for _ = 1, 3 do
          model:zero_grad()
          assert.is_number(model:loss_and_grad(core.full(n, 1, 8, 8, value), core.full(n, 1, 8, 8, value)))
          assert.is_true(opt:step())
        end
        for _, p in ipairs(model:parameters()) do assert.is_true(p.value:isfinite()) end
      end
    end
  end)

  it("follows batches that change in size from step to step", function()
    local model = small.model()
    local opt = cglow.optim.Adam(model:parameters(), { lr = 1e-3 })
    for _, n in ipairs { 3, 1, 4, 1, 40, 2 } do -- 40: past the pending gradients' 32
      model:zero_grad()
      assert.is_number(model:loss_and_grad(batch(n)))
      assert.is_true(opt:step())
    end
  end)

  it("does not decode or sample through a singular W, and says where", function()
    local model = small.model()
    local x, y = batch()
    local _, latents = model:log_prob(x, y)
    parameter(model, "level.2.step.1.invconv.cn.fc3.bias").value:zero()
    assert.has_error(function() model:condition(x) end,
      "Model:condition: level.2.step.1.invconv: invconv: W of sample 1 is singular or not finite, it has no inverse")
    assert.is_false(pcall(model.decode, model, x, latents))
    assert.is_false(pcall(model.sample, model, x))
  end)

  it("gives up climbing with a message when a loss or gradient is not finite", function()
    local model = small.model()
    local x = batch()
    parameter(model, "level.1.step.1.actnorm.cn.fc3.bias").value:fill(NAN)
    local y, message = model:maximize(x, { steps = 2 })
    assert.is_nil(y)
    assert.are.equal(blame .. "level.1.step.1.actnorm.cn", message)
    y, message = small.model():maximize(x, { steps = 2, start = core.full(2, 1, 8, 8, INF) })
    assert.is_nil(y)
    assert.are.equal("y is not finite", message)
  end)

  it("keeps its density while it refuses", function()
    local model = small.model()
    local x, y = batch()
    local before = model:log_prob(x, y)
    model:loss_and_grad(core.full(2, 1, 8, 8, NAN), y)
    model:loss_and_grad(x, core.full(2, 1, 8, 8, INF))
    assert.is_true(model:log_prob(x, y):equal(before))
    assert.is_false(model:log_prob(x, core.full(2, 1, 8, 8, NAN)):isfinite())
  end)
end)
