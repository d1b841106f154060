--- Predictions for a data set, their score, and contact sheets of them.
-- @module cglow.tasks.evaluation
local core = require "cglow.core"
local failure = require "cglow.util.failure"
local image = require "cglow.image"
local metrics = require "cglow.metrics"
local streams = require "cglow.util.streams"
local ways = require "cglow.tasks.ways"

local M = {}

-- Pixels of y times samples that are drawn at once: 10 samples of 64x64. With six times as
-- many a validation takes a third more memory than a training step, for 4 % less time.
M.AT_ONCE = 1 << 16

--- How many pictures are predicted at once.
-- @int samples of each
-- @int pixels of each
-- @tparam[opt] int most no more than these
-- @treturn int
function M.pictures_at_once(samples, pixels, most)
  return math.max(1, math.min(M.AT_ONCE // (samples * pixels), most or math.huge))
end

-- The work of `each` in pieces of a few samples: how many there are, a function that draws
-- for piece i, and one that visits its samples.
local function pieces(model, data, o, visit)
  local indices, kept = o.indices or {}, {}
  if not o.indices then for i = 1, data:size() do indices[i] = i end end
  local x = failure.must(data:get(indices[1])).x
  local size = M.pictures_at_once(ways.count(o), x:size(2) * x:size(3), o.most)
  local stand_at = streams.cut(o.rng or core.rng())
  local function load(i)
    local list = {}
    for k = (i - 1) * size + 1, math.min(i * size, #indices) do list[#list + 1] = failure.must(data:get(indices[k])) end
    return list
  end
  local function compute(i)
    local xs = {}
    kept[i] = load(i)
    for k, sample in ipairs(kept[i]) do xs[k] = sample.x end
    stand_at(i)
    return (ways.draw(model, core.stack(xs), o))
  end
  return (#indices + size - 1) // size, compute, function(i, ys)
    local samples = kept[i] or load(i)
    local count = ys:size(1) // #samples
    kept[i] = nil
    for k, sample in ipairs(samples) do
      visit(sample, ys:narrow(1, (k - 1) * count + 1, count))
      if o.progress then o.progress() end
    end
  end
end

--- Predict every sample of a data set.
-- @param model
-- @param data
-- @tparam table o a way to predict (see `cglow.tasks.ways`), `indices` (a list; nil: all), and
-- `world`, ranks that share the work (see `cglow.train.world`): all of them visit all samples;
-- `progress`: function called after each of them; `most`: no more pictures are predicted at once
-- @tparam function visit called with the sample of the data set, and what was drawn for it
-- (M×C×H×W), which is overwritten later
function M.each(model, data, o, visit)
  local count, compute, show = pieces(model, data, o, visit)
  if o.world then return o.world:tensors(count, compute, show) end
  for i = 1, count do show(i, compute(i)) end
end

--- Score a model.
-- @tparam table task
-- @param model
-- @param data
-- @tparam table o as for `each`
-- @treturn table metric → number
function M.score(task, model, data, o)
  local score = task.score()
  M.each(model, data, o, function(sample, samples)
    score:add(ways.decide(task, samples, sample, o), task.decide(sample.y, sample), sample)
  end)
  return score:result()
end

--- Score a model, and its samples too: how much they differ, and how good the
-- best of them is for each image.
-- @tparam table task
-- @param model
-- @param data
-- @tparam table o as for `each`, and `note`: function(sample, answer, truth, spread) called for each
-- image; `spread`, how much its samples differ, is nil when there is one
-- @treturn table metric → number
function M.score_samples(task, model, data, o)
  local score, spread, best, count = task.score(), 0, 0, 0
  M.each(model, data, o, function(sample, samples)
    local truth = task.decide(sample.y, sample)
    local answer, differ = ways.decide(task, samples, sample, o), nil
    if #samples > 1 then differ = metrics.diversity(samples) end
    score:add(answer, truth, sample)
    if o.note then o.note(sample, answer, truth, differ) end
    if not differ then return end
    count, spread = count + 1, spread + differ
    if task.rate then
      best = best + metrics.best_of(samples, truth, function(y)
        return task.rate(task.decide(y, sample), truth, sample)
      end)
    end
  end)
  local result = score:result()
  if count > 0 then
    result.diversity, result.best_sample = spread / count, task.rate and best / count or nil
  end
  return result
end

--- Score what a model's head says by itself.
-- @treturn ?table metric → number; nil when it has none
function M.score_head(task, model, data)
  if not (task.head and model.head and model.config.head) then return nil end
  local score = task.score()
  for i = 1, data:size() do
    local sample = failure.must(data:get(i))
    local said = model:head(core.stack {sample.x})[1]
    score:add(task.head.decide(said, sample), task.decide(sample.y, sample), sample)
  end
  return score:result()
end

--- Score predictions that need no model.
-- @tparam table task
-- @tparam function predict from a sample to y
-- @param data
-- @treturn table metric → number
function M.score_baseline(task, predict, data)
  local score = task.score()
  for i = 1, data:size() do
    local sample = failure.must(data:get(i))
    score:add(task.decide(predict(sample), sample), task.decide(sample.y, sample), sample)
  end
  return score:result()
end

--- Indices spread evenly over a data set.
-- @param data
-- @tparam integer count at most this many
function M.spread(data, count)
  local n, list = data:size(), {}
  count = math.min(count, n)
  for i = 1, count do list[i] = 1 + (i - 1) * n // count end
  return list
end

local CELL = 96 -- pixels that a cell should have at least

local function magnify(size) return math.max(1, math.ceil(CELL / size)) end

-- Standard deviation at each pixel of the pictures of samples, over channels the mean: 1×H×W.
local function spread_map(task, samples, sample)
  local sum, squares = 0, 0
  for i = 1, #samples do
    local picture = task.show(samples[i], sample)
    sum, squares = picture + sum, picture * picture + squares
  end
  local mean = sum / #samples
  local map = (squares / #samples - mean * mean):clamp(0, math.huge):sqrt()
  local h, w = map:size(map:dim() - 1), map:size(map:dim())
  return map:reshape(map:count() // (h * w), h, w):mean(1):reshape(1, h, w)
end

-- White where the samples of any image on the sheet differ most.
local function scale_maps(maps)
  local most = 0
  for _, map in ipairs(maps) do most = math.max(most, (map:max())) end
  for _, map in ipairs(maps) do if most > 0 then map:mul(1 / most) end end
end

-- Samples in pairs are mirror images in a way: one of each pair is shown.
local function shown_of(samples, shown)
  local step = #samples >= 2 * shown and 2 or 1
  local list = {}
  for i = 1, shown do list[i] = 1 + (i - 1) * step <= #samples and samples[1 + (i - 1) * step] or false end
  return list
end

-- Above the first column.
local function input_caption(task) return task.pictured and "input, as " .. task.pictured.as or "input" end

--- A contact sheet in the layout of the paper's figures: input, truth, samples,
-- how much they differ at each pixel, prediction; one row for each image.
-- @tparam table task
-- @param model
-- @param data
-- @tparam table o as for `each`, and `shown` (5): samples in a row
-- @treturn Tensor an image
function M.sheet(task, model, data, o)
  local count = ways.count(o)
  local cells, captions, maps, shown = {}, {input_caption(task), "truth"}, {}, math.min(o.shown or 5, count)
  for i = 1, shown do captions[2 + i] = "sample " .. i end
  local spreads = shown > 0 and count > 1
  if spreads then captions[#captions + 1] = "spread" end
  captions[#captions + 1] = "prediction"
  local size
  M.each(model, data, o, function(sample, samples)
    cells[#cells + 1] = task.show_input(sample)
    cells[#cells + 1] = task.show_answer(task.decide(sample.y, sample), sample)
    for _, y in ipairs(shown_of(samples, shown)) do cells[#cells + 1] = y and task.show(y, sample) end
    if spreads then
      maps[#maps + 1] = spread_map(task, samples, sample)
      cells[#cells + 1] = maps[#maps]
    end
    cells[#cells + 1] = task.show_answer(ways.decide(task, samples, sample, o), sample)
    size = sample.x:size(3)
  end)
  scale_maps(maps)
  return image.grid(cells, {columns = #captions, captions = captions, scale = magnify(size)})
end

--- A contact sheet of samples alone: input, then samples, then how much they differ.
-- @tparam table task
-- @param model
-- @tparam {table,...} inputs with `x` each
-- @tparam table o as for `each`
-- @treturn Tensor an image
function M.samples_sheet(task, model, inputs, o)
  local cells, captions, maps, way = {}, {input_caption(task)}, {}, {pairs = false}
  for name, value in pairs(o) do way[name] = value end
  for i = 1, o.samples do captions[1 + i] = "sample " .. i end
  if o.samples > 1 then captions[#captions + 1] = "spread" end
  for _, input in ipairs(inputs) do
    local ys = ways.draw(model, core.stack {input.x}, way)
    cells[#cells + 1] = task.show_input(input)
    for i = 1, o.samples do cells[#cells + 1] = task.show(ys[i], input) end
    if o.samples > 1 then
      maps[#maps + 1] = spread_map(task, ys, input)
      cells[#cells + 1] = maps[#maps]
    end
    if o.progress then o.progress() end
  end
  scale_maps(maps)
  return image.grid(cells, {columns = #captions, captions = captions, scale = magnify(inputs[1].x:size(3))})
end

return M
