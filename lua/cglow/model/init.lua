--- Conditional Glow: an exact density p(y|x) and a sampler for it.
--
-- A model is L levels; a level squeezes, runs K steps and (but for the last)
-- splits. A step is three parts, actnorm, invconv and coupling; a part is a flow
-- layer `flow` and the network `cn` that reads its condition off x
-- (design section 2; Lu & Huang 2020, section 3).
-- @classmod cglow.Model
local core = require "cglow.core"
local options = require "cglow.util.options"
local build = require "cglow.model.build"
local diagnose = require "cglow.model.diagnose"
local file = require "cglow.model.file"
local check = require "cglow.util.check"
local inference = require "cglow.model.inference"

local function is_net(v) return core.type(v) == "cglow.Net" end
local function is_tensor(v) return core.type(v) == "cglow.Tensor" end

local Model = {}
Model.__index = Model
Model.__name = "cglow.Model"

local LN2 = math.log(2)

-- Collect parts, networks and parameters anew; after a part was exchanged too.
local function refresh(self)
  local parts, in_c, at = {}, {}, {}
  for l, level in ipairs(self.levels) do
    for k, step in ipairs(level.steps) do
      for _, part in ipairs(step) do
        parts[#parts + 1] = part
        part.name = ("level.%d.step.%d.%s"):format(l, k, part.kind)
        if part.cn and is_net(part.cn) then
          in_c[#in_c + 1] = part.cn
          at[#at + 1] = #parts
        end
      end
    end
    if level.split then level.split_name = ("level.%d.split"):format(l) end
  end
  self.parts = parts
  self.bundle = #in_c > 0 and core.net.group(in_c) or nil
  self.bundled, self.bundle_grads = at, {}
  self.conditions, self.condition_grads = {}, {}
  self.parameter_list = nil
  if self.config.recompute then build.share_stores(parts) end
end

--- A conditional Glow.
-- @tparam table opts
--
-- * `x` = {C, H, W} of the condition (absent: plain Glow, see `cglow.Glow`)
-- * `y` = {C, H, W} of the output; H and W divisible by 2^levels
-- * `levels` (3), `depth` (8): L and K
-- * `cn` = {channels = 64, width = 128, make = function(spec) … end}: the
--   networks of actnorm and the 1×1 convolution; `make` may build others from
--   spec = {kind, level, step, x, outputs}
-- * `coupling` = {width = 256, make = function(spec) … end}
-- * `init` = "live" | "orthogonal" | "paper" (design section 2; examples/RESULTS.md)
-- * `learned_prior` (false)
-- * `recompute` (false): keep less for backward and compute it again
-- * `rng`: the generator that starts the parameters (the default one)
-- @treturn Model
function Model.new(opts)
  local config, rng = build.check(opts)
  local self = setmetatable({ config = config }, Model)
  self.levels, self.prior, self.latent_shapes = build.levels(config, rng)
  self.dimensions = config.y[1] * config.y[2] * config.y[3]
  refresh(self)
  return self
end

local function collect_parameters(self)
  local all = {}
  local function add(object, prefix)
    for _, p in ipairs(object:parameters(prefix)) do all[#all + 1] = p end
  end
  for l, level in ipairs(self.levels) do
    for _, step in ipairs(level.steps) do
      for _, part in ipairs(step) do
        if part.cn then add(part.cn, part.name .. ".cn.") end
        add(part.flow, part.name .. ".")
      end
    end
    if level.split then add(level.split, ("level.%d.split."):format(l)) end
  end
  add(self.prior, "prior.")
  return all
end

--- All parameters, named as in checkpoints (design section 2).
-- @treturn {Param,...} a list of the caller's own
function Model:parameters()
  self.parameter_list = self.parameter_list or collect_parameters(self)
  return table.move(self.parameter_list, 1, #self.parameter_list, 1, {})
end

--- The parameters in groups for an optimizer, to let the weights of actnorm's
-- and the 1×1's conditioning networks (but not their last biases) take other
-- steps than the rest. With `init = "live"` they take 1/20 of the step without
-- this already, by their `step_scale` (design section 2).
-- @number[opt] cn_step what to multiply their steps by; nil: leave all as they are
-- @treturn {table,...} {params = {…}, scale = …}
function Model:parameter_groups(cn_step)
  cn_step = options.arg("Model:parameter_groups", 1, "cn_step", cn_step,
    { type = "number", optional = true, min = 0, max = 1e9 })
  if not cn_step then return { { params = self:parameters(), scale = 1 } } end
  local body = { params = {}, scale = 1 }
  local groups, slow = { body }, {}
  for _, p in ipairs(self:parameters()) do
    local in_cn = p.name:find("%.actnorm%.cn%.") or p.name:find("%.invconv%.cn%.")
    local group = body
    if in_cn and not p.name:find("fc3.bias", 1, true) and p.step_scale > 0 then
      group = slow[p.step_scale]
      if not group then
        group = { params = {}, scale = cn_step / p.step_scale }
        slow[p.step_scale], groups[#groups + 1] = group, group
      end
    end
    group.params[#group.params + 1] = p
  end
  return groups
end

--- Every gradient counts as zero from now on.
function Model:zero_grad()
  core.zero_grad(self:parameters())
end

--- Exchange a part's conditioning network or its flow layer.
-- @tparam table where `level`, `step`, `part` = "actnorm" | "invconv" | "coupling",
-- and `cn` (a network from x to the part's condition) or `flow` (a flow layer) or both
function Model:replace(where)
  local o = options.check("Model:replace", where, {
    level = { type = "integer", required = true, min = 1, max = #self.levels },
    step = { type = "integer", required = true, min = 1, max = self.config.depth },
    part = { type = "string", required = true, one_of = { "actnorm", "invconv", "coupling" } },
    cn = {}, flow = {},
  })
  local part = self.levels[o.level].steps[o.step][o.part]
  if o.cn ~= nil then
    if not self.config.x then
      error("Model:replace: option 'cn' must be absent in plain Glow, which has no x; got " .. options.show(o.cn), 2)
    end
    local standard = (o.flow or part.flow) == part.standard
    build.check_network("Model:replace", o.cn, self.config.x, standard and part.outputs or nil, 3)
  end
  if o.flow ~= nil then
    check.methods("Model:replace", "flow", o.flow, { "forward", "inverse", "backward", "parameters" })
  end
  local cn, flow = part.cn, part.flow
  part.cn, part.flow = o.cn or cn, o.flow or flow
  local ok, message = pcall(refresh, self)
  if not ok then
    part.cn, part.flow = cn, flow
    refresh(self)
    error("Model:replace: " .. message, 2)
  end
end

-- Conditions of all parts for x, in the order of self.parts.
local function conditions(self, x)
  local conds = self.conditions
  if self.bundle then
    for i, out in ipairs(self.bundle:forward(x)) do conds[self.bundled[i]] = out end
  end
  for i, part in ipairs(self.parts) do
    if part.cn and not is_net(part.cn) then
      conds[i] = part.cn:forward(x)
      if not is_tensor(conds[i]) then
        error(("%s: its network's forward must return a tensor, got %s"):format(part.name, options.show(conds[i])), 0)
      end
    end
  end
  return conds
end

local function add(total, terms)
  for n = 1, #total do total[n] = total[n] + terms[n] end
end

-- y to latents. visit(name, tensor, logdet), when given, sees what every layer
-- made; it may return true to stop.
local function encode(self, y, conds, keep, visit)
  local logp, latents, i, z = {}, {}, 0, y
  local ld
  for n = 1, y:size(1) do logp[n] = 0.0 end
  for _, level in ipairs(self.levels) do
    z = level.squeeze:forward(z)
    for _ = 1, #level.steps * 3 do
      i = i + 1
      z, ld = self.parts[i].flow:forward(z, conds[i], keep)
      if not (is_tensor(z) and type(ld) == "table" and #ld == #logp) then
        error(("%s: its forward must return a tensor and a list of %d log-determinants, got %s and %s"):format(
          self.parts[i].name, #logp, options.show(z), options.show(ld)), 0)
      end
      add(logp, ld)
      if visit and visit(self.parts[i].name, z, ld) then return end
    end
    if level.split then
      z, latents[#latents + 1], ld = level.split:forward(z)
      add(logp, ld)
      if visit and visit(level.split_name, z, ld) then return end
    end
  end
  latents[#latents + 1] = z
  ld = self.prior:log_prob(z)
  add(logp, ld)
  if visit then visit("prior", z, ld) end
  return logp, latents
end

-- Names the first layer that made a number that is not finite.
local function first_sick(self, y, conds)
  local sick
  encode(self, y, conds, false, function(name, z, ld)
    local finite = z:isfinite()
    for _, v in ipairs(ld) do finite = finite and v - v == 0 end
    if not finite then sick = name end
    return sick ~= nil
  end)
  for i, part in ipairs(self.parts) do
    if part.name == sick and conds[i] and not conds[i]:isfinite() then return sick .. ".cn" end
  end
  return sick or "prior"
end

local function check_x(self, fname, x, up)
  if self.config.x then
    check.shape(fname, "x", x, { "N", table.unpack(self.config.x) }, 1 + (up or 0))
  elseif x ~= nil then
    error(("%s: x must be nil in plain Glow, got %s"):format(fname, options.show(x)), 3 + (up or 0))
  end
end

local function check_batch(self, fname, x, y)
  check.shape(fname, "y", y, { "N", table.unpack(self.config.y) }, 1)
  check_x(self, fname, x, 1)
  if x and x:size(1) ~= y:size(1) then
    error(("%s: x and y of equally many samples expected, got %d and %d"):format(fname, x:size(1), y:size(1)), 3)
  end
end

--- Exact log-likelihood of y given x, and its latents.
-- @tparam Tensor x N×C×H×W (plain Glow: nil)
-- @tparam Tensor y N×C×H×W
-- @treturn Tensor log p(y|x) of each sample, in nats
-- @treturn {Tensor,...} L latents: what each split sent off, level 1 first, then
-- the last z
function Model:log_prob(x, y)
  check_batch(self, "Model:log_prob", x, y)
  local logp, latents = encode(self, y, conditions(self, x), false)
  for l, z in ipairs(latents) do latents[l] = z:clone() end
  return core.tensor(logp), latents
end

--- Exact inverse of `log_prob`: the y with these latents.
-- @tparam Tensor x
-- @tparam {Tensor,...} latents as from `log_prob`
-- @treturn Tensor y
function Model:decode(x, latents)
  options.arg("Model:decode", 2, "latents", latents, "table")
  if #latents ~= #self.levels then
    error(("Model:decode: latents: %d tensors expected, got %d"):format(#self.levels, #latents), 2)
  end
  check_x(self, "Model:decode", x)
  local n = x and x:size(1) or is_tensor(latents[1]) and latents[1]:size(1) or "N"
  for l, z in ipairs(latents) do
    check.shape("Model:decode", ("latents[%d]"):format(l), z, { n, table.unpack(self.latent_shapes[l]) })
  end
  local conds, i, z = conditions(self, x), #self.parts, latents[#latents]
  for l = #self.levels, 1, -1 do
    local level = self.levels[l]
    if level.split then z = level.split:inverse(z, latents[l]) end
    for _ = 1, #level.steps * 3 do
      z = self.parts[i].flow:inverse(z, conds[i])
      i = i - 1
    end
    z = level.squeeze:inverse(z)
  end
  return z:clone()
end

-- Gradient of Σ g·log p through the flow; fills self.condition_grads.
local function backward(self, g)
  local dz, i, dconds = self.prior:backward(g), #self.parts, self.condition_grads
  for l = #self.levels, 1, -1 do
    local level = self.levels[l]
    if level.split then dz = level.split:backward(dz, g) end
    for _ = 1, #level.steps * 3 do
      dz, dconds[i] = self.parts[i].flow:backward(dz, g)
      i = i - 1
    end
    dz = level.squeeze:backward(dz)
  end
  return dz
end

local function backward_conditions(self)
  local dconds = self.condition_grads
  if self.bundle then
    for i, at in ipairs(self.bundled) do self.bundle_grads[i] = dconds[at] end
    self.bundle:backward(self.bundle_grads)
  end
  for i, part in ipairs(self.parts) do
    if part.cn and not is_net(part.cn) then part.cn:backward(dconds[i]) end
  end
end

local CELL = { cell_width = { type = "number", default = 1, min = 1e-30, max = 1e30 } }

--- Mean −log p in bits per dimension of y, and its gradient: adds to every
-- parameter's gradient.
-- @tparam Tensor x
-- @tparam Tensor y dequantised, if it is discrete
-- @tparam[opt] table opts `cell_width` (1): y's values are this far apart, so
-- the loss is −(log p + D·log w)/(D·ln 2) (design section 2, Discrete y)
-- @treturn number loss; nil when x, y or the loss is not finite
-- @treturn Tensor d loss/d y, owned by the model; or a message that names what is
-- not finite, x, y or the first layer whose result is not, and no gradient has changed
function Model:loss_and_grad(x, y, opts)
  check_batch(self, "Model:loss_and_grad", x, y)
  local o = options.check("Model:loss_and_grad", opts, CELL)
  if x and not x:isfinite() then return nil, "x is not finite" end
  if not y:isfinite() then return nil, "y is not finite" end
  local conds = conditions(self, x)
  local logp = encode(self, y, conds, true)
  local sum, n = 0, #logp
  for i = 1, n do sum = sum + logp[i] end
  local loss = -sum / (n * self.dimensions * LN2)
  if loss - loss ~= 0 then
    return nil, ("loss is not finite; the first layer to blame is %s"):format(first_sick(self, y, conds))
  end
  local dy = backward(self, -1 / (n * self.dimensions * LN2))
  backward_conditions(self)
  return loss - math.log(o.cell_width) / LN2, dy
end

--- Everything that depends on x alone, computed once for many samples.
-- @tparam Tensor x N×C×H×W
-- @treturn Condition for `sample`
function Model:condition(x)
  check_x(self, "Model:condition", x)
  return inference.condition(self, x, self.config.x and conditions(self, x) or {})
end

--- Draw samples of y.
-- @param cond from `condition` (or x itself)
-- @tparam[opt] table opts `n` (1) samples for each x, `temperature` (1) of the
-- latents, `rng`
-- @treturn Tensor N·n × C×H×W: the n samples of the first x, then of the second, …
function Model:sample(cond, opts)
  if not inference.is_condition(cond) then
    check_x(self, "Model:sample", cond)
    cond = self:condition(cond)
  end
  return inference.sample(self, cond, opts)
end

--- Predict y as the mean of samples (Lu & Huang 2020, section 3.3).
-- @tparam Tensor x
-- @tparam[opt] table opts `samples` (10), `temperature` (1), `rng`
-- @treturn Tensor N×C×H×W
function Model:predict(x, opts)
  check_x(self, "Model:predict", x)
  return inference.predict(self, x, opts)
end

--- Predict y by climbing log p(y|x) with Adam on y. Parameter gradients are
-- zeroed on the way.
-- @tparam Tensor x
-- @tparam[opt] table opts `steps` (200), `lr` (0.01), `start` (a tensor; zeros)
-- @treturn Tensor y; nil when a loss or a gradient on the way is not finite
-- @treturn number its log p in nats, mean over the batch; or a message that says
-- what was not finite
function Model:maximize(x, opts)
  check_x(self, "Model:maximize", x)
  return inference.maximize(self, x, opts)
end

--- A table of what each layer does to y given x; see `cglow.model.diagnose`.
-- @tparam Tensor x
-- @tparam Tensor y
-- @treturn Diagnosis printable
function Model:diagnose(x, y)
  check_batch(self, "Model:diagnose", x, y)
  return diagnose.run(self, x, y, conditions(self, x))
end

--- Write parameters and configuration as a safetensors file.
-- @string path
-- @tparam[opt] table extra `tensors` and `metadata` to write beside them, which
-- `cglow.load` ignores
-- @return true, or nil, message, code
function Model:save(path, extra) return file.save(self, path, extra) end

--- How many numbers the parameters hold.
-- @treturn int
function Model:parameter_count()
  local n = 0
  for _, p in ipairs(self:parameters()) do n = n + p.value:count() end
  return n
end

function Model:__tostring() return build.describe(self) end

check.class("Model", Model, "latent_shapes")

--- Read a model.
-- @string path
-- @tparam[opt] table override options that replace the file's, e.g. `cn = {make = …}`
-- for networks of one's own, or `recompute = true`
-- @treturn Model or nil, message, code
-- @treturn {[string]=Tensor} all tensors of the file
-- @treturn {[string]=string} its metadata
function Model.load(path, override) return file.load(Model.new, path, override) end

return Model
