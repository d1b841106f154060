--- Predictions for a data set, their score, and contact sheets of them.
-- @module cglow.tasks.evaluation
local core = require "cglow.core"
local image = require "cglow.image"
local metrics = require "cglow.metrics"
local transform = require "cglow.data.transform"

local M = {}

-- Pixels of y times samples that are drawn at once; more only costs memory.
local AT_ONCE = 1 << 18

-- Samples of y for each x on y's own scale, and how many for each. A
-- feed-forward network has but one answer.
local function draw(model, x, o)
  if not model.sample then return model:predict(x), 1 end
  local ys = model:sample(model:condition(x), {n = o.samples, temperature = o.temperature, rng = o.rng})
  return transform.undo(ys, o.cell_width), o.samples
end

local function mean_of(ys, first, count)
  local mine = ys:narrow(1, first, count)
  local shape = {mine:size(2), mine:size(3), mine:size(4)}
  return mine:reshape(1, count, shape[1] * shape[2] * shape[3]):mean(2):reshape(table.unpack(shape)), mine
end

--- Predict every sample of a data set.
-- @param model
-- @param data
-- @tparam table o `samples`, `rng`, `cell_width` (that the model's y was dequantised
-- with; nil: it was not), `temperature`, and `indices` (a list; nil: all)
-- @tparam function visit called with the sample, the mean of its samples
-- (C×H×W) and the samples (M×C×H×W); both are overwritten later
function M.each(model, data, o, visit)
  local indices = o.indices or {}
  if not o.indices then for i = 1, data:size() do indices[i] = i end end
  local x = assert(data:get(indices[1])).x
  local chunk = math.max(1, AT_ONCE // (o.samples * x:size(2) * x:size(3)))
  for first = 1, #indices, chunk do
    local samples, xs = {}, {}
    for i = first, math.min(first + chunk - 1, #indices) do
      samples[#samples + 1] = assert(data:get(indices[i]))
      xs[#xs + 1] = samples[#samples].x
    end
    local ys, count = draw(model, core.stack(xs), o)
    for i, sample in ipairs(samples) do visit(sample, mean_of(ys, (i - 1) * count + 1, count)) end
  end
end

--- Score a model.
-- @tparam table task
-- @param model
-- @param data
-- @tparam table o as for `each`
-- @treturn table metric → number
function M.score(task, model, data, o)
  local score = task.score()
  M.each(model, data, o, function(sample, mean)
    score:add(task.decide(mean, sample), task.decide(sample.y, sample), sample)
  end)
  return score:result()
end

--- Score a model, and its samples too: how much they differ, and how good the
-- best of them is for each image.
-- @treturn table metric → number
function M.score_samples(task, model, data, o)
  local score, spread, best, count = task.score(), 0, 0, 0
  M.each(model, data, o, function(sample, mean, samples)
    local truth = task.decide(sample.y, sample)
    score:add(task.decide(mean, sample), truth, sample)
    if #samples < 2 then return end
    count, spread = count + 1, spread + metrics.diversity(samples)
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

--- Score predictions that need no model.
-- @tparam table task
-- @tparam function predict from a sample to y
-- @param data
-- @treturn table metric → number
function M.score_baseline(task, predict, data)
  local score = task.score()
  for i = 1, data:size() do
    local sample = assert(data:get(i))
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

--- A contact sheet in the layout of the paper's figures: input, truth, samples,
-- prediction, one row for each image.
-- @tparam table task
-- @param model
-- @param data
-- @tparam table o as for `each`, and `shown` (5): samples in a row
-- @treturn Tensor an image
function M.sheet(task, model, data, o)
  local cells, captions, shown = {}, {"input", "truth"}, math.min(o.shown or 5, o.samples)
  for i = 1, shown do captions[2 + i] = "sample " .. i end
  captions[#captions + 1] = "prediction"
  local size
  M.each(model, data, o, function(sample, mean, samples)
    cells[#cells + 1] = task.show_input(sample)
    cells[#cells + 1] = task.show_answer(task.decide(sample.y, sample), sample)
    for i = 1, shown do cells[#cells + 1] = i <= #samples and task.show(samples[i], sample) or false end
    cells[#cells + 1] = task.show_answer(task.decide(mean, sample), sample)
    size = sample.x:size(3)
  end)
  return image.grid(cells, {columns = #captions, captions = captions, scale = magnify(size)})
end

--- A contact sheet of samples alone: input, then samples.
-- @tparam table task
-- @param model
-- @tparam {table,...} inputs with `x` each
-- @tparam table o as for `each`
-- @treturn Tensor an image
function M.samples_sheet(task, model, inputs, o)
  local cells, captions = {}, {"input"}
  for i = 1, o.samples do captions[1 + i] = "sample " .. i end
  for _, input in ipairs(inputs) do
    local ys = draw(model, core.stack {input.x}, o)
    cells[#cells + 1] = task.show_input(input)
    for i = 1, o.samples do cells[#cells + 1] = task.show(ys[i], input) end
  end
  return image.grid(cells, {columns = #captions, captions = captions, scale = magnify(inputs[1].x:size(3))})
end

return M
