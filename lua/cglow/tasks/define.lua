--- A task: what one of the example scripts says about its problem; the rest of
-- the command line is the same for all of them.
-- @module cglow.tasks.define
local options = require "cglow.util.options"
local sample_dir = require "cglow.data.sample_dir"
local settings = require "cglow.tasks.settings"

local M = {}

local DEFINITION = {
  name = {type = "string", required = true},
  title = {type = "string", required = true},
  predicts = {type = "string", required = true},
  samples = {type = "string"},
  sizes = {type = "table", required = true},
  size = {type = "integer", required = true, min = 1},
  sample_size = {type = "integer", min = 1},
  steps = {type = "integer", default = 4000, min = 1},
  init = {type = "string", default = "live", one_of = {"paper", "orthogonal", "live"}},
  defaults = {type = "table", default = {}}, recipe = {type = "table", default = {}},
  augment_y = {type = "string", default = "image", one_of = {"image", "mask", "labels", "nearest"}},
  head = {type = "table", fields = {
    outputs = {type = "integer", required = true, min = 1},
    loss = {type = "string", required = true, one_of = {"cross_entropy", "squared_error"}},
    target = {type = "function", required = true}, decide = {type = "function", required = true},
  }},
  x = {type = "function", required = true},
  y = {type = "function", required = true},
  data = {type = "function", required = true},
  decide = {type = "function", required = true},
  decide_all = {type = "function"},
  score = {type = "function", required = true},
  show_input = {type = "function", required = true},
  show = {type = "function", required = true},
  show_answer = {type = "function"},
  rate = {type = "function"},
  baselines = {type = "function", required = true},
  predict_file = {type = "function", required = true},
  predict_options = {type = "function"},
  options = {type = "table", default = {}},
  configure = {type = "function"},
  save = {type = "table"},
  tiled = {type = "boolean", default = false},
  notes = {type = "string"},
  read_input = {type = "function", required = true},
}

--- Define a task.
-- @tparam table definition
--
-- * `name`, `title`: for help and for the run folder; `predicts`: what `predict` does, one line
-- * `samples`: name of the embedded sample set; the task's own name when absent
-- * `sizes`, `size`: sizes worth naming, and the default; `sample_size`: the default for
--   the embedded samples, when they are smaller; `steps`, `init`: defaults
-- * `defaults`: settings (see `cglow.tasks.settings`) that differ from the paper's usual ones;
--   `recipe`: those that differ from the recipe "encoder"
-- * `augment_y` = "image": what augmentation shall take y for (see `transform.augment`)
-- * `head`: of an encoder: `outputs` (channels), `loss` ("cross_entropy" or "squared_error"),
--   `target`: function(sample) that gives what it shall learn from y without noise (classes
--   from 1 on, H×W, or values), `decide`: function(said, sample) from outputs to the answer
-- * `x`, `y`: function(size) that gives the shape {C, H, W} of the condition and of the output
-- * `data`: function(directory, {split =, size =, seed =}) that gives a data set, or nil
--   and a message; "train" may be random, the others not; y is not dequantised
-- * `decide`: function(y, sample) from a mean of samples (or a true y) to the answer
-- * `decide_all`: function(samples, sample) from all samples (M×C×H×W) to the answer, for `--consensus`
-- * `score`: function() that gives an object with `add(self, answer, truth, sample)`
--   and `result(self)`, a table of metrics
-- * `rate`: function(answer, truth, sample) that gives a number for one image, higher is
--   better, to find the best of several samples
-- * `show_input`: function(sample), `show`: function(y, sample) and `show_answer`:
--   function(answer, sample) (as `show` when absent): images
-- * `baselines`: function(train) that gives a list of {name =, predict = function(sample)}
--   with predictions of y
-- * `read_input`: function(path, size) that gives {x =, name =} or nil and a message
-- * `predict_file`: function(predict, path, size, args) that gives an image, and options of
--   `image.save` for it when they are not `save`'s, or nil and a message; `predict(x)` is
--   the mean of samples for one x
-- * `options`: what its data need to be told, on the command line and in the run's settings: a
--   list of {name =, argname =, kind = "number" or "integer", description =}; `data` gets
--   their values beside the others
-- * `configure`: function(values of `options`) that gives the task to go on with
-- * `predict_options`: function(command) that adds options of its own to `predict`;
--   `save`: options of `image.save` for its results
-- * `tiled` = false: may larger pictures be predicted by overlapping tiles? (Then x and y
--   have the same height and width.) `notes`: what its metrics are, one line, when they
--   need to be told
-- @treturn table the task
function M.define(definition)
  local task = options.check("task.define", definition, DEFINITION)
  task.show_answer = task.show_answer or task.show
  task.sample_size = task.sample_size or task.size
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

--- The task for these values of its own options.
function M.configured(task, values) return task.configure and task.configure(values) or task end

--- A part of a task's data.
-- @tparam table task
-- @tparam table o `directory` (the embedded samples when absent), `split`, `size`, `seed`, values
-- of the task's own options; `skip_damaged` = true: leave out what cannot be read
-- @treturn[1] Dataset
-- @treturn[1] string where it comes from, in words
-- @treturn[2] nil
-- @treturn[2] string message
function M.data(task, o)
  local directory, source = o.directory, o.directory
  if not directory then
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

return M
