--- From a configuration to layers: what `cglow.Model` is made of.
-- @module cglow.model.build
local check = require "cglow.util.check"
local core = require "cglow.core"
local networks = require "cglow.model.networks"
local options = require "cglow.util.options"

local M = {}

local CN = {
  channels = { type = "integer", default = 64, min = 1 },
  width = { type = "integer", default = 128, min = 1 },
  make = { type = "function" },
}
local COUPLING = {
  width = { type = "integer", default = 256, min = 1 },
  make = { type = "function" },
}
local MODEL = {
  x = { type = "table" },
  y = { type = "table", required = true },
  levels = { type = "integer", default = 3, min = 1, max = 16 },
  depth = { type = "integer", default = 8, min = 1, max = 1024 },
  cn = { type = "table", default = {} },
  coupling = { type = "table", default = {} },
  init = { type = "string", default = "live", one_of = { "paper", "orthogonal", "live" } },
  learned_prior = { type = "boolean", default = false },
  recompute = { type = "boolean", default = false },
  rng = { type = "rng" },
}

local MOST_SIDE = 1 << 20 -- so that no product of sizes overflows
local MOST_CHANNELS = 4096 -- of an invertible 1×1 convolution

local function check_shape(key, shape)
  local ok = #shape == 3
  for i = 1, 3 do ok = ok and math.type(shape[i]) == "integer" and shape[i] >= 1 and shape[i] <= MOST_SIDE end
  if not ok then
    local got = {}
    for i = 1, #shape do got[i] = tostring(shape[i]) end
    error(("cglow.Model: option '%s' must be {channels, height, width}, three integers from 1 to %d, got {%s}")
      :format(key, MOST_SIDE, table.concat(got, ", ")), 4)
  end
end

--- Check a model's options.
-- @tparam table opts
-- @treturn table configuration with defaults
-- @treturn Rng
function M.check(opts)
  local o = options.check("cglow.Model", opts, MODEL, 1)
  o.cn = options.check("cglow.Model: option 'cn'", o.cn, CN, 1)
  o.coupling = options.check("cglow.Model: option 'coupling'", o.coupling, COUPLING, 1)
  check_shape("y", o.y)
  if o.x then check_shape("x", o.x) end
  local unit = 1 << o.levels
  if o.y[2] % unit ~= 0 or o.y[3] % unit ~= 0 then
    error(("cglow.Model: option 'y': with %d levels height and width must be multiples of %d, got %dx%d")
      :format(o.levels, unit, o.y[2], o.y[3]), 3)
  end
  local widest = o.y[1] << (o.levels + 1) -- a level doubles the channels, the last one splits none off
  if widest > MOST_CHANNELS then
    error(("cglow.Model: option 'y' must not lead to more than %d channels, got %d after %d levels")
      :format(MOST_CHANNELS, widest, o.levels), 3)
  end
  local rng = o.rng or core.rng()
  o.rng = nil
  return o, rng
end

-- A conditioning network: the user's, or the standard one, started.
local function network(config, spec, rng)
  local o = spec.kind == "coupling" and config.coupling or config.cn
  if o.make then return o.make(spec) end
  if spec.kind == "coupling" then
    local net = networks.coupling_cn(spec)
    networks.start_coupling_cn(net, config.init, rng)
    return net
  end
  spec.channels, spec.width = o.channels, o.width
  local net = networks.cn(spec)
  networks.start_cn(net, config.init, rng, spec.kind == "invconv" and spec.y[1] or nil)
  return net
end

local function outputs(kind, c, h, w)
  if kind == "actnorm" then return 2 * c end
  if kind == "invconv" then return c * c end
  return { c // 2, h, w }
end

--- Can v be the network of a part's condition? Raises when it cannot. Of
-- networks in Lua only the methods are looked at.
-- @string fname the public function, and where the network is to stand
-- @param v
-- @tparam {int,...} x shape of one sample
-- @tparam ?int|{int,...} wanted shape of its output; nil when only the layer knows
-- @int level where the error points, as in `error`
function M.check_network(fname, v, x, wanted, level)
  check.methods(fname, "cn", v, { "forward", "backward", "parameters" }, level + 1)
  if check.has(v, "inverse") then
    error(("%s: option 'cn' must be a network, got a flow layer, %s"):format(fname, core.type(v)), level)
  end
  if core.type(v) ~= "cglow.Net" or wanted == nil then return end
  if type(wanted) == "number" then wanted = { wanted } end
  local shape, why = v:output_shape(x)
  local got = shape and table.concat(shape, "x") or why
  if got ~= table.concat(wanted, "x") then
    error(("%s: option 'cn' must be a network from %s to %s, got %s"):format(fname, table.concat(x, "x"),
      table.concat(wanted, "x"), got), level)
  end
end

local function part(config, kind, at, c, h, w, rng)
  local conditional = config.x ~= nil
  local cn
  if conditional then
    local ok, result = pcall(network, config,
      {
        kind = kind, level = at.level, step = at.step,
        x = config.x, y = { c, h, w }, outputs = outputs(kind, c, h, w),
      }, rng)
    if not ok then
      error(("cglow.Model: level %d, step %d, %s: %s"):format(at.level, at.step, kind, result), 5)
    end
    cn = result
    M.check_network(("cglow.Model: level %d, step %d, %s"):format(at.level, at.step, kind), cn,
      config.x, outputs(kind, c, h, w), 6)
  end
  local flow
  if kind == "actnorm" then
    flow = core.flow.actnorm(c, conditional)
  elseif kind == "invconv" then
    flow = core.flow.invconv(c, conditional)
    if not conditional then networks.start_invconv(flow, c, rng) end
  else
    flow = core.flow.coupling(c, conditional and c // 2 or 0, config.coupling.width)
    networks.start_coupling(flow, rng)
  end
  return { kind = kind, flow = flow, cn = cn, standard = flow, outputs = outputs(kind, c, h, w) }
end

local function step(config, at, c, h, w, rng)
  local s = {}
  for i, kind in ipairs { "actnorm", "invconv", "coupling" } do
    s[i] = part(config, kind, at, c, h, w, rng)
    s[kind] = s[i]
  end
  return s
end

--- Build the layers.
-- @tparam table config from `check`
-- @tparam Rng rng
-- @treturn {table,...} levels
-- @return prior
-- @treturn {table,...} latents' shapes {C, H, W}, level 1 first
function M.levels(config, rng)
  local levels, latents = {}, {}
  local c, h, w = table.unpack(config.y)
  for l = 1, config.levels do
    c, h, w = c * 4, h // 2, w // 2
    local level = { squeeze = core.flow.squeeze(), steps = {}, shape = { c, h, w } }
    for k = 1, config.depth do
      level.steps[k] = step(config, { level = l, step = k }, c, h, w, rng)
    end
    if l < config.levels then
      level.split = core.flow.split(c)
      networks.start_split(level.split, rng)
      latents[l] = { c - c // 2, h, w }
      c = c // 2
    end
    levels[l] = level
  end
  latents[#latents + 1] = { c, h, w }
  return levels, core.flow.prior(c, h, w, config.learned_prior), latents
end

--- Let all couplings share one store for their hidden layers (recompute).
-- @tparam {table,...} parts
function M.share_stores(parts)
  local first
  for _, p in ipairs(parts) do
    if core.type(p.flow) == "cglow.Coupling" then
      if first then p.flow:share_store(first) else first = p.flow end
    end
  end
end

local function count(params)
  local n = 0
  for _, p in ipairs(params) do n = n + p.value:count() end
  return n
end

local function thousands(n)
  local s = tostring(n):reverse():gsub("(%d%d%d)", "%1,"):reverse()
  return (s:gsub("^,", ""))
end

--- What a person sees at the prompt: layers, shapes, parameter counts.
-- @tparam Model model
-- @treturn string
function M.describe(model)
  local config = model.config
  local function shape(s) return table.concat(s, "×") end
  local lines = {}
  local function line(...) lines[#lines + 1] = string.format(...) end
  line("%s  %s, %d levels of %d steps, %s parameters",
    config.x and "cglow.Model p(y|x)" or "cglow.Glow p(y)",
    config.x and ("x %s, y %s"):format(shape(config.x), shape(config.y)) or "y " .. shape(config.y),
    config.levels, config.depth, thousands(model:parameter_count()))
  for l, level in ipairs(model.levels) do
    line("  level %d: squeeze to %s", l, shape(level.shape))
    for _, kind in ipairs { "actnorm", "invconv", "coupling" } do
      local own, cn = 0, 0
      for _, s in ipairs(level.steps) do
        own = own + count(s[kind].flow:parameters())
        if s[kind].cn then cn = cn + count(s[kind].cn:parameters()) end
      end
      line("    %d × %-9s %s", #level.steps, kind,
        config.x and ("%s parameters + %s in networks of x"):format(thousands(own), thousands(cn))
        or thousands(own) .. " parameters")
    end
    if level.split then
      line("    split: %s leave, %s parameters", shape(model.latent_shapes[l]),
        thousands(count(level.split:parameters())))
    end
  end
  line("  prior: %s on %s", config.learned_prior and "learned Gaussian" or "N(0, 1)",
    shape(model.latent_shapes[#model.latent_shapes]))
  return table.concat(lines, "\n")
end

return M
