--- The standard conditioning networks of c-Glow and how parameters start.
--
-- Lu & Huang 2020, section 4; how they start is in lua/README.md, "starts".
-- @module cglow.model.networks
local budget = require "cglow.nn.budget"
local core = require "cglow.core"
local nn = require "cglow.nn"

local M = {}

--- The network of conditional actnorm and conditional 1×1 convolution: three
-- resizing convolutions, then three fully connected layers.
-- @tparam table s `x` = {C, H, W}, `outputs`, `channels` (n_c), `width` (n_w), `budget`
-- @treturn Net N×C×H×W to N×outputs
function M.cn(s)
  local c, h, w = table.unpack(s.x)
  if h < 8 or w < 8 then
    error(("the standard conditioning network needs x of at least 8x8 pixels, got %dx%d"):format(h, w), 0)
  end
  local function rconv(k, from, to)
    return budget.rconv(s.budget, {
      in_channels = k, out_channels = s.channels,
      from = { h // from, w // from }, to = { h // to, w // to },
    })
  end
  local function linear(from, to) return budget.linear(s.budget, { in_features = from, out_features = to }) end
  local flat = s.channels * (h // 8) * (w // 8)
  return nn.Sequential {
    "conv1", rconv(c, 1, 2), nn.ReLU(),
    "conv2", rconv(s.channels, 2, 4), nn.ReLU(),
    "conv3", rconv(s.channels, 4, 8), nn.ReLU(),
    "fc1", linear(flat, s.width), nn.ReLU(),
    "fc2", linear(s.width, s.width), nn.ReLU(),
    "fc3", linear(s.width, s.outputs),
  }
end

--- The network of the coupling's condition, CNc.
-- @tparam table s `x` = {C, H, W}, `outputs` = {C/2, H, W} at the coupling's level, `budget`
-- @treturn Net N×C×H×W to N×C/2×H×W
function M.coupling_cn(s)
  local k, h, w = table.unpack(s.outputs)
  if s.x[2] < h or s.x[3] < w then
    error(("the standard coupling network shrinks x to y's size at each level: x is %dx%d, y there %dx%d")
      :format(s.x[2], s.x[3], h, w), 0)
  end
  local function conv3(from, to)
    return budget.conv2d(s.budget, { in_channels = from, out_channels = to, padding = 1 })
  end
  return nn.Sequential {
    "conv1", conv3(s.x[1], 16), nn.ReLU(),
    "rconv", budget.rconv(s.budget, { in_channels = 16, out_channels = k, from = { s.x[2], s.x[3] }, to = { h, w } }),
    nn.ReLU(),
    "conv2", conv3(k, k), nn.ReLU(),
  }
end

-- Multiply-adds of a network in which each weight meets `pixels(layer)` pixels.
local function madds(net, pixels)
  local n = 0
  for _, p in ipairs(net:parameters("")) do
    local layer = p.name:match("(%w+)%.weight$")
    if layer then n = n + p.value:count() * pixels(layer) end
  end
  return n
end

local SHRUNK_BY <const> = { conv1 = 2, conv2 = 4, conv3 = 8 }

--- Multiply-adds of a network from `cn` on one x.
-- @tparam Net net
-- @tparam {int,...} x its shape {C, H, W}
-- @treturn int
function M.cn_madds(net, x)
  return madds(net, function(layer)
    local by = SHRUNK_BY[layer]
    return by and (x[2] // by) * (x[3] // by) or 1
  end)
end

--- Multiply-adds of a network from `coupling_cn` on one x.
-- @tparam Net net
-- @tparam {int,...} x its shape {C, H, W}
-- @tparam {int,...} outputs the shape of what it makes
-- @treturn int
function M.coupling_cn_madds(net, x, outputs)
  return madds(net, function(layer)
    local at = layer == "conv1" and x or outputs
    return at[2] * at[3]
  end)
end

local function normal(rng, t, std)
  rng:fill_normal(t)
  t:mul(std)
end

local function fan_in(weight)
  local n = 1
  local size = weight:size()
  for i = 2, #size do n = n * size[i] end
  return n
end

-- Biases as PyTorch starts them: uniform in ±1/√fan_in.
local function uniform_bias(rng, p, weight)
  local bound = 1 / math.sqrt(fan_in(weight))
  rng:fill_uniform(p)
  p:mul(2 * bound)
  p:add(-bound)
end

-- An exact random rotation as a flat list: an even number of Householder
-- reflections, I − 2vvᵀ/vᵀv with normal v (C is even at every level).
local function rotation(rng, c)
  local q = {}
  for i = 1, c * c do q[i] = (i - 1) % (c + 1) == 0 and 1.0 or 0.0 end
  local v = core.zeros(c)
  for _ = 1, c + c % 2 do
    rng:fill_normal(v)
    local a, norm = v:totable(), 0
    for i = 1, c do norm = norm + a[i] * a[i] end
    for i = 0, c - 1 do
      local dot = 0
      for j = 1, c do dot = dot + q[i * c + j] * a[j] end
      dot = 2 * dot / norm
      for j = 1, c do q[i * c + j] = q[i * c + j] - dot * a[j] end
    end
  end
  return q
end

local function atanh(x)
  x = math.max(-0.999999, math.min(0.999999, x))
  return 0.5 * math.log((1 + x) / (1 - x))
end

-- The named parameters of a network, by the end of their names.
local function by_name(params)
  local t = {}
  for _, p in ipairs(params) do
    local layer, role = p.name:match("([%w_]+)%.(%w+)$")
    t[layer .. "." .. role] = p.value
  end
  return t
end

-- "live": these learn best with small steps (examples/RESULTS.md).
local LIVE_STEP <const> = 1 / 20

local function he(rng, weight) normal(rng, weight, math.sqrt(2 / fan_in(weight))) end

--- Start a standard network of actnorm or the 1×1 convolution.
-- @tparam Net net from `cn`
-- @string init `"paper"`, `"orthogonal"` or `"live"`
-- @tparam ?Rng rng nil: leave the parameters 0, a file has them
-- @int[opt] channels C of the 1×1 convolution; nil for actnorm
function M.start_cn(net, init, rng, channels)
  local params = net:parameters("")
  if init == "live" then
    for _, param in ipairs(params) do
      if not param.name:find("fc3.bias", 1, true) then param.step_scale = LIVE_STEP end
    end
  end
  if not rng then return end
  local p = by_name(params)
  for _, name in ipairs { "conv1", "conv2", "conv3" } do
    uniform_bias(rng, p[name .. ".bias"], p[name .. ".weight"])
  end
  if init == "live" then
    for _, name in ipairs { "conv1", "conv2", "conv3", "fc1", "fc2" } do
      he(rng, p[name .. ".weight"])
      p[name .. ".bias"]:fill(0)
    end
  end
  if not channels then return end
  if init == "paper" then
    normal(rng, p["fc3.weight"], 0.1)
    normal(rng, p["fc3.bias"], 0.1)
  else
    local q = rotation(rng, channels)
    for i = 1, #q do q[i] = atanh(q[i]) end
    p["fc3.bias"]:copy(core.tensor(q))
  end
end

--- Start a standard CNc.
-- @tparam Net net from `coupling_cn`
-- @string init
-- @tparam Rng rng
function M.start_coupling_cn(net, init, rng)
  if not rng then return end
  local p = by_name(net:parameters(""))
  for _, name in ipairs { "conv1", "rconv", "conv2" } do
    uniform_bias(rng, p[name .. ".bias"], p[name .. ".weight"])
  end
  normal(rng, p["conv1.weight"], 0.1)
  normal(rng, p["conv2.weight"], 0.1)
  if init == "live" then he(rng, p["rconv.weight"]) end
end

--- Start the coupling's own network: N(0, 0.05) but for the last convolution,
-- which is 0, so that the coupling starts as a constant scale.
-- @param coupling the flow layer
-- @tparam Rng rng
function M.start_coupling(coupling, rng)
  if not rng then return end
  for _, p in ipairs(coupling:parameters()) do
    if not p.name:find("conv3", 1, true) then normal(rng, p.value, 0.05) end
  end
end

--- Start an unconditional 1×1 convolution: a random rotation.
-- @param invconv the flow layer
-- @int channels C
-- @tparam Rng rng
function M.start_invconv(invconv, channels, rng)
  if not rng then return end
  local w = invconv:parameters()[1].value
  w:copy(core.tensor(rotation(rng, channels)):reshape(channels, channels))
end

--- Start a U-Net: He's rule without biases, the second convolution of each residual block
-- ten times smaller.
-- @param net `cglow.UNet`
-- @tparam Rng rng
function M.start_unet(net, rng)
  if not rng then return end
  for _, p in ipairs(net:parameters("")) do
    if p.name:find("weight$") then
      he(rng, p.value)
      if p.name:find("conv2", 1, true) then p.value:mul(0.1) end
    end
  end
end

--- Start a linear layer from pooled features: it says the same for every x, nothing or a
-- random rotation.
-- @tparam Net net
-- @tparam Rng rng
-- @int[opt] channels C of the 1×1 convolution; nil for actnorm
function M.start_linear(net, rng, channels)
  if not rng or not channels then return end
  local q = rotation(rng, channels)
  for i = 1, #q do q[i] = atanh(q[i]) end
  net:parameters()[2].value:copy(core.tensor(q))
end

--- Start what reads features: N(0, 0.05) for the couplings; moments start without.
-- @param map `cglow.Features`
-- @tparam Rng rng
function M.start_features(map, rng)
  if not rng then return end
  normal(rng, map:parameters()[1].value, 0.05) -- the first part: the couplings'
end

--- Start a head: as PyTorch does, uniform in ±1/√fan_in.
-- @param net
-- @tparam Rng rng
function M.start_head(net, rng)
  if not rng then return end
  local weight, bias = net:parameters()[1].value, net:parameters()[2].value
  uniform_bias(rng, weight, weight)
  uniform_bias(rng, bias, weight)
end

--- Start a split's convolution.
-- @param split
-- @tparam Rng rng
function M.start_split(split, rng)
  if not rng then return end
  local weight, bias = split:parameters()[1].value, split:parameters()[2].value
  normal(rng, weight, 0.1)
  uniform_bias(rng, bias, weight)
end

return M
