-- Every gradient of every layer against central differences, and Taylor tests.
local core = require "cglow.core"
assert(core.scalar == "double", "this spec is for the double core: LUA_CPATH='./build/double/?.so;;'")
local gradient = require "spec.support.gradient"
local layers = require "spec.support.layers"

-- Σ w·out + ½·out², whose second derivative never vanishes, less its value at
-- the output `base`: differences of it are then exact to the last bit of each
-- output, not of the whole sum.
local Loss = {}
Loss.__index = Loss

local function new_loss(out, rng)
  return setmetatable({ base = out:clone(), w = rng:normal(table.unpack(out:size())) }, Loss)
end

function Loss:value(out)
  local d = out - self.base
  return (self.w * d):sum() + 0.5 * (d * (out + self.base)):sum()
end

function Loss:gradient(out) return out + self.w end

local function dot(a, b)
  local sum = 0
  for i = 1, #b do sum = sum + a[i] * b[i] end
  return sum
end

local function weights(n, rng)
  local g = {}
  for i = 1, n do g[i] = rng:normal() end
  return g
end

local function add_parameters(inputs, params)
  for i, p in ipairs(params) do inputs[#inputs + 1] = { name = i .. ":" .. p.name, tensor = p.value, param = p } end
  return inputs
end

local function add_gradients(list, inputs)
  for _, input in ipairs(inputs) do
    if input.param then list[input.name] = input.param.grad:clone() end
  end
  return list
end

local function net_problem(case, rng)
  local net, x = layers.net(case, rng)
  local loss = new_loss(net:forward(x), rng)
  local inputs = add_parameters({ { name = "x", tensor = x } }, net:parameters())
  return {
    inputs = inputs,
    value = function() return loss:value(net:forward(x)) end,
    gradients = function()
      local dx = net:backward(loss:gradient(net:forward(x)))
      return add_gradients({ x = dx:clone() }, inputs)
    end,
  }
end

local function flow_problem(case, rng)
  local layer, y, cond = layers.flow(case, rng)
  local loss, g = new_loss(layer:forward(y, cond), rng), weights(y:size(1), rng)
  local inputs = { { name = "y", tensor = y } }
  if cond then inputs[2] = { name = "condition", tensor = cond } end
  add_parameters(inputs, layer:parameters())
  return {
    inputs = inputs,
    value = function()
      local out, logdet = layer:forward(y, cond)
      return loss:value(out) + dot(g, logdet)
    end,
    gradients = function()
      local dy, dcond = layer:backward(loss:gradient(layer:forward(y, cond)), g)
      return add_gradients({ y = dy:clone(), condition = dcond and dcond:clone() }, inputs)
    end,
  }
end

-- bound: with features of x, which add to the moments.
local function split_problem(channels, bound)
  return function(rng)
    local split = layers.randomise(core.flow.split(channels, bound), rng)
    local y = rng:normal(3, channels, 3, 5)
    local added = bound and rng:normal(2 * (channels - channels // 2), 3, 3, 5)
    local room = added and core.empty(added:size())
    local loss, g = new_loss(split:forward(y, added), rng), weights(3, rng)
    local inputs = { { name = "y", tensor = y } }
    if added then inputs[2] = { name = "added", tensor = added } end
    add_parameters(inputs, split:parameters())
    return {
      inputs = inputs,
      value = function()
        local z1, _, logp = split:forward(y, added)
        return loss:value(z1) + dot(g, logp)
      end,
      gradients = function()
        local dy = split:backward(loss:gradient(split:forward(y, added)), g, room)
        return add_gradients({ y = dy:clone(), added = room }, inputs)
      end,
    }
  end
end

local function prior_problem(learned, bound)
  return function(rng)
    local prior = layers.randomise(core.flow.prior(3, 4, 5, learned, bound), rng)
    local z, g = rng:normal(3, 3, 4, 5), weights(3, rng)
    local added = bound and rng:normal(6, 3, 4, 5)
    local room = added and core.empty(added:size())
    local inputs = { { name = "z", tensor = z } }
    if added then inputs[2] = { name = "added", tensor = added } end
    add_parameters(inputs, prior:parameters())
    return {
      inputs = inputs,
      value = function() return dot(g, prior:log_prob(z, added)) end,
      gradients = function()
        prior:log_prob(z, added)
        return add_gradients({ z = prior:backward(g, room):clone(), added = room }, inputs)
      end,
    }
  end
end

-- One product of features for two readers, of the middle of larger ones.
local function features_problem(rng)
  local map = layers.randomise(core.flow.features(5, "a.weight", 3, "b.weight", 34), rng)
  local u = rng:normal(2, 5, 6, 8)
  local loss = new_loss(map:forward(u, 4, 6), rng)
  local inputs = add_parameters({ { name = "u", tensor = u } }, map:parameters())
  return {
    inputs = inputs,
    value = function() return loss:value(map:forward(u, 4, 6)) end,
    gradients = function()
      local du = map:backward(loss:gradient(map:forward(u, 4, 6)))
      return add_gradients({ u = du:clone() }, inputs)
    end,
  }
end

-- All scales from `finest` on, and x.
local function unet_problem(channels, finest, shape, all)
  return function(rng)
    local net = layers.randomise(core.net.unet(shape[2], channels, finest), rng)
    local x, losses = rng:normal(table.unpack(shape)), {}
    for s, u in pairs(net:forward(x, all)) do losses[s] = new_loss(u, rng) end
    local inputs = add_parameters({ { name = "x", tensor = x } }, net:parameters())
    return {
      inputs = inputs,
      value = function()
        local sum = 0
        for s, u in pairs(net:forward(x, all)) do sum = sum + losses[s]:value(u) end
        return sum
      end,
      gradients = function()
        local grads = {}
        for s, u in pairs(net:forward(x, all)) do grads[s] = losses[s]:gradient(u) end
        return add_gradients({ x = net:backward(grads, true):clone() }, inputs)
      end,
    }
  end
end

-- Networks that read one x, three of which share their first columns.
local function bundle_problem(rng)
  local nn = require "cglow.nn"
  local networks = require "cglow.model.networks"
  local nets = {
    networks.cn { x = { 2, 8, 9 }, outputs = 4, channels = 3, width = 4 },
    networks.cn { x = { 2, 8, 9 }, outputs = 3, channels = 2, width = 3 },
    networks.coupling_cn { x = { 2, 8, 9 }, outputs = { 2, 4, 3 } },
    nn.Linear { in_features = 144, out_features = 2 },
  }
  for _, net in ipairs(nets) do layers.randomise(net, rng) end
  local bundle, x = core.net.group(nets), rng:normal(3, 2, 8, 9)
  local losses, inputs = {}, {}
  for i, out in ipairs(bundle:forward(x)) do
    losses[i] = new_loss(out, rng)
    add_parameters(inputs, nets[i]:parameters(i .. "."))
  end
  for i, input in ipairs(inputs) do input.name = i .. input.name end
  return {
    inputs = inputs,
    value = function()
      local sum = 0
      for i, out in ipairs(bundle:forward(x)) do sum = sum + losses[i]:value(out) end
      return sum
    end,
    gradients = function()
      local douts = {}
      for i, out in ipairs(bundle:forward(x)) do douts[i] = losses[i]:gradient(out) end
      bundle:backward(douts)
      return add_gradients({}, inputs)
    end,
  }
end

local function check(build)
  local fault = gradient.check(build)
  assert.is_nil(fault, fault)
end

describe("gradient of", function()
  -- Results do not depend on the number of threads (kernels_spec), and one is
  -- the quickest for layers this small.
  local threads = core.threads()
  setup(function() core.threads(1) end)
  teardown(function() core.threads(threads) end)

  for _, case in ipairs(layers.nets) do
    it(case[1], function() check(function(rng) return net_problem(case, rng) end) end)
  end
  it("a bundle", function() check(bundle_problem) end)
  for _, case in ipairs(layers.flows) do
    it(case[1], function() check(function(rng) return flow_problem(case, rng) end) end)
  end
  it("split", function() check(split_problem(4)) end)
  it("split of odd channels", function() check(split_problem(5)) end)
  it("split of two channels", function() check(split_problem(2)) end)
  it("the standard prior", function() check(prior_problem(false)) end)
  it("a learned prior", function() check(prior_problem(true)) end)
  it("split with features", function() check(split_problem(4, 0.8)) end)
  it("split of odd channels with features", function() check(split_problem(5, 2)) end)
  it("a prior of features", function() check(prior_problem(false, 1.5)) end)
  it("features for two readers", function() check(features_problem) end)
  it("a U-Net", function() check(unet_problem({ 3, 4, 2 }, 1, { 2, 2, 8, 12 })) end)
  it("a U-Net whose finest scale is spared", function()
    local spared = unet_problem({ 3, 4, 2 }, 1, { 2, 2, 8, 12 }, false)
    assert.matches("gradient of %d+:merge.1.weight is all zero", gradient.check(spared))
  end)
  it("a U-Net without the finest scale", function() check(unet_problem({ 2, 3, 4 }, 2, { 3, 1, 4, 8 })) end)
  it("a U-Net of two scales down alone", function() check(unet_problem({ 3, 4 }, 2, { 3, 1, 4, 6 })) end)
end)
