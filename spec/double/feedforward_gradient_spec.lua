-- Gradients of the upsampling layer, the losses and the feed-forward networks
-- against central differences.
local core = require "cglow.core"
assert(core.scalar == "double", "this spec is for the double core: LUA_CPATH='./build/double/?.so;;'")
local feedforward = require "cglow.feedforward"
local gradient = require "spec.support.gradient"
local layers = require "spec.support.layers"
local losses = require "cglow.nn.losses"
local nn = require "cglow.nn"

local function check(build)
  local fault = gradient.check(build)
  assert.is_nil(fault, fault)
end

-- ½·Σ w·out², so that the differences test more than a linear function.
local function net_problem(make, ...)
  local shape = {...}
  return function(rng)
    local net = layers.randomise(make(), rng)
    local x = rng:normal(table.unpack(shape))
    local w = rng:uniform(table.unpack(net:forward(x):size()))
    local inputs = {{name = "x", tensor = x}}
    for _, p in ipairs(net:parameters "") do inputs[#inputs + 1] = {name = p.name, tensor = p.value, param = p} end
    return {
      inputs = inputs,
      value = function()
        local out = net:forward(x)
        return 0.5 * (w * out * out):sum()
      end,
      gradients = function()
        local list = {x = net:backward(net:forward(x) * w):clone()}
        for _, input in ipairs(inputs) do
          if input.param then list[input.name] = input.param.grad:clone() end
        end
        return list
      end,
    }
  end
end

local function classes(rng, count, ...) return (rng:uniform(...) * count):floor():add(1) end

-- A loss of one tensor of this shape.
local function loss_problem(shape, of)
  return function(rng)
    local t = rng:normal(table.unpack(shape))
    local loss = of(rng)
    return {
      inputs = {{name = "t", tensor = t}},
      value = function() return (loss(t)) end,
      gradients = function()
        local _, slope = loss(t)
        return {t = slope}
      end,
    }
  end
end

-- All parameters of a network and, where the loss has a gradient in it, y.
local function network_problem(make, y_of, mask)
  return function(rng)
    local network = layers.randomise(make(), rng)
    local x = rng:normal(2, table.unpack(network.config.x))
    local y = y_of(network, rng)
    local opts = {mask = mask and rng:uniform(2, network.config.x[2], network.config.x[3]) or nil}
    local inputs = {}
    for _, p in ipairs(network:parameters()) do inputs[#inputs + 1] = {name = p.name, tensor = p.value, param = p} end
    local _, dy = network:loss_and_grad(x, y, opts)
    if dy then inputs[#inputs + 1] = {name = "y", tensor = y} end
    return {
      inputs = inputs,
      value = function() return network:loss(x, y, opts) end,
      gradients = function()
        network:zero_grad()
        local list, _ = {}, nil
        _, list.y = network:loss_and_grad(x, y, opts)
        for _, input in ipairs(inputs) do
          if input.param then list[input.name] = input.param.grad:clone() end
        end
        return list
      end,
    }
  end
end

local function one_hot(network, rng)
  local y = core.empty(2, table.unpack(network.config.y))
  local class = classes(rng, network.config.classes, 2, network.config.y[2], network.config.y[3])
  for n = 1, 2 do
    for k = 1, network.config.classes do y[n][k] = class[n]:eq(k) end
  end
  return y
end

local function normal(network, rng) return rng:normal(2, table.unpack(network.config.y)) end

local function segmenter(y, count)
  return function()
    return feedforward.Segmenter {x = {2, 4, 8}, y = y, classes = count, channels = 3, depth = 2}
  end
end

local function residual(x, y, target)
  return function() return feedforward.Residual {x = x, y = y, target = target, channels = 4, depth = 3} end
end

describe("gradient of", function()
  -- One thread is the quickest for what is this small.
  local threads = core.threads()
  setup(function() core.threads(1) end)
  teardown(function() core.threads(threads) end)

  for factor = 1, 3 do
    it("upsampling by " .. factor, function()
      check(net_problem(function() return nn.Upsample {factor = factor} end, 2, 3, 2, 5))
    end)
  end
  it("upsampling between convolutions", function()
    check(net_problem(function()
      return nn.Sequential {
        nn.Conv2d {in_channels = 2, out_channels = 3, padding = 1}, nn.ReLU(), nn.Upsample(),
        nn.Conv2d {in_channels = 3, out_channels = 2}, nn.Tanh(),
      }
    end, 3, 2, 3, 4))
  end)

  for _, masked in ipairs {false, true} do
    local how = masked and ", masked" or ""
    it("cross_entropy" .. how, function()
      check(loss_problem({2, 3, 4, 2}, function(rng)
        local class, mask = classes(rng, 3, 2, 4, 2), masked and rng:uniform(2, 4, 2) or nil
        return function(t) return losses.cross_entropy(t, class, {mask = mask}) end
      end))
    end)
    it("squared_error" .. how, function()
      check(loss_problem({2, 3, 4, 2}, function(rng)
        local target, mask = rng:normal(2, 3, 4, 2), masked and rng:uniform(2, 4, 2) or nil
        return function(t) return losses.squared_error(t, target, {mask = mask}) end
      end))
    end)
    it("a Segmenter" .. how, function() check(network_problem(segmenter(nil, 3), one_hot, masked)) end)
    it("a Residual of noise" .. how, function()
      check(network_problem(residual({2, 5, 4}), normal, masked))
    end)
    it("a Residual of a clean image" .. how, function()
      check(network_problem(residual({3, 5, 4}, {2, 5, 4}, "clean"), normal, masked))
    end)
  end
  it("a Segmenter of a U-Net", function()
    check(network_problem(function()
      return feedforward.Segmenter {x = {2, 4, 8}, classes = 3, unet = {3, 4, 2}}
    end, one_hot))
  end)
  it("a Segmenter of masks", function() check(network_problem(segmenter({3, 4, 8}, 2), normal)) end)
end)
