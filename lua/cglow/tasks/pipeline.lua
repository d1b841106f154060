--- A picture's way through a task: read, cut or resized for the model, and what the model says of
-- it brought to the picture's own size and form.
--
-- A task has for it, given or by default (see `cglow.task.define`),
--
-- * `read(source, args)`: the picture, a table with `x`, what the model's x is cut from
-- * `map(f, picture, size)`: f of the model's x, C×size×size → K×H×W of y's sides, in the picture's size
-- * `values(y, sample)`: y in numbers of the answer: a share of foreground, of each label, a picture
-- * `finish(values, picture)`: the answer, its picture for a file, and options of `image.save`
-- @module cglow.tasks.pipeline
local core = require "cglow.core"
local image = require "cglow.image"
local source_of = require "cglow.image.source"
local tiles = require "cglow.image.tiling"

local M = {}

--- `map` of a task that sees pictures whole.
function M.whole(f, picture, size)
  local h, w = picture.x:size(2), picture.x:size(3)
  return image.resize(f(image.resize(picture.x, size, size)), h, w)
end

--- `map` of a task that sees larger pictures by overlapping tiles.
function M.tiled(f, picture, size) return tiles.apply(picture.x, {size = size}, f) end

-- The mean of M×C×H×W.
local function mean_of(ys)
  local count, c, h, w = table.unpack(ys:size())
  return ys:reshape(count, c * h * w):mean(1):reshape(c, h, w)
end

-- Of a list of tensors, the standard deviation of each number.
local function spread_of(list)
  local sum, squares = 0, 0
  for _, t in ipairs(list) do sum, squares = t + sum, t * t + squares end
  local mean = sum / #list
  return (squares / #list - mean * mean):clamp(0, math.huge):sqrt()
end

-- What the samples of one x say: the answer's numbers, their mean, their spread, and each of them.
local function said(task, ys, x, o)
  local sample, each = {x = x}, {}
  local mean = task.values(mean_of(ys), sample)
  for i = 1, #ys do each[i] = task.values(ys[i], sample) end
  local decided = o.consensus and task.values_all and #ys > 1 and task.values_all(ys, sample) or mean
  return core.cat({decided, mean, spread_of(each), table.unpack(each, 1, o.samples and #each or 0)}, 1)
end

--- All that a model says of a picture.
-- @tparam table task
-- @tparam table picture what the task's `read` gave
-- @int size that the model was made for
-- @tparam function draw from x, C×size×size, to samples of y, M×C×H×W
-- @tparam[opt] table o `consensus`: decide by all samples; `samples`: give each of them, too
-- @treturn table all of the picture's height and width: `answer`; `mean` and `std` of what the samples
-- say, K×H×W; `samples`, a list of K×H×W; `picture` for a file, and its `form`, options of `image.save`
function M.look(task, picture, size, draw, o)
  o = o or {}
  local all = task.map(function(x) return said(task, draw(x), x, o) end, picture, size)
  local channels = task.channels
  local function part(i) return all:narrow(1, (i - 1) * channels + 1, channels):clone() end
  local result = {mean = part(2), std = part(3), samples = o.samples and {} or nil}
  result.answer, result.picture, result.form = task.finish(part(1), picture)
  for i = 1, o.samples and #all // channels - 3 or 0 do result.samples[i] = part(i + 3) end
  return result
end

--- The answer for a file.
-- @tparam table task
-- @tparam function predict from x to the mean of samples of y, and all of them where they shall decide
-- @string path
-- @int size that the model was made for
-- @tparam[opt] table args command line
-- @treturn[1] Tensor picture of the answer
-- @treturn[1] table options of `image.save`
-- @treturn[2] nil
-- @treturn[2] string message
function M.predict_file(task, predict, path, size, args)
  local picture, message = task.read(source_of.of(path), args or {})
  if not picture then return nil, message end
  local values = task.map(function(x)
    local mean, samples = predict(x)
    local sample = {x = x}
    return samples and task.values_all and task.values_all(samples, sample) or task.values(mean, sample)
  end, picture, size)
  local _, shown, form = task.finish(values, picture)
  return shown, form
end

return M
