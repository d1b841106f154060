-- Networks keep buffers from call to call and hand them out. Here they are used out of turn:
-- outputs as inputs, backward after another forward, one layer in several places. Every case
-- must be right or refused, never quietly wrong.
local core = require "cglow.core"
local nn = require "cglow.nn"
local threads = require "spec.support.threads"
local twins = require "spec.support.twins"

local grads, same, start, twin = twins.grads, twins.same, twins.start, twins.twin

setup(threads.one)
teardown(threads.restore)

describe("Networks", function()
  before_each(function() core.seed(1) end)

  local function conv()
    return nn.Sequential { nn.Conv2d { in_channels = 2, out_channels = 2, padding = 1 }, nn.Tanh() }
  end

  it("take their own output as input", function()
    local net = start(conv())
    local other = twin(conv, net)
    local x = core.randn(1, 2, 4, 4)
    local y = net:forward(net:forward(x))
    assert.is_true(y:equal(other:forward(other:forward(x):clone())))
    local d = core.randn(1, 2, 4, 4)
    assert.is_true(net:backward(d):equal(other:backward(d)))
    same(grads(net), grads(other))
  end)

  it("take a view of their own output, and their own gradient, as input", function()
    local function make() return nn.Conv2d { in_channels = 1, out_channels = 1, padding = 1 } end
    local net = start(make())
    local other = twin(make, net)
    local x = core.randn(1, 1, 4, 4)
    local y = net:forward(net:forward(x):reshape(1, 1, 2, 8))
    assert.is_true(y:equal(other:forward(other:forward(x):clone():reshape(1, 1, 2, 8))))
    local d = core.randn(1, 1, 2, 8)
    assert.is_true(net:backward(net:backward(d)):equal(other:backward(other:backward(d):clone())))
  end)

  it("take their own output as the gradient", function()
    local net = start(conv())
    local other = twin(conv, net)
    local x = core.randn(1, 2, 4, 4)
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
    local x, d = core.randn(2, 3), core.randn(2, 3)
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
    local x = core.randn(2, 3)
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
    local d = core.randn(1, 2, 4, 4)
    assert.has_error(function() net:backward(d) end, "backward: call forward first")
    net:forward(core.randn(1, 2, 4, 4))
    assert.is_false(pcall(net.forward, net, core.randn(1, 3, 4, 4)))
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
    net:backward(net:forward(core.randn(4, 2)))
    assert.are.equal(4, #net:parameters())
  end)
end)

describe("U-Nets", function()
  local function make() return start(core.net.unet(2, { 2, 3 }, 1)) end

  it("take a feature of their own as input", function()
    core.seed(1)
    local net = make()
    local other = twin(make, net)
    local x = core.randn(1, 2, 4, 4)
    local y = net:forward(net:forward(x)[0])
    local other_y = other:forward(other:forward(x)[0]:clone())
    local d = {}
    for i = 0, 1 do
      assert.is_true(y[i]:equal(other_y[i]))
      d[i] = core.randn(y[i]:size())
    end
    assert.is_true(net:backward(d, true):equal(other:backward(d, true)))
    same(grads(net), grads(other))
  end)
end)

describe("Groups of networks", function()
  before_each(function() core.seed(1) end)

  local function strided()
    return start(nn.Conv2d { in_channels = 1, out_channels = 2, kernel = 3, stride = 2 })
  end

  -- 7 and 8 pixels both give 3: the output's shape does not tell.
  it("refuse backward when a network has run on its own since", function()
    local a, b = strided(), strided()
    local group = core.net.group { a, b }
    local out = group:forward(core.randn(1, 1, 7, 7))
    local d = { out[1]:clone(), out[2]:clone() }
    b:forward(core.randn(1, 1, 8, 8))
    assert.has_error(function() group:backward(d) end, "backward: network 2 has run on its own since")
    group:forward(core.randn(1, 1, 7, 7))
    b:forward(core.randn(1, 1, 7, 7))
    assert.has_error(function() group:backward(d) end, "backward: network 2 has run on its own since")
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
    local group, x = core.net.group { a, b }, core.randn(3, 2)
    local out = group:forward(x)
    assert.are.equal(2, #out)
    group:backward { core.randn(3, 2), core.randn(3, 2) }
    assert.is_true(fc:parameters()[1].grad:isfinite())
  end)

  it("do not depend on the list that they hand out", function()
    local a, b = strided(), strided()
    local group = core.net.group { a, b }
    local x = core.randn(1, 1, 7, 7)
    local out = group:forward(x)
    local d = { out[1]:clone(), out[2]:clone() }
    out[1], out[2] = nil, 7
    collectgarbage()
    group:backward(d)
    assert.is_true(a:parameters()[1].grad:isfinite())
    assert.are.equal(2, #group:forward(x))
  end)
end)
