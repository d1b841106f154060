--- Optimizers over parameters or groups of parameters.
-- @module cglow.optim
local core = require "cglow.core"
local options = require "cglow.options"

local M = {}

local Optimizer = {}
Optimizer.__index = Optimizer
Optimizer.__name = "cglow.Optimizer"

local NUMBER = { type = "number", min = 0 }
local function number(default, max) return { type = "number", default = default, min = 0, max = max } end

local ADAM = {
  lr = number(1e-3), beta1 = number(0.9, 1), beta2 = number(0.999, 1), eps = number(1e-8),
  clip_value = NUMBER, clip_norm = NUMBER,
}
local SGD = { lr = number(1e-2), momentum = number(0, 1), clip_value = NUMBER, clip_norm = NUMBER }

-- A list of parameters, or a list of {params = …, scale = …}.
local function flatten(fname, groups)
  options.arg(fname, 1, "params", groups, "table")
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
      })
      add(o.params, o.scale)
    end
  else
    add(groups, 1)
  end
  if #params == 0 then error(fname .. ": at least one parameter expected", 3) end
  return params, scales
end

local function new(fname, groups, opts, spec, adam)
  local o = options.check(fname, opts or {}, spec)
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
-- gradients so that their global 2-norm is at most this
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
-- not finite, and then nothing has changed
function Optimizer:step()
  if self.kind == "Adam" then
    return self.core:step(self.lr, self.beta1, self.beta2, self.eps, self.clip_value or 0, self.clip_norm or 0)
  end
  return self.core:step(self.lr, self.momentum, 0, 0, self.clip_value or 0, self.clip_norm or 0)
end

--- Set the step size.
-- @number lr
function Optimizer:set_lr(lr)
  self.lr = options.check("Optimizer:set_lr", { lr = lr }, { lr = { type = "number", required = true, min = 0 } }).lr
end

--- The state for a checkpoint: the moment tensors themselves by
-- `<parameter name>.m` and `.v`, and how many steps were taken.
-- @treturn {[string]=Tensor}
-- @treturn int
function Optimizer:state()
  local m, v, steps = self.core:moments()
  local t = {}
  for i, p in ipairs(self.params) do
    t[p.name .. ".m"] = m[i]
    if v[i] then t[p.name .. ".v"] = v[i] end
  end
  return t, steps
end

--- Take over a state made by `state`.
-- @tparam {[string]=Tensor} tensors
-- @int steps
-- @return true, or nil and a message when a tensor is missing or has another shape
function Optimizer:set_state(tensors, steps)
  local own = self:state()
  for name, t in pairs(own) do
    local from = tensors[name]
    if not from then return nil, ("optimizer state lacks '%s'"):format(name) end
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

return M
