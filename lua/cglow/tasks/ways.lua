--- Ways to predict: how many samples, drawn how, and how an answer is made of them.
--
-- A way is a table: `samples` = how many are drawn for each x, in pairs of mirrored latents
-- when they are even (unless `pairs` = false), at `temperature` (1); or `centre` = true, one
-- pass at the centre of the latents; `mirror` = true: the same for the mirror image, turned
-- back, besides; `consensus` = true: the answer by the task's `decide_all` from all samples, not
-- from their mean. With it go `rng` and `cell_width`, with which the model's y was dequantised.
-- @module cglow.tasks.ways
local count_of = require "cglow.util.count"
local core = require "cglow.core"
local transform = require "cglow.data.transform"

local M = {}

local function mirrored(t) return core.image.flip(t, "horizontal") end

-- Pixels times samples of one x that are drawn at once: more would take memory and no less time.
local AT_ONCE <const> = 1 << 18

local function draw(model, x, way, noise)
  if way.centre then return model:mode(x) end
  local cond, n, parts = model:condition(x), way.samples, {}
  local pairs_of = way.pairs ~= false and n % 2 == 0
  local most = x:size(1) > 1 and n or math.max(2, AT_ONCE // (x:size(3) * x:size(4)) // 2 * 2)
  for first = 1, n, most do
    local count = math.min(most, n - first + 1)
    parts[#parts + 1] = model:sample(cond, noise and {
      n = count, temperature = way.temperature, noise = noise(first, count),
    } or {n = count, temperature = way.temperature, rng = way.rng, pairs = pairs_of})
  end
  return #parts == 1 and parts[1] or core.cat(parts, 1)
end

-- The samples a has for each x, then those of b: both n for each.
local function joined(a, b, n)
  local _, c, h, w = table.unpack(a:size())
  local groups = a:size(1) // n
  local both = core.cat({a:reshape(groups, n, c * h * w), b:reshape(groups, n, c * h * w)}, 2)
  return both:reshape(groups * 2 * n, c, h, w)
end

--- How many samples a way gives for each x.
function M.count(way)
  return (way.centre and 1 or way.samples) * (way.mirror and 2 or 1)
end

--- Samples of y for each x on y's own scale. A feed-forward network has but one answer.
-- @param model
-- @tparam Tensor x N×C×H×W
-- @tparam table way
-- @treturn Tensor the samples of the first x, of the second, …
-- @treturn integer how many there are for each
function M.draw(model, x, way)
  if not model.sample then return model:predict(x), 1 end
  local ys, n = draw(model, x, way), way.centre and 1 or way.samples
  if way.mirror then ys = joined(ys, mirrored(draw(model, mirrored(x), way)), n) end
  return transform.undo(ys, way.cell_width), M.count(way)
end

-- Standard normal numbers for all latents of a picture of these sides, n samples: a list of n × C×H×W.
local function field_of(model, height, width, way)
  local field = {}
  for l, shape in ipairs(model.latent_shapes) do
    field[l] = way.rng:normal(way.samples, shape[1], height >> l, width >> l)
  end
  return field
end

-- Those of a tile, for some of the samples.
local function cut(field, x, place)
  return function(first, count)
    local list = {}
    for l, t in ipairs(field) do
      list[l] = t:narrow(1, first, count):narrow(3, (place.top - 1 >> l) + 1, x:size(2) >> l)
        :narrow(4, (place.left - 1 >> l) + 1, x:size(3) >> l):clone()
    end
    return list
  end
end

--- What draws samples for `pipeline.look`: a function of x, C×h×w, and of its place where it is a tile.
--
-- With `together`, tiles that see the same latent draw the same number for it, so that what they make of a pixel
-- differs by what lies beyond their rims alone, and a sample of a picture is one of all of it. (Denoising BSDS500,
-- tiles of 512, in the 64 columns that two share: 0.056 of a sample's own size, 0.11 at the rims, where they count
-- least, and 0.003 in the middle; 0.46 where each tile draws for itself.)
-- @param model
-- @tparam table way
-- @tparam[opt] boolean together
-- @treturn function
function M.drawer(model, way, together)
  local field
  return function(x, place)
    if not (together and place) then return (M.draw(model, core.stack {x}, way)) end
    field = field or field_of(model, place.height, place.width, way)
    return transform.undo(draw(model, core.stack {x}, way, cut(field, x, place)), way.cell_width)
  end
end

local function asks_all(task, way) return way.consensus and task.decide_all and M.count(way) > 1 end

--- The mean of the samples of one x, as the task takes it.
-- @tparam table task
-- @tparam Tensor samples M×C×H×W
-- @treturn Tensor C×H×W
function M.mean(task, samples)
  if task.mean and #samples > 1 then return task.mean(samples) end
  local count, c, h, w = table.unpack(samples:size())
  return samples:reshape(count, c * h * w):mean(1):reshape(c, h, w)
end

--- The answer of a task: from the mean of the samples, or by consensus of all of them.
-- @tparam table task
-- @tparam Tensor samples M×C×H×W
-- @tparam table sample of the data set
-- @tparam table way
function M.decide(task, samples, sample, way)
  if asks_all(task, way) then return task.decide_all(samples, sample) end
  return task.decide(M.mean(task, samples), sample)
end

--- A way in words, as `evaluate` prints it.
-- @tparam table task
-- @tparam table way
-- @treturn string
function M.describe(task, way)
  local text = "one pass at the centre of the latents"
  if not way.centre then
    local paired = way.pairs ~= false and way.samples % 2 == 0
    text = ("%s%s"):format(count_of(way.samples, "sample"), paired and " in pairs" or "")
    if way.temperature and way.temperature ~= 1 then text = ("%s at temperature %g"):format(text, way.temperature) end
  end
  if way.mirror then text = text .. ", and of the mirror image" end
  if asks_all(task, way) then return "consensus of " .. text end
  return M.count(way) > 1 and "mean of " .. text or text
end

--- The ways that `evaluate --compare` tries, each with a short `name`.
-- @treturn {table,...}
function M.all()
  return {
    {name = "centre", centre = true}, {name = "centre, mirrored", centre = true, mirror = true},
    {name = "2 in pairs", samples = 2}, {name = "10 samples", samples = 10, pairs = false},
    {name = "10 in pairs", samples = 10}, {name = "10 in pairs, t 0.7", samples = 10, temperature = 0.7},
    {name = "10 in pairs, mirrored", samples = 10, mirror = true}, {name = "40 in pairs", samples = 40},
    {name = "10, consensus", samples = 10, consensus = true},
  }
end

return M
