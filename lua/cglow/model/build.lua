--- From a configuration to layers: what `cglow.Model` is made of.
-- @module cglow.model.build
local count_of = require "cglow.util.count"
local check = require "cglow.util.check"
local core = require "cglow.core"
local kinds = require "cglow.model.kinds"

local M = {}

-- A conditioning network: the user's, or the standard one, started.
local function network(config, spec, rng, left)
  local make = config[kinds[spec.kind].settings].make
  if make then return make(spec) end
  spec.budget = left
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

local function conditioning_network(config, layer, rng, left)
  local where = ("level %d, step %d, %s"):format(layer.level, layer.step, layer.kind)
  local ok, cn = pcall(network, config, {
    kind = layer.kind, level = layer.level, step = layer.step,
    x = config.x, y = layer.shape, outputs = layer.outputs,
  }, rng, left)
  if not ok then error(("cglow.Model: %s: %s"):format(where, cn), 6) end
  M.check_network("cglow.Model: " .. where, cn, config.x, layer.outputs, 7)
  return cn
end

-- From here on the arguments after `config` are a generator and a budget, or nil.

-- Give a layer its flow and its place at the end of the list.
local function add(layers, layer, config, ...)
  layer.flow = kinds[layer.kind].make(config, layer.shape, ...)
  layer.index = #layers + 1
  layers[layer.index] = layer
  return layer
end

local function add_part(layers, part, config, ...)
  part.name = ("level.%d.step.%d.%s"):format(part.level, part.step, part.kind)
  part.outputs = kinds[part.kind].outputs(table.unpack(part.shape))
  if config.x and not config.encoder then part.cn = conditioning_network(config, part, ...) end
  part.standard_cn = part.cn and not config[kinds[part.kind].settings].make and part.cn or nil
  part.standard = add(layers, part, config, ...).flow
  return part
end

-- A level's squeeze and steps.
local function add_level(layers, l, shape, config, ...)
  add(layers, { kind = "squeeze", level = l, name = ("level.%d.squeeze"):format(l), shape = shape }, config, ...)
  local level = { shape = shape, steps = {} }
  for k = 1, config.depth do
    level.steps[k] = {}
    for i, kind in ipairs(kinds.step(config)) do
      local part = add_part(layers, { kind = kind, level = l, step = k, shape = shape }, config, ...)
      level.steps[k][i], level.steps[k][kind] = part, part
    end
  end
  return level
end

--- Build the layers.
-- @tparam table config from `cglow.model.config`
-- @tparam ?Rng rng starts the parameters; nil: a file has them
-- @tparam ?Budget left numbers that the parameters may hold (`cglow.nn.budget`)
-- @treturn {table,...} layers in the order in which y passes them; see `cglow.model.kinds`
-- @treturn {table,...} the same by levels, each with `shape` = {C, H, W} after its squeeze, `steps`, a list of
-- {actnorm =, invconv =, coupling =}, and `split`
-- @treturn {table,...} latents' shapes {C, H, W}, level 1 first
function M.layers(config, rng, left)
  local layers, levels, latents = {}, {}, {}
  local c, h, w = table.unpack(config.y)
  for l = 1, config.levels do
    c, h, w = c * 4, h // 2, w // 2
    levels[l] = add_level(layers, l, { c, h, w }, config, rng, left)
    if l < config.levels then
      local split = { kind = "split", level = l, name = ("level.%d.split"):format(l), shape = { c, h, w } }
      levels[l].split = add(layers, split, config, rng, left)
      latents[l] = { c - c // 2, h, w }
      c = c // 2
    end
  end
  latents[config.levels] = { c, h, w }
  add(layers, { kind = "prior", level = config.levels, name = "prior", shape = { c, h, w } }, config, rng, left)
  return layers, levels, latents
end

--- See that every layer is there once: it keeps what its backward pass reads of its last
-- forward pass.
-- @tparam {table,...} layers
function M.check_flows(layers)
  local places = {}
  for _, layer in ipairs(layers) do
    local other = places[layer.flow]
    if other then error(("%s and %s are one flow layer; each place wants its own"):format(other, layer.name), 0) end
    places[layer.flow] = layer.name
  end
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
  line("%s  %s, %s of %s, %s parameters%s",
    config.x and "cglow.Model p(y|x)" or "cglow.Glow p(y)",
    config.x and ("x %s, y %s"):format(shape(config.x), shape(config.y)) or "y " .. shape(config.y),
    count_of(config.levels, "level"), count_of(config.depth, "step"), thousands(model:parameter_count()),
    config.precision == "bf16" and ", products of bfloat16" or "")
  local encoder = model.encoder
  if encoder then
    line("  encoder: %s, %s parameters", (tostring(encoder.net):gsub("\n.*", " …")),
      thousands(count(encoder.net:parameters())))
    if encoder.head then
      line("    head: %d outputs, %s, weight %g, %s parameters%s", config.head.outputs, config.head.loss,
        config.head.weight, thousands(count(encoder.head:parameters())),
        config.head.residual and "; the flow models what it leaves" or "")
    end
  end
  for l, level in ipairs(model.levels) do
    line("  level %d: squeeze to %s", l, shape(level.shape))
    for _, kind in ipairs(kinds.step(config)) do
      local own, cn = 0, 0
      for _, s in ipairs(level.steps) do
        own = own + count(s[kind].run:parameters())
        if s[kind].net then cn = cn + count(s[kind].net:parameters()) end
      end
      local networks_too = config.x and (not encoder or cn > 0)
        and (" + %s in networks of x"):format(thousands(cn)) or ""
      line("    %d × %-9s %s parameters%s", #level.steps, kind, thousands(own), networks_too)
    end
    if encoder then
      line("    features: %s parameters", thousands(count(encoder.levels[l].map:parameters())))
    end
    if level.split then
      line("    split: %s leave, %s parameters", shape(model.latent_shapes[l]),
        thousands(count(level.split.flow:parameters())))
    end
  end
  local prior = config.learned_prior and "learned Gaussian" or "N(0, 1)"
  if encoder and config.condition.prior then prior = "Gaussian of features" end
  line("  prior: %s on %s", prior,
    shape(model.latent_shapes[#model.latent_shapes]))
  return table.concat(lines, "\n")
end

return M
