-- Gradients and log-determinant of the examples' own network and flow layer.
local core = require "cglow.core"
assert(core.scalar == "double", "this spec is for the double core: LUA_CPATH='./build/double/?.so;;'")
local gradient = require "spec.support.gradient"

local function load_example(name) return assert(loadfile("examples/" .. name .. ".lua"))(name) end

local own_network = load_example "own_network"
local SinhArcsinh = load_example "own_flow_layer"

-- Σ w·out + ½·out²: its second derivative never vanishes.
local function loss_of(w, out) return (w * out):sum() + 0.5 * (out * out):sum() end

local function with_parameters(inputs, params)
  for i, p in ipairs(params) do inputs[#inputs + 1] = {name = i .. ":" .. p.name, tensor = p.value, param = p} end
  return inputs
end

local function gradients_of(inputs, list)
  for _, input in ipairs(inputs) do
    if input.param then list[input.name] = input.param.grad:clone() end
  end
  return list
end

local function network_problem(rng)
  local spec = {kind = "invconv", level = 1, step = 1, x = {2, 9, 10}, y = {2, 4, 4}, outputs = 4}
  local net, x = own_network.make(spec), rng:normal(3, 2, 9, 10)
  for _, p in ipairs(net:parameters()) do rng:fill_normal(p.value):mul(0.5) end
  local w = rng:normal(3, 4)
  local inputs = with_parameters({{name = "x", tensor = x}}, net:parameters())
  return {
    inputs = inputs,
    value = function() return loss_of(w, net:forward(x)) end,
    gradients = function()
      local out = net:forward(x)
      for _, p in ipairs(net:parameters()) do p:zero_grad() end
      return gradients_of(inputs, {x = net:backward(w + out):clone()})
    end,
  }
end

-- Three samples; with g as one number and as a list.
local function flow_problem(g)
  return function(rng)
    local layer = SinhArcsinh.new(2)
    rng:fill_normal(layer.tail.value):mul(0.3)
    local y, cond, w = rng:normal(3, 2, 2, 3), rng:normal(3, 4), rng:normal(3, 2, 2, 3)
    local inputs = with_parameters({{name = "y", tensor = y}, {name = "cond", tensor = cond}}, layer:parameters())
    return {
      inputs = inputs,
      value = function()
        local z, logdet = layer:forward(y, cond)
        local sum = loss_of(w, z)
        for n = 1, 3 do sum = sum + (type(g) == "number" and g or g[n]) * logdet[n] end
        return sum
      end,
      gradients = function()
        local z = layer:forward(y, cond)
        layer.tail:zero_grad()
        local dy, dcond = layer:backward(w + z, g)
        return gradients_of(inputs, {y = dy, cond = dcond})
      end,
    }
  end
end

describe("the examples' own layers", function()
  it("own_network has exact gradients", function()
    assert.is_nil(gradient.check(network_problem))
  end)

  it("own_flow_layer has exact gradients", function()
    assert.is_nil(gradient.check(flow_problem(0.7)))
    assert.is_nil(gradient.check(flow_problem {0.7, -1.2, 0.1}))
  end)

  it("own_flow_layer's log-det is that of its Jacobian, and inverse undoes it", function()
    local rng = core.Rng(5)
    local layer = SinhArcsinh.new(2)
    rng:fill_normal(layer.tail.value):mul(0.3)
    local y, cond = rng:normal(2, 2, 2, 2), rng:normal(2, 4)
    local z, logdet = layer:forward(y, cond)
    -- Elementwise: the Jacobian is diagonal, so each number is moved alone.
    local h <const> = 1e-5 -- error of the difference quotient: h² + 1e-16/h, below 1e-9
    local up, down = layer:forward(y + h, cond), layer:forward(y - h, cond)
    local slopes = ((up - down) * (0.5 / h)):log()
    for n = 1, 2 do assert.near(logdet[n], slopes[n]:sum(), 1e-8) end
    assert.is_true((layer:inverse(z, cond) - y):abs():max() < 1e-13)
  end)
end)
