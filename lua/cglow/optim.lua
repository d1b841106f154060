--- Optimizers over parameters or groups of parameters.
-- @module cglow.optim
local check = require "cglow.check"
local core = require "cglow.core"
local options = require "cglow.options"

local M = {}

local Optimizer = {}
Optimizer.__index = Optimizer
Optimizer.__name = "cglow.Optimizer"

local MOST = 1e9 -- for step sizes and limits: no sum or product with it overflows
local NUMBER = { type = "number", min = 0, max = MOST }
local function number(default) return { type = "number", default = default, min = 0, max = MOST } end
-- Of 1 an average would never forget, and Adam's correction divide by 0.
local function decay(default) return { type = "number", default = default, min = 0, below = 1 } end

local ADAM = {
  lr = number(1e-3), beta1 = decay(0.9), beta2 = decay(0.999),
  eps = { type = "number", default = 1e-8, min = 1e-30, max = MOST }, -- less is 0 in single precision
  clip_value = NUMBER, clip_norm = NUMBER,
}
local SGD = { lr = number(1e-2), momentum = decay(0), clip_value = NUMBER, clip_norm = NUMBER }

local function check_params(fname, params)
  local place = {}
  for i, p in ipairs(params) do
    if core.type(p) ~= "cglow.Param" then
      error(("%s: params: element %d must be a cglow.Param, got %s"):format(fname, i, options.show(p)), 4)
    end
    if place[p] then
      error(("%s: params: each parameter once expected, got '%s' as number %d and %d"):format(
        fname, p.name, place[p], i), 4)
    end
    place[p] = i
  end
end

-- A list of parameters, or a list of {params = …, scale = …}.
local function flatten(fname, groups)
  options.arg(fname, 1, "params", groups, "table", 2)
  local params, scales = {}, {}
  local function add(list, scale)
    for _, p in ipairs(list) do
      params[#params + 1], scales[#scales + 1] = p, scale
    end
  end
  if type(groups[1]) == "table" and groups[1].params then
    for i, g in ipairs(groups) do
      local o = options.check(("%s: group %d"):format(fname, i), g, {
        params = { type = "table", required = true }, scale = number(1),
      }, 2)
      add(o.params, o.scale)
    end
  else
    add(groups, 1)
  end
  if #params == 0 then error(fname .. ": params: at least one parameter expected, got none", 4) end
  check_params(fname, params)
  return params, scales
end

local function new(fname, groups, opts, spec, adam)
  local o = options.check(fname, opts, spec, 1)
  local params, scales = flatten(fname, groups)
  local self = setmetatable(o, Optimizer)
  self.kind = adam and "Adam" or "SGD"
  self.params = params
  self.core = core.optimizer(params, scales, adam)
  return self
end

--- Adam (Kingma & Ba 2015, algorithm 1).
-- @tparam table params list of Param, or list of groups {params = {…}, scale = 0.05}
-- whose step size is scale·lr
-- @tparam[opt] table opts `lr` (1e-3), `beta1` (0.9), `beta2` (0.999), `eps` (1e-8),
-- `clip_value`: clip each gradient element to ±this, `clip_norm`: then scale all
-- gradients so that their global 2-norm is at most this (either absent or 0: do not)
-- @treturn Optimizer
function M.Adam(params, opts) return new("optim.Adam", params, opts, ADAM, true) end

--- Stochastic gradient descent with momentum: m = momentum·m + g, p = p − lr·m.
-- @tparam table params as for `Adam`
-- @tparam[opt] table opts `lr` (1e-2), `momentum` (0), `clip_value`, `clip_norm`
-- @treturn Optimizer
function M.SGD(params, opts) return new("optim.SGD", params, opts, SGD, false) end

--- Update every parameter by its gradient.
-- @return with `clip_norm` the norm of the gradient (after `clip_value`), else
-- true; or nil and a message that names the first parameter whose gradient is
-- not finite (or, in Adam without clipping, too large to square), and then
-- nothing has changed
function Optimizer:step()
  if self.kind == "Adam" then
    return self.core:step(self.lr, self.beta1, self.beta2, self.eps, self.clip_value or 0, self.clip_norm or 0)
  end
  return self.core:step(self.lr, self.momentum, 0, 0, self.clip_value or 0, self.clip_norm or 0)
end

--- Set the step size.
-- @number lr
function Optimizer:set_lr(lr)
  self.lr = options.arg("Optimizer:set_lr", 1, "lr", lr, { type = "number", min = 0, max = MOST })
end

--- The state for a checkpoint: the moment tensors themselves by
-- `<parameter name>.m` and `.v`, and how many steps were taken.
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
  local own = self:state()
  for name, t in pairs(own) do
    local from = tensors[name]
    if not from then return nil, ("optimizer state lacks '%s'"):format(name) end
    if core.type(from) ~= "cglow.Tensor" then
      return nil, ("optimizer state '%s' is no tensor but %s"):format(name, options.show(from))
    end
    if not from:isfinite() then return nil, ("optimizer state '%s' is not finite"):format(name) end
    if name:sub(-2) == ".v" and from:min() < 0 then
      return nil, ("optimizer state '%s', a mean of squares, is negative"):format(name)
    end
    if table.concat(from:size(), "x") ~= table.concat(t:size(), "x") then
      return nil, ("optimizer state '%s' has shape %s, expected %s"):format(name,
        table.concat(from:size(), "x"), table.concat(t:size(), "x"))
    end
  end
  for name, t in pairs(own) do t:copy(tensors[name]) end
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

return M
