--- Conditional Glow: an exact density p(y|x) and a sampler for it.
--
-- A model is L levels; a level squeezes, runs K steps and (but for the last)
-- splits. A step is three parts, actnorm, invconv and coupling; a part is a flow
-- layer `flow` and the network `cn` that reads its condition off x
-- (Lu & Huang 2020, section 3). `model.layers` lists all of them, and the prior, in
-- the order in which y passes them.
--
-- With option `encoder` one network of x serves all layers (`cglow.model.encoder`):
-- actnorm and the 1×1 have parameters of their own, couplings, splits and prior read
-- features. Such a model takes x and y of other sizes than it was made for.
-- @classmod cglow.Model
local core = require "cglow.core"
local arguments = require "cglow.model.arguments"
local budget_of = require "cglow.nn.budget"
local build = require "cglow.model.build"
local check = require "cglow.util.check"
local configure = require "cglow.model.config"
local diagnose = require "cglow.model.diagnose"
local encoder = require "cglow.model.encoder"
local file = require "cglow.model.file"
local kinds = require "cglow.model.kinds"
local likelihood = require "cglow.model.likelihood"
local lock = require "cglow.model.lock"
local maximize = require "cglow.model.maximize"
local options = require "cglow.util.options"
local own = require "cglow.model.own"
local passes = require "cglow.model.passes"
local accuracy = require "cglow.model.precision"
local precision = require "cglow.util.precision"
local sample = require "cglow.model.sample"
local seen = require "cglow.model.seen"

local Model = {}
Model.__index = Model
Model.__name = "cglow.Model"

-- What is gathered from the layers; anew after one of them was exchanged.
local function refresh(self)
  build.check_flows(self.layers)
  passes.gather_networks(self)
  self.parameter_list, self.changes = nil, self.changes + 1
  if self.config.recompute then build.share_stores(self.layers) end
end

local function assemble(config, rng, budget)
  local self = setmetatable({ config = config, lock = lock.new(), changes = 0 }, Model)
  local _ <close> = precision.during(config.precision)
  self.layers, self.levels, self.latent_shapes = build.layers(config, rng, budget)
  if config.encoder then
    local ok, made = pcall(encoder.new, config, self.layers, self.levels, rng, budget)
    if not ok then error(made, 2) end
    self.encoder = made
    self.unstarted = true -- actnorms take their start from the first batch
  end
  self.dimensions = config.y[1] * config.y[2] * config.y[3]
  refresh(self)
  return self
end

--- A conditional Glow.
-- @tparam table opts the shapes, and what is to differ from the defaults
--
-- * `x` = {C, H, W}: shape of the condition; absent for plain Glow (`cglow.Glow`)
-- * `y` = {C, H, W}: shape of the output (required); H and W are multiples of 2^levels
-- * `levels` = 3: how often y is squeezed to half its sides; all but the last level split
-- * `depth` = 8: how many steps a level has
-- * `init` = "live": how the published model starts; "orthogonal" and "paper" are others
--   (lua/README.md)
-- * `learned_prior` = false: true gives the last latent's density a mean and a scale to learn, in
--   place of 0 and 1
-- * `recompute` = false: true keeps less for the backward pass and computes it again
-- * `precision` = "fp32" | "bf16": of the products in its networks; the one in force when absent
--   (`cglow.precision`)
-- * `rng`: the generator that starts the parameters; the default one when absent
-- * `cn`: a table about the networks of actnorm and the 1×1 convolution, without an encoder.
--   `channels` = 64: of their convolutions. `width` = 128: of their fully connected layers.
--   `make`: function(spec) that gives another network from x to spec.outputs numbers; spec =
--   {kind, level, step, x, y, outputs}
-- * `coupling`: a table about the couplings' networks. `width` = 256 (with an encoder 64): channels
--   of their hidden layers. `make`: function(spec) that gives another network of the condition,
--   without an encoder. `bound` = 1: log-scales lie within ±bound, with an encoder
-- * `encoder`: a table that gives the model one network of x for all layers, in place of `cn` and
--   `init`. `channels` = {32, 64, 96, 128, 128}: of a U-Net at 1, 1/2, 1/4, … of x's sides.
--   `make`: function(spec) that gives another one; spec = {x, levels, head}
-- * `condition`: a table about who reads the encoder's features besides the couplings. `split` = true:
--   the moments of splits; `prior` = true: those of the prior. `injector` = false: true gives each
--   step an affine injector. `actnorm` = false, `invconv` = false: true lets actnorm and the 1×1 read
--   the mean of the coarsest features, in place of parameters of their own. `bound` = 2: log-scales
--   of moments and injectors lie within ±bound
-- * `head`: a table that gives an encoder a convolution of its finest features, trained with a loss
--   of its own. `outputs`: its channels (required). `loss` = "cross_entropy" or "squared_error".
--   `weight` = 0.1: what the loss counts beside the likelihood. `residual`: the flow models what the
--   head leaves, y − residual·(what the head says), where the head learns y/residual
-- @int[opt] most numbers that the parameters may hold together
-- @treturn Model
-- @raise before any of it is made that is too much
function Model.new(opts, most)
  local config, rng = configure.check(opts)
  return assemble(config, rng, most and budget_of.of(most))
end

-- A model whose parameters a file will fill: they take no more numbers than the budget has,
-- and none is started unless some may be missing there.
local function blank(opts, budget, start)
  local config, rng = configure.check(opts)
  return assemble(config, start and rng or nil, budget)
end

local function collect_parameters(self)
  local all = {}
  local function add(object, prefix)
    for _, p in ipairs(object:parameters(prefix)) do all[#all + 1] = p end
  end
  for _, p in ipairs(self.encoder and self.encoder:parameters() or {}) do all[#all + 1] = p end
  for _, layer in ipairs(self.layers) do
    if layer.net then add(layer.net, layer.name .. ".cn.") end
    if layer.kind ~= "squeeze" then add(layer.run, layer.name .. ".") end
  end
  return all
end

--- All parameters, named as in checkpoints.
-- @treturn {Param,...} a list of the caller's own
function Model:parameters()
  self.parameter_list = self.parameter_list or collect_parameters(self)
  return table.move(self.parameter_list, 1, #self.parameter_list, 1, {})
end

-- How much of the step size a parameter takes, and of the weight decay: a rotation is not to
-- shrink, nor are the moments of a prior.
local function shares_of(p, cn_step)
  local decay = (p.name:find "%.invconv%.weight$" or p.name:find "^prior%.") and 0 or 1
  local in_cn = p.name:find "%.actnorm%.cn%." or p.name:find "%.invconv%.cn%."
  if not cn_step or not in_cn or p.name:find("fc3.bias", 1, true) or p.step_scale == 0 then return 1, decay end
  return cn_step / p.step_scale, decay
end

--- The parameters in groups for an optimizer: the matrices of an unconditional 1×1 convolution
-- and the prior's moments have no weight decay, and the weights of actnorm's
-- and the 1×1's conditioning networks (but not their last biases) may take other
-- steps than the rest. With `init = "live"` they take 1/20 of the step without
-- this already, by their `step_scale` (examples/RESULTS.md).
-- @number[opt] cn_step what to multiply their steps by; nil: leave all as they are
-- @treturn {table,...} {params = {…}, scale = …, decay = …}
function Model:parameter_groups(cn_step)
  cn_step = options.arg("Model:parameter_groups", 1, "cn_step", cn_step,
    { type = "number", optional = true, min = 0, max = 1e9 })
  local groups, place = {}, {}
  for _, p in ipairs(self:parameters()) do
    local scale, decay = shares_of(p, cn_step)
    local key = ("%.17g %d"):format(scale, decay)
    if not place[key] then
      place[key] = #groups + 1
      groups[place[key]] = { params = {}, scale = scale, decay = decay }
    end
    table.insert(groups[place[key]].params, p)
  end
  return groups
end

--- The parameters in parts, in the order in which the backward pass is done with them: for
-- programs that send gradients elsewhere while others are computed. Layers come from the
-- last to the first, then what reads x: a few conditioning networks at a time, or the stages
-- of the encoder.
-- @treturn {{Param,...},...} each parameter once; a part may be empty
function Model:gradient_parts() return passes.gradient_parts(self) end

--- Every gradient counts as zero from now on.
function Model:zero_grad()
  lock.check(self, "Model:zero_grad")
  core.zero_grad(self:parameters())
end

--- Exchange a part's conditioning network or its flow layer.
-- @tparam table where `level`, `step`, `part` = "actnorm" | "invconv" | "coupling",
-- and `cn` (a network from x to the part's condition) or `flow` (a flow layer) or both
function Model:replace(where)
  lock.check(self, "Model:replace")
  local o = options.check("Model:replace", where, {
    level = { type = "integer", required = true, min = 1, max = #self.levels },
    step = { type = "integer", required = true, min = 1, max = self.config.depth },
    part = { type = "string", required = true, one_of = kinds.step(self.config) },
    cn = {}, flow = {},
  })
  if o.cn == nil and o.flow == nil then
    error("Model:replace: option 'cn' or 'flow' is required: what takes the part's place; got neither", 2)
  end
  local part = self.levels[o.level].steps[o.step][o.part]
  if o.cn ~= nil then
    if self.encoder then
      error("Model:replace: option 'cn' must be absent in a model with an encoder; got " .. options.show(o.cn), 2)
    end
    if not self.config.x then
      error("Model:replace: option 'cn' must be absent in plain Glow, which has no x; got " .. options.show(o.cn), 2)
    end
    local standard = (o.flow or part.flow) == part.standard
    build.check_network("Model:replace", o.cn, self.config.x, standard and part.outputs or nil, 3)
  end
  if o.flow ~= nil then
    own.check_flow("Model:replace", o.flow, 3)
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

--- Exact log-likelihood of y given x, and its latents.
-- @tparam Tensor x N×C×H×W (plain Glow: nil)
-- @tparam Tensor y N×C×H×W
-- @treturn Tensor log p(y|x) of each sample, in nats
-- @treturn {Tensor,...} L latents: what each split sent off, level 1 first, then
-- the last z
function Model:log_prob(x, y)
  arguments.batch(self, "Model:log_prob", x, y)
  local _ <close> = lock.hold(self, "Model:log_prob")
  return likelihood.log_prob(self, x, y)
end

--- Exact inverse of `log_prob`: the y with these latents. When y may be off by more than
-- 1e-3 (see `decode_error`) this is told once, by `cglow.data.notify`.
-- @tparam Tensor x
-- @tparam {Tensor,...} latents as from `log_prob`
-- @treturn Tensor y
function Model:decode(x, latents)
  arguments.latents(self, "Model:decode", x, latents)
  local _ <close> = lock.hold(self, "Model:decode")
  seen.tell(self, "Model:decode", x)
  return accuracy.decode_and_tell(self, latents, passes.conditions(self, x), x)
end

--- How far `decode` may be off: in floating point the inverses of ill-conditioned layers
-- magnify rounding errors, which log p does not show. Estimated by a second decoding in
-- which each layer's input is changed a little; see `cglow.model.precision`.
-- @tparam Tensor x
-- @tparam {Tensor,...} latents as from `log_prob`
-- @treturn Tensor [N]: no number of a sample's y is further off than this
function Model:decode_error(x, latents)
  arguments.latents(self, "Model:decode_error", x, latents)
  local _ <close> = lock.hold(self, "Model:decode_error")
  return select(2, accuracy.decode(self, latents, passes.conditions(self, x)))
end

--- Mean −log p in bits per dimension of y, and its gradient: adds to every
-- parameter's gradient. The first call lets the actnorms of a new model with an encoder
-- start from its batch.
-- @tparam Tensor x
-- @tparam Tensor y dequantised, if it is discrete
-- @tparam[opt] table opts
--
-- * `cell_width` (1): y's values are this far apart, so the loss is
--   −(log p + D·log w)/(D·ln 2)
-- * `head`: what the head shall say, N×H×W classes from 1 on or N×C×H×W values of y's
--   sides; then `head_weight` (the model's) times the head's loss counts in the
--   gradient, but not in the loss that is returned
-- * `done`: function(i) called during the backward pass when it is done with the first i
--   parts of `gradient_parts`
-- @treturn number loss; nil when x, y or the loss is not finite
-- @treturn Tensor d loss/d y, owned by the model; or a message that names what is
-- not finite, x, y or the first layer whose result is not, and no gradient has changed
-- @treturn ?number the head's loss, without its weight
function Model:loss_and_grad(x, y, opts)
  arguments.batch(self, "Model:loss_and_grad", x, y)
  local o = arguments.loss(self, y, opts)
  local _ <close> = lock.hold(self, "Model:loss_and_grad")
  return likelihood.loss_and_grad(self, x, y, o)
end

--- What the head says of x.
-- @tparam Tensor x
-- @treturn Tensor N×outputs×H×W of y's sides: logits of classes, or values
function Model:head(x)
  if not self.config.head then error("Model:head: the model was made without a head", 2) end
  arguments.x(self, "Model:head", x)
  local _ <close> = lock.hold(self, "Model:head")
  passes.conditions(self, x, true)
  return self.encoder:read_head():clone()
end

--- Everything that depends on x alone, computed once for many samples.
-- @tparam Tensor x N×C×H×W
-- @treturn Condition for `sample`
function Model:condition(x)
  arguments.x(self, "Model:condition", x)
  local _ <close> = lock.hold(self, "Model:condition")
  return sample.condition(self, x)
end

--- Draw samples of y.
-- @param cond from `condition` (or x itself)
-- @tparam[opt] table opts `n` (1) samples for each x, `temperature` (1) of the
-- latents, `pairs` (false): every second sample is made of the negative of the latents
-- of the one before, so that means have less noise; `rng`; or `noise`, what would be drawn: standard normal
-- numbers for each latent, level 1 first, N·n × C×H×W of its shape
-- @treturn Tensor N·n × C×H×W: the n samples of the first x, then of the second, …
function Model:sample(cond, opts)
  if not sample.is_condition(cond) then
    arguments.x(self, "Model:sample", cond)
    cond = self:condition(cond)
  end
  return sample.sample(self, cond, opts)
end

--- Predict y as the mean of samples (Lu & Huang 2020, section 3.3).
-- @tparam Tensor x
-- @tparam[opt] table opts `samples` (10), `temperature` (1), `pairs` (true when `samples` is
-- even; see `sample`), `mirror` (false): as many samples for x with left and right exchanged,
-- turned back, count as well; `rng`
-- @treturn Tensor N×C×H×W
function Model:predict(x, opts)
  arguments.x(self, "Model:predict", x)
  return sample.predict(self, x, opts)
end

--- One pass at the centre of the latents: often as good as a mean of samples, and as cheap
-- as one of them. (Where the density of y is highest only if the flow does not stretch.)
-- @tparam Tensor x
-- @tparam[opt] table opts `mirror` (false): the mean with that of the mirror image, turned back
-- @treturn Tensor N×C×H×W
function Model:mode(x, opts)
  arguments.x(self, "Model:mode", x)
  return sample.mode(self, x, opts)
end

--- Predict y by climbing log p(y|x) with Adam on y. Parameter gradients are
-- zeroed on the way.
-- @tparam Tensor x
-- @tparam[opt] table opts `steps` (200), `lr` (0.01), `start` (a tensor; zeros)
-- @treturn Tensor y; nil when a loss or a gradient on the way is not finite
-- @treturn number its log p in nats, mean over the batch; or a message that says
-- what was not finite
function Model:maximize(x, opts)
  arguments.x(self, "Model:maximize", x)
  local _ <close> = lock.hold(self, "Model:maximize")
  seen.tell(self, "Model:maximize", x)
  return seen.without(self, maximize, self, x, opts, arguments.y_shape(self, x))
end

--- A table of what each layer does to y given x; see `cglow.model.diagnose`.
-- @tparam Tensor x
-- @tparam Tensor y
-- @treturn Diagnosis printable
function Model:diagnose(x, y)
  arguments.batch(self, "Model:diagnose", x, y)
  local _ <close> = lock.hold(self, "Model:diagnose")
  return seen.without(self, diagnose.run, self, x, y, passes.conditions(self, x))
end

--- Write parameters and configuration as a safetensors file.
-- @string path
-- @tparam[opt] table extra `tensors` and `metadata` to write beside them, which
-- `cglow.load` ignores
-- @return true, or nil, message, code
-- @raise when two parameters have the same name
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
-- for networks of one's own, or `recompute = true`; `replace` and `strict` as in `cglow.load`
-- @treturn Model or nil, message, code
-- @treturn {[string]=Tensor} all tensors of the file
-- @treturn {[string]=string} its metadata
function Model.load(path, override) return file.load(blank, path, override) end

return Model
