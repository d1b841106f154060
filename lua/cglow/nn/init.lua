--- Networks: layers in C that run forward and backward.
--
-- Every constructor returns a `Net` with `net:forward(x)`, `net:backward(dout)`
-- and `net:parameters(prefix)`. A network written in Lua needs only these three
-- methods to stand wherever a `Net` can.
--
-- Layers with weights are born started, biases 0: `init` = "he" (the default), weights from
-- N(0, 2/inputs) as suits a ReLU (He et al. 2015, "Delving deep into rectifiers"); "xavier",
-- N(0, 2/(inputs + outputs)), which suits tanh and sigmoid (Glorot & Bengio 2010); "zero", for
-- a last layer that is to say nothing at first, or for a file to fill. `rng` draws them, the
-- default generator when absent, so `cglow.seed` repeats them.
-- @module cglow.nn
local check = require "cglow.util.check"
local core = require "cglow.core"
local options = require "cglow.util.options"

local M = {}

local function in_range(v, least) return math.type(v) == "integer" and v >= least and v < 1 << 31 end

local function pair(fname, key, value, least)
  local h, w = value, value
  if type(value) == "table" then h, w = value[1], value[2] end
  if in_range(h, least) and in_range(w, least) then return h, w end
  local got = type(value) == "table" and ("{%s, %s}"):format(options.show(h), options.show(w)) or options.show(value)
  error(("%s: option '%s' must be an integer of at least %d or two, {height, width}, got %s"):format(
    fname, key, least, got), 3)
end

-- The options of layers with weights, with those of how they start.
local function with_start(spec)
  spec.init = { type = "string", default = "he", one_of = { "he", "xavier", "zero" } }
  spec.rng = { type = "rng" }
  return spec
end

-- Weights are [outputs, inputs] or [outputs, inputs, height, width].
local function started(net, o)
  if o.init == "zero" then return net end
  local weight = net:parameters()[1].value
  local variance = o.init == "he" and 2 / (weight:count() // #weight)
    or 2 / (weight:count() // #weight + weight:count() // weight:size(2));
  (o.rng or core.rng()):fill_normal(weight)
  weight:mul(math.sqrt(variance))
  return net
end

local CONV2D = with_start {
  in_channels = { type = "integer", required = true, min = 1 },
  out_channels = { type = "integer", required = true, min = 1 },
  kernel = { default = 3 },
  stride = { default = 1 },
  padding = { default = 0 },
  bias = { type = "boolean", default = true },
}

--- Convolution (cross-correlation) of N×in×H×W.
-- @tparam table opts `in_channels`, `out_channels`; `kernel` (3),
-- `stride` (1), `padding` (0), each an integer or `{height, width}`; `bias` (true); `init` ("he"), `rng`
-- @treturn Net parameters `weight` [out, in, kh, kw] and `bias` [out]
function M.Conv2d(opts)
  local o = options.check("nn.Conv2d", opts, CONV2D)
  local kh, kw = pair("nn.Conv2d", "kernel", o.kernel, 1)
  local sh, sw = pair("nn.Conv2d", "stride", o.stride, 1)
  local ph, pw = pair("nn.Conv2d", "padding", o.padding, 0)
  return started(core.net.conv2d(o.in_channels, o.out_channels, kh, kw, sh, sw, ph, pw, o.bias), o)
end

-- Stride and kernel that take `from` pixels to `to` (RConv in lua/README.md).
local function resize_side(from, to, what)
  if from < to then
    error(("nn.RConv: option 'to' must be at most 'from', got %s %d to %d"):format(what, from, to), 3)
  end
  local stride = from // to
  return stride, from - (to - 1) * stride
end

local RCONV = with_start {
  in_channels = { type = "integer", required = true, min = 1 },
  out_channels = { type = "integer", required = true, min = 1 },
  from = { type = "table", required = true },
  to = { type = "table", required = true },
}

--- Resizing convolution, "RConv": stride and kernel chosen so that H×W pixels
-- become exactly h×w, without padding (RConv in lua/README.md).
-- @tparam table opts `in_channels`, `out_channels`, `from` = {H, W}, `to` = {h, w}; `init` ("he"), `rng`
-- @treturn Net parameters as of `Conv2d`
function M.RConv(opts)
  local o = options.check("nn.RConv", opts, RCONV)
  local from_h, from_w = pair("nn.RConv", "from", o.from, 1)
  local to_h, to_w = pair("nn.RConv", "to", o.to, 1)
  local sh, kh = resize_side(from_h, to_h, "height")
  local sw, kw = resize_side(from_w, to_w, "width")
  return started(core.net.conv2d(o.in_channels, o.out_channels, kh, kw, sh, sw, 0, 0, true), o)
end

local LINEAR = with_start {
  in_features = { type = "integer", required = true, min = 1 },
  out_features = { type = "integer", required = true, min = 1 },
}

--- Fully connected layer on N×in, or on flattened N×C×H×W.
-- @tparam table opts `in_features`, `out_features`; `init` ("he"), `rng`
-- @treturn Net parameters `weight` [out, in] and `bias` [out]
function M.Linear(opts)
  local o = options.check("nn.Linear", opts, LINEAR)
  return started(core.net.linear(o.in_features, o.out_features), o)
end

--- Per-channel norm, (h + bias)·exp(factor·logs).
-- @tparam table opts `channels`; `factor` (1)
-- @treturn Net parameters `bias` and `logs` [channels], zero
function M.Norm(opts)
  local o = options.check("nn.Norm", opts, {
    channels = { type = "integer", required = true, min = 1 },
    factor = { type = "number", default = 1 },
  })
  return core.net.norm(o.channels, o.factor)
end

--- max(x, 0).
-- @treturn Net
function M.ReLU() return core.net.relu() end

--- tanh(x).
-- @treturn Net
function M.Tanh() return core.net.tanh() end

--- 1/(1 + e^−x).
-- @treturn Net
function M.Sigmoid() return core.net.sigmoid() end

--- Every pixel of N×C×H×W as a block of equal ones: N×C×factor·H×factor·W.
-- @tparam[opt] table opts `factor` (2)
-- @treturn Net
function M.Upsample(opts)
  local o = options.check("nn.Upsample", opts, { factor = { type = "integer", default = 2, min = 1, max = 1 << 15 } })
  return core.net.upsample(o.factor)
end

-- A sequence with at least one member written in Lua.
local Chain = {}
Chain.__index = Chain
Chain.__name = "cglow.Chain"

function Chain:forward(x)
  for _, net in ipairs(self.nets) do x = net:forward(x) end
  return x
end

function Chain:backward(dout)
  for i = #self.nets, 1, -1 do dout = self.nets[i]:backward(dout) end
  return dout
end

function Chain:parameters(prefix)
  options.arg("Chain:parameters", 1, "prefix", prefix, { type = "string", optional = true })
  local all = {}
  for i, net in ipairs(self.nets) do
    for _, p in ipairs(net:parameters(prefix and prefix .. self.names[i] .. ".")) do all[#all + 1] = p end
  end
  return all
end

function Chain:__tostring()
  local lines = { "cglow.Chain" }
  for i, net in ipairs(self.nets) do
    lines[#lines + 1] = ("  %s: %s"):format(self.names[i], (tostring(net):gsub("\n", "\n  ")))
  end
  return table.concat(lines, "\n")
end

check.class("Chain", Chain, "nets")

local function is_network(v)
  for _, method in ipairs { "forward", "backward", "parameters" } do
    if not check.has(v, method) then return false end
  end
  return true
end

--- Networks one after the other. A string names the network that follows it;
-- its parameters are then called `name.weight` and so on (without a name: its
-- place in the list). No two have the same name.
-- @usage nn.Sequential { "fc1", nn.Linear { … }, nn.ReLU(), "fc2", nn.Linear { … } }
-- @tparam table list networks, in C or in Lua, and names
-- @treturn Net
function M.Sequential(list)
  options.arg("nn.Sequential", 1, "list", list, "table")
  local nets, names, pure, taken = {}, {}, true, {}
  local name
  for i, item in ipairs(list) do
    if type(item) == "string" then
      name = item
    elseif is_network(item) then
      nets[#nets + 1] = item
      name = name or tostring(#nets)
      if taken[name] then
        error(("nn.Sequential: item %d: a name of its own expected, got '%s' again"):format(i, name), 2)
      end
      names[#names + 1], taken[name], name = name, true, nil
      pure = pure and M.is_net(item)
    else
      error(("nn.Sequential: item %d must be a name or a network, got %s"):format(i, options.show(item)), 2)
    end
  end
  if #nets == 0 then error("nn.Sequential: at least one network expected, got none", 2) end
  if pure then return core.net.sequential(nets, names) end
  return setmetatable({ nets = nets, names = names }, Chain)
end

--- Is v a network in C?
function M.is_net(v) return core.type(v) == "cglow.Net" end

--- A trainable parameter for layers in Lua; the same as `cglow.Param`.
-- @function Param
-- @tparam Tensor value
-- @tparam[opt="param"] string name
-- @treturn Param
M.Param = core.Param

return M
