--- Optimizers over parameters or groups of parameters.
-- @module cglow.optim
local check = require "cglow.util.check"
local core = require "cglow.core"
local options = require "cglow.util.options"

local M = {}

local Optimizer = {}
Optimizer.__index = Optimizer
Optimizer.__name = "cglow.Optimizer"

local MOST = 1e9 -- for step sizes and limits: no sum or product with it overflows
local NUMBER = { type = "number", min = 0, max = MOST }
local function number(default) return { type = "number", default = default, min = 0, max = MOST } end
-- Below 1: with a decay of 1 an average would never forget, and Adam's correction divide by 0.
local function decay(default) return { type = "number", default = default, min = 0, below = 1 } end

local ADAM = {
  lr = number(1e-3), beta1 = decay(0.9), beta2 = decay(0.999),
  eps = { type = "number", default = 1e-8, min = 1e-30, max = MOST }, -- less is 0 in single precision
  clip_value = NUMBER, clip_norm = NUMBER, weight_decay = NUMBER,
}
local PARTS = { type = "integer", default = 1, min = 1, max = 1 << 20 }
local SGD = { lr = number(1e-2), momentum = decay(0), clip_value = NUMBER, clip_norm = NUMBER }

local function check_params(fname, params, up)
  up = up or 4
  local place = {}
  for i, p in ipairs(params) do
    if core.type(p) ~= "cglow.Param" then
      error(("%s: params: element %d must be a cglow.Param, got %s"):format(fname, i, options.show(p)), up)
    end
    if place[p] then
      error(("%s: params: each parameter once expected, got '%s' as number %d and %d"):format(
        fname, p.name, place[p], i), up)
    end
    place[p] = i
  end
end

local GROUP = { params = { type = "table", required = true }, scale = number(1), decay = number(1) }

-- A list of parameters, or a list of {params = …, scale = …, decay = …}.
local function flatten(fname, groups)
  options.arg(fname, 1, "params", groups, "table", 1)
  local params, scales, decays = {}, {}, {}
  local function add(list, scale, decay_share)
    for _, p in ipairs(list) do
      params[#params + 1], scales[#scales + 1], decays[#decays + 1] = p, scale, decay_share
    end
  end
  if type(groups[1]) == "table" and groups[1].params then
    for i, g in ipairs(groups) do
      local o = options.check(("%s: group %d"):format(fname, i), g, GROUP, 1)
      add(o.params, o.scale, o.decay)
    end
  else
    add(groups, 1, 1)
  end
  if #params == 0 then error(fname .. ": params: at least one parameter expected, got none", 3) end
  check_params(fname, params)
  return params, scales, decays
end

-- Biases and the scales of channels are no weights: what has one dimension does not decay.
local function only_weights(params, decays)
  for i, p in ipairs(params) do if p.value:dim() < 2 then decays[i] = 0 end end
  return decays
end

-- Constructors end in a call of this, so that they are no level more for errors.
local function new(fname, groups, opts, spec, adam)
  local o = options.check(fname, opts, spec)
  local params, scales, decays = flatten(fname, groups)
  local self = setmetatable(o, Optimizer)
  self.kind = adam and "Adam" or "SGD"
  self.params = params
  self.core = core.optimizer(params, scales, adam and only_weights(params, decays) or nil)
  return self
end

--- Adam (Kingma & Ba 2015, algorithm 1).
-- @tparam table params list of Param, or list of groups {params = {…}, scale = 0.05,
-- decay = 0} whose step size is scale·lr and whose weight decay is decay·weight_decay
-- @tparam[opt] table opts `lr` (1e-3), `beta1` (0.9), `beta2` (0.999), `eps` (1e-8),
-- `clip_value`: clip each gradient element to ±this, `clip_norm`: then scale all
-- gradients so that their global 2-norm is at most this (either absent or 0: do not),
-- `weight_decay` (0): each step also multiplies parameters of two or more dimensions by
-- 1 − lr·weight_decay (AdamW; Loshchilov & Hutter 2019, algorithm 2)
-- @treturn Optimizer
function M.Adam(params, opts) return new("optim.Adam", params, opts, ADAM, true) end

--- Stochastic gradient descent with momentum: m = momentum·m + g, p = p − lr·m.
-- @tparam table params as for `Adam`
-- @tparam[opt] table opts `lr` (1e-2), `momentum` (0), `clip_value`, `clip_norm`
-- @treturn Optimizer
function M.SGD(params, opts) return new("optim.SGD", params, opts, SGD, false) end

-- Can a step have left this moment tensor, "<parameter>.m" or ".v", as it is?
local function check_moment(name, t)
  if not t:isfinite() then return nil, ("optimizer state '%s' is not finite"):format(name) end
  if name:sub(-2) == ".v" and t:min() < 0 then
    return nil, ("optimizer state '%s', a mean of squares, is negative"):format(name)
  end
  return true
end

local function check_moments(self)
  local m, v = self.core:moments()
  for i, p in ipairs(self.params) do
    for suffix, t in pairs { [".m"] = m[i], [".v"] = v[i] } do
      local ok, message = check_moment(p.name .. suffix, t)
      if not ok then return nil, message end
    end
  end
  return true
end

--- Update every parameter by its gradient.
-- @int[opt=1] parts so many gradients of equally large batches have been added up: the
-- step is by their mean
-- @return with `clip_norm` the norm of the gradient (after `clip_value`), else
-- true; or nil and a message that names the first parameter whose gradient is
-- not finite (or, in Adam without clipping, too large to square), or the moment that
-- somebody has changed to what no step can leave; then nothing has changed
function Optimizer:step(parts)
  parts = options.arg("Optimizer:step", 1, "parts", parts, PARTS)
  if self.handed_out then
    local ok, message = check_moments(self)
    if not ok then return nil, message .. ": no step was taken" end
    self.handed_out = false
  end
  local clip_value, clip_norm = self.clip_value or 0, self.clip_norm or 0
  if self.kind == "Adam" then
    return self.core:step(self.lr, self.beta1, self.beta2, self.eps, clip_value, clip_norm, self.weight_decay or 0,
      parts)
  end
  return self.core:step(self.lr, self.momentum, 0, 0, clip_value, clip_norm, 0, parts)
end

--- Set the step size.
-- @number lr
function Optimizer:set_lr(lr)
  self.lr = options.arg("Optimizer:set_lr", 1, "lr", lr, { type = "number", min = 0, max = MOST })
end

-- May this tensor, as a file has it, take the place of one of the state's own?
local function check_state(of, name, from, own)
  if not from then return nil, ("%s state lacks '%s'"):format(of, name) end
  if core.type(from) ~= "cglow.Tensor" then
    return nil, ("%s state '%s' is no tensor but %s"):format(of, name, options.show(from))
  end
  if not from:isfinite() then return nil, ("%s state '%s' is not finite"):format(of, name) end
  local got, want = table.concat(from:size(), "x"), table.concat(own:size(), "x")
  if got ~= want then return nil, ("%s state '%s' has shape %s, expected %s"):format(of, name, got, want) end
  return true
end

-- Copy what a file has to the state's own tensors: all of them, or none when check_state
-- or `check_more`, which may be nil, has something against one.
local function take_over(of, own, tensors, check_more)
  for name, t in pairs(own) do
    local ok, message = check_state(of, name, tensors[name], t)
    if ok and check_more then ok, message = check_more(name, tensors[name]) end
    if not ok then return nil, message end
  end
  for name, t in pairs(own) do t:copy(tensors[name]) end
  return true
end

--- The state for a checkpoint: the moment tensors themselves by
-- `<parameter name>.m` and `.v`, and how many steps were taken. The next step looks
-- whether they are still such as a step leaves.
-- @treturn {[string]=Tensor}
-- @treturn int
-- @raise when two parameters have the same name
function Optimizer:state()
  local m, v, steps = self.core:moments()
  local t = {}
  for i, p in ipairs(self.params) do
    if t[p.name .. ".m"] then
      error(("Optimizer:state: parameters with names of their own expected, got two called '%s'"):format(p.name), 2)
    end
    t[p.name .. ".m"] = m[i]
    if v[i] then t[p.name .. ".v"] = v[i] end
  end
  self.handed_out = true -- and so may be changed: the next step looks
  return t, steps
end

--- Take over a state made by `state`.
-- @tparam {[string]=Tensor} tensors
-- @int steps
-- @return true, or nil and a message when a tensor is missing, has another shape or
-- numbers that no step can have left there
function Optimizer:set_state(tensors, steps)
  options.arg("Optimizer:set_state", 1, "tensors", tensors, "table")
  steps = options.arg("Optimizer:set_state", 2, "steps", steps, { type = "integer", min = 0 })
  local ok, message = take_over("optimizer", self:state(), tensors, check_moment)
  if not ok then return nil, message end
  self.core:set_steps(steps)
  return true
end

function Optimizer:__tostring()
  local n = 0
  for _, p in ipairs(self.params) do n = n + p.value:count() end
  local _, _, steps = self.core:moments()
  return ("cglow.%s  lr %g, %d steps taken, %d parameters in %d tensors")
    :format(self.kind, self.lr, steps, n, #self.params)
end

check.class("Optimizer", Optimizer, "params")

-- ---- averages ------------------------------------------------------------

local Average = {}
Average.__index = Average
Average.__name = "cglow.Average"

-- In the first steps of a training what lies before them must not weigh for long: a
-- decay of 0.998 is come to after 4,500 updates.
local HASTE <const> = 10

--- The average of parameters over the steps of a training, with weights that fall
-- exponentially into the past (Polyak & Juditsky 1992). It starts as the parameters are
-- and keeps the precision that they have.
--
--     local average = cglow.optim.Average(model:parameters(), {decay = 0.998})
--     … optimizer:step() … average:update() …
--     average:swap()      -- the model has the averages now
--     … evaluate, save …
--     average:swap()      -- and its own numbers again
-- @tparam {Param,...} params each once
-- @tparam[opt] table opts `decay` (0.998): what an update keeps of the average; after n
-- updates at most (1 + n)/(10 + n)
-- @treturn Average
function M.Average(params, opts)
  local o = options.check("optim.Average", opts, { decay = decay(0.998) })
  options.arg("optim.Average", 1, "params", params, "table")
  if #params == 0 then error("optim.Average: params: at least one parameter expected, got none", 2) end
  check_params("optim.Average", params, 3)
  params = table.move(params, 1, #params, 1, {})
  return setmetatable({ params = params, decay = o.decay, updates = 0, core = core.average(params) }, Average)
end

--- Take the parameters as they are now into the average.
function Average:update()
  self.updates = self.updates + 1
  self.core:update(math.min(self.decay, (1 + self.updates) / (HASTE + self.updates)))
end

--- Exchange averages and parameters: every second call gives the parameters back.
function Average:swap() self.core:swap() end

--- The averages themselves by the name of their parameter (after an odd number of swaps
-- the parameters' own numbers), and how many updates were made.
-- @treturn {[string]=Tensor}
-- @treturn int
function Average:state()
  local byname = {}
  for i, t in ipairs(self.core:tensors()) do byname[self.params[i].name] = t end
  return byname, self.updates
end

--- Take over a state made by `state`.
-- @tparam {[string]=Tensor} tensors
-- @int updates
-- @return true, or nil and a message when a tensor is missing, is not finite or has another shape
function Average:set_state(tensors, updates)
  options.arg("Average:set_state", 1, "tensors", tensors, "table")
  updates = options.arg("Average:set_state", 2, "updates", updates, { type = "integer", min = 0 })
  local ok, message = take_over("average", self:state(), tensors)
  if not ok then return nil, message end
  self.updates = updates
  return true
end

function Average:__tostring()
  return ("cglow.Average  decay %g, %d updates of %d tensors"):format(self.decay, self.updates, #self.params)
end

check.class("Average", Average, "params")

return M
