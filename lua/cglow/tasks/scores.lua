--- How likely given pairs are, and how unusual that is beside others.
--
-- The score of a pair is its bits per dimension, −log₂ p(y|x) over the numbers in y: the fewer, the
-- likelier. Where y is discrete, log p is the mean over a few draws of the noise that makes it
-- continuous, which is a lower bound on log P(y|x). The noise of a pair depends on the seed alone, so its
-- score does not depend on what is scored beside it.
-- @module cglow.tasks.scores
local answers = require "cglow.data.answers"
local core = require "cglow.core"
local image = require "cglow.image"
local labels = require "cglow.data.labels"
local metrics = require "cglow.metrics"
local source_of = require "cglow.image.source"
local transform = require "cglow.data.transform"

local M = {}

--- Robust z from which on a pair counts as unusual: of numbers from one normal density, 1 in 4,300
-- lies as far up.
M.UNUSUAL = 3.5

local LN2 <const> = math.log(2)

-- ---- pairs of one's own ------------------------------------------------------

-- y of a tensor as answers are given: H×W or C×H×W.
local TENSORS <const> = {
  mask = function(t) return t:mean(1):reshape(1, t:size(2), t:size(3)) end,
  labels = function(t, o) return metrics.one_hot(t[1] + 1, o.classes) end,
  image = function(t, o) return o.y_channels == 1 and image.grey(t) or image.rgb(t) end,
}

local function load_answer(task, what, o)
  local source = source_of.of(what)
  if not source then return nil, "the answer must be a path, the bytes of a file or a tensor" end
  if not source.path then source.name = "the answer" end
  if not source.tensor then return answers[task.kind].load(source, o) end
  local t = source.tensor
  if not t:isfinite() then return nil, "the answer: a number of it is not finite" end
  if task.kind == "labels" and #t ~= 1 or task.kind == "image" and #t ~= 1 and #t ~= 3 then
    return nil, ("the answer: %s expected, got %d channels"):format(task.kind == "labels" and "H×W labels"
      or "1 or 3 channels", #t)
  end
  if task.kind == "labels" and (t:min() < 0 or t:max() >= o.classes) then
    return nil, ("the answer: labels go from 0 to %d"):format(o.classes - 1)
  end
  return TENSORS[task.kind](t, o)
end

--- A picture and its answer as one sample of the model's size; what a task does that sees pictures whole.
-- @tparam table task
-- @tparam string|Tensor|table what the picture: a path, the bytes of a file, a tensor, or a source
-- @tparam string|Tensor answer a path, the bytes of a file, or a tensor: H×W of 0 and 1, of labels from 0 on, or C×H×W
-- @int size
-- @treturn[1] table `x`, `y`, `name`
-- @treturn[2] nil
-- @treturn[2] string message
function M.pair(task, what, answer, size)
  local source = source_of.of(what)
  local picture, message = task.read(source, {})
  if not picture then return nil, message end
  local o = {y_size = {size, size}, y_channels = task.y(size)[1], classes = task.classes, colours = task.colours,
    ignore = task.ignore}
  local y, ok
  y, message = load_answer(task, answer, o)
  if not y then return nil, message end
  ok, message = labels.same_scene(source.name, picture.x, source_of.of(answer).path or "the answer", y)
  if not ok then return nil, message end
  return {x = image.resize(picture.x, size, size), y = answers[task.kind].make(y, o), name = source.name}
end

-- ---- scores --------------------------------------------------------------------

--- The score of a sample.
-- @param model
-- @tparam table sample with `x` and `y`, y without noise
-- @tparam table o `cell_width` (nil: y is continuous), `draws` of the noise, `seed`
-- @treturn table `log_prob` in nats, `bits_per_dim`
function M.of(model, sample, o)
  local draws, xs, ys = o.cell_width and o.draws or 1, {}, {}
  local noise, rng = o.cell_width and transform.dequantise {width = o.cell_width}, core.Rng(o.seed)
  for i = 1, draws do
    xs[i], ys[i] = sample.x, noise and noise.apply(sample, rng).y or sample.y
  end
  local dimensions = sample.y:count()
  local logp = model:log_prob(core.stack(xs), core.stack(ys)):mean() + dimensions * math.log(o.cell_width or 1)
  return {log_prob = logp, bits_per_dim = -logp / (dimensions * LN2)}
end

local function median(sorted)
  local n = #sorted
  return n % 2 == 1 and sorted[n // 2 + 1] or (sorted[n // 2] + sorted[n // 2 + 1]) / 2
end

--- What scores are compared with.
-- @tparam {number,...} bits per dimension of held-out samples
-- @treturn ?table nil for fewer than two
function M.reference(bits)
  local sorted, away = {}, {}
  for _, value in ipairs(bits) do
    if value - value == 0 then sorted[#sorted + 1] = value end
  end
  if #sorted < 2 then return nil end
  table.sort(sorted)
  local middle = median(sorted)
  for i, value in ipairs(sorted) do away[i] = math.abs(value - middle) end
  table.sort(away)
  return {sorted = sorted, median = middle, spread = 1.4826 * median(away)} -- as the σ of a normal density
end

--- Put a score beside others.
-- @tparam table score from `of`; it gets `percentile`, the share of held-out samples, in per cent, that are
-- at least as likely, and `z`, how many robust standard deviations it lies above their median (none when
-- most of these are equal)
-- @tparam ?table reference
-- @treturn table score
function M.compare(score, reference)
  if not reference then return score end
  local likelier = 0
  for _, bits in ipairs(reference.sorted) do
    if bits <= score.bits_per_dim then likelier = likelier + 1 end
  end
  score.percentile = 100 * likelier / #reference.sorted
  if reference.spread > 0 then score.z = (score.bits_per_dim - reference.median) / reference.spread end
  return score
end

return M
