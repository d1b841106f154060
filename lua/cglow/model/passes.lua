--- The passes over a model: conditions of x, y to latents, latents to y, and the
-- gradients back.
-- @module cglow.model.passes
local core = require "cglow.core"
local own = require "cglow.model.own"
local walk = require "cglow.model.walk"

local M = {}

local function is_net(v) return core.type(v) == "cglow.Net" end

-- ---- conditions ----------------------------------------------------------------

--- Gather the networks of a model's layers: those in C run as one group. Called
-- anew after one was exchanged.
-- @tparam Model model
function M.gather_networks(model)
  local in_c, at = {}, {}
  for _, layer in ipairs(model.layers) do
    own.prepare(layer)
    if is_net(layer.cn) and not model.encoder then in_c[#in_c + 1], at[#at + 1] = layer.cn, layer.index end
  end
  model.net_group = #in_c > 0 and core.net.group(in_c) or nil
  model.grouped, model.group_grads = at, {}
  model.weights_1x1 = {} -- the flow layers whose weights are factorised together
  for _, layer in ipairs(model.layers) do
    if core.type(layer.flow) == "cglow.InvConv" and not layer.cn then table.insert(model.weights_1x1, layer.flow) end
  end
  model.conditions, model.condition_grads, model.gradient_room, model.rooms = {}, {}, {}, {}
end

--- Conditions of all layers for x.
-- @tparam Model model
-- @tparam Tensor x
-- @bool[opt] finest will the encoder's head be asked?
-- @treturn {[int]=Tensor} by the index of the layer, and `offset`, where the flow models what the
-- head leaves: what it says of y; overwritten by the next call
function M.conditions(model, x, finest)
  local conds = model.conditions
  if model.encoder then
    model.encoder:forward(x, conds, finest)
    return conds
  end
  if model.net_group then
    for i, out in ipairs(model.net_group:forward(x)) do conds[model.grouped[i]] = out end
  end
  for _, layer in ipairs(model.layers) do
    local i = layer.index
    if layer.net and not is_net(layer.net) then conds[i] = layer.net:forward(x) end
  end
  return conds
end

-- Networks of a group whose gradients are told of together, where that is asked for: the
-- more, the fewer messages; the fewer, the sooner they set out.
local TOGETHER <const> = 6
-- Networks for each thread in one call: with fewer, threads wait for each other.
local FOR_EACH_THREAD <const> = 6

local function shares_of(model) return model.net_group and (#model.grouped + TOGETHER - 1) // TOGETHER or 0 end

local function backward_group(model, dconds, done)
  local group, grads, count = model.net_group, model.group_grads, #model.grouped
  for i, at in ipairs(model.grouped) do grads[i] = dconds[at] end
  if not done then return group:backward(grads) end
  local each = math.max(1, FOR_EACH_THREAD * core.threads() // TOGETHER)
  for share = 1, shares_of(model), each do
    local last = share + each - 1
    group:backward(grads, (share - 1) * TOGETHER + 1, math.min(last * TOGETHER, count))
    done(math.min(last, shares_of(model)))
  end
end

--- Gradients of the networks' parameters, from `model.condition_grads`, which
-- `backward` has filled, or of the encoder's.
-- @tparam Model model
-- @tparam ?Tensor dfinest gradient of the encoder's finest features, from its head
-- @tparam[opt] function done is called with each part of `gradient_parts` that is done
function M.backward_conditions(model, dfinest, done)
  local dconds = model.condition_grads
  local function after_layers(part) done(#model.layers + part) end
  local tell = done and after_layers
  if model.encoder then return model.encoder:backward(dfinest, dconds, tell) end
  if model.net_group then backward_group(model, dconds, tell) end
  for _, layer in ipairs(model.layers) do
    if layer.net and not is_net(layer.net) then layer.net:backward(dconds[layer.index]) end
  end
end

-- ---- y to latents --------------------------------------------------------------

-- Count a layer's log-determinants or log-densities in; let `visit` see what it made.
local function note(s, layer, z, terms)
  local total = s.logp
  for n = 1, #total do total[n] = total[n] + terms[n] end
  if s.visit and s.visit(layer, z, terms) then return nil end
  return z
end

local encoding = {}

function encoding.squeeze(layer, z) return layer.flow:forward(z) end

function encoding.part(layer, z, s)
  if s.start and layer.kind == "actnorm" and layer.flow == layer.standard and not layer.cn then layer.flow:start(z) end
  local out, logdet = layer.run:forward(z, s.conds[layer.index], s.keep)
  return note(s, layer, out, logdet)
end

function encoding.split(layer, z, s)
  local z1, z2, logp = layer.flow:forward(z, s.conds[layer.index])
  s.latents[layer.level] = z2
  return note(s, layer, z1, logp)
end

function encoding.prior(layer, z, s)
  s.latents[layer.level] = z
  return note(s, layer, z, layer.flow:log_prob(z, s.conds[layer.index]))
end

--- y to latents.
-- @tparam Model model
-- @tparam Tensor y
-- @tparam {[int]=Tensor} conds
-- @bool keep will `backward` follow?
-- @tparam[opt] function visit is called with each layer but the squeezes, what it made and its
-- log-determinants or log-densities; it may return true to end the walk
-- @bool[opt] start let each actnorm start from what it is given (Glow, section 3.1)
-- @treturn {number,...} log p of each sample
-- @treturn {Tensor,...} latents, overwritten by the next pass
function M.encode(model, y, conds, keep, visit, start)
  if conds.offset then y = y - conds.offset end -- a shift, whose log-determinant is 0
  local s = { logp = {}, latents = {}, conds = conds, keep = keep, visit = visit, start = start }
  for n = 1, y:size(1) do s.logp[n] = 0.0 end
  core.flow.factorise(model.weights_1x1)
  walk.up(model.layers, y, encoding, s)
  return s.logp, s.latents
end

--- The name of the first layer that makes a number which is not finite; with
-- ".cn", or "encoder", when its condition is not, and "prior" when all are finite but their sum.
-- @tparam Model model
-- @tparam Tensor y
-- @tparam {[int]=Tensor} conds
-- @treturn string
function M.first_not_finite(model, y, conds)
  local found
  M.encode(model, y, conds, false, function(layer, z, terms)
    local finite = z:isfinite()
    for _, v in ipairs(terms) do finite = finite and v - v == 0 end
    if not finite then found = layer end
    return not finite
  end)
  if not found then return "prior" end
  if conds.offset and not conds.offset:isfinite() then return "head" end
  local cond = conds[found.index]
  if cond and not cond:isfinite() then return model.encoder and "encoder" or found.name .. ".cn" end
  return found.name
end

-- ---- latents to y ----------------------------------------------------------------

-- One of two tensors of z's shape that the model keeps, and not z itself. They are kept
-- for the last batch size alone.
local function room_beside(model, z)
  local n, c, h, w = table.unpack(z:size())
  local key = ("%dx%dx%d"):format(c, h, w)
  local pair = model.rooms[key]
  if not pair or pair[1]:size(1) ~= n then
    model.rooms[key] = nil -- so that its memory is free
    pair = { core.empty(n, c, h, w), core.empty(n, c, h, w) }
    model.rooms[key] = pair
  end
  return rawequal(pair[1], z) and pair[2] or pair[1]
end

--- A part's inverse, into memory that the inverses of all parts share: each would keep a
-- result of its own.
-- @tparam Model model
-- @tparam table part
-- @string method "inverse" or "inverse_prepared"
-- @tparam Tensor z
-- @param cond the condition, or what was prepared from it
-- @treturn Tensor y, overwritten by the next but one
function M.invert(model, part, method, z, cond)
  local run, out = part.run, room_beside(model, z)
  if rawequal(run, part.flow) then return run[method](run, z, cond, out) end
  return out:copy(run[method](run, z, cond)) -- may be a view of z
end

local decoding = {
  prior = function(layer, _, s) return s.latents[layer.level] end,
  split = function(layer, z, s) return layer.flow:inverse(z, s.latents[layer.level]) end,
  part = function(layer, z, s)
    if s.shake then z = s.shake(z) end
    return M.invert(s.model, layer, "inverse", z, s.conds[layer.index])
  end,
  squeeze = function(layer, z) return layer.flow:inverse(z) end,
}

--- Latents to y.
-- @tparam Model model
-- @tparam {Tensor,...} latents
-- @tparam {[int]=Tensor} conds
-- @tparam[opt] function shake gives what each part's inverse is given instead of z
-- @treturn Tensor y, overwritten by the next pass
function M.decode(model, latents, conds, shake)
  local y = walk.down(model.layers, nil, decoding, {
    model = model, latents = latents, conds = conds, shake = shake,
  })
  return conds.offset and y:add(conds.offset) or y
end

-- ---- gradients -------------------------------------------------------------------

-- A part that does not write its condition's gradient where it is told to, as one in
-- Lua: then it is copied there.
local function settle(room, dcond)
  if not room or room == dcond then return end
  if dcond then room:copy(dcond) else room:zero() end
end

local going_back = {
  prior = function(layer, _, s) return layer.flow:backward(s.g, s.room[layer.index]) end,
  split = function(layer, dz, s) return layer.flow:backward(dz, s.g, s.room[layer.index]) end,
  part = function(layer, dz, s)
    local i = layer.index
    local dy, dcond = layer.run:backward(dz, s.g, s.room[i])
    s.dconds[i] = dcond
    settle(s.room[i], dcond)
    return dy
  end,
  squeeze = function(layer, dz) return layer.flow:backward(dz) end,
}

-- On the way back `state.done`, where there is one, is told how many layers' gradients are complete.
for role, visit in pairs(going_back) do
  going_back[role] = function(layer, dz, s)
    local dy = visit(layer, dz, s)
    if s.done then s.done(s.count - layer.index + 1) end
    return dy
  end
end

--- Gradient of Σ g·log p through the flow, after `encode` with `keep`; fills
-- `model.condition_grads`.
-- @tparam Model model
-- @number g
-- @tparam[opt] function done is called with 1 when the prior's own parameters have their gradient, with 2
-- after the layer before it, and so on
-- @treturn Tensor the gradient with respect to y, overwritten by the next pass
function M.backward(model, g, done)
  if model.encoder then model.encoder:gradient_room(model.gradient_room) end
  local s = { g = g, dconds = model.condition_grads, room = model.gradient_room, done = done, count = #model.layers }
  return walk.down(model.layers, nil, going_back, s)
end

-- The parameters of the group's networks as `backward_group` is done with them.
local function group_parts(model)
  local parts = {}
  for share = 1, shares_of(model) do
    parts[share] = {}
    for i = (share - 1) * TOGETHER + 1, math.min(share * TOGETHER, #model.grouped) do
      for _, p in ipairs(model.layers[model.grouped[i]].cn:parameters()) do table.insert(parts[share], p) end
    end
  end
  return parts
end

--- See `Model:gradient_parts`.
-- @tparam Model model
-- @treturn {{Param,...},...}
function M.gradient_parts(model)
  local parts, seen, rest = {}, {}, {}
  local function add(params)
    parts[#parts + 1] = params
    for _, p in ipairs(params) do seen[p] = true end
  end
  for i = #model.layers, 1, -1 do
    local layer = model.layers[i]
    add(layer.kind == "squeeze" and {} or layer.run:parameters(layer.name .. "."))
  end
  for _, params in ipairs(model.encoder and model.encoder:gradient_parts() or group_parts(model)) do add(params) end
  local all = model:parameters()
  for i = #all, 1, -1 do
    if not seen[all[i]] then rest[#rest + 1] = all[i] end
  end
  parts[#parts + 1] = rest
  return parts
end

return M
