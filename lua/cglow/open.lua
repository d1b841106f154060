--- A trained model with all of its task: from a picture of any size to an answer in that size.
--
--     local horses = assert(cglow.open "runs/horses")
--     local said = assert(horses:predict "photo.jpg")     -- or the bytes of a file, or a tensor
--     cglow.image.save("mask.png", said.picture, said.form)
--
-- For programs that answer many requests: nothing of a request is kept, so memory stays flat. An object
-- belongs to the Lua state that opened it; several states may open the same model.
-- @module cglow.open
local check = require "cglow.util.check"
local core = require "cglow.core"
local identity = require "cglow.tasks.identity"
local image = require "cglow.image"
local kept = require "cglow.run.scores"
local known = require "cglow.tasks.known"
local lfs = require "lfs"
local Model = require "cglow.model"
local options = require "cglow.util.options"
local paths = require "cglow.util.path"
local pipeline = require "cglow.tasks.pipeline"
local runfolder = require "cglow.run.folder"
local scores = require "cglow.tasks.scores"
local settings = require "cglow.tasks.settings"
local source_of = require "cglow.image.source"
local task_of = require "cglow.tasks.define"
local view_of = require "cglow.tasks.view"
local ways = require "cglow.tasks.ways"

local SAMPLES <const> = 10 -- where the run says nothing else
local SCORING <const> = {draws = 4, seed = 1} -- as the command `score` does unless it is told otherwise

-- ---- opening -----------------------------------------------------------------

local OPTIONS <const> = {
  task = {type = "table"}, samples = {type = "integer", min = 1, max = 4096},
  temperature = {type = "number", min = 0}, centre = {type = "boolean"}, mirror = {type = "boolean"},
  consensus = {type = "boolean"}, seed = {type = "integer", min = 0, default = 1},
}

-- The model file that a path names and what is known of its task: `name` and `settings`.
local function find(path)
  local mode, message, code = lfs.attributes(path, "mode")
  if not mode then return nil, ("%s: %s"):format(path, (message:gsub("^.*: ", ""))), code end
  if mode ~= "directory" then return path end
  local folder = runfolder.at(path)
  if not folder:exists() then return nil, ("%s is no run folder: it holds no config.json"):format(path) end
  local config, model
  config, message, code = folder:read_config()
  if not config then return nil, message, code end
  model, message = folder:model()
  if not model then return nil, message end
  return model, {name = config.task, settings = config.settings}
end

-- The task, as the model's own settings have it; nil and a message.
local function task_for(path, about, given)
  local task = given
  if not task then
    if not about.name then return nil, path .. " does not say of which task it is: give it as option 'task'" end
    task = known.find(about.name)
    if not task then
      return nil, ("%s is of the task %s, which does not come along: give it as option 'task'"):format(path,
        options.show(about.name))
    end
  end
  local saved, message = settings.saved(about)
  if not saved then return nil, ("%s: %s"):format(path, message) end
  local ok, configured = pcall(task_of.configured, task, task_of.own_options(task, saved))
  if not ok then return nil, ("%s: %s"):format(path, configured) end
  return configured, saved
end

local Pipeline = {}
Pipeline.__index = Pipeline
Pipeline.__name = "cglow.Pipeline"

-- ---- requests ------------------------------------------------------------------

local READING <const> = {
  mask = {type = "string", path = true}, sigma = {type = "number", above = 0, max = 255},
}

local PICTURE <const> = "a path, the bytes of a file, or a tensor of C×H×W"

-- The picture as the task reads it; misuse is the caller's caller's.
local function read(self, name, what, args)
  local source = source_of.of(what)
  if not source then
    error(("bad argument #1 to '%s': picture must be %s, got %s"):format(name, PICTURE, options.show(what)), 3)
  end
  return self.task.read(source, args)
end

--- The answer for a picture of any size.
-- @tparam string|Tensor picture a path, the bytes of a file that `cglow.image` reads, or C×H×W numbers
-- in [0, 1]
-- @tparam[opt] table opts `mask`: path of the hole's mask, for inpainting; `sigma`: of the noise, of 255, for
-- denoising, where it is not that of the training
-- @treturn[1] table of the picture's height and width: `answer` (a mask, H×W of 0 and 1; labels from 0 on,
-- H×W; or a picture), `mean` and `std` of the samples at each pixel (K×H×W: share of foreground, of each
-- label, or the picture), `picture` for a file, and its `form`, options of `image.save` and `image.encode`
-- @treturn[2] nil when it cannot be read
-- @treturn[2] string message
function Pipeline:predict(picture, opts)
  local o = options.check("Pipeline:predict", opts, READING)
  local given, message = read(self, "Pipeline:predict", picture, {mask = o.mask, noise = o.sigma})
  if not given then return nil, message end
  return pipeline.look(self.task, given, self.view, ways.drawer(self.model, self.way), self.way)
end

--- Samples of the answer.
-- @tparam string|Tensor picture as for `predict`
-- @tparam[opt] table opts `n` = 4; `temperature`; `mask` and `sigma`, as for `predict`
-- @treturn[1] {Tensor,...} K×H×W each, of the picture's height and width
-- @treturn[2] nil when it cannot be read, or when the model sees it by tiles that do not fit together
-- @treturn[2] string message
function Pipeline:sample(picture, opts)
  local o = options.check("Pipeline:sample", opts, {
    n = {type = "integer", default = 4, min = 1, max = 4096}, temperature = {type = "number", min = 0},
    mask = READING.mask, sigma = READING.sigma,
  })
  local given, message = read(self, "Pipeline:sample", picture, {mask = o.mask, noise = o.sigma})
  if not given then return nil, message end
  local ok
  ok, message = pipeline.has_samples(self.task, given, self.view)
  if not ok then return nil, message end
  local way = setmetatable({
    samples = o.n, temperature = o.temperature, centre = false, mirror = false, pairs = false,
  }, {__index = self.way})
  return pipeline.look(self.task, given, self.view, ways.drawer(self.model, way, true), {samples = true}).samples
end

--- How likely an answer is.
-- @tparam string|Tensor picture as for `predict`
-- @tparam[opt] string|Tensor answer a path, the bytes of a file, or a tensor, as `predict` gives it; none where
-- the picture has it itself (inpainting)
-- @treturn[1] table `log_prob` in nats and `bits_per_dim`, at the model's size; where the run has
-- scores.json (`cglow score` makes it), `percentile` and `z` beside held-out pairs
-- @treturn[2] nil when they cannot be read, or do not belong together
-- @treturn[2] string message
function Pipeline:score(picture, answer)
  local source = source_of.of(picture)
  if not source then
    error(("bad argument #1 to 'Pipeline:score': picture must be %s, got %s"):format(PICTURE, options.show(picture)), 2)
  end
  if not self.task.alone then options.arg("Pipeline:score", 2, "answer", answer, "string|tensor") end
  local sample, message = self.task.pair(source, answer, self.size)
  if not sample then return nil, message end
  local way = {cell_width = self.way.cell_width, draws = SCORING.draws, seed = SCORING.seed}
  return scores.compare(scores.of(self.model, sample, way), self.reference)
end

--- What `predict` gave as the bytes of a PNG file.
-- @tparam table said
-- @treturn string
function Pipeline:png(said) -- luacheck: no self
  options.arg("Pipeline:png", 1, "said", said, "table")
  options.arg("Pipeline:png", 1, "said.picture", said.picture, "tensor")
  return image.encode(said.picture, "png", said.form)
end

function Pipeline:__tostring()
  return ("cglow.Pipeline of %s: %s, %dx%d, %s"):format(self.task.name, self.path, self.size, self.size,
    ways.describe(self.task, self.way))
end

check.class("Pipeline", Pipeline, "task")

--- Open a trained model.
-- @function open
-- @string[opt] path a run folder, of which the best model is taken, or a model file; the small pretrained
-- model that comes along when absent (data/README.md says what it knows)
-- @tparam[opt] table opts how predictions are made; by default as the run has it:
--
-- * `samples` (10), `temperature` (1), or `centre` = true: one pass at the centre of the latents
-- * `mirror`: use the mirror image, too; `consensus`: decide by all samples, not by their mean
-- * `seed` = 1 of the samples: what is asked one after the other gets other numbers, the same each time
-- * `task`: the task, where it is one's own (`cglow.task.define`)
-- @treturn[1] Pipeline
-- @treturn[2] nil
-- @treturn[2] string message
-- @treturn[2] ?integer code
return function(path, opts)
  options.arg("cglow.open", 1, "path", path, {type = "string", path = true, optional = true})
  local o, missing = options.check("cglow.open", opts, OPTIONS), nil
  if not path then path, missing = paths.pretrained() end
  if not path then return nil, missing end
  local file, about, code = find(path)
  if not file then return nil, about, code end
  local model, _, metadata = Model.load(file)
  if not model then return nil, _, metadata end
  local message
  if not about then about, message = identity.read(metadata) end
  if not about then return nil, ("%s: %s"):format(file, message) end
  local task, saved = task_for(path, about, o.task)
  if not task then return nil, saved end
  local size = task_of.size_of(task, model)
  if not size then return nil, ("%s is no model of %s"):format(file, task.name) end
  if o.mirror == nil then o.mirror = saved["augment.mirror"] == true end
  o.samples, o.rng = o.samples or saved.samples or SAMPLES, core.Rng(o.seed)
  o.cell_width = tonumber(metadata.cell_width)
  return setmetatable({
    task = task, model = model, size = size, view = view_of.of(model, size), way = o, path = file,
    reference = scores.reference(kept.read(file:match "^(.*)/[^/]*$" or ".", file, SCORING) or {}),
  }, Pipeline)
end
