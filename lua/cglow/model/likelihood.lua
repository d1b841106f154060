--- What `Model:log_prob` and `Model:loss_and_grad` do once their arguments are checked and
-- the model is locked.
-- @module cglow.model.likelihood
local core = require "cglow.core"
local passes = require "cglow.model.passes"
local seen = require "cglow.model.seen"

local M = {}

local LN2 = math.log(2)

--- See `Model:log_prob`.
function M.log_prob(model, x, y)
  seen.tell(model, "Model:log_prob", x)
  local logp, latents = passes.encode(model, y, passes.conditions(model, x), false)
  for l, z in ipairs(latents) do latents[l] = z:clone() end
  return core.tensor(logp), latents
end

--- See `Model:loss_and_grad`; `o` are its options.
function M.loss_and_grad(model, x, y, o)
  if x and not x:isfinite() then return nil, "x is not finite" end
  if not y:isfinite() then return nil, "y is not finite" end
  local conds = passes.conditions(model, x, o.head ~= nil)
  local logp = passes.encode(model, y, conds, true, nil, model.unstarted)
  model.unstarted = nil
  local sum, n, d = 0, #logp, y:count() // #logp
  for i = 1, n do sum = sum + logp[i] end
  local loss = -sum / (n * d * LN2)
  if loss - loss ~= 0 then
    return nil, ("loss is not finite; the first layer to blame is %s"):format(passes.first_not_finite(model, y, conds))
  end
  local head_loss, slope
  if o.head then
    head_loss, slope = model.encoder:head_loss(o.head)
    if head_loss - head_loss ~= 0 then return nil, "loss is not finite; the first layer to blame is head" end
  end
  local dy = passes.backward(model, -1 / (n * d * LN2), o.done)
  local dfinest = model.encoder and model.encoder:backward_head(slope, o.head_weight, dy)
  passes.backward_conditions(model, dfinest, o.done)
  seen.note(model, x)
  return loss - math.log(o.cell_width) / LN2, dy, head_loss
end

return M
