--- The kinds of layers that a flow is made of: what the rest of the model asks
-- about each of them stands here, and nowhere else.
--
-- A layer of a model is a table with `kind`, one of these names, `name` ("level.1.step.2.coupling"), `flow`, the
-- layer in C or one of the user's, `level`, and `index`, its place in the model's list of layers. A part of a step
-- has more: `step`, `cn` (the network from x to its condition; nil in plain Glow), `standard` and
-- `standard_cn` (the flow and the network that the library built for it), and `outputs`, the shape of its condition.
--
-- A kind has
--
-- * `role`: "squeeze", "part" (of a step), "split" or "prior": what a walk over the layers does with it
-- * `make(config, shape, rng, left)`: a flow layer for inputs of this shape, {C, H, W}, started unless rng is nil;
--   its parameters come off the budget `left` (`cglow.nn.budget`)
-- * `madds(flow, shape)`: multiply-adds of a pass over one sample, but for what is done number by number
-- * `factors(flow, y, cond)`: the numbers that it multiplies by, where it has such, as a tensor
--
-- and a part of a step
--
-- * `outputs(c, h, w)`: the shape of its condition, a number or {C, H, W}
-- * `settings`: the name of the options for its network: "cn" or "coupling"
-- * `network(config, spec, rng)`: its standard network, likewise; the budget is spec's
-- * `network_madds(net, x, outputs)`: multiply-adds of that on one x
-- @module cglow.model.kinds
local budget = require "cglow.nn.budget"
local core = require "cglow.core"
local networks = require "cglow.model.networks"

local M = {}

local STEP <const>, WITH_INJECTOR <const> = { "actnorm", "invconv", "coupling" },
  { "actnorm", "invconv", "injector", "coupling" }

--- The parts of a step, in the order in which y passes them.
-- @tparam table config from `cglow.model.config`
-- @treturn {string,...}
function M.step(config) return config.condition and config.condition.injector and WITH_INJECTOR or STEP end

local function nothing() return 0 end

-- Each weight meets every pixel once.
local function weights_at_pixels(flow, shape)
  local n = 0
  for _, p in ipairs(flow:parameters()) do
    if p.name:find "weight$" then n = n + p.value:count() end
  end
  return n * shape[2] * shape[3]
end

-- Does a network set the numbers of a part of this kind? With an encoder it may have its own.
local function by_network(config, kind)
  if not config.encoder then return config.x ~= nil end
  return kind ~= "coupling" and config.condition[kind]
end

local function both(t) return t:clone():fill(0), t:clone():fill(1) end

-- ---- the parts of a step ------------------------------------------------------

local function resizing_network(config, spec, rng, rotated)
  spec.channels, spec.width = config.cn.channels, config.cn.width
  local net = networks.cn(spec)
  networks.start_cn(net, config.init, rng, rotated)
  return net
end

M.actnorm = {
  role = "part", settings = "cn",
  make = function(config, shape, _, left)
    if not by_network(config, "actnorm") then budget.take(left, 2, shape[1]) end
    return core.flow.actnorm(shape[1], by_network(config, "actnorm"))
  end,
  outputs = function(c) return 2 * c end,
  network = function(config, spec, rng) return resizing_network(config, spec, rng) end,
  network_madds = networks.cn_madds,
  madds = nothing,
  -- e^s, found by moving what it multiplies from 0 to 1
  factors = function(flow, y, cond)
    local zeros, ones = both(y)
    local z = flow:forward(zeros, cond, false):clone()
    return (flow:forward(ones, cond, false) - z):abs()
  end,
}

M.invconv = {
  role = "part", settings = "cn",
  make = function(config, shape, rng, left)
    if not by_network(config, "invconv") then budget.take(left, shape[1], shape[1]) end
    local flow = core.flow.invconv(shape[1], by_network(config, "invconv"))
    if not by_network(config, "invconv") then networks.start_invconv(flow, shape[1], rng) end
    return flow
  end,
  outputs = function(c) return c * c end,
  network = function(config, spec, rng) return resizing_network(config, spec, rng, spec.y[1]) end,
  network_madds = networks.cn_madds,
  madds = function(_, shape) return shape[1] * shape[1] * shape[2] * shape[3] end,
}

M.injector = {
  role = "part", settings = "coupling",
  make = function(config, shape) return core.flow.injector(shape[1], config.condition.bound) end,
  outputs = function(c, h, w) return { 2 * c, h, w } end,
  madds = nothing,
  factors = M.actnorm.factors,
}

M.coupling = {
  role = "part", settings = "coupling",
  make = function(config, shape, rng, left)
    local c, half, width = shape[1], shape[1] // 2, config.coupling.width
    local cond = by_network(config, "coupling") and half or 0
    budget.take(left, width, half + cond, 3, 3)
    budget.take(left, width, width)
    budget.take(left, c, width, 3, 3)
    budget.take(left, 4 * width + 2 * c)
    local flow = core.flow.coupling(c, cond, width, config.coupling.bound, config.encoder ~= nil, false)
    networks.start_coupling(flow, rng)
    return flow
  end,
  outputs = function(c, h, w) return { c // 2, h, w } end,
  network = function(config, spec, rng)
    local net = networks.coupling_cn(spec)
    networks.start_coupling_cn(net, config.init, rng)
    return net
  end,
  network_madds = networks.coupling_cn_madds,
  madds = weights_at_pixels,
  -- σ at this y1
  factors = function(flow, y, cond)
    local keep, change = y:size(2) // 2, y:size(2) - y:size(2) // 2
    local y1, zeros, ones = y:narrow(2, 1, keep), both(y:narrow(2, keep + 1, change))
    local z = flow:forward(core.cat({ y1, zeros }, 2), cond, false):clone()
    local moved = flow:forward(core.cat({ y1, ones }, 2), cond, false)
    return (moved - z):abs():narrow(2, keep + 1, change)
  end,
}

-- ---- around the steps ---------------------------------------------------------

M.squeeze = { role = "squeeze", make = function() return core.flow.squeeze() end, madds = nothing }

-- The deviations that a split or prior samples with: m + e^s·1 less m + e^s·0.
local function deviations(sample, like)
  local zeros, ones = both(like)
  local mean = sample(zeros):clone()
  return sample(ones) - mean
end

M.split = {
  role = "split",
  make = function(config, shape, rng, left)
    local bound = config.encoder and config.condition.split and config.condition.bound or nil
    budget.take(left, shape[1], shape[1] // 2, 3, 3)
    budget.take(left, shape[1])
    local flow = core.flow.split(shape[1], bound)
    if not bound then networks.start_split(flow, rng) end
    return flow
  end,
  madds = weights_at_pixels,
  factors = function(flow, y, cond)
    local z1, z2 = flow:forward(y, cond)
    z1 = z1:clone()
    return deviations(function(eps)
      return flow:sample(z1, eps, 1, cond):narrow(2, z1:size(2) + 1, z2:size(2)):clone()
    end, z2)
  end,
}

M.prior = {
  role = "prior",
  make = function(config, shape, _, left)
    if config.learned_prior then budget.take(left, 2, table.unpack(shape)) end
    local fixed = config.learned_prior or not config.encoder
    local bound = config.encoder and config.condition.prior and config.condition.bound or nil
    return core.flow.prior(shape[1], fixed and shape[2] or 0, fixed and shape[3] or 0, config.learned_prior, bound)
  end,
  madds = nothing,
  factors = function(flow, z, cond)
    return deviations(function(eps) return flow:sample(eps, 1, cond) end, z)
  end,
}

return M
