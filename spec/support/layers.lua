-- Every layer and network of the library in small, with random parameters, for
-- the specs that prove them. Sizes are odd where the mathematics lets them.
local core = require "cglow.core"
local networks = require "cglow.model.networks"
local nn = require "cglow.nn"

local M = {}

local flow = core.flow

local function conv(i, o, kernel, stride, padding, bias)
  return function()
    return nn.Conv2d {
      in_channels = i, out_channels = o, kernel = kernel, stride = stride, padding = padding, bias = bias,
    }
  end
end

local function rconv(i, o, from, to)
  return function() return nn.RConv { in_channels = i, out_channels = o, from = from, to = to } end
end

local function linear(i, o)
  return function() return nn.Linear { in_features = i, out_features = o } end
end

local function cn(x, outputs)
  return function() return networks.cn { x = x, outputs = outputs, channels = 3, width = 5 } end
end

local function coupling_cn(x, outputs)
  return function() return networks.coupling_cn { x = x, outputs = outputs } end
end

--- Networks: name, make() and the shape of x.
M.nets = {
  { "conv2d 3x3", conv(3, 4, 3, 1, 1), { 2, 3, 5, 7 } },
  { "conv2d 3x3 without bias", conv(2, 3, 3, 1, 1, false), { 3, 2, 4, 3 } },
  { "conv2d 3x3 from one channel to one", conv(1, 1, 3, 1, 1), { 3, 1, 5, 4 } },
  { "conv2d 3x3 on one pixel", conv(3, 2, 3, 1, 1), { 5, 3, 1, 1 } },
  { "conv2d 3x3 over several tiles", conv(2, 2, 3, 1, 1), { 2, 2, 13, 31 } },
  { "conv2d 1x1", conv(5, 3, 1), { 2, 5, 3, 4 } },
  { "conv2d 1x1 to one channel", conv(3, 1, 1), { 3, 3, 2, 5 } },
  { "conv2d 5x3, stride 2x3, padding 2x0", conv(2, 3, { 5, 3 }, { 2, 3 }, { 2, 0 }), { 2, 2, 7, 11 } },
  { "conv2d 2x2, stride 1, padding 1", conv(2, 2, 2, 1, 1), { 2, 2, 3, 4 } },
  { "conv2d 1x1, stride 2", conv(2, 3, 1, 2), { 2, 2, 5, 4 } },
  { "rconv that halves", rconv(3, 2, { 8, 6 }, { 4, 3 }), { 2, 3, 8, 6 } },
  { "rconv with overlap", rconv(2, 3, { 11, 9 }, { 4, 5 }), { 3, 2, 11, 9 } },
  { "rconv to the same size", rconv(2, 3, { 5, 4 }, { 5, 4 }), { 2, 2, 5, 4 } },
  { "linear", linear(7, 5), { 3, 7 } },
  { "linear of images", linear(12, 5), { 2, 3, 2, 2 } },
  { "linear of one sample", linear(6, 4), { 1, 6 } },
  { "linear of more samples than are kept as factors", linear(3, 2), { 33, 3 } },
  { "relu", nn.ReLU, { 2, 3, 4, 5 } },
  { "tanh", nn.Tanh, { 2, 3, 4, 5 } },
  { "sigmoid", nn.Sigmoid, { 2, 3, 4, 5 } },
  { "norm", function() return nn.Norm { channels = 3 } end, { 2, 3, 4, 5 } },
  { "norm with factor 3", function() return nn.Norm { channels = 3, factor = 3 } end, { 2, 3, 4, 5 } },
  { "sequential of every kind", function()
    return nn.Sequential {
      conv(2, 4, 3, 1, 1)(), nn.Norm { channels = 4 }, nn.ReLU(), rconv(4, 3, { 6, 7 }, { 3, 2 })(), nn.Tanh(),
      conv(3, 1, 1)(), nn.Norm { channels = 1, factor = 3 }, linear(6, 5)(), nn.Sigmoid(), linear(5, 4)(), nn.ReLU(),
    }
  end, { 3, 2, 6, 7 } },
  { "sequential that ends in relu on images", function()
    return nn.Sequential {
      conv(2, 3, 3, 1, 1)(), nn.ReLU(), conv(3, 2, 3, 1, 1)(), nn.Norm { channels = 2 }, nn.ReLU(),
    }
  end, { 7, 2, 2, 3 } },
  { "network of actnorm and 1x1", cn({ 2, 9, 17 }, 6), { 3, 2, 9, 17 } },
  { "network of actnorm and 1x1 whose kernels do not overlap", cn({ 2, 8, 24 }, 6), { 5, 2, 8, 24 } },
  { "network of the coupling whose kernels do not overlap", coupling_cn({ 2, 8, 12 }, { 3, 4, 3 }), { 2, 2, 8, 12 } },
  { "network of the coupling", coupling_cn({ 2, 9, 7 }, { 3, 4, 3 }), { 2, 2, 9, 7 } },
}

local function coupling(channels, cond, width, bound)
  return function() return flow.coupling(channels, cond, width, bound) end
end

local function coupling_with_features(channels, width, bound)
  return function() return flow.coupling(channels, 0, width, bound, true) end
end

local function actnorm(channels, conditional)
  return function() return flow.actnorm(channels, conditional) end
end

local function invconv(channels, conditional)
  return function() return flow.invconv(channels, conditional) end
end

--- Flow layers: name, make(), the shape of y and that of the condition; `added`: samples are the
-- second dimension of the condition, which features of x make; `bound`: that of its log-scale.
M.flows = {
  { "squeeze", flow.squeeze, { 3, 2, 4, 6 } },
  { "actnorm", actnorm(5, false), { 3, 5, 3, 2 } },
  { "conditional actnorm", actnorm(5, true), { 3, 5, 3, 2 }, { 3, 10 } },
  { "invconv", invconv(5, false), { 3, 5, 3, 2 } },
  { "conditional invconv", invconv(5, true), { 3, 5, 3, 2 }, { 3, 25 } },
  { "coupling", coupling(6, 0, 7), { 2, 6, 3, 5 } },
  { "conditional coupling", coupling(6, 3, 7), { 2, 6, 3, 5 }, { 2, 3, 3, 5 } },
  { "coupling of odd channels", coupling(5, 2, 6), { 2, 5, 5, 3 }, { 2, 2, 5, 3 } },
  { "coupling of two channels on one pixel", coupling(2, 1, 5), { 3, 2, 1, 1 }, { 3, 1, 1, 1 } },
  { "coupling wider than a block", coupling(2, 1, 67), { 1, 2, 2, 3 }, { 1, 1, 2, 3 } },
  { "coupling over tiles across samples", coupling(4, 1, 3), { 3, 4, 7, 13 }, { 3, 1, 7, 13 } },
  { "coupling of rows longer than a tile", coupling(2, 1, 3), { 2, 2, 2, 131 }, { 2, 1, 2, 131 } },
  { "coupling with a bound", coupling(5, 2, 6, 0.7), { 2, 5, 3, 4 }, { 2, 2, 3, 4 }, bound = 0.7 },
  { "coupling with features", coupling_with_features(6, 7, 1.5), { 2, 6, 3, 5 }, { 7, 2, 3, 5 }, added = true,
    bound = 1.5 },
  { "coupling with features, published scales", coupling_with_features(4, 5, 0), { 3, 4, 2, 2 }, { 5, 3, 2, 2 },
    added = true },
  -- panels that are not full, of pixels and of squares, and one that threads share
  { "injector", function() return flow.injector(3, 0.8) end, { 2, 3, 4, 5 }, { 6, 2, 4, 5 }, added = true,
    bound = 0.8 },
  { "coupling with features over tiles", coupling_with_features(4, 3, 1), { 3, 4, 7, 13 }, { 3, 3, 7, 13 },
    added = true, bound = 1 },
  { "coupling with features on squares", coupling_with_features(4, 35, 1), { 3, 4, 12, 10 }, { 35, 3, 12, 10 },
    added = true, bound = 1 },
  { "coupling with features on one panel of squares", coupling_with_features(2, 35, 1), { 2, 2, 8, 8 },
    { 35, 2, 8, 8 }, added = true, bound = 1 },
}

-- Give parameters normal numbers by their role; in couplings and networks wide enough to bend every
-- tanh and to leave about half of the units of a ReLU alive.
local function randomise(params, rng)
  for _, p in ipairs(params) do
    local size = p.value:size()
    local role = p.name:match("%w+$")
    local fan_in = p.value:count() // size[1]
    local std = role == "weight" and fan_in ^ -0.5 or role == "logs" and 0.1 or 0.3
    rng:fill_normal(p.value):mul(std)
  end
end

-- A square matrix, or rows of flattened ones, near 0.8 of the identity.
local function near_identity(t, c, rng)
  rng:fill_normal(t):mul(0.5 / math.sqrt(c))
  local rows = t:reshape(t:count() // (c * c), c * c)
  for n = 1, rows:size(1) do
    for i = 1, c do rows[n][(i - 1) * c + i] = rows[n][(i - 1) * c + i] + 0.8 end
  end
end

--- A network of the list with random parameters, and a random x.
function M.net(case, rng)
  local net = case[2]()
  randomise(net:parameters(), rng)
  return net, rng:normal(table.unpack(case[3]))
end

--- A flow layer of the list with random parameters, a random y and condition.
function M.flow(case, rng)
  local layer, shape = case[2](), case[3]
  local y = rng:normal(table.unpack(shape))
  randomise(layer:parameters(), rng)
  local cond = case[4] and rng:normal(table.unpack(case[4])) or nil
  if case[1]:find("invconv") then near_identity(cond or layer:parameters()[1].value, shape[2], rng) end
  return layer, y, cond
end

--- Random parameters for split and prior.
function M.randomise(object, rng)
  randomise(object:parameters(), rng)
  return object
end

return M
