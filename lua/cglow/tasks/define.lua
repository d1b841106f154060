--- A task: what one of the example scripts says about its problem; the rest of
-- the command line is the same for all of them.
-- @module cglow.tasks.define
local kinds = require "cglow.tasks.kinds"
local options = require "cglow.util.options"
local pipeline = require "cglow.tasks.pipeline"
local sample_dir = require "cglow.data.sample_dir"
local scores = require "cglow.tasks.scores"
local settings = require "cglow.tasks.settings"
local shared = require "cglow.tasks.shared"

local M = {}

local DEFINITION = {
  name = {type = "string", required = true},
  data = {type = "function", required = true},
  kind = {type = "string", default = "image", one_of = {"mask", "labels", "image"}},
  classes = {type = "integer", min = 2, max = 256}, colours = {type = "table"},
  ignore = {type = "integer|table"},
  title = {type = "string"},
  predicts = {type = "string"},
  samples = {type = "string|boolean"},
  sizes = {type = "table", default = {32, 64, 128}},
  size = {type = "integer", min = 1},
  sample_size = {type = "integer", min = 1},
  steps = {type = "integer", default = 4000, min = 1},
  init = {type = "string", default = "live", one_of = {"paper", "orthogonal", "live"}},
  defaults = {type = "table", default = {}}, recipe = {type = "table", default = {}},
  augment_y = {type = "string", one_of = {"image", "mask", "labels", "nearest"}},
  head = {type = "table|boolean", fields = {
    outputs = {type = "integer", required = true, min = 1},
    loss = {type = "string", required = true, one_of = {"cross_entropy", "squared_error"}},
    target = {type = "function", required = true}, decide = {type = "function", required = true},
    scale = {type = "number", above = 0},
  }},
  x = {type = "function|integer", default = 3},
  y = {type = "function|integer"},
  decide = {type = "function"},
  decide_all = {type = "function"},
  mean = {type = "function"},
  score = {type = "function"},
  pictured = {type = "table", fields = {
    as = {type = "string", required = true}, note = {type = "string", required = true},
  }},
  show_input = {type = "function", default = function(sample) return sample.x end},
  show = {type = "function"},
  show_answer = {type = "function"},
  rate = {type = "function"}, rated = {type = "string"},
  baselines = {type = "function"},
  read = {type = "function"}, map = {type = "function"}, values = {type = "function"},
  values_each = {type = "function"}, values_all = {type = "function"}, channels = {type = "integer", min = 1},
  finish = {type = "function"},
  predict_options = {type = "function"},
  options = {type = "table", default = {}},
  settle = {type = "function"}, configure = {type = "function"},
  tiled = {type = "boolean", default = false},
  notes = {type = "string"},
  read_input = {type = "function"}, pair = {type = "function"}, alone = {type = "boolean", default = false},
}

-- A number of channels as the shape of a square.
local function shape(channels)
  return type(channels) == "function" and channels or function(size) return {channels, size, size} end
end

-- What a definition leaves out and its kind says.
local function complete(task)
  task.x = shape(task.x)
  task.y = task.y and shape(task.y)
  local shown = task.show and task.show_answer == nil
  if task.head == true then task.head = nil end
  if task.rate and not task.rated then task.rated = "rate" end
  for name, value in pairs(kinds[task.kind](task)) do
    if task[name] == nil then task[name] = value end
  end
  task.y = shape(task.y)
  if shown then task.show_answer = task.show end
end

--- Define a task: `name` and `data` are required, the rest follows from `kind` unless it is given.
-- @tparam table definition
--
-- * `name`: for help and for the run folder
-- * `data`: function(directory, {split =, size =, seed =, known =}) that gives a data set, or nil
--   and a message; "train" may be random, the others not; y is not dequantised; `known`: the run's own set is asked
--   for again, so that nothing need be told of it
-- * `kind` = what y is: "image" (numbers in [0, 1]), "mask" (0 or 1) or "labels" (one-hot; with
--   `classes`, how many there are, and `colours`, {{red, green, blue},…} from 0 to 255 to show them in)
-- * `ignore`: the number in label files, or the colour, of pixels that have no label
-- * `x` = 3, `y` (1 for a mask, `classes` for labels, else 3): channels of the condition and of the
--   output, or function(size) that gives the shape {C, H, W}
-- * `title`, and `predicts`, what `predict` does: one line each
-- * `sizes`, `size`: sizes worth naming, and the default (the first of them); `sample_size`: the
--   default for the embedded samples, when they are smaller; `steps` = 4000, `init` = "live": defaults
-- * `samples`: name of the embedded sample set; the task's own name when absent; false: `data` finds
--   its files by the task's own options
-- * `defaults`: settings (see `cglow.tasks.settings`) that differ from the paper's usual ones;
--   `recipe`: those that differ from the recipe "encoder"
-- * `augment_y`: what augmentation shall take y for (see `transform.augment`)
-- * `head`: of an encoder (false: none): `outputs` (channels), `loss` ("cross_entropy" or
--   "squared_error"), `target`: function(sample) that gives what it shall learn from y without noise
--   (classes from 1 on, H×W, or values), `decide`: function(said, sample) from outputs to the answer;
--   `scale`: if values are so many times y's, the flow may model what they leave of it
-- * `decide`: function(y, sample) from a mean of samples (or a true y) to the answer
-- * `mean`: function(samples) that gives the mean of M×C×H×W, where it is not the plain one
-- * `decide_all`: function(samples, sample) from all samples (M×C×H×W) to the answer, for `--consensus`
-- * `score`: function() that gives an object with `add(self, answer, truth, sample)`
--   and `result(self)`, a table of metrics; `notes`: what these are, one line, when they need to be told
-- * `rate`: function(answer, truth, sample) that gives a number for one image, higher is
--   better, to find the best of several samples; `rated` = "rate": what it is called
-- * `show_input`: function(sample), `show`: function(y, sample) and `show_answer`:
--   function(answer, sample) (as `show`, if only that is given): images
-- * `pictured`: {as =, note =} where pictures do not show the numbers as they are: what stands beside
--   "input" above a sheet, and a line that says it in full
-- * `baselines`: function(train) that gives a list of {name =, predict = function(sample)}
--   with predictions of y
-- * `read`, `map`, `values`, `finish`: how a user's picture of any size is answered, see
--   `cglow.tasks.pipeline`; `values_each`, and `values_all(samples, sample)`: `values` by all
--   samples, for `--consensus`; `channels`: how many numbers `values` gives at a pixel
-- * `tiled` = false: are pictures of any size alike for the model, as noise is, so that they are answered
--   in their own size? Else they are resized to the model's. (Then x and y have the same height and width.)
-- * `read_input`: function(path, size) that gives {x =, name =} or nil and a message, for `sample`
-- * `pair`: function(what, answer, size) that gives a sample of a user's picture and its answer (paths or
--   tensors), or nil and a message, for `score`; `alone` = true: it needs no answer, the picture has it
-- * `options`: what its data need to be told, on the command line and in the run's settings: a
--   list of {name =, argname =, kind =, description =}; `data` gets their values beside the others.
--   `kind` is "number", "integer", "word", "folder" or "file", `choices` a list of words; `of` = "data"
--   or "train" for one that only commands with data, or `train` alone, should have. Without
--   `argname` it is not on the command line (then also "string" and "boolean")
-- * `settle`: function(values of `options`, skip_damaged) that gives all values, those that were not given as the
--   data have them, or nil and a message; `train` calls it
-- * `configure`: function(values of `options`) that gives the task to go on with
-- * `predict_options`: function(command) that adds options of its own to `predict`
-- @treturn table the task
function M.define(definition)
  local task = options.check("task.define", definition, DEFINITION)
  if task.kind == "labels" and not task.classes then
    error("task.define: option 'classes' is required for kind = \"labels\": an integer >= 2", 2)
  end
  complete(task)
  task.title = task.title or ("c-Glow learns the task %s."):format(task.name)
  task.predicts = task.predicts or "Write an answer for each picture, in its own size."
  task.size = task.size or task.sizes[1]
  task.sample_size = task.sample_size or task.size
  task.read = task.read or function(source) return shared.read(source, task.x(task.size)[1]) end
  task.map = task.map or task.tiled and pipeline.tiled or pipeline.whole
  task.read_input = task.read_input or function(path, size) return shared.input(task, path, size) end
  task.pair = task.pair or function(what, answer, size) return scores.pair(task, what, answer, size) end
  return task
end

--- The values of a task's own options, the first ones given.
-- @tparam table task
-- @tparam table ... tables to look in: a command line, a run's settings
-- @treturn table name → value
function M.own_options(task, ...)
  local values = {}
  for _, given in ipairs {...} do
    for _, option in ipairs(task.options) do
      if values[option.name] == nil then values[option.name] = given[option.name] end
    end
  end
  return values
end

--- All values of a task's own options, those that were not given as its data have them.
-- @tparam table task
-- @tparam table values
-- @tparam ?boolean skip_damaged pass over files that cannot be read
-- @treturn[1] table
-- @treturn[2] nil
-- @treturn[2] string message
function M.settle(task, values, skip_damaged)
  if task.settle then return task.settle(values, skip_damaged) end
  return values
end

--- The task for these values of its own options.
function M.configured(task, values) return task.configure and task.configure(values) or task end

--- A part of a task's data.
-- @tparam table task
-- @tparam table o `directory` (the embedded samples when absent), `split`, `size`, `seed`, `known`, values
-- of the task's own options; `skip_damaged` = true: leave out what cannot be read
-- @treturn[1] Dataset
-- @treturn[1] string where it comes from, in words
-- @treturn[2] nil
-- @treturn[2] string message
function M.data(task, o)
  local directory, source = o.directory, o.directory
  if task.samples == false then
    source = o.x and ("%s and %s"):format(o.x, o.y) or "no folder"
  elseif not directory then
    directory, source = sample_dir(task.samples or task.name)
    if not directory then return nil, source end
    source = "embedded samples"
  end
  local data, message = task.data(directory, o)
  if not data then return nil, message end
  return o.skip_damaged and data:skip_damaged() or data, source
end

--- The options of `cglow.Model` for a task.
-- @tparam table task
-- @tparam table s flat settings
-- @treturn table
function M.model_options(task, s)
  local o = settings.model(s, task.head)
  o.x, o.y = task.x(s.size), task.y(s.size)
  return o
end

--- The size of the pictures that a model of a task was made for.
-- @tparam table task
-- @param model
-- @treturn ?int nil when it is no model of this task
function M.size_of(task, model)
  local x, y = model.config.x, model.config.y
  if not x then return nil end
  local function same(got, expected)
    return got[1] == expected[1] and got[2] == expected[2] and got[3] == expected[3]
  end
  return same(x, task.x(x[2])) and same(y, task.y(x[2])) and x[2] or nil
end

return M
