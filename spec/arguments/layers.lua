-- Methods of networks, bundles, flow layers and the optimizer in C, and files.
local core = require "cglow.core"
local K = require "spec.support.arguments"

local flow = core.flow
local prefix = K.optional(K.str "p.")
local y_bad = { { 4 }, { 2, 4 }, { 2, 3, 4, 4 }, { 2, 4, 4 } }
local y = K.tensor({ 2, 4, 4, 4 }, y_bad)
local dz_bad = { { 4 }, { 2, 4 }, { 2, 3, 4, 4 }, { 1, 4, 4, 4 }, { 2, 4, 4, 2 } }
local dz = K.tensor({ 2, 4, 4, 4 }, dz_bad)
local keep = K.any(true)
local weights = K.also(K.object(1, "number", {
  { "a list too short", function() return { 1 } end }, { "a list too long", function() return { 1, 2, 3 } end },
  { "a string inside", function() return { 1, "2" } end }, { "a hole", function() return { nil, 1 } end },
  { "a tensor of 1", function() return core.zeros(1) end },
}), "nothing")
local none = K.object(nil, "nil", {})

local function ran(make, ...)
  local cond = { ... }
  return function()
    local layer = make()
    local c = cond[1] and core.zeros(cond)
    layer:forward(core.full(2, 4, 4, 4, 0.5), c)
    return layer
  end
end

local rows = {}
local function add(row) rows[#rows + 1] = row end

local function layer(class, make, cond, ...)
  local kind = cond or none
  local self = function() return make() end
  add { class .. ":forward", y, kind, keep, self = self }
  add { class .. ":inverse", y, kind, self = self }
  add { class .. ":backward", dz, weights, self = ran(make, ...),
    wrong = { { label = "before forward", self = self, says = "call forward", args = { core.zeros(2, 4, 4, 4), 1 } } } }
  add { class .. ":parameters", prefix, self = self }
end

add { "Squeeze:forward", K.tensor({ 2, 4, 4, 4 }, { { 4 }, { 2, 4, 3, 4 }, { 2, 4, 4, 3 } }), self = flow.squeeze }
add { "Squeeze:inverse", K.tensor({ 2, 4, 4, 4 }, { { 4 }, { 2, 3, 4, 4 } }), self = flow.squeeze }
add { "Squeeze:backward", K.tensor({ 2, 4, 4, 4 }, { { 4 }, { 2, 3, 4, 4 } }), self = flow.squeeze }
add { "Squeeze:parameters", prefix, self = flow.squeeze }
layer("ActNorm", function() return flow.actnorm(4, false) end)
layer("ActNorm", function() return flow.actnorm(4, true) end,
  K.tensor({ 2, 8 }, { { 8 }, { 2, 7 }, { 3, 8 }, { 4, 8 }, { 2, 4, 2 }, { 2, 8, 1, 1 } }), 2, 8)
layer("InvConv", function() return flow.invconv(4, false) end)
layer("Coupling", function() return flow.coupling(4, 0, 3) end)
layer("Coupling", function() return flow.coupling(4, 2, 3) end,
  K.tensor({ 2, 2, 4, 4 }, { { 2, 2 }, { 3, 2, 4, 4 }, { 2, 3, 4, 4 }, { 2, 2, 2, 4 } }), 2, 2, 4, 4)

-- A conditional W of zeros is singular: refused by all that needs its inverse.
local w = K.object(function()
  local t = core.zeros(2, 16)
  for n = 1, 2 do for i = 1, 16, 5 do t:set(n, i, 1) end end
  return t
end, "cglow.Tensor", { { "shape 16", function() return core.zeros(16) end },
  { "shape 2x15", function() return core.zeros(2, 15) end }, { "shape 3x16", function() return core.zeros(3,
    16) end } })
local w_own = { good = w.good, bad = {} } -- any number of rows serves where there is no y
for _, b in ipairs(w.bad) do
  if b[1] ~= "shape 3x16" then w_own.bad[#w_own.bad + 1] = b end
end
local function invconv() return flow.invconv(4, true) end
add { "InvConv:forward", y, w, keep, self = invconv }
add { "InvConv:inverse", y, w, self = invconv, wrong = { { label = "singular", says = "singular or not finite",
  args = { core.zeros(2, 4, 4, 4), core.zeros(2, 16) } }, { label = "NaN", says = "singular or not finite",
  args = { core.zeros(2, 4, 4, 4), core.full(2, 16, 0 / 0) } } } }
add { "InvConv:prepare", w_own, self = invconv, wrong = { { label = "singular", says = "singular or not finite",
  args = { core.zeros(2, 16) } } } }
add { "InvConv:prepare", none, self = function() return flow.invconv(4, false) end }
add { "InvConv:diagnose", w_own, self = invconv }
add { "core.flow.factorise", K.list(function() return { flow.invconv(4, false) } end, {
  { "a conditional layer", function() return { invconv() } end }, { "{1}", function() return { 1 } end },
  { "{nil, 1}", function() return { [2] = 1, [1] = flow.actnorm(4, false) } end } }) }
add { "InvConv:inverse_prepared", y, K.tensor({ 2, 4, 4 }, { { 2, 16 }, { 2, 4 }, { 3, 4, 4 }, { 2, 5, 4 } }),
  self = invconv }
add { "InvConv:backward", dz, weights, good = false, self = function()
  local l = invconv()
  l:forward(core.zeros(2, 4, 4, 4), w.good())
  return l
end, wrong = { { label = "a condition for several samples", says = "forward's condition had 1 rows for 2 samples",
  self = function()
    local l = invconv()
    l:forward(core.zeros(2, 4, 4, 4), w.good():narrow(1, 1, 1))
    return l
  end, args = { core.zeros(2, 4, 4, 4), 1 } } } }
local function coupling() return flow.coupling(4, 2, 3) end
add { "ActNorm:start", K.tensor({ 2, 4, 4, 4 }, y_bad), self = function() return flow.actnorm(4, false) end,
  wrong = { { label = "a conditional layer", self = function() return flow.actnorm(4, true) end,
    says = "the layer is conditional", args = { core.zeros(2, 4, 4, 4) } } } }
local added_bad = { { 3 }, { 3, 2, 4 }, { 4, 2, 4, 4 }, { 3, 3, 4, 4 }, { 3, 4, 4, 4 }, { 3, 2, 2, 4 } }
layer("Coupling", function() return flow.coupling(4, 0, 3, 1, true) end, K.tensor({ 3, 2, 4, 4 }, added_bad),
  3, 2, 4, 4)
layer("Injector", function() return flow.injector(4, 1) end,
  K.tensor({ 8, 2, 4, 4 }, { { 8 }, { 8, 2, 4 }, { 7, 2, 4, 4 }, { 8, 3, 4, 4 }, { 8, 2, 2, 4 } }), 8, 2, 4, 4)
local function features() return flow.features(3, "a.weight", 4, "b.weight", 2) end
local sides = K.int(2, 1, 4)
add { "Features:forward", K.tensor({ 2, 3, 4, 4 }, { { 3 }, { 3, 4, 4 }, { 2, 2, 4, 4 } }), sides, sides,
  self = features, wrong = { { label = "no middle", says = "have no middle of 3x2",
    args = { core.zeros(2, 3, 4, 4), 3, 2 } } } }
add { "Features:backward", K.tensor({ 6, 2, 2, 2 }, { { 6 }, { 6, 2, 2 }, { 5, 2, 2, 2 }, { 6, 1, 2, 2 } }),
  self = function()
    local f = features()
    f:forward(core.zeros(2, 3, 4, 4), 2, 2)
    return f
  end,
  wrong = { { label = "before forward", self = features, says = "call forward", args = { core.zeros(6, 2, 2, 2) } } } }
add { "Features:parameters", prefix, self = features }
add { "Coupling:prepare", K.tensor({ 2, 2, 4, 4 }, { { 2, 2 }, { 2, 3, 4, 4 } }), self = coupling }
add { "Coupling:inverse_prepared", y, K.tensor({ 2, 3, 4, 4 }, { { 2, 3 }, { 2, 2, 4, 4 }, { 3, 3, 4, 4 }, { 2, 3, 2,
  4 } }),
  self = coupling }
add { "Coupling:share_store", K.object(coupling, "cglow.Coupling"), self = coupling }
add { "Coupling:own_store", self = coupling }

local function split() return flow.split(4) end
local half = K.tensor({ 2, 2, 4, 4 }, { { 2 }, { 2, 4, 4, 4 } })
local half2 = K.tensor({ 2, 2, 4, 4 }, { { 2 }, { 2, 4, 4, 4 }, { 1, 2, 4, 4 }, { 2, 2, 4, 2 } })
local temperature = K.num(1, nil, true)
add { "Split:forward", y, none, self = split }
add { "Split:inverse", half, half2, self = split }
add { "Split:sample", half, half2, temperature, none, self = split }
add { "Split:backward", half2, weights, self = ran(split),
  wrong = { { label = "before forward", self = split, says = "call forward", args = { core.zeros(2, 2, 4, 4), 1 } } } }
add { "Split:parameters", prefix, self = split }
local function prior() return flow.prior(4, 4, 4, true) end
local latent = K.tensor({ 2, 4, 4, 4 }, { { 4 }, { 2, 4 }, { 2, 3, 4, 4 }, { 2, 4, 2, 4 } })
add { "Prior:log_prob", latent, self = prior }
add { "Prior:sample", latent, temperature, self = prior }
add { "Prior:backward", weights, self = function()
  local p = prior()
  p:log_prob(core.zeros(2, 4, 4, 4))
  return p
end, wrong = { { label = "before log_prob", self = prior, says = "call log_prob first", args = { 1 } } } }
add { "Prior:parameters", prefix, self = prior }
-- With features of x.
local function split_with() return flow.split(4, 1) end
local added4 = K.tensor({ 4, 2, 4, 4 }, { { 4 }, { 4, 2, 4 }, { 3, 2, 4, 4 }, { 4, 3, 4, 4 }, { 4, 4, 4, 4 },
  { 4, 2, 4, 2 } })
add { "Split:forward", y, added4, self = split_with }
add { "Split:sample", half, half2, temperature, added4, self = split_with }
add { "Split:backward", half2, weights, K.optional(added4), self = function()
  local s = split_with()
  s:forward(core.zeros(2, 4, 4, 4), core.zeros(4, 2, 4, 4))
  return s
end }
local function prior_with() return flow.prior(2, 0, 0, false, 1) end
local latent2 = K.tensor({ 2, 2, 4, 4 }, { { 4 }, { 2, 2 }, { 2, 3, 4, 4 } })
add { "Prior:log_prob", latent2, added4, self = prior_with }
add { "Prior:sample", latent2, temperature, added4, self = prior_with }
add { "Prior:backward", weights, added4, self = function()
  local p = prior_with()
  p:log_prob(core.zeros(2, 2, 4, 4), core.zeros(4, 2, 4, 4))
  return p
end }

local function net() return core.net.conv2d(2, 3, 3, 3, 1, 1, 1, 1, true) end
local function net_ran()
  local n = net()
  n:forward(core.zeros(2, 2, 4, 4))
  return n
end
add { "Net:forward", K.tensor({ 2, 2, 4, 4 }, { { 2 }, { 2, 2 }, { 2, 2, 4 }, { 2, 3, 4, 4 } }), self = net }
add { "Net:backward", K.tensor({ 2, 3, 4, 4 }, { { 3 }, { 1, 3, 4, 4 }, { 2, 2, 4, 4 } }), keep, self = net_ran,
  wrong = { { label = "before forward", self = net, says = "call forward", args = { core.zeros(2, 3, 4, 4) } } } }
add { "Net:parameters", prefix, self = net }
add { "Net:output_shape", K.list({ 2, 4, 4 }, { { "two sizes", function() return { 2, 4 } end },
  { "{}", function() return {} end }, { "{0, 1, 1}", function() return { 0, 1, 1 } end },
  { "{-1}", function() return { -1 } end } }), self = net }
local function unet() return core.net.unet(2, { 2, 3 }, 1) end
local function unet_ran()
  local n = unet()
  n:forward(core.zeros(2, 2, 4, 4))
  return n
end
add { "UNet:forward", K.tensor({ 2, 2, 4, 4 }, { { 2 }, { 2, 2 }, { 2, 3, 4, 4 }, { 2, 2, 3, 4 }, { 2, 2, 4, 5 } }),
  self = unet }
add { "UNet:backward", K.list(function() return { [0] = core.zeros(2, 2, 4, 4), core.zeros(2, 3, 2, 2) } end, {
  { "another shape", function() return { core.zeros(2, 3, 4, 4) } end },
  { "numbers", function() return { 1 } end } }), keep, K.optional(K.int(1, 1, 3)), self = unet_ran,
  wrong = { { label = "before forward", self = unet, says = "call forward", args = { {} } } } }
add { "UNet:parameters", prefix, self = unet }
add { "UNet:stages", self = unet }
local function bundle() return core.net.group { net(), net() } end
add { "NetGroup:forward", K.tensor({ 2, 2, 4, 4 }, { { 2 }, { 2, 2 }, { 2, 3, 4, 4 } }), self = bundle }
add { "NetGroup:backward", K.list(function() return { core.zeros(2, 3, 4, 4), core.zeros(2, 3, 4, 4) } end, {
  { "one gradient", function() return { core.zeros(2, 3, 4, 4) } end },
  { "another shape", function() return { core.zeros(2, 3, 4, 4), core.zeros(1, 3, 4, 4) } end },
  { "numbers", function() return { 1, 2 } end } }), K.optional(K.int(1, 1, 2)), K.optional(K.int(2, 1, 2)),
  self = function()
  local b = bundle()
  b:forward(core.zeros(2, 2, 4, 4))
  return b
end, wrong = { { label = "before forward", self = bundle, says = "call forward", args = { {} } } } }

local function optimizer() return core.optimizer({ core.Param(core.zeros(2)) }, { 1 }, { 1 }) end
local function average() return core.average { core.Param(core.zeros(2)) } end
local hyper = K.num(0.5, { -1, 1e31 })
add { "core_Optimizer:step", hyper, hyper, hyper, hyper, hyper, hyper, hyper, K.num(1, { 0, 0.5 }), self = optimizer }
add { "core_Average:update", K.num(0.9, { -0.1, 1.1 }), self = average }
add { "core_Average:swap", self = average }
add { "core_Average:tensors", self = average }
add { "core_Optimizer:moments", self = optimizer }
add { "core_Optimizer:set_steps", K.int(3, 0), self = optimizer }
-- ---- gradients for other processes ----
local function weight()
  local l = core.net.linear(3, 2)
  return l:parameters("")[1]
end
local outer = K.list(function() return { weight() } end, { { "no parameters", function() return {} end },
  { "a number inside", function() return { 1 } end },
  { "a bias", function() return { core.net.linear(3, 2):parameters("")[2] } end } })
local factor_count = K.int(2, 1, 1 << 20)
local function factors() return core.gradient_factors({ weight() }, 2, 3) end
local function flat() return core.gradient_flat { weight() } end
add { "core.is_outer_product", K.object(weight, "cglow.Param") }
add { "core.gradient_factors", outer, factor_count, K.int(3, 1, 65536) }
add { "core.gradient_flat", K.list(function() return { weight() } end, { { "no parameters", function() return {} end },
  { "a number inside", function() return { 1 } end } }) }
add { "core.checksum", K.list(function() return { weight() } end, { { "no parameters", function() return {} end },
  { "a number inside", function() return { 1 } end } }) }
add { "GradientFactors:tensors", self = factors }
add { "GradientFactors:begin", self = factors }
add { "GradientFactors:pack", K.num(0.5, {}, true), self = factors, wrong = { { label = "another number of samples",
  self = function()
    local l = core.net.linear(3, 2)
    local f = core.gradient_factors({ l:parameters("")[1] }, 2, 3)
    l:forward(core.zeros(1, 3))
    l:backward(core.zeros(1, 2))
    return f
  end, args = { 1 }, says = "no outer product of as many samples" } } }
add { "GradientFactors:unpack", self = function()
  local f = factors()
  f:begin()
  return f
end, wrong = { { label = "before begin", self = factors, args = {}, says = "touched since begin" } } }
add { "GradientFactors:lie_in", K.tensor({ 10 }, { { 9 } }), K.tensor({ 3, 10 }, { { 20 } }), self = factors }
add { "GradientFlat:lie_in", K.tensor({ 32 }, { { 16 } }), self = flat }
add { "GradientFlat:tensor", self = flat }
add { "GradientFlat:complete", self = flat }
add { "GradientFlat:arrive", self = flat }

return rows
