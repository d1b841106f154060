--- One encoder of x for all layers of a model.
--
-- The encoder makes features u_l of x for each level l, at 1/2^l of x's sides: a U-Net
-- in C, or any network whose `forward(x)` returns a list of L tensors (and, for a head,
-- one of x's sides at index 0) and whose `backward(list of gradients)` takes as many.
-- Where y is smaller than x it is x's middle, and so is what counts of the features.
--
-- At each level one product, W_l·u_l at every pixel (`cglow.flow.features`), makes all
-- that the level's couplings, its split or the prior add to what they compute of y.
-- @module cglow.model.encoder
local budget = require "cglow.nn.budget"
local check = require "cglow.util.check"
local core = require "cglow.core"
local losses = require "cglow.nn.losses"
local networks = require "cglow.model.networks"
local options = require "cglow.util.options"

local M = {}

local Encoder = {}
Encoder.__index = Encoder

local function halve(shape, times) return { shape[1], shape[2] >> times, shape[3] >> times } end

-- ---- making one --------------------------------------------------------------------

-- The standard network, started.
local function unet(config, rng, left)
  local o = config.encoder
  if #o.channels <= config.levels then
    error(("cglow.Model: option 'encoder.channels' must name more scales than the %d levels, got %d")
      :format(config.levels, #o.channels), 0)
  end
  local finest = config.head and 1 or 2
  local net = budget.unet(left, config.x[1], o.channels, finest)
  networks.start_unet(net, rng)
  return net
end

local function shape_of(t) return core.type(t) == "cglow.Tensor" and table.concat(t:size(), "x") or options.show(t) end

-- Channels of the pooled features of a network, if any layer reads them.
local function pooled_of(config, list)
  local g = list.pooled
  if not (config.condition.actnorm or config.condition.invconv) then return nil end
  if core.type(g) ~= "cglow.Tensor" or g:dim() ~= 2 then
    error("cglow.Model: `pooled` of what the encoder's forward returns must be 1xC, got " .. shape_of(g), 0)
  end
  return g:size(2)
end

-- Channels of a network's features by scale, from what it makes of an empty picture.
local function probe(config, net)
  local list = net:forward(core.zeros(1, table.unpack(config.x)), config.head ~= nil)
  if type(list) ~= "table" then
    error(("cglow.Model: the encoder's forward must return a list of tensors, got %s"):format(options.show(list)), 0)
  end
  local channels = { pooled = pooled_of(config, list) }
  for l = config.head and 0 or 1, config.levels do
    local u, want = list[l], halve(config.x, l)
    if core.type(u) ~= "cglow.Tensor" or u:dim() ~= 4 or u:size(3) ~= want[2] or u:size(4) ~= want[3] then
      error(("cglow.Model: element [%d] of what the encoder's forward returns must be 1xCx%dx%d, got %s"):format(
        l, want[2], want[3], shape_of(u)), 0)
    end
    channels[l] = u:size(2)
  end
  return channels
end

local function network(config, rng, left)
  local o = config.encoder
  if not o.make then
    local channels = { [0] = o.channels[1], pooled = o.channels[#o.channels] }
    for l = 1, config.levels do channels[l] = o.channels[l + 1] end
    return unet(config, rng, left), channels, 1 << (#o.channels - 1)
  end
  local net = o.make { x = config.x, levels = config.levels, head = config.head ~= nil }
  check.methods("cglow.Model", "encoder", net, { "forward", "backward", "parameters" }, 0)
  return net, probe(config, net), 1 << config.levels
end

-- What the layers of a level read: one map of features, and which rows of what it makes
-- are whose, by the index of the layer.
local function level_map(config, level, last, channels, rng, left)
  local rows, places, parts = 0, {}, {}
  local function part(name, layers, count)
    parts[#parts + 1], parts[#parts + 2] = name, count * #layers
    for _, layer in ipairs(layers) do
      places[#places + 1] = { index = layer.index, first = rows + 1, count = count }
      rows = rows + count
    end
  end
  local function of_steps(kind)
    local list = {}
    for k, step in ipairs(level.steps) do list[k] = step[kind] end
    return list
  end
  local c = level.shape[1]
  part("cond.weight", of_steps "coupling", config.coupling.width)
  if config.condition.injector then part("injector.weight", of_steps "injector", 2 * c) end
  if level.split and config.condition.split then
    part("split.cond.weight", { level.split }, 2 * (c - c // 2))
  elseif not level.split and config.condition.prior then
    part("prior.cond.weight", { last }, 2 * c)
  end
  budget.take(left, rows, channels)
  local map = core.flow.features(channels, table.unpack(parts))
  networks.start_features(map, rng)
  return { map = map, places = places }
end

local MAY_READ_POOLED <const> = { actnorm = true, invconv = true }

-- The layers that read the pooled features, each by a linear layer of its own.
local function read_pooled(config, layers, channels, rng, left)
  local readers = {}
  for _, layer in ipairs(layers) do
    if MAY_READ_POOLED[layer.kind] and config.condition[layer.kind] then
      layer.cn = budget.linear(left, { in_features = channels.pooled, out_features = layer.outputs })
      networks.start_linear(layer.cn, rng, layer.kind == "invconv" and layer.shape[1] or nil)
      readers[#readers + 1] = layer
    end
  end
  return readers
end

--- The encoder of a model and what reads its features.
-- @tparam table config from `cglow.model.config`
-- @tparam {table,...} layers of the model
-- @tparam {table,...} levels of the model
-- @tparam ?Rng rng starts the parameters; nil: a file has them
-- @tparam ?Budget left numbers that the parameters may hold (`cglow.nn.budget`)
-- @treturn Encoder
function M.new(config, layers, levels, rng, left)
  local self = setmetatable({ config = config, levels = {}, grads = {} }, Encoder)
  local channels
  self.net, channels, self.unit = network(config, rng, left)
  for l, level in ipairs(levels) do
    self.levels[l] = level_map(config, level, layers[#layers], channels[l], rng, left)
  end
  self.readers = read_pooled(config, layers, channels, rng, left)
  if config.head then
    self.head = budget.conv2d(left, { in_channels = channels[0], out_channels = config.head.outputs, padding = 1 })
    networks.start_head(self.head, rng)
  end
  return self
end

--- Parameters in the order of checkpoints: the encoder's, those of its readers, the head's.
-- @treturn {Param,...}
function Encoder:parameters()
  local all = {}
  local function add(object, prefix)
    for _, p in ipairs(object:parameters(prefix)) do all[#all + 1] = p end
  end
  add(self.net, "encoder.")
  for l, level in ipairs(self.levels) do add(level.map, ("level.%d."):format(l)) end
  if self.head then add(self.head, "head.") end
  return all
end

--- The sides of y for an x of these sides: y covers the same share of x as in training.
-- @tparam table config
-- @int h
-- @int w
-- @treturn int
-- @treturn int
function M.y_sides(config, h, w)
  return h * config.y[2] // config.x[2], w * config.y[3] // config.x[3]
end

-- Each weight of a U-Net meets every pixel of its scale once.
local function unet_madds(net, h, w)
  local n = 0
  for _, p in ipairs(net:parameters()) do
    local scale = tonumber(p.name:match("%.(%d+)%.") or 1)
    if p.name:find "weight$" then n = n + p.value:count() * (h >> scale - 1) * (w >> scale - 1) end
  end
  return n
end

--- Multiply-adds of a pass over one x of the training size; a network of the user's own
-- counts nothing.
-- @treturn int
function Encoder:madds()
  local x, y = self.config.x, self.config.y
  local n = self.config.encoder.make and 0 or unet_madds(self.net, x[2], x[3])
  for l, level in ipairs(self.levels) do
    for _, p in ipairs(level.map:parameters()) do n = n + p.value:count() * (y[2] >> l) * (y[3] >> l) end
  end
  return n + (self.head and self.head:parameters()[1].value:count() * x[2] * x[3] or 0)
end

-- ---- conditions of all layers --------------------------------------------------------

local function same_shape(a, b)
  for d = 1, 4 do
    if a:size(d) ~= b:size(d) then return false end
  end
  return true
end

-- The tensor that an object keeps under a name, made anew where another has another shape.
local function kept(object, name, like)
  local t = object[name]
  if not (t and same_shape(t, like)) then t = core.empty(like:size()) end
  object[name] = t
  return t
end

-- A level's tensor as views for its layers, made anew only when it is another tensor.
local function views(level, key, t)
  local list = level[key]
  if list and rawequal(list.of, t) then return list end
  list = { of = t }
  for i, place in ipairs(level.places) do list[i] = t:narrow(1, place.first, place.count) end
  level[key] = list
  return list
end

local function hand_out(level, parts, list)
  for i, place in ipairs(level.places) do list[place.index] = parts[i] end
end

--- Fill in the conditions of all layers that read features.
-- @tparam Tensor x
-- @tparam {[int]=Tensor} conds by the index of the layer: rows×N×H×W, or N×outputs of
-- what the pooled ones give
-- @bool[opt] finest will the head be asked? Without, features of x's own size are spared,
-- unless the flow models what the head leaves
function Encoder:forward(x, conds, finest)
  local h, w = M.y_sides(self.config, x:size(3), x:size(4))
  local residual = self.config.head and self.config.head.residual
  self.features, self.sides, self.said = self.net:forward(x, finest == true or residual ~= nil), { h, w }, nil
  for l, level in ipairs(self.levels) do
    hand_out(level, views(level, "views", level.map:forward(self.features[l], h >> l, w >> l)), conds)
  end
  for _, layer in ipairs(self.readers) do conds[layer.index] = layer.cn:forward(self.features.pooled) end
  local said = residual and self:read_head()
  conds.offset = said and kept(self, "offset", said):copy(said):mul(residual)
end

--- Where the gradients of the conditions that `forward` fills in are written.
-- @tparam {[int]=Tensor} room by the index of the layer
function Encoder:gradient_room(room)
  for _, level in ipairs(self.levels) do
    hand_out(level, views(level, "room_views", kept(level, "room", level.views.of)), room)
  end
end

-- A sum of gradients of what is pooled that begins with d.
local function sum_from(encoder, d)
  local sum = encoder.pooled_sum
  if not (sum and sum:size(1) == d:size(1)) then sum = core.empty(d:size()) end
  encoder.pooled_sum = sum
  return sum:copy(d)
end

-- What the network's stages are called by its parameters' names, without the scale
-- (csrc/nn/unet.h): on the way up, then on the way down.
local UP <const>, DOWN <const> = { up = true, merge = true }, { down = true, shrink = true, stem = true }

-- The stage of a U-Net's backward pass in which a parameter's gradient is formed.
local function stage_of(name, scales, stages)
  local kind, scale = name:match "^([a-z]+)%.?(%d*)"
  local s = tonumber(scale) or 1
  local finest = 2 * scales - stages -- from 1 on
  if UP[kind] then return s - finest + 1 end
  return DOWN[kind] and stages - s + 1
end

--- The encoder's parameters as `backward` is done with them: its readers' and the head's,
-- then the network's, stage by stage where it has stages.
-- @treturn {{Param,...},...}
function Encoder:gradient_parts()
  local parts = { {} }
  local function add(part, object)
    for _, p in ipairs(object:parameters()) do table.insert(part, p) end
  end
  if self.head then add(parts[1], self.head) end
  for _, layer in ipairs(self.readers) do add(parts[1], layer.cn) end
  for _, level in ipairs(self.levels) do add(parts[1], level.map) end
  if core.type(self.net) ~= "cglow.UNet" then
    parts[2] = {}
    add(parts[2], self.net)
    return parts
  end
  local stages, scales = self.net:stages()
  for stage = 1, stages do parts[1 + stage] = {} end
  for _, p in ipairs(self.net:parameters()) do
    local name = p.name:gsub("^encoder%.", "")
    table.insert(parts[1 + stage_of(name, scales, stages)], p)
  end
  return parts
end

-- The backward pass of the network; `done` is told of each stage, after the part of its readers.
local function backward_network(net, grads, done)
  if not done or core.type(net) ~= "cglow.UNet" then return net:backward(grads) end
  for stage = 1, (net:stages()) do
    net:backward(grads, false, stage)
    done(1 + stage)
  end
end

--- From the gradients in the places that `gradient_room` gave, and the head's, to all
-- parameters.
-- @tparam ?Tensor dfinest gradient of the finest features
-- @tparam {[int]=Tensor} dconds gradients of the conditions by the index of the layer
-- @tparam[opt] function done is called with each part of `gradient_parts` that is done
function Encoder:backward(dfinest, dconds, done)
  local grads = self.grads
  grads[0], grads.pooled = dfinest, nil
  for _, layer in ipairs(self.readers) do
    local d = layer.cn:backward(dconds[layer.index])
    grads.pooled = grads.pooled and grads.pooled:add(d) or sum_from(self, d)
  end
  for l, level in ipairs(self.levels) do grads[l] = level.map:backward(level.room) end
  if done then done(1) end
  backward_network(self.net, grads, done)
end

-- ---- head ------------------------------------------------------------------------------

-- The middle h×w of N×C×H×W.
local function middle(t, h, w)
  local top, left = (t:size(3) - h) // 2, (t:size(4) - w) // 2
  if top == 0 and left == 0 then return t end
  return t:narrow(3, top + 1, h):narrow(4, left + 1, w)
end

-- The transpose of `middle`: N×C×h×w in the middle of zeros.
local function surround(t, h, w)
  local top, left = (h - t:size(3)) // 2, (w - t:size(4)) // 2
  if top == 0 and left == 0 then return t end
  local n, c = t:size(1), t:size(2)
  if left > 0 then
    local side = core.zeros(n, c, t:size(3), left)
    t = core.cat({ side, t, side }, 4)
  end
  if top == 0 then return t end
  local end_ = core.zeros(n, c, top, w)
  return core.cat({ end_, t, end_ }, 3)
end

--- What the head says of the x of the last `forward`, where y is.
-- @treturn Tensor N×outputs×h×w: logits or values
function Encoder:read_head()
  self.said = self.said or middle(self.head:forward(self.features[0]), self.sides[1], self.sides[2])
  return self.said
end

--- The head's loss.
-- @tparam Tensor target of the loss
-- @treturn number loss, without a weight
-- @treturn Tensor its gradient with respect to what the head says
function Encoder:head_loss(target)
  local said = self:read_head()
  return losses[self.config.head.loss](said, target, { gradient = kept(self, "slope", said) })
end

--- Back through the head, from its loss and, where the flow models y − residual·(what the head
-- says), from the likelihood.
-- @tparam ?Tensor slope gradient of the loss, overwritten
-- @tparam ?number weight of the loss
-- @tparam Tensor dy gradient of what the step minimises with respect to y
-- @treturn ?Tensor the gradient of the finest features; nil when the head had no part in it
function Encoder:backward_head(slope, weight, dy)
  local residual = self.config.head and self.config.head.residual
  if not (slope or residual) then return nil end
  local full = self.features[0]
  slope = slope and slope:mul(weight) or kept(self, "slope", dy):zero()
  if residual then slope:add(dy, -residual) end
  return self.head:backward(surround(slope, full:size(3), full:size(4)))
end

return M
