-- Small models with random parameters in which every path carries gradient.
local core = require "cglow.core"
local cglow = require "cglow"

local M = {}

local function atanh(v) return 0.5 * math.log((1 + v) / (1 - v)) end

-- A ReLU follows these parameters' layers: biases that keep most units alive.
local function feeds_relu(name)
  return name:find("^encoder%.")
    or name:find("%.cn%.%w*conv%d?%.") or name:find("%.fc[12]%.") or name:find("%.norm[12]%.")
end

-- By role, as wide as bends every tanh.
local function randomise(p, rng)
  local role = p.name:match("%w+$")
  local fan_in = p.value:count() // p.value:size(1)
  rng:fill_normal(p.value):mul(role == "weight" and fan_in ^ -0.5 or role == "logs" and 0.1 or 0.2)
  if feeds_relu(p.name) then
    if role == "weight" then p.value:mul(0.8) end
    if role == "bias" then p.value:copy(p.value:abs()):add(0.4) end
  end
end

-- W(x) near 0.8 of a rotation: the identity with pairs of channels turned.
local function near_rotation(flat, c, rng, entry)
  for i = 0, c - 1 do
    for j = 0, c - 1 do
      local v = i == j and 0.64 or (i ~ 1) == j and (i < j and -0.48 or 0.48) or 0
      if c % 2 == 1 and i == c - 1 then v = i == j and 0.8 or 0 end
      flat[i * c + j + 1] = entry(v) + 0.1 * rng:normal() / math.sqrt(c)
    end
  end
end

--- A model with random parameters.
-- @tparam table config as for cglow.Model; without x plain Glow
-- @tparam Rng rng
function M.random(config, rng)
  local opts = { coupling = { width = 6 }, rng = rng }
  if not config.encoder then opts.cn = { channels = 3, width = 5 } end
  for k, v in pairs(config) do opts[k] = v end
  local model = (opts.x and cglow.Model or cglow.Glow)(opts)
  model.unstarted = nil -- actnorms keep what they are given here
  for _, p in ipairs(model:parameters()) do
    randomise(p, rng)
    local l = p.name:match("^level%.(%d+)%.step%.%d+%.invconv")
    if l then
      local c = model.levels[tonumber(l)].shape[1]
      if p.name:find("fc3.weight") or p.name:find("cn.weight") then p.value:mul(0.3 / math.sqrt(c)) end
      if p.name:find("fc3.bias") or p.name:find("cn.bias") then near_rotation(p.value, c, rng, atanh) end
      if p.name:find("invconv.weight") then
        near_rotation(p.value:reshape(c * c), c, rng, function(v) return v end)
      end
    end
  end
  return model
end

--- A batch for a model.
-- @treturn Tensor x (nil for plain Glow)
-- @treturn Tensor y
function M.batch(model, n, rng)
  local config = model.config
  local x = config.x and rng:normal(n, table.unpack(config.x)) or nil
  return x, rng:normal(n, table.unpack(config.y))
end

--- A conditioning network written in Lua (square of the features, then a
-- linear layer in C), for models whose networks are not all of C.
function M.lua_network(spec)
  local Square = {}
  Square.__index = Square
  function Square:forward(x)
    self.x = x
    return x * x
  end
  function Square:backward(dout) return dout * self.x * 2 end
  function Square.parameters() return {} end
  local features = spec.x[1] * spec.x[2] * spec.x[3]
  local outputs = spec.outputs
  return require("cglow.nn").Sequential {
    "square", setmetatable({}, Square),
    "fc3", core.net.linear(features, outputs),
  }
end

--- Small models of every kind: name -> configuration and samples in a batch.
M.cases = {
  { "one level, grey", { x = { 1, 8, 8 }, y = { 1, 4, 4 }, levels = 1, depth = 2 }, 2 },
  { "two levels, x and y of other sizes, learned prior",
    { x = { 2, 9, 11 }, y = { 3, 4, 8 }, levels = 2, depth = 1, learned_prior = true }, 3 },
  { "three levels, x smaller than y", { x = { 1, 8, 8 }, y = { 1, 8, 16 }, levels = 3, depth = 1 }, 1 },
  { "plain Glow", { y = { 2, 4, 8 }, levels = 2, depth = 2, learned_prior = true }, 3 },
  { "networks written in Lua",
    { x = { 1, 8, 8 }, y = { 1, 4, 4 }, levels = 1, depth = 2, cn = { make = M.lua_network } }, 2 },
  { "an encoder",
    { x = { 2, 8, 8 }, y = { 1, 8, 8 }, levels = 2, depth = 2, encoder = { channels = { 3, 4, 5, 3 } } }, 2 },
  { "an encoder of a wider x, and a head, recomputation",
    { x = { 1, 16, 24 }, y = { 2, 8, 8 }, levels = 2, depth = 1, encoder = { channels = { 3, 5, 4, 3 } },
      head = { outputs = 2 }, coupling = { width = 35, bound = 0.5 }, recompute = true }, 3 },
  { "an encoder for couplings alone", { x = { 1, 8, 8 }, y = { 1, 8, 8 }, levels = 2, depth = 1,
    encoder = { channels = { 2, 3, 3 } }, condition = { split = false, prior = false } }, 1 },
  { "an encoder for every layer", { x = { 1, 8, 8 }, y = { 1, 8, 8 }, levels = 2, depth = 1,
    encoder = { channels = { 3, 4, 3 } }, condition = { injector = true, actnorm = true, invconv = true } }, 2 },
  { "recomputation", { x = { 1, 8, 8 }, y = { 1, 4, 8 }, levels = 2, depth = 2, recompute = true }, 2 },
}

return M
