--- The networks of the feed-forward models, composed from the layers in C.
--
-- Besides the three methods of a network, each has `pieces`, a list of
-- {name =, net =}, and `trace`, which shows what every piece makes.
-- @module cglow.feedforward.networks
local budget = require "cglow.nn.budget"
local core = require "cglow.core"
local nn = require "cglow.nn"
local starting = require "cglow.model.networks"

local M = {}

local function conv3(left, from, to)
  return budget.conv2d(left, {in_channels = from, out_channels = to, padding = 1})
end

-- Halves height and width.
local function halve(left, from, to)
  return budget.conv2d(left, {in_channels = from, out_channels = to, kernel = 2, stride = 2})
end

-- ---- encoder and decoder with skip connections ----------------------------

local EncoderDecoder = {}
EncoderDecoder.__index = EncoderDecoder
EncoderDecoder.__name = "cglow.EncoderDecoder"

-- Stage i works on 1/2^(i−1) of the size, with c[i] channels.
local function encoder_stage(i, c, s)
  return nn.Sequential {
    "conv1", i == 1 and conv3(s.budget, s.inputs, c[1]) or halve(s.budget, c[i - 1], c[i]), nn.ReLU(),
    "conv2", conv3(s.budget, c[i], c[i]), nn.ReLU(),
  }
end

local function decoder_stage(i, c, s)
  local layers = {"conv1", conv3(s.budget, c[i], c[i]), nn.ReLU()}
  if i == 1 then table.move({"head", conv3(s.budget, c[1], s.outputs)}, 1, 2, 4, layers) end
  return nn.Sequential(layers)
end

local function widths(channels, depth)
  local c = {}
  for i = 1, depth + 1 do c[i] = channels << (i - 1) end
  return c
end

--- An encoder that halves the size `depth` times while it doubles the channels,
-- and a decoder that returns; each of its stages adds what the encoder had at
-- that size (after Long et al. 2015, "Fully convolutional networks for semantic
-- segmentation", whose skip connections add up too).
-- @tparam table s `inputs`, `outputs` (channels), `channels` of the first stage, `depth`, `budget`
-- @treturn EncoderDecoder N×inputs×H×W to N×outputs×H×W; H and W divisible by 2^depth
function M.encoder_decoder(s)
  local c = widths(s.channels, s.depth)
  local self = setmetatable({encode = {}, up = {}, decode = {}, skips = {}, sums = {}, pieces = {}}, EncoderDecoder)
  local function add(list, i, name, net)
    list[i] = net
    self.pieces[#self.pieces + 1] = {name = name .. "." .. i, net = net}
  end
  for i = 1, s.depth + 1 do add(self.encode, i, "encode", encoder_stage(i, c, s)) end
  for i = s.depth, 1, -1 do
    add(self.up, i, "up", nn.Sequential {nn.Upsample(), "conv", conv3(s.budget, c[i + 1], c[i])})
    add(self.decode, i, "decode", decoder_stage(i, c, s))
  end
  return self
end

-- up + skip in a buffer of stage i: networks own what they give out.
local function merged(self, i, up)
  local sum = self.sums[i]
  if not sum or sum:size(1) ~= up:size(1) or sum:count() ~= up:count() then
    sum = core.empty(up:size())
    self.sums[i] = sum
  end
  return sum:copy(up):add(self.skips[i])
end

local function unseen() end

--- @tparam Tensor x
-- @tparam[opt] function visit called with a piece's name and what it made
function EncoderDecoder:forward(x, visit)
  visit = visit or unseen
  local depth = #self.up
  for i = 1, depth + 1 do
    x = self.encode[i]:forward(x)
    self.skips[i] = x
    visit("encode." .. i, x)
  end
  for i = depth, 1, -1 do
    x = self.up[i]:forward(x)
    visit("up." .. i, x)
    x = self.decode[i]:forward(merged(self, i, x))
    visit("decode." .. i, x)
  end
  return x
end

EncoderDecoder.trace = EncoderDecoder.forward

--- @tparam Tensor dout
-- @tparam[opt=true] boolean want_din false saves the work for the input's gradient
function EncoderDecoder:backward(dout, want_din)
  local depth, dskips = #self.up, {}
  for i = 1, depth do
    dskips[i] = self.decode[i]:backward(dout)
    dout = self.up[i]:backward(dskips[i])
  end
  for i = depth + 1, 1, -1 do
    if dskips[i] then dout:add(dskips[i]) end
    dout = self.encode[i]:backward(dout, i > 1 or want_din ~= false)
  end
  return dout
end

function EncoderDecoder:parameters(prefix)
  local all = {}
  for _, piece in ipairs(self.pieces) do
    local own = piece.net:parameters(prefix and prefix .. piece.name .. ".")
    table.move(own, 1, #own, #all + 1, all)
  end
  return all
end

-- ---- a plain stack of convolutions -----------------------------------------

local Stack = {}
Stack.__index = Stack
Stack.__name = "cglow.Stack"

--- `depth` 3×3 convolutions at full size with ReLU between them (Zhang et al.
-- 2017, "Beyond a Gaussian denoiser", figure 1, without its batch normalisation,
-- so that no sample depends on the others of its batch).
-- @tparam table s `inputs`, `outputs`, `channels`, `depth` (at least 2), `budget`
-- @treturn Stack N×inputs×H×W to N×outputs×H×W
function M.stack(s)
  local pieces, all = {}, {}
  for i = 1, s.depth - 1 do
    local name, conv = "conv" .. i, conv3(s.budget, i == 1 and s.inputs or s.channels, s.channels)
    table.move({name, conv, nn.ReLU()}, 1, 3, #all + 1, all)
    pieces[i] = {name = name, net = nn.Sequential {name, conv, nn.ReLU()}}
  end
  local head = conv3(s.budget, s.channels, s.outputs)
  table.move({"head", head}, 1, 2, #all + 1, all)
  pieces[s.depth] = {name = "head", net = head}
  return setmetatable({pieces = pieces, net = nn.Sequential(all)}, Stack)
end

function Stack:forward(x) return self.net:forward(x) end
function Stack:backward(dout, want_din) return self.net:backward(dout, want_din) end
function Stack:parameters(prefix) return self.net:parameters(prefix) end

--- Forward piece by piece, each with its own result.
function Stack:trace(x, visit)
  for _, piece in ipairs(self.pieces) do
    x = piece.net:forward(x)
    visit(piece.name, x)
  end
end

-- ---- the U-Net that a flow may have for its encoder ------------------------

local UNet = {parameters = EncoderDecoder.parameters}
UNet.__index = UNet
UNet.__name = "cglow.feedforward.UNet"

--- A U-Net as it is the encoder of a flow, and a 3×3 convolution of its finest features.
-- @tparam table s `inputs`, `outputs`, `channels` = list for 1, 1/2, 1/4 … of the size, `budget`
-- @treturn UNet N×inputs×H×W to N×outputs×H×W; H and W divisible by 2^(#channels − 1)
function M.unet(s)
  local self = setmetatable({grads = {}}, UNet)
  self.features = budget.unet(s.budget, s.inputs, s.channels, 1)
  self.head = conv3(s.budget, s.channels[1], s.outputs)
  self.pieces = {{name = "unet", net = self.features}, {name = "head", net = self.head}}
  return self
end

function UNet:forward(x, visit)
  visit = visit or unseen
  local features = self.features:forward(x)[0]
  visit("unet", features)
  local out = self.head:forward(features)
  visit("head", out)
  return out
end

UNet.trace = UNet.forward

function UNet:backward(dout, want_din)
  self.grads[0] = self.head:backward(dout)
  return self.features:backward(self.grads, want_din ~= false)
end

-- Start the U-Net as in a flow, so that the two differ in nothing but the flow.
function UNet:start(rng)
  starting.start_unet(self.features, rng)
  starting.start_head(self.head, rng)
end

-- ---- what is said of the middle alone ---------------------------------------

local Middle = {}
Middle.__index = Middle
Middle.__name = "cglow.feedforward.Middle"

--- A network of which only the middle of what it gives out counts, for a y that is x's middle.
-- @param net one of the above
-- @int height of the middle, less than what `net` gives out by an even number
-- @int width likewise
-- @treturn Middle
function M.middle(net, height, width)
  return setmetatable({net = net, pieces = net.pieces, height = height, width = width}, Middle)
end

function Middle:forward(x)
  local out = self.net:forward(x)
  self.top, self.left = (out:size(3) - self.height) // 2, (out:size(4) - self.width) // 2
  return out:narrow(3, self.top + 1, self.height):narrow(4, self.left + 1, self.width)
end

-- Zeros before and after t along a dimension.
local function bordered(t, dim, border)
  if border == 0 then return t end
  local size = t:size()
  size[dim] = border
  local zeros = core.zeros(size)
  return core.cat({zeros, t, zeros}, dim)
end

function Middle:backward(dout, want_din)
  return self.net:backward(bordered(bordered(dout, 3, self.top), 4, self.left), want_din)
end

function Middle:parameters(prefix) return self.net:parameters(prefix) end
function Middle:trace(x, visit) return self.net:trace(x, visit) end
function Middle:start(rng) M.start(self.net, rng) end

-- ---- starting --------------------------------------------------------------

local function fan_in(weight) return weight:count() // weight:size(1) end

--- Start a network: He's normal weights (every convolution reads what a ReLU
-- made), biases 0, and a head of 0, so that at first it gives out 0; a U-Net as in a flow.
-- @param net one of the above
-- @tparam Rng rng
function M.start(net, rng)
  if net.start then return net:start(rng) end
  for _, p in ipairs(net:parameters "") do
    if p.name:find("head.", 1, true) or p.name:find "bias$" then
      p.value:fill(0)
    else
      rng:fill_normal(p.value)
      p.value:mul(math.sqrt(2 / fan_in(p.value)))
    end
  end
end

return M
