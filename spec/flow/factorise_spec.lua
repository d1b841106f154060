-- What is found of an unconditional 1×1 convolution's weight is kept, and never outlives it.
local core = require "cglow.core"

local C <const> = 5

local function made(weight)
  local layer = core.flow.invconv(C, false)
  layer:parameters()[1].value:copy(weight)
  return layer
end

local function weight_of(layer) return layer:parameters()[1].value end

describe("factors of a 1x1 convolution", function()
  local w = core.randn(C, C, core.Rng(3))
  local y = core.randn(2, C, 3, 3, core.Rng(4))

  -- What a layer that has found nothing before gives.
  local function same_as_new(layer)
    local fresh = made(weight_of(layer))
    local z, logdet = layer:forward(y)
    local z_new, logdet_new = fresh:forward(y)
    assert.same(logdet_new, logdet)
    assert.is_true(z:equal(z_new))
    assert.is_true(layer:backward(z, 0.5):equal(fresh:backward(z_new, 0.5)))
    assert.is_true(layer:parameters()[1].grad:equal(fresh:parameters()[1].grad))
    assert.is_true(layer:inverse(z):equal(made(weight_of(layer)):inverse(z)))
    assert.is_true(layer:prepare():equal(made(weight_of(layer)):prepare()))
  end

  it("found side by side are those found alone, on any number of threads", function()
    local threads = core.threads()
    for _, n in ipairs { 1, 2, 16 } do
      core.threads(n)
      local layers = { made(w), made(w * 2), made(w) }
      layers[4] = layers[1]
      core.flow.factorise(layers)
      for _, layer in ipairs(layers) do
        core.zero_grad(layer:parameters())
        same_as_new(layer)
      end
    end
    core.threads(threads)
  end)

  it("are found again when any bit of the weight has changed", function()
    local layer = made(w)
    layer:forward(y)
    core.zero_grad(layer:parameters())
    weight_of(layer):add(core.full(C, C, 1e-6))
    same_as_new(layer)
    core.zero_grad(layer:parameters())
    core.flow.factorise { layer }
    weight_of(layer):mul(-3)
    same_as_new(layer)
  end)

  it("of a singular weight say so, again and again", function()
    local layer = made(w)
    core.flow.factorise { layer }
    weight_of(layer):zero()
    core.flow.factorise { layer }
    for _ = 1, 2 do
      assert.same({ -math.huge, -math.huge }, select(2, layer:forward(y)))
      local ok, message = pcall(layer.inverse, layer, y)
      assert.is_false(ok)
      assert.matches("singular", message)
    end
  end)

  it("are those of forward's weight in backward, whatever inverse did since", function()
    local layer = made(w)
    local z = layer:forward(y):clone()
    local before = weight_of(layer):clone()
    weight_of(layer):mul(2)
    layer:inverse(z)
    weight_of(layer):copy(before)
    local other = made(w)
    other:forward(y)
    layer:backward(z, 0.5)
    other:backward(z, 0.5)
    assert.is_true(layer:parameters()[1].grad:equal(other:parameters()[1].grad))
  end)

  it("need unconditional layers", function()
    for _, v in ipairs { core.flow.invconv(C, true), core.flow.actnorm(C, false), 1, "x" } do
      local ok, message = pcall(core.flow.factorise, { made(w), v })
      assert.is_false(ok)
      assert.matches("unconditional 1x1 convolutions expected, got .* as %[2%]", message)
    end
  end)
end)
