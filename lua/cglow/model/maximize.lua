--- `Model:maximize`: the y of the highest density, by Adam on y.
-- @module cglow.model.maximize
local check = require "cglow.util.check"
local core = require "cglow.core"
local likelihood = require "cglow.model.likelihood"
local optim = require "cglow.optim"
local options = require "cglow.util.options"

local MAXIMIZE = {
  steps = { type = "integer", default = 200, min = 1 },
  lr = { type = "number", default = 0.01, min = 0, max = 1e9 },
  start = { type = "tensor" },
}

-- Three functions lie between `Model:maximize` and the checks: this one, pcall and `seen.without`.
return function(model, x, opts, shape)
  local o = options.check("Model:maximize", opts, MAXIMIZE, 3)
  local n = x and x:size(1) or o.start and o.start:size(1) or 1
  if o.start then
    check.shape("Model:maximize", "option 'start'", o.start, { n, table.unpack(shape) }, 3)
  end
  local y = core.Param(o.start or core.zeros(n, table.unpack(shape)), "y")
  local adam = optim.Adam({ y }, { lr = o.lr })
  for _ = 1, o.steps do
    local loss, dy = likelihood.loss_and_grad(model, x, y.value, { cell_width = 1 })
    core.zero_grad(model:parameters())
    if not loss then return nil, dy end
    y.grad:copy(dy)
    local moved, why = adam:step()
    if not moved then return nil, why end
  end
  local logp = likelihood.log_prob(model, x, y.value)
  return y.value:clone(), logp:mean()
end
