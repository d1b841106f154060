--- Training: shuffled mini-batches, validation, checkpoints, a log, and a way
-- on from whatever interrupts it.
--
--     local trainer = cglow.train.Trainer {
--       model = model, train = train, valid = valid, batch = 16, steps = 4000,
--       optimizer = {lr = 1e-3, clip_norm = 1}, schedule = "linear", warmup = 200, ema = 0.998,
--       run = "runs/horses",
--     }
--     local outcome = trainer:run()
--
-- Anything with `zero_grad`, `loss_and_grad`, `parameters`, `save` and either
-- `loss` or `log_prob` can be trained: the flow models, plain Glow among them, and the
-- feed-forward networks alike.
-- @module cglow.train
local check = require "cglow.util.check"
local core = require "cglow.core"
local optim = require "cglow.optim"
local options = require "cglow.util.options"
local averaging = require "cglow.train.averaging"
local discrete = require "cglow.train.discrete"
local batches = require "cglow.train.batches"
local format = require "cglow.run.format"
local store = require "cglow.train.store"
local step_guard = require "cglow.train.step_guard"
local progress = require "cglow.train.progress"
local schedule = require "cglow.train.schedule"
local settings = require "cglow.train.settings"
local shuffle = require "cglow.train.shuffle"
local step = require "cglow.train.step"
local stop = require "cglow.train.stop"
local validation = require "cglow.train.validation"
local world = require "cglow.train.world"
local system = core.system

local M = {}

local Trainer = {}
Trainer.__index = Trainer
Trainer.__name = "cglow.Trainer"

local NOTICE = "\nfinishing this step, then saving; once more to stop at once\n"

-- Added to the seed, so that the streams of random numbers differ.
local NOISE, VALIDATION = 1 << 32, 2 << 32

-- A table of options is for Adam; `cn_step` among them is for the model, whose
-- conditioning networks may take smaller steps than the rest.
local function make_optimizer(model, given)
  if getmetatable(given) then return given end
  local adam = {}
  for name, value in pairs(given) do if name ~= "cn_step" then adam[name] = value end end
  return optim.Adam(model.parameter_groups and model:parameter_groups(given.cn_step) or model:parameters(), adam)
end

-- The data to train on: with what the head is to learn, made from the y that is given, and
-- with noise where y is discrete.
local function training_data(o)
  local data = o.train
  if o.head then
    data = data:map(function(sample)
      local copy = {target = o.head.target(sample)}
      for field, value in pairs(sample) do copy[field] = value end
      return copy
    end)
  end
  return discrete.ready(data, o.model, "train")
end

local function takes_x(model) return not (model.config and model.config.x == nil) end

--- A trainer. Nothing is written before `run`.
-- @tparam table o options:
--
-- * `model`, `train`: what to train, and the data set to train it on (required). A set that
--   says that its y is discrete (`info.cell_width`) gets noise over the cells unless it has
--   it (`ds:dequantise()`); discrete values without that word are refused
-- * `valid`: data set to validate on
-- * `read_ahead` = 0: threads that read the samples of the next batches while one is computed, where a
--   reader of `cglow.data` reads them; no number depends on it
-- * `world`: the module `cglow.mpi` in a process that mpirun or srun has started; all ranks
--   train together then, and rank 0 alone keeps and says something
-- * `reduce`: function(trainer, loss, why) between gradient and step, for those who make the gradients of
--   several processes one by other means; gives the loss, or nil and why the step is refused
-- * `steps` = 1000, `batch` = 2 (samples of each rank), `seed` = 1; `accumulate` = 1: batches whose gradients are
--   added up for a step
-- * `optimizer`: a table of options for `optim.Adam` and, for models with
--   parameter groups, `cn_step`; or an optimizer
-- * `schedule`: what becomes of the step size: "constant", "linear" or "cosine", or a function of
--   `status()` that gives a factor; `warmup` = 0: steps over which it grows to its full value;
--   `fall` = 0.6 where a curve is named: the share of the steps, the last ones, over which it
--   falls towards 0, or in steps `cooldown` = 0
-- * `ema`: keep an average of the weights, of which each step takes the share 1 − ema; it is
--   what is validated, drawn and found in the run's files by whoever loads them
-- * `head` = {target = function(sample) that gives a tensor, from y without noise; `weight` = 0.1
--   or a function of `status()`}: train the model's head beside it
-- * `cell_width`: the spacing of y's values, for bits per dimension; by default
--   what the data set says, or else 1
-- * `validate`: function(model, valid, world), called on all ranks, that gives a table of metrics
-- * `metric` = "nll": what picks the best model, from what a validation gives; `higher` = false:
--   is more better? `patience` = 0: validations without a better one that end the training; 0: none do
-- * `picture`: function(model) that gives an image, kept in samples/ after each validation
-- * `log_every` = 10, `valid_every` = 250, `checkpoint_every` = 500: steps
-- * `run`: folder for all that is kept (nothing is kept without it); `keep` = 3 checkpoints
-- * `resume` = false: go on from the newest checkpoint in `run`
-- * `recover_after` = 100: good steps after which a halving of the step size is undone
-- * `max_refused` = 10: refused steps in a row that end the training
-- * `config`: table written to config.json, for the report; `metadata`: strings by name that all model
--   files get beside what they have
-- * `progress`: "bar", "lines", "json" or "quiet"; by default a bar on a terminal, else lines
-- * `on_step`: function(trainer) called after each step, `on_validation`: function(trainer,
--   metrics) after each validation; they may call `set_lr` and `stop`
-- * `stop`: function(status) called after each step, which ends the training by giving true
--   or a text that says why; all is saved
-- @treturn Trainer
-- @raise on an unknown or impossible option
function M.Trainer(o)
  o = settings.check(o)
  local factor = schedule.new(o)
  local optimizer, train, x = make_optimizer(o.model, o.optimizer), training_data(o), takes_x(o.model)
  local ranks = world.of(o.world)
  local kept, silent = world.roles(ranks, o)
  return setmetatable({
    world = ranks, noise_seed = o.seed + NOISE,
    options = o, model = o.model, optimizer = optimizer, lr = optimizer.lr, schedule = factor,
    shuffle = shuffle.new(train:size(), o.seed), noise = core.Rng(o.seed + NOISE),
    batches = batches.new(train, o.batch, {takes_x = x, target = o.head ~= nil}),
    loss_options = {cell_width = o.cell_width},
    averaging = averaging.new(o.model, o.ema), guard = step_guard.new(o), progress = silent or progress.new(o.progress),
    validation = o.valid and validation.new {
      data = discrete.ready(o.valid, o.model, "valid"), given = o.valid, batch = o.batch, takes_x = x,
      cell_width = o.cell_width, seed = o.seed + VALIDATION, metrics = o.validate, world = ranks,
    },
    store = store.new(kept),
    -- what a checkpoint keeps besides the model, the optimizer and the streams
    at = {step = 0, seconds = 0.0, smooth = 0.0, weight = 0.0, sum = 0.0, count = 0},
    spent = {before = 0.0, steps = 0, data = 0, stepping = 0}, -- seconds, in this process
  }, Trainer)
end

--- Steps made so far.
function Trainer:step_count() return self.at.step end

local function smoothed(at) return at.weight > 0 and at.smooth / at.weight or nil end

local function best_of(at)
  return at.best_step and {step = at.best_step, nll = at.best_nll, value = at.best_value} or nil
end

--- Where the training stands, for schedules and callbacks.
-- @treturn table `step` (made so far), `steps`, `epoch` (a fraction), `seconds`, `nll`
-- (smoothed; nil before the first step), `lr` (before schedule and halvings), `valid` (metrics
-- of the last validation, if any), `best` (`step`, `nll` and `value` of the metric, if any)
function Trainer:status()
  local at = self.at
  return {step = at.step, steps = self.options.steps, epoch = self.shuffle:epochs(), seconds = step.seconds(self),
    nll = smoothed(at), lr = self.lr, valid = at.valid, best = best_of(at)}
end

--- Change the step size, which schedule and halvings are factors of; resuming keeps it.
-- @number lr
function Trainer:set_lr(lr)
  self.lr = options.arg("Trainer:set_lr", 1, "lr", lr, {type = "number", min = 0, max = 1e9})
  self.at.lr = self.lr
end

--- End the training after this step; all is saved and `run` gives the reason "stopped".
-- @string[opt] message why
function Trainer:stop(message)
  self.stopping = options.arg("Trainer:stop", 1, "message", message, {type = "string", default = "as it was told to"})
end

-- ---- validation ----------------------------------------------------------

local function metric_of(self, metrics)
  local value = metrics[self.options.metric]
  if value then return value end
  error(("Trainer: option 'metric': the validation gives %s, and no '%s'"):format(
    format.metrics(metrics), self.options.metric), 0)
end

local function note_best(self, metrics)
  local at, o, value = self.at, self.options, metric_of(self, metrics)
  local better = not at.best_value and value == value
  if at.best_value then better = o.higher and value > at.best_value or not o.higher and value < at.best_value end
  if better then
    at.best_value, at.best_nll, at.best_step, at.stale = value, metrics.nll, at.step, 0
    self.world:attempt(self.store.save_best, self.store, self, metrics)
    return
  end
  at.stale = (at.stale or 0) + 1
  if o.patience > 0 and at.stale >= o.patience then
    self:stop(("no better %s in %d validations; the best was %s at step %d"):format(
      o.metric, at.stale, format.number("%.4g", at.best_value or 0 / 0), at.best_step or 0))
  end
end

local function validate(self)
  local o, exchanged <close> = self.options, self.averaging:exchange()
  local metrics = stop.must(self.validation:run(self.model))
  self.at.valid = metrics
  step.log(self, {valid = metrics})
  self.progress:validation(self.at.step, metrics)
  self.world:attempt(function()
    if o.picture then self.store:save_picture(self.at.step, function() return o.picture(self.model) end) end
  end)
  note_best(self, metrics)
  self.world:attempt(self.store.write_report, self.store)
  if exchanged then exchanged:close() end
  if o.on_validation then o.on_validation(self, metrics) end
end

-- ---- the state -----------------------------------------------------------

local SAME <const> = {"batch", "seed", "cell_width", "accumulate", "ema", "metric"} -- what a run cannot change

-- What a run was started with before these options were there.
local BEFORE <const> = {accumulate = 1, metric = "nll"}

--- All that a checkpoint keeps besides the model, the optimizer and the average.
-- @treturn table
function Trainer:state()
  self.at.seconds = step.seconds(self)
  local streams = self.unmade or {shuffle = self.shuffle:state(), noise = self.noise:state()}
  local ranks = self.world.size > 1 and self.world.size or nil
  local state = {ranks = ranks, at = self.at, shuffle = streams.shuffle, noise = streams.noise,
    policy = self.guard:state()}
  for _, name in ipairs(SAME) do state[name] = self.options[name] end
  return state
end

-- With another number of ranks a step has other samples, and another number of them.
local function note_ranks(self, before)
  local now, samples = self.world.size, self.options.batch * self.options.accumulate
  if now == before then return end
  self.progress:note(("the run was on %d rank%s, %d samples a step; it goes on on %d, %d samples a step"):format(
    before, before > 1 and "s" or "", before * samples, now, now * samples))
end

--- Go on from a state.
-- @tparam table state what `state` gave
-- @tparam function apply loads model and optimizer; called once the rest was found to fit
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message
function Trainer:restore(state, apply)
  for _, name in ipairs(SAME) do
    local there, here = state[name] or BEFORE[name], self.options[name]
    if there ~= here then
      return nil, ("the run was started with %s %s, not %s"):format(name, there or "absent", here or "absent")
    end
  end
  local at, steps = state.at.step, self.options.steps
  if at > steps then return nil, ("the run has come to step %d already, %d in all are fewer"):format(at, steps) end
  local ok, message = self.shuffle:restore(state.shuffle)
  if ok then ok, message = apply() end
  if not ok then return nil, message end
  self.noise:set_state(state.noise)
  self.guard:restore(state.policy)
  self.at, self.lr = state.at, state.at.lr or self.lr
  self.at.best_value = self.at.best_value or self.at.best_nll
  note_ranks(self, state.ranks or 1)
  return true
end

--- Go on from a checkpoint.
-- @param loaded what `cglow.train.checkpoint` has read
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message
function Trainer:go_on(loaded)
  return self:restore(loaded.state, function() return loaded:apply(self.model, self.optimizer, self.averaging) end)
end

-- ---- the run -------------------------------------------------------------

local function show(self)
  local spent, at = self.spent, self.at
  local stepping, all = math.max(spent.stepping, 1e-9), system.clock() - spent.start
  self.progress:step {
    step = at.step, steps = self.options.steps, nll = smoothed(at) or 0 / 0,
    per_second = spent.steps / stepping, left = (self.options.steps - at.step) * all / spent.steps,
    memory = (system.memory()), data_share = spent.data / stepping, valid = at.valid,
  }
end

-- Does the user's function `stop` want to end the training?
local function ask_to_stop(self)
  local why = self.options.stop and self.options.stop(self:status())
  if why then self:stop(type(why) == "string" and why or nil) end
end

-- All that belongs to one step, in the order in which it is logged.
local function advance(self)
  local o, at = self.options, self.at
  step.make(self)
  local last = at.step == o.steps
  if last or at.step % o.log_every == 0 then step.log_loss(self) end
  local looking = self.validation and at.step % o.valid_every == 0 or o.run and at.step % o.checkpoint_every == 0
  if looking or not self.looked then step.check_precision(self) end
  if self.validation and (last or at.step % o.valid_every == 0) then validate(self) end
  if last or at.step % o.checkpoint_every == 0 then
    self.world:attempt(self.store.save_checkpoint, self.store, self, not last and self.guard.in_a_row > 0)
  end
  show(self)
  if o.on_step then o.on_step(self) end
  ask_to_stop(self)
end

local function train(self, catch)
  local _ <close> = self.batches:read_ahead(self.options.read_ahead)
  self.world:open(self)
  self.spent.before, self.spent.start = self.at.seconds, system.clock()
  while self.at.step < self.options.steps and not self.signal and not self.stopping do
    advance(self)
    self.signal = self.world:agree(self, catch)
  end
  self.world:attempt(function()
    self.store:save_checkpoint(self)
    self.store:save_model(self)
    self.store:write_report()
  end)
  self.world:settle()
  if self.at.step == self.options.steps then return end
  if self.stopping then stop.raise("stopped", ("stopped at step %d: %s"):format(self.at.step, self.stopping)) end
  stop.raise("interrupted", ("stopped at step %d of %d"):format(self.at.step, self.options.steps))
end

-- Save what there is when something else than the model's numbers went wrong. A fault in saving,
-- such as a full disk, is not reported: it is the same fault, or a lesser one.
local function rescue(self, why)
  local diverged = stop.is(why) and why.reason == "diverged"
  local over = stop.is(why) and (why.reason == "stopped" or why.reason == "interrupted")
  if self.store.log and not diverged and not over then pcall(self.store.save_checkpoint, self.store, self) end
end

local function outcome(self, reason, message)
  local at = self.at
  return {
    reason = reason, message = message, signal = self.signal, step = at.step, steps = self.options.steps,
    nll = smoothed(at), valid = at.valid, best = best_of(at), checkpoint = self.store:newest(),
    began = self.spent.start ~= nil,
  }
end

--- Train until the last step, or Ctrl-C, or a callback's word, or trouble. Whatever ends it,
-- but a model that diverged, the last complete step is in a checkpoint.
-- @treturn table what came of it: `reason` ("done", "stopped", "interrupted", "diverged",
-- "failed"), `message` (unless done), `signal` ("INT" or "TERM", if one came),
-- `step`, `nll` (smoothed), `valid` (the last validation), `best` (`step`, `nll` and
-- `value` of the best one), `checkpoint` (path of the newest one), `began` (false where it could not even be
-- opened: then nothing in the run's folder is of this call)
-- @raise an error of the model's, the data set's or a callback's
function Trainer:run()
  local catch <close> = system.catch_interrupt(self.world.rank == 0 and NOTICE or "")
  local ok, why = xpcall(train, stop.catch, self, catch)
  if not ok then rescue(self, why) end
  self.store:close()
  self.progress:close()
  if not ok and not stop.is(why) then error(why, 0) end
  local message = not ok and (why.message or ("stopped at once in step %d of %d"):format(self.at.step + 1,
    self.options.steps)) or nil
  return outcome(self, ok and "done" or why.reason, message)
end

function Trainer:__tostring()
  return ("cglow.Trainer  step %d of %d, batch %d, %d samples, %s"):format(self.at.step, self.options.steps,
    self.options.batch, self.options.train:size(), self.options.run or "nothing kept")
end

check.class("Trainer", Trainer, "store")

return M
