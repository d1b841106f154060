--- What specs of the fast kernels compare with, and how near results must be.
--
-- Tolerances. A sum of K products, in whatever order, is off by about √K
-- roundings of its terms; so a result may differ from the reference, which sums
-- in double, by 4·√K·eps times the same sum over absolute values. In the
-- coupling such sums feed each other, so there it is 16·√K·eps times the
-- largest number of the result, K being the longest sum.
local core = require "cglow.core"

local M = {}

local EPS <const> = core.scalar == "double" and 2.0 ^ -52 or 2.0 ^ -23

function M.largest(t) return t:abs():max() end

--- |got − want| ≤ factor·eps·√K·scale, number by number; scale is a tensor.
function M.close(what, got, want, terms, scale, factor)
  local excess = (got - want):abs() - scale * (factor * EPS * math.sqrt(terms))
  local worst, at = excess:max()
  if worst > 0 or not got:isfinite() then
    local flat = want:count()
    error(("%s: number %d is %.9g, by plain loops %.9g"):format(what, at,
      got:reshape(flat)[at], want:reshape(flat)[at]), 0)
  end
end

function M.on_threads(f)
  for _, n in ipairs { 1, 2 } do
    core.threads(n)
    f()
  end
end

function M.fill(params, rng)
  for _, p in ipairs(params) do rng:fill_normal(p.value) end
end

function M.tanh(v)
  local e = math.exp(-2 * math.abs(v))
  return (v < 0 and -1 or 1) * (1 - e) / (1 + e)
end

--- Element by element in Lua's doubles.
function M.map(f, ...)
  local lists, out = {}, {}
  for i, t in ipairs { ... } do lists[i] = t:totable() end
  for i = 1, #lists[1] do out[i] = f(lists[1][i], lists[2] and lists[2][i], lists[3] and lists[3][i]) end
  return core.tensor(out):reshape(table.unpack((...):size()))
end

M.EPS = EPS

--- Samples in a batch.
M.BATCHES = { 1, 3, 5 }

--- Stride and padding of convolutions that keep the size, and of 1×1 ones.
M.SAME, M.POINT = { 1, 1, 1, 1 }, { 1, 1, 0, 0 }

return M
