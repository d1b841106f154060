--- A picture's way through a task: read, cut or resized for the model, and what the model says of
-- it brought to the picture's own size and form.
--
-- A task has for it, given or by default (see `cglow.task.define`),
--
-- * `read(source, args)`: the picture, a table with `x`, what the model's x is cut from
-- * `map(f, picture, view)`: f of the model's x, C×h×w → K×h×w of y's sides, in the picture's size; `view`
--   says what the model can see (`cglow.tasks.view`)
-- * `values(y, sample)`: y in numbers of the answer: a share of foreground, of each label, a picture;
--   `sample` has the model's `x`, and the `picture`. `values_each` (`values` when absent): the same of a single
--   sample, without the noise of a discrete y
-- * `finish(values, picture)`: the answer, its picture for a file, and options of `image.save`
-- @module cglow.tasks.pipeline
local core = require "cglow.core"
local image = require "cglow.image"
local view_of = require "cglow.tasks.view"
local ways = require "cglow.tasks.ways"

local M = {}

--- `map` of a task that sees pictures in the size of the training's: what they show is as large
-- there as it was in training. (Horses by a model of 64×64: class-mean IoU 0.924; with the
-- photograph's proportions kept 0.910, at twice the size 0.759, at its own size 0.346.)
function M.whole(f, picture, view)
  local h, w, size = picture.x:size(2), picture.x:size(3), view.size
  return image.resize(f(image.resize(picture.x, size, size)), h, w)
end

--- `map` of a task for which all sizes are alike: pictures in their own.
function M.tiled(f, picture, view) return view_of.apply(view, picture.x, f) end

-- The standard deviation of each number over a list of tensors.
local function spread_of(list)
  local sum, squares = 0, 0
  for _, t in ipairs(list) do sum, squares = t + sum, t * t + squares end
  local mean = sum / #list
  return (squares / #list - mean * mean):clamp(0, math.huge):sqrt()
end

-- What the samples of one x say: the answer's numbers, their mean, their spread, and each of them.
local function said(task, ys, sample, o)
  local each, values = {}, task.values_each or task.values
  local mean = task.values(ways.mean(task, ys), sample)
  for i = 1, #ys do each[i] = values(ys[i], sample) end
  local decided = o.consensus and task.values_all and #ys > 1 and task.values_all(ys, sample) or mean
  return core.cat({decided, mean, spread_of(each), table.unpack(each, 1, o.samples and #each or 0)}, 1)
end

--- Does a model give samples of all of a picture? One that takes its own size alone, and so sees others by tiles,
-- does not: what its layers do with a tile depends on all of the tile, so tiles are no parts of one sample.
-- (Denoising, the same latents, where two tiles overlap: they differ by 0.6 of a sample's own size; with an encoder by
-- 0.06.)
-- @tparam table task
-- @tparam table picture what the task's `read` gave
-- @tparam table view of the model
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message
function M.has_samples(task, picture, view)
  local x = picture.x
  if view.unit or not (task.tiled and x and view_of.by_tiles(view, x:size(2), x:size(3))) then return true end
  return nil, ("%s: %d×%d pixels are seen by tiles, whose samples do not fit together: take %d×%d, or a model with "
    .. "an encoder"):format(picture.name or "the picture", x:size(3), x:size(2), view.size, view.size)
end

--- All that a model says of a picture.
-- @tparam table task
-- @tparam table picture what the task's `read` gave
-- @tparam table view of the model, see `cglow.tasks.view`
-- @tparam function draw from x, C×h×w, to samples of y, M×C×H×W (`cglow.tasks.ways.drawer`); of a tile, its place is
-- the second argument
-- @tparam[opt] table o `consensus`: decide by all samples; `samples`: give each of them, too
-- @treturn table all of the picture's height and width: `answer`; `mean` and `std` of what the samples
-- say, K×H×W; `samples`, a list of K×H×W; `picture` for a file, and its `form`, options of `image.save`
function M.look(task, picture, view, draw, o)
  o = o or {}
  local all = task.map(function(x, place)
    return said(task, draw(x, place), {x = x, picture = picture}, o)
  end, picture, view)
  local channels = task.channels
  local function part(i) return all:narrow(1, (i - 1) * channels + 1, channels):clone() end
  local result = {mean = part(2), std = part(3), samples = o.samples and {} or nil}
  result.answer, result.picture, result.form = task.finish(part(1), picture)
  for i = 1, o.samples and #all // channels - 3 or 0 do result.samples[i] = part(i + 3) end
  return result
end

return M
