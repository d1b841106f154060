--- How far `decode` and samples may be off.
--
-- In exact arithmetic the flow is invertible however ill-conditioned its layers are. In
-- floating point each inverse passes the rounding errors of those before it on, magnified
-- by what it divides by: W's small singular values, actnorm's and the coupling's scales,
-- and the couplings' networks, which read what is already wrong. log p shows nothing of it.
--
-- The estimate lets the layers say so themselves: y is decoded a second time, with the
-- input of every inverse changed at random by 2^10 roundings, and the two are compared
-- (Monte Carlo arithmetic, after Parker 1997). The product of the conditions of all W,
-- the obvious bound, is 10^30 for a fresh rotation start of 3 levels and depth 8, whose
-- error is 10^-6. Measured on 55 models of 1 to 3 levels, fresh, trained and with W of
-- conditions from 1 to 10^5, errors from 3e-7 to 3e24: the raw estimate is 0.13 to 2.3 of
-- the error. So 16 times that is what is given out.
--
-- Couplings whose products are rounded to bfloat16 read their input in steps, and errors below
-- 2^-16 stay on them (csrc/flow/coupling/steps.h); larger ones cost 10^-3 and more. So there the
-- input of every inverse is changed by one rounding, no more, and four times the difference is
-- given out: that was 2.5 to 10 times the error of nine models, of which seven trained (32×32 to
-- 128×128, with and without encoder), and 3 to 15 times where steps were missed.
-- @module cglow.model.precision
local core = require "cglow.core"
local notice = require "cglow.util.notice"
local passes = require "cglow.model.passes"
local seen = require "cglow.model.seen"

local M = {}

--- An error of y beyond which a person is told.
M.LIMIT = 1e-3

local EPS <const> = core.scalar == "double" and 2.0 ^ -52 or 2.0 ^ -23
local SHAKEN <const> = 1024 * EPS -- far above what is rounded anyway, and yet small
local SAFETY <const> = 16
local SAFETY_OF_BF16 <const> = 4
local SEED <const> = 20

-- A function that returns z with each number changed by up to `shaken` of itself.
local function shaker(shaken)
  local rng, noise = core.Rng(SEED), {}
  return function(z)
    local shape = table.concat(z:size(), "x")
    noise[shape] = noise[shape] or core.empty(z:size())
    local factors = rng:fill_uniform(noise[shape]):mul(2 * shaken):add(1 - shaken)
    return z * factors
  end
end

--- Decode, and estimate how far that may be off.
-- @tparam Model model
-- @tparam {Tensor,...} latents
-- @tparam {[int]=Tensor} conds from `cglow.model.passes.conditions`
-- @treturn Tensor y
-- @treturn Tensor [N] for each sample, the largest error of any of its numbers
function M.decode(model, latents, conds)
  local shaken, safety = SHAKEN, SAFETY
  if model.config.precision == "bf16" then shaken, safety = EPS, SAFETY_OF_BF16 end
  local y = passes.decode(model, latents, conds):clone()
  local off = passes.decode(model, latents, conds, shaker(shaken)) - y
  return y, off:abs():reshape(y:size(1), -1):max(2):mul(safety * EPS / shaken)
end

-- The largest of the estimates; infinite when one of them is not finite.
local function largest(errors)
  return errors:isfinite() and (errors:max()) or math.huge
end

-- The part whose W is closest to singular.
local function worst_part(model, conds)
  local name, least = nil, math.huge
  for _, layer in ipairs(model.layers) do
    if layer.kind == "invconv" and layer.flow == layer.standard then
      local _, rcond = layer.flow:diagnose(conds[layer.index])
      for _, r in ipairs(rcond) do
        if r < least then name, least = layer.name, r end
      end
    end
  end
  return name, least
end

--- What to tell of these errors, once for a model: nil when they are small, or when it was told.
-- @tparam Model model
-- @tparam Tensor errors from `decode`
-- @tparam {[int]=Tensor} conds
-- @tparam ?Tensor x that they are of, where it is at hand
-- @treturn ?string
function M.warning(model, errors, conds, x)
  local error_of_y = largest(errors)
  if model.told_of_errors or error_of_y <= M.LIMIT then return nil end
  model.told_of_errors = true
  if model.config.precision == "bf16" then
    return ("decode and samples may be off by %.1e: rounding errors miss steps of bfloat16; see cglow.precision")
      :format(error_of_y)
  end
  local why = seen.why(model, x)
  if why then return ("decode and samples may be off by %.1e: %s"):format(error_of_y, why) end
  local name, rcond = worst_part(model, conds)
  return ("decode and samples may be off by %.1e: rounding errors grow from layer to layer%s; see Model:diagnose")
    :format(error_of_y, name and (", most where W is closest to singular (%s, reciprocal condition %.1e)")
      :format(name, rcond) or "")
end

--- What to tell of a batch that the model is trained on.
-- @tparam Model model
-- @tparam ?Tensor x
-- @tparam Tensor y
-- @treturn ?string
function M.warning_of_batch(model, x, y)
  if model.told_of_errors then return nil end
  local conds = model.config.x and passes.conditions(model, x) or {}
  local _, latents = passes.encode(model, y, conds, false)
  for l, z in ipairs(latents) do latents[l] = z:clone() end
  local ok, _, errors = pcall(M.decode, model, latents, conds) -- a singular W raises, and is refused by the next step
  return ok and M.warning(model, errors, conds, x) or nil
end

-- Is it time to look again? At the first decoding, the tenth, the hundredth, …: the
-- parameters may have changed.
local function is_due(model)
  model.decodings = (model.decodings or 0) + 1
  local n = model.decodings
  while n % 10 == 0 do n = n // 10 end
  return n == 1 and not model.told_of_errors
end

--- Decode, and tell a person when y may be off by more than `LIMIT`.
-- @tparam Model model
-- @tparam {Tensor,...} latents
-- @tparam {[int]=Tensor} conds
-- @tparam ?Tensor x that they are of
-- @treturn Tensor y
function M.decode_and_tell(model, latents, conds, x)
  if not is_due(model) then return passes.decode(model, latents, conds):clone() end
  local y, errors = M.decode(model, latents, conds)
  local text = M.warning(model, errors, conds, x)
  if text then notice.notify(text) end
  return y
end

--- Tell a person when samples may be off by more than `LIMIT`.
-- @tparam Model model
-- @tparam {[int]=Tensor} conds
-- @int n samples that they are for
-- @tparam {table,...} shapes of the latents, {C, H, W}
function M.tell_of_samples(model, conds, n, shapes)
  if not is_due(model) then return end
  local rng, latents = core.Rng(SEED), {}
  for l, shape in ipairs(shapes) do latents[l] = core.randn(n, shape[1], shape[2], shape[3], rng) end
  local ok, _, errors = pcall(M.decode, model, latents, conds)
  local text = ok and M.warning(model, errors, conds)
  if text then notice.notify(text) end
end

return M
