--- From a configuration to layers: what `cglow.Model` is made of.
-- @module cglow.model.build
local check = require "cglow.util.check"
local core = require "cglow.core"
local kinds = require "cglow.model.kinds"
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
  local make = config[kinds[spec.kind].settings].make
  if make then return make(spec) end
  return kinds[spec.kind].network(config, spec, rng)
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

local function conditioning_network(config, layer, rng)
  local where = ("level %d, step %d, %s"):format(layer.level, layer.step, layer.kind)
  local ok, cn = pcall(network, config, {
    kind = layer.kind, level = layer.level, step = layer.step,
    x = config.x, y = layer.shape, outputs = layer.outputs,
  }, rng)
  if not ok then error(("cglow.Model: %s: %s"):format(where, cn), 6) end
  M.check_network("cglow.Model: " .. where, cn, config.x, layer.outputs, 7)
  return cn
end

-- Give a layer its flow and its place at the end of the list.
local function add(layers, layer, config, rng)
  layer.flow = kinds[layer.kind].make(config, layer.shape, rng)
  layer.index = #layers + 1
  layers[layer.index] = layer
  return layer
end

local function add_part(layers, part, config, rng)
  part.name = ("level.%d.step.%d.%s"):format(part.level, part.step, part.kind)
  part.outputs = kinds[part.kind].outputs(table.unpack(part.shape))
  if config.x then part.cn = conditioning_network(config, part, rng) end
  part.standard_cn = not config[kinds[part.kind].settings].make and part.cn or nil
  part.standard = add(layers, part, config, rng).flow
  return part
end

-- A level's squeeze and steps.
local function add_level(layers, l, shape, config, rng)
  add(layers, { kind = "squeeze", level = l, name = ("level.%d.squeeze"):format(l), shape = shape }, config, rng)
  local level = { shape = shape, steps = {} }
  for k = 1, config.depth do
    level.steps[k] = {}
    for i, kind in ipairs(kinds.STEP) do
      local part = add_part(layers, { kind = kind, level = l, step = k, shape = shape }, config, rng)
      level.steps[k][i], level.steps[k][kind] = part, part
    end
  end
  return level
end

--- Build the layers.
-- @tparam table config from `check`
-- @tparam Rng rng
-- @treturn {table,...} layers in the order in which y passes them; see `cglow.model.kinds`
-- @treturn {table,...} the same by levels, each with `shape` = {C, H, W} after its squeeze, `steps`, a list of
-- {actnorm =, invconv =, coupling =}, and `split`
-- @treturn {table,...} latents' shapes {C, H, W}, level 1 first
function M.layers(config, rng)
  local layers, levels, latents = {}, {}, {}
  local c, h, w = table.unpack(config.y)
  for l = 1, config.levels do
    c, h, w = c * 4, h // 2, w // 2
    levels[l] = add_level(layers, l, { c, h, w }, config, rng)
    if l < config.levels then
      local split = { kind = "split", level = l, name = ("level.%d.split"):format(l), shape = { c, h, w } }
      levels[l].split = add(layers, split, config, rng)
      latents[l] = { c - c // 2, h, w }
      c = c // 2
    end
  end
  latents[config.levels] = { c, h, w }
  add(layers, { kind = "prior", level = config.levels, name = "prior", shape = { c, h, w } }, config, rng)
  return layers, levels, latents
end

--- Let all couplings share one store for their hidden layers (recompute).
-- @tparam {table,...} layers
function M.share_stores(layers)
  local first
  for _, layer in ipairs(layers) do
    if core.type(layer.flow) == "cglow.Coupling" then
      if first then layer.flow:share_store(first) else first = layer.flow end
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
    for _, kind in ipairs(kinds.STEP) do
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
        thousands(count(level.split.flow:parameters())))
    end
  end
  line("  prior: %s on %s", config.learned_prior and "learned Gaussian" or "N(0, 1)",
    shape(model.latent_shapes[#model.latent_shapes]))
  return table.concat(lines, "\n")
end

return M
