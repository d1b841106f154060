-- Layers and networks keep buffers from call to call and hand them out. Here
-- they are used out of turn: outputs as inputs, backward after another forward,
-- one layer in several places, finalizers that run what is running. Every case
-- must be right or refused, never quietly wrong.
local core = require "cglow.core"
local nn = require "cglow.nn"
local optim = require "cglow.optim"
local cglow = require "cglow"

local flow = core.flow

-- The layers are tiny: threads would only wait for each other.
local threads = core.threads()
setup(function() core.threads(1) end)
teardown(function() core.threads(threads) end)

local function random(...)
  return core.randn(...)
end

local function start(object, std)
  for _, p in ipairs(object:parameters()) do
    core.rng():fill_normal(p.value)
    p.value:mul(std or 0.3)
  end
  return object
end

-- What a fresh copy of the object makes of the same numbers.
local function twin(make, object)
  local other = make()
  local theirs = object:parameters()
  for i, p in ipairs(other:parameters()) do p.value:copy(theirs[i].value) end
  return other
end

local function grads(object)
  local list = {}
  for i, p in ipairs(object:parameters()) do list[i] = p.grad:clone() end
  return list
end

local function same(a, b)
  assert.are.equal(#a, #b)
  for i = 1, #a do assert.is_true(a[i]:equal(b[i])) end
end

describe("Networks", function()
  before_each(function() core.seed(1) end)

  local function conv()
    return nn.Sequential { nn.Conv2d { in_channels = 2, out_channels = 2, padding = 1 }, nn.Tanh() }
  end

  it("take their own output as input", function()
    local net = start(conv())
    local other = twin(conv, net)
    local x = random(1, 2, 4, 4)
    local y = net:forward(net:forward(x))
    assert.is_true(y:equal(other:forward(other:forward(x):clone())))
    local d = random(1, 2, 4, 4)
    assert.is_true(net:backward(d):equal(other:backward(d)))
    same(grads(net), grads(other))
  end)

  it("take a view of their own output, and their own gradient, as input", function()
    local function make() return nn.Conv2d { in_channels = 1, out_channels = 1, padding = 1 } end
    local net = start(make())
    local other = twin(make, net)
    local x = random(1, 1, 4, 4)
    local y = net:forward(net:forward(x):reshape(1, 1, 2, 8))
    assert.is_true(y:equal(other:forward(other:forward(x):clone():reshape(1, 1, 2, 8))))
    local d = random(1, 1, 2, 8)
    assert.is_true(net:backward(net:backward(d)):equal(other:backward(other:backward(d):clone())))
  end)

  it("take their own output as the gradient", function()
    local net = start(conv())
    local other = twin(conv, net)
    local x = random(1, 2, 4, 4)
    assert.is_true(net:backward(net:forward(x)):equal(other:backward(other:forward(x):clone())))
  end)

  -- One linear layer twice: its weight gradient is the sum of two outer products.
  it("hold one linear layer in two places", function()
    local fc = start(nn.Linear { in_features = 3, out_features = 3 })
    local twice = nn.Sequential { fc, nn.Tanh(), fc }
    local a, b = nn.Linear { in_features = 3, out_features = 3 }, nn.Linear { in_features = 3, out_features = 3 }
    for _, copy in ipairs { a, b } do
      for i, p in ipairs(copy:parameters()) do p.value:copy(fc:parameters()[i].value) end
    end
    local apart = nn.Sequential { a, nn.Tanh(), b }
    local x, d = random(2, 3), random(2, 3)
    assert.is_true(twice:forward(x):equal(apart:forward(x)))
    assert.is_true(twice:backward(d):equal(apart:backward(d)))
    for i, p in ipairs(fc:parameters()) do
      local sum = a:parameters()[i].grad + b:parameters()[i].grad
      assert.is_true((p.grad - sum):abs():max() < 1e-6) -- the sum's order differs
    end
  end)

  it("share a layer, and each adds its gradient", function()
    local fc = start(nn.Linear { in_features = 3, out_features = 2 })
    local one, two = nn.Sequential { fc, nn.ReLU() }, nn.Sequential { nn.Tanh(), fc }
    local x = random(2, 3)
    one:backward(one:forward(x))
    local first = fc:parameters()[1].grad:clone()
    fc:parameters()[1]:zero_grad()
    two:backward(two:forward(x))
    local second = fc:parameters()[1].grad:clone()
    fc:parameters()[1]:zero_grad()
    one:backward(one:forward(x))
    two:backward(two:forward(x))
    assert.is_true((fc:parameters()[1].grad - (first + second)):abs():max() < 1e-6)
  end)

  it("refuse backward before forward, and after a forward that failed", function()
    local net = start(conv())
    local d = random(1, 2, 4, 4)
    assert.has_error(function() net:backward(d) end, "backward: call forward first")
    net:forward(random(1, 2, 4, 4))
    assert.is_false(pcall(net.forward, net, random(1, 3, 4, 4)))
    assert.has_error(function() net:backward(d) end, "backward: call forward first")
  end)

  it("follow every change of the batch's size and shape", function()
    local net = start(conv())
    local other
    for _, shape in ipairs { { 1, 2, 4, 4 }, { 3, 2, 5, 2 }, { 1, 2, 4, 4 }, { 2, 2, 1, 1 }, { 1, 2, 9, 9 } } do
      other = twin(conv, net)
      local x, d = core.randn(shape), core.randn(shape)
      assert.is_true(net:forward(x):equal(other:forward(x)))
      for _, p in ipairs(net:parameters()) do p:zero_grad() end
      assert.is_true(net:backward(d):equal(other:backward(d)))
      same(grads(net), grads(other))
    end
  end)

  it("go on with other parameters' memory when their layers were collected elsewhere", function()
    local net
    do
      local inner = nn.Sequential { "a", nn.Linear { in_features = 2, out_features = 2 }, nn.ReLU() }
      net = nn.Sequential { "in", inner, "out", nn.Linear { in_features = 2, out_features = 1 } }
    end
    collectgarbage()
    collectgarbage()
    start(net)
    net:backward(net:forward(random(4, 2)))
    assert.are.equal(4, #net:parameters())
  end)
end)

describe("Bundles", function()
  before_each(function() core.seed(1) end)

  local function strided()
    return start(nn.Conv2d { in_channels = 1, out_channels = 2, kernel = 3, stride = 2 })
  end

  -- 7 and 8 pixels both give 3: the output's shape does not tell.
  it("refuse backward when a network has run on its own since", function()
    local a, b = strided(), strided()
    local bundle = core.net.group { a, b }
    local out = bundle:forward(random(1, 1, 7, 7))
    local d = { out[1]:clone(), out[2]:clone() }
    b:forward(random(1, 1, 8, 8))
    assert.has_error(function() bundle:backward(d) end, "backward: network 2 has run on its own since")
    bundle:forward(random(1, 1, 7, 7))
    b:forward(random(1, 1, 7, 7))
    assert.has_error(function() bundle:backward(d) end, "backward: network 2 has run on its own since")
  end)

  it("refuse networks that share parameters or stand there twice", function()
    local fc = nn.Linear { in_features = 2, out_features = 2 }
    local a, b = nn.Sequential { fc, nn.ReLU() }, nn.Sequential { fc, nn.Tanh() }
    assert.has_error(function() core.net.group { a, b } end,
      "group: networks 1 and 2 are the same or share parameters")
    local relu = nn.ReLU()
    assert.has_error(function() core.net.group { relu, relu } end,
      "group: networks 1 and 2 are the same or share parameters")
  end)

  it("take networks that share layers without parameters, and layers used twice in one", function()
    local relu, fc = nn.ReLU(), start(nn.Linear { in_features = 2, out_features = 2 })
    local a = nn.Sequential { fc, relu, fc, relu }
    local b = nn.Sequential { start(nn.Linear { in_features = 2, out_features = 2 }), relu }
    local bundle, x = core.net.group { a, b }, random(3, 2)
    local out = bundle:forward(x)
    assert.are.equal(2, #out)
    bundle:backward { random(3, 2), random(3, 2) }
    assert.is_true(fc:parameters()[1].grad:isfinite())
  end)

  it("do not depend on the list that they hand out", function()
    local a, b = strided(), strided()
    local bundle = core.net.group { a, b }
    local x = random(1, 1, 7, 7)
    local out = bundle:forward(x)
    local d = { out[1]:clone(), out[2]:clone() }
    out[1], out[2] = nil, 7
    collectgarbage()
    bundle:backward(d)
    assert.is_true(a:parameters()[1].grad:isfinite())
    assert.are.equal(2, #bundle:forward(x))
  end)
end)

local C <const> = 4

-- name, how to make it, shape of its condition for n samples (nil: none).
local LAYERS = {
  { "squeeze", flow.squeeze },
  { "actnorm", function() return flow.actnorm(C, false) end },
  { "conditional actnorm", function() return flow.actnorm(C, true) end,
    function(n) return { n, 2 * C } end },
  { "invconv", function() return flow.invconv(C, false) end },
  { "conditional invconv", function() return flow.invconv(C, true) end,
    function(n) return { n, C * C } end },
  { "coupling", function() return flow.coupling(C, 0, 8) end },
  { "conditional coupling", function() return flow.coupling(C, 3, 8) end,
    function(n) return { n, 3, 4, 4 } end },
}

describe("Flow layers", function()
  before_each(function() core.seed(2) end)

  for _, row in ipairs(LAYERS) do
    local name, make, condition = row[1], row[2], row[3]

    local function pair()
      local layer = start(make())
      return layer, twin(make, layer)
    end
    local function cond(n) return condition and core.randn(condition(n)) end
    local function dz_for(z) return core.randn(z:size()) end

    describe(name, function()
      it("takes its own output as input", function()
        local layer, other = pair()
        local y, c = random(2, C, 4, 4), cond(2)
        local function twice(l, keep)
          local z = keep(l:forward(y, c))
          return l:forward(z:reshape(2, C, 4, 4), c)
        end
        local z, ld = twice(layer, function(t) return t end)
        local z2, ld2 = twice(other, function(t) return t:clone() end)
        assert.is_true(z:equal(z2))
        assert.same(ld2, ld)
        local back = layer:inverse(layer:inverse(z, c):reshape(z:size()), c)
        local back2 = other:inverse(other:inverse(z2, c):clone():reshape(z:size()), c)
        assert.is_true(back:equal(back2))
      end)

      it("takes its own gradient as gradient, and its own output", function()
        local layer, other = pair()
        local y, c = random(2, C, 4, 4), cond(2)
        local z = layer:forward(y, c)
        local z2 = other:forward(y, c)
        local function shaped(t) return t:reshape(z:size()) end
        local first = layer:backward(z, 1)
        local first2 = other:backward(z2:clone(), 1)
        assert.is_true(first:equal(first2))
        assert.is_true(layer:backward(shaped(first), 1):equal(other:backward(shaped(first2:clone()), 1)))
        same(grads(layer), grads(other))
      end)

      it("takes as input the gradient that it gave", function()
        local layer, other = pair()
        local y, c = random(2, C, 4, 4), cond(2)
        local dz = dz_for(layer:forward(y, c))
        other:forward(y, c)
        local dy, dy2 = layer:backward(dz, 1), other:backward(dz, 1):clone()
        layer:forward(dy, c)
        other:forward(dy2, c)
        assert.is_true(layer:backward(dz, 1):equal(other:backward(dz, 1)))
        same(grads(layer), grads(other))
      end)

      it("gives the gradient of its last forward whatever inverse did since", function()
        local layer, other = pair()
        local y, c = random(2, C, 4, 4), cond(2)
        local z = layer:forward(y, c)
        other:forward(y, c)
        local dz = dz_for(z)
        layer:inverse(dz_for(z), cond(2))
        layer:inverse(core.randn(4, table.unpack(z:size(), 2)), cond(4))
        if condition and name ~= "conditional actnorm" then
          layer:inverse_prepared(dz_for(z), layer:prepare(cond(2)))
        end
        if name == "conditional invconv" then layer:diagnose(cond(2)) end
        local dy, dc = layer:backward(dz, 0.5)
        local dy2, dc2 = other:backward(dz, 0.5)
        assert.is_true(dy:equal(dy2))
        if condition then assert.is_true(dc:equal(dc2)) end
        same(grads(layer), grads(other))
      end)

      it("refuses backward without forward, and gradients of another shape", function()
        local layer = start(make())
        local dz = random(2, C, 4, 4)
        if name ~= "squeeze" then -- which needs nothing of forward's
          assert.is_false(pcall(layer.backward, layer, dz, 1))
        end
        local z = layer:forward(random(2, C, 4, 4), cond(2))
        for _, wrong in ipairs { random(2, C + 1, 4, 4), random(1, C, 4, 6), random(C) } do
          local ok, message = pcall(function() return layer:backward(wrong, 1) end)
          if name ~= "squeeze" or ok == false then
            assert.is_false(ok)
            assert.matches("expected, got", message, 1, true)
          end
        end
        layer:backward(dz_for(z), 1)
      end)

      it("keeps nothing for backward when told so, or with fewer conditions than samples", function()
        local layer = start(make())
        local y = random(4, C, 4, 4)
        local z = layer:forward(y, cond(2), false)
        if condition or name == "coupling" then
          assert.is_false(pcall(function() layer:backward(dz_for(z), 1) end))
        end
        assert.are.equal(4, #select(2, layer:forward(y, cond(1))))
      end)

      it("follows every change of the batch", function()
        local layer = start(make())
        for _, n in ipairs { 1, 3, 2, 3 } do
          local other = twin(make, layer)
          local y, c = random(n, C, 4, 4), cond(n)
          local z, ld = layer:forward(y, c)
          local z2, ld2 = other:forward(y, c)
          assert.is_true(z:equal(z2))
          assert.same(ld2, ld)
          for _, p in ipairs(layer:parameters()) do p:zero_grad() end
          local dz = dz_for(z)
          assert.is_true(layer:backward(dz, 1):equal(other:backward(dz, 1)))
          same(grads(layer), grads(other))
        end
      end)
    end)
  end

  it("split: gives the gradient of its last forward whatever sample and inverse did since", function()
    local function make() return flow.split(C) end
    local layer = start(make())
    local other = twin(make, layer)
    local y, half = random(2, C, 4, 4), random(2, C // 2, 4, 4)
    layer:forward(y)
    other:forward(y)
    layer:sample(random(2, C // 2, 4, 4), half, 1)
    layer:inverse(half, half)
    assert.is_true(layer:backward(half, 1):equal(other:backward(half, 1)))
    same(grads(layer), grads(other))
  end)

  it("split and prior: take their own outputs as inputs", function()
    local layer = start(flow.split(C))
    local z1, z2 = layer:forward(random(1, C, 4, 4))
    local want = core.cat({ z1, z2 }, 2)
    local y = layer:inverse(z1, z2)
    assert.is_true(y:equal(want))
    -- With one sample the halves of y are views of it.
    local swapped = layer:inverse(y:narrow(2, 3, 2), y:narrow(2, 1, 2))
    assert.is_true(swapped:equal(core.cat({ z2, z1 }, 2)))
    local prior = start(flow.prior(C, 2, 2, true))
    local z = prior:sample(random(2, C, 2, 2), 1)
    local copy = z:clone()
    assert.is_true(prior:sample(z, 1):equal(prior:sample(copy, 1)))
  end)

  it("coupling: layers with one store compute again what another overwrote", function()
    local function make() return flow.coupling(C, 0, 8) end
    local a, b = start(make()), start(make())
    local a2, b2 = twin(make, a), twin(make, b)
    b:share_store(a)
    local y, small, dz = random(3, C, 4, 4), random(1, C, 2, 2), random(3, C, 4, 4)
    a:forward(y)
    a2:forward(y)
    b:forward(small)
    b2:forward(small)
    assert.is_true(a:backward(dz, 1):equal(a2:backward(dz, 1)))
    assert.is_true(b:backward(small, 1):equal(b2:backward(small, 1)))
    a:own_store()
    a:forward(y)
    b:forward(y)
    for _, l in ipairs { a, a2 } do for _, p in ipairs(l:parameters()) do p:zero_grad() end end
    a2:forward(y)
    assert.is_true(a:backward(dz, 1):equal(a2:backward(dz, 1)))
    same(grads(a), grads(a2))
  end)
end)

describe("Optimizers", function()
  it("do not depend on the lists of moments that they hand out", function()
    local fc = start(nn.Linear { in_features = 300, out_features = 300 })
    local opt = optim.Adam(fc:parameters(), { lr = 1e-2 })
    local m, v = opt.core:moments()
    m[1], m[2], v[1], v[2] = nil, nil, nil, nil
    collectgarbage()
    collectgarbage()
    local rubbish = {}
    for i = 1, 20 do rubbish[i] = core.full(300, 300, 1e30) end
    fc:backward(fc:forward(random(2, 300)))
    assert.is_true(opt:step())
    assert.is_true(fc:parameters()[1].value:isfinite())
    assert.are.equal(20, #rubbish)
  end)
end)

-- A finalizer may run at any allocation, also inside a call of the core.
describe("Finalizers", function()
  before_each(function() core.seed(3) end)

  -- Keep work running from finalizers while f runs: each finalizer arms the next.
  local function besieged(work, f)
    local on = true
    local function arm()
      setmetatable({}, { __gc = function()
        if not on then return end
        pcall(work)
        arm()
      end })
    end
    for _ = 1, 4 do arm() end
    collectgarbage("incremental", 1, 400, 8) -- a whole cycle at a few allocations, even of a large heap
    collectgarbage("step") -- begins it now, not where the last cycle planned to
    for i = 1, 300 do f(i) end
    collectgarbage("incremental", 200, 100, 13) -- Lua's defaults
    on = false
    collectgarbage()
  end

  local function shape(i, c) return { 1 + i % 3, c, 4 + 2 * (i % 4), 4 } end

  it("may run a network that is about to run", function()
    local net = start(nn.Sequential { nn.Conv2d { in_channels = 2, out_channels = 3, padding = 1 }, nn.ReLU(),
      nn.Conv2d { in_channels = 3, out_channels = 2, kernel = 1 }, nn.Tanh() })
    local bundle = core.net.group { net, start(nn.Conv2d { in_channels = 2, out_channels = 1 }) }
    local k = 0
    besieged(function()
      k = k + 1
      local x = core.randn(shape(k, 2))
      net:backward(net:forward(x))
      bundle:backward(bundle:forward(x))
    end, function(i)
      pcall(function() net:backward(net:forward(core.randn(shape(i + 1, 2)))) end)
      pcall(function() bundle:backward(bundle:forward(core.randn(shape(i + 2, 2)))) end)
    end)
    assert.is_true(k > 0)
    assert.is_true(net:forward(random(1, 2, 4, 4)):isfinite())
  end)

  it("may run a flow layer that is running", function()
    local layers = {}
    for i, row in ipairs(LAYERS) do
      layers[i] = { start(row[2]()), row[3] and function(n, h, w)
        local size = row[3](n)
        if #size == 4 then size[3], size[4] = h, w end
        return core.randn(size)
      end }
    end
    local function pass(i)
      local size = shape(i, C)
      for _, l in ipairs(layers) do
        pcall(function()
          local c = l[2] and l[2](size[1], size[3], size[4])
          local z = l[1]:forward(core.randn(size), c)
          l[1]:inverse(z, c)
          l[1]:backward(core.randn(z:size()), 1)
        end)
      end
    end
    local k = 0
    besieged(function() k = k + 1 pass(k) end, function(i) if i % 10 == 0 then pass(i + 1) end end)
    assert.is_true(k > 0)
    for _, l in ipairs(layers) do
      assert.is_true(l[1]:forward(random(2, C, 4, 4), l[2] and l[2](2, 4, 4)):isfinite())
    end
  end)
end)

describe("Model:replace", function()
  it("leaves the model as it was when the part does not fit", function()
    core.seed(4)
    local model = cglow.Model { x = { 1, 8, 8 }, y = { 1, 4, 4 }, levels = 1, depth = 2,
      cn = { channels = 2, width = 4 }, coupling = { width = 4 } }
    local x, y = random(2, 1, 8, 8), random(2, 1, 4, 4)
    local before = model:log_prob(x, y)
    local taken = model.levels[1].steps[2].actnorm.cn
    assert.is_false(pcall(model.replace, model, { level = 1, step = 1, part = "actnorm", cn = taken }))
    assert.is_false(pcall(model.replace, model, { level = 1, step = 1, part = "actnorm", cn = nn.ReLU() }))
    assert.is_false(pcall(model.replace, model, { level = 1, step = 1, part = "coupling", flow = {} }))
    assert.is_true(model:log_prob(x, y):equal(before))
    assert.is_number(model:loss_and_grad(x, y))
  end)

  it("takes out of the parameters' list what was changed in a copy of it", function()
    local model = cglow.Glow { y = { 1, 4, 4 }, levels = 1, depth = 1, coupling = { width = 4 } }
    local list = model:parameters()
    local n = #list
    for i = 1, n do list[i] = nil end
    assert.are.equal(n, #model:parameters())
  end)
end)
