-- Looking at a gradient: what it shows, and that it costs nothing once it is over.
local core = require "cglow.core"
local cglow = require "cglow"
local nn = require "cglow.nn"

local WIDTH <const> = 256
local WEIGHT <const> = WIDTH * WIDTH * (core.scalar == "double" and 8 or 4) -- bytes

local function network()
  cglow.seed(4)
  local net = nn.Sequential { nn.Linear { in_features = WIDTH, out_features = WIDTH }, nn.ReLU(),
    nn.Linear { in_features = WIDTH, out_features = WIDTH } }
  local params = net:parameters()
  for _, p in ipairs(params) do core.rng():fill_normal(p.value):mul(0.05) end
  local opt = cglow.optim.Adam(params, { lr = 1e-3, clip_value = 0.5 })
  local x, d = core.randn(2, WIDTH), core.randn(2, WIDTH)
  return params, function()
    core.zero_grad(params)
    net:forward(x)
    net:backward(d)
    assert(opt:step())
  end
end

local function memory()
  collectgarbage()
  collectgarbage()
  return collectgarbage "count" * 1024
end

describe("A look at gradients", function()
  local function look(params)
    for _, p in ipairs(params) do assert.is_true(p.grad:abs():max() > 0) end
  end

  -- A dense gradient of either weight would be WEIGHT bytes; the rest is a few strings.
  it("leaves memory as it was", function()
    local params, step = network()
    for _ = 1, 3 do step() end
    local before = memory()
    look(params)
    assert.is_true(memory() - before > 2 * WEIGHT) -- so that this spec can fail
    for _ = 1, 2 do step() end -- the first one ends it, with a gradient that is zero
    assert.is_true(memory() - before < WEIGHT / 4)
  end)

  it("changes no bit of the training after it", function()
    local function trained(looks)
      local params, step = network()
      for i = 1, 6 do
        step()
        if looks and i == 3 then look(params) end
        memory()
      end
      local sums = {}
      for i, p in ipairs(params) do sums[i] = core.file.crc32c(p.value) end
      return sums
    end
    assert.are.same(trained(false), trained(true))
  end)

  it("stays true as long as somebody holds what it gave, or a part of that", function()
    local params, step = network()
    step()
    local row = params[1].grad:narrow(1, 2, 1):narrow(2, 3, 4)
    memory() -- nobody holds the whole
    core.zero_grad(params)
    assert.are.equal(0, row:abs():max())
    step()
    memory()
    step()
    assert.is_true(row:equal(params[1]:gradient():narrow(1, 2, 1):narrow(2, 3, 4)))
    assert.is_true(row:abs():max() > 0)
  end)

  it("writes through to what the optimizer reads", function()
    local params, step = network()
    step()
    for _, p in ipairs(params) do p.grad:zero() end
    memory()
    for _, p in ipairs(params) do assert.are.equal(0, p:gradient():abs():max()) end
  end)
end)

describe("Param:gradient", function()
  it("is the gradient in each of its forms, in a tensor of its own", function()
    local params, step = network()
    for _, p in ipairs(params) do assert.are.equal(0, p:gradient():abs():max()) end -- none yet
    step() -- weights: an outer product; biases: dense
    for _, p in ipairs(params) do
      local g = p:gradient()
      assert.is_true(g:equal(p.grad))
      g:zero()
      assert.is_true(p.grad:abs():max() > 0)
    end
  end)

  it("asks for no memory beyond its result", function()
    local params, step = network()
    for _ = 1, 3 do step() end
    local before = memory()
    for _, p in ipairs(params) do p:gradient() end
    assert.is_true(memory() - before < WEIGHT / 4)
  end)
end)

describe("Param:gradient_zeros", function()
  it("counts them in each form of the gradient, and makes no copy", function()
    local params, step = network()
    for _, p in ipairs(params) do assert.are.equal(p.value:count(), p:gradient_zeros()) end
    step() -- weights: an outer product; biases: dense
    local counts = {}
    local before = memory()
    for i, p in ipairs(params) do counts[i] = p:gradient_zeros() end
    assert.is_true(memory() - before < WEIGHT / 4)
    for i, p in ipairs(params) do assert.are.equal(p:gradient():eq(0):sum(), counts[i]) end
    assert.is_true(counts[1] > 0 and counts[1] < params[1].value:count()) -- rows of units that the ReLU shuts
    params[1].grad:narrow(1, 1, 2):zero()
    assert.are.equal(params[1].grad:eq(0):sum(), params[1]:gradient_zeros())
  end)
end)

describe("Model:diagnose", function()
  -- What is freed beside what lives on is memory that the C library keeps: at 32×32 a model
  -- of 288 MB had 337 MB for good after one diagnosis, while Lua's own count had gone back.
  it("asks for less memory than its parameters have", function()
    cglow.seed(3)
    local model = cglow.Model { x = { 3, 32, 32 }, y = { 3, 8, 8 }, levels = 1, depth = 2,
      cn = { channels = 16, width = 256 }, coupling = { width = 8 } }
    local x, y = cglow.rand(1, 3, 32, 32), cglow.rand(1, 3, 8, 8)
    local bytes = 0
    for _, p in ipairs(model:parameters()) do bytes = bytes + p.value:count() * WEIGHT / WIDTH ^ 2 end
    model:diagnose(x, y)
    local before = memory()
    collectgarbage "stop"
    model:diagnose(x, y)
    local after = collectgarbage "count" * 1024
    collectgarbage "restart"
    assert.is_true(after - before < bytes / 2, ("%.0f of %.0f"):format(after - before, bytes))
  end)
end)
