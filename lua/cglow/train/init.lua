--- Training: shuffled mini-batches, validation, checkpoints, a log, and a way
-- on from whatever interrupts it.
--
--     local trainer = cglow.train.Trainer {
--       model = model, train = train:dequantise(), valid = valid:dequantise(),
--       batch = 2, steps = 4000, optimizer = {lr = 2e-4, clip_value = 0.25},
--       run = "runs/horses",
--     }
--     local outcome = trainer:run()
--
-- Anything with `zero_grad`, `loss_and_grad`, `parameters`, `save` and either
-- `loss` or `log_prob` can be trained: the flow models and the feed-forward
-- networks alike.
-- @module cglow.train
local check = require "cglow.util.check"
local core = require "cglow.core"
local optim = require "cglow.optim"
local json = require "cglow.util.json"
local feed = require "cglow.train.batches"
local keeper = require "cglow.train.store"
local policy = require "cglow.train.step_guard"
local progress = require "cglow.train.progress"
local settings = require "cglow.train.settings"
local shuffle = require "cglow.train.shuffle"
local stop = require "cglow.train.stop"
local validation = require "cglow.train.validation"
local system = core.system

local M = {}

local Trainer = {}
Trainer.__index = Trainer

local NOTICE = "\nfinishing this step, then saving; once more to stop at once\n"

-- Added to the seed, so that the streams of random numbers differ.
local NOISE, VALIDATION = 1 << 32, 2 << 32

local SMOOTHING = 0.98 -- weight of the past in the NLL that is shown

-- A table of options is for Adam; `cn_step` among them is for the model, whose
-- conditioning networks may take smaller steps than the rest.
local function make_optimizer(model, given)
  if getmetatable(given) then return given end
  local adam = {}
  for name, value in pairs(given) do if name ~= "cn_step" then adam[name] = value end end
  return optim.Adam(model.parameter_groups and model:parameter_groups(given.cn_step) or model:parameters(), adam)
end

--- A trainer. Nothing is written before `run`.
-- @tparam table o options:
--
-- * `model`, `train`: what to train, and the data set to train it on (required); y
--   is used as it comes, so a discrete one is to be dequantised by the data set
-- * `valid`: data set to validate on
-- * `steps` = 1000, `batch` = 2, `seed` = 1
-- * `optimizer`: a table of options for `optim.Adam` and, for models with
--   parameter groups, `cn_step`; or an optimizer
-- * `warmup` = 0: steps over which the step size grows to its full value; `cooldown` = 0:
--   last steps, over which it falls in a straight line towards 0
-- * `cell_width`: the spacing of y's values, for bits per dimension; by default
--   what the data set says, or else 1
-- * `validate`: function(model, valid) that gives a table of metrics
-- * `picture`: function(model) that gives an image, kept in samples/ after each validation
-- * `log_every` = 10, `valid_every` = 250, `checkpoint_every` = 500: steps
-- * `run`: folder for all that is kept (nothing is kept without it); `keep` = 3 checkpoints
-- * `resume` = false: go on from the newest checkpoint in `run`
-- * `calm` = 100: good steps after which a halving of the step size is undone
-- * `give_up` = 10: refused steps in a row that end the training
-- * `config`: table written to config.json, for the report
-- * `progress`: "bar", "lines", "json" or "quiet"; by default a bar on a terminal, else lines
-- * `on_step`: function(trainer) called after each step
-- @treturn Trainer
-- @raise on an unknown or impossible option
function M.Trainer(o)
  o = settings.check(o)
  local optimizer = make_optimizer(o.model, o.optimizer)
  return setmetatable({
    options = o, model = o.model, optimizer = optimizer, lr = optimizer.lr,
    shuffle = shuffle.new(o.train:size(), o.seed), noise = core.Rng(o.seed + NOISE),
    feed = feed.new(o.train, o.batch), loss_options = {cell_width = o.cell_width},
    policy = policy.new(o), progress = progress.new(o.progress),
    validation = o.valid and validation.new {
      data = o.valid, batch = o.batch, cell_width = o.cell_width,
      seed = o.seed + VALIDATION, metrics = o.validate,
    },
    keeper = keeper.new(o),
    -- what a checkpoint keeps besides the model, the optimizer and the streams
    at = {step = 0, seconds = 0.0, smooth = 0.0, weight = 0.0, sum = 0.0, count = 0},
    spent = {steps = 0, data = 0, stepping = 0}, -- seconds, in this process
  }, Trainer)
end

--- Steps made so far.
function Trainer:step_count() return self.at.step end

-- ---- the log -------------------------------------------------------------

local function seconds(self)
  return self.spent.before + system.clock() - self.spent.start
end

-- Every line of a given step is the same after resuming, but for `seconds`.
local function log(self, record)
  record.step, record.seconds = self.at.step, tonumber(("%.3f"):format(seconds(self)))
  local line = json.encode(record, {not_finite = "null"})
  self.progress:record(line)
  self.keeper:write_log(line)
end

local function log_step(self)
  local at = self.at
  if at.count == 0 then return end
  log(self, {nll = at.sum / at.count, lr = self.optimizer.lr, epoch = self.shuffle:epochs()})
  at.sum, at.count = 0.0, 0
end

-- ---- one step ------------------------------------------------------------

local function set_step_size(self)
  local o, done = self.options, self.at.step
  local warm = math.min(1, (done + 1) / math.max(1, o.warmup))
  local cool = math.min(1, (o.steps - done) / math.max(1, o.cooldown))
  local lr = self.lr * warm * cool * self.policy:factor()
  if lr ~= self.optimizer.lr then self.optimizer:set_lr(lr) end
end

local function load_batch(self)
  local before = system.clock()
  self.shuffle:fill(self.feed.indices, self.options.batch)
  local x, y = stop.must(self.feed:load(self.options.batch, self.noise))
  self.spent.data = self.spent.data + system.clock() - before
  return x, y
end

-- The loss, or nil and why the step was refused; then nothing has changed.
local function try_step(self, x, y)
  self.model:zero_grad()
  local loss, why = self.model:loss_and_grad(x, y, self.loss_options)
  if not loss then return nil, why end
  local ok
  ok, why = self.optimizer:step()
  if not ok then return nil, why end
  return loss
end

local function note_made(self, loss)
  local at = self.at
  at.smooth = SMOOTHING * at.smooth + (1 - SMOOTHING) * loss
  at.weight = SMOOTHING * at.weight + (1 - SMOOTHING)
  at.sum, at.count = at.sum + loss, at.count + 1
  self.policy:made()
end

local function note_refused(self, why)
  local over = self.policy:refuse()
  log(self, {skipped = why, lr = self.optimizer.lr})
  self.progress:warn(("step %d skipped: %s; step size halved to %g for the next %d good steps"):format(
    self.at.step, why, self.lr * self.policy:factor(), self.options.calm))
  if over then
    stop.raise("diverged", ("gave up at step %d: %d steps in a row were refused, the last because %s"):format(
      self.at.step, self.policy.in_a_row, why))
  end
end

local function make_step(self)
  local before = system.clock()
  set_step_size(self)
  local x, y = load_batch(self)
  local loss, why = try_step(self, x, y)
  self.at.step = self.at.step + 1
  if loss then note_made(self, loss) else note_refused(self, why) end
  self.spent.stepping = self.spent.stepping + system.clock() - before
  self.spent.steps = self.spent.steps + 1
end

-- ---- validation ----------------------------------------------------------

local function note_best(self, metrics)
  local at = self.at
  local better = metrics.nll < (at.best_nll or math.huge) -- never when it is NaN
  if not better then return end
  at.best_nll, at.best_step = metrics.nll, at.step
  self.keeper:save_best(self, metrics)
end

local function validate(self)
  local metrics = stop.must(self.validation:run(self.model))
  self.at.valid = metrics
  log(self, {valid = metrics})
  self.progress:validation(self.at.step, metrics)
  local picture = self.options.picture
  if picture then self.keeper:save_picture(self.at.step, function() return picture(self.model) end) end
  note_best(self, metrics)
  self.keeper:write_report()
end

-- ---- the state -----------------------------------------------------------

local SAME <const> = {"batch", "seed", "cell_width"} -- options that a run cannot change

--- All that a checkpoint keeps besides the model and the optimizer.
-- @treturn table
function Trainer:state()
  self.at.seconds = seconds(self)
  local state = {
    at = self.at, shuffle = self.shuffle:state(), noise = self.noise:state(), policy = self.policy:state(),
  }
  for _, name in ipairs(SAME) do state[name] = self.options[name] end
  return state
end

--- Go on from a state.
-- @tparam table state what `state` gave
-- @tparam function apply loads model and optimizer; called once the rest was found to fit
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message
function Trainer:restore(state, apply)
  for _, name in ipairs(SAME) do
    local there, here = state[name], self.options[name]
    if there ~= here then return nil, ("the run was started with %s %s, not %s"):format(name, there, here) end
  end
  local ok, message = self.shuffle:restore(state.shuffle)
  if ok then ok, message = apply() end
  if not ok then return nil, message end
  self.noise:set_state(state.noise)
  self.policy:restore(state.policy)
  self.at = state.at
  return true
end

-- ---- the run -------------------------------------------------------------

local function show(self)
  local spent, at = self.spent, self.at
  local stepping, all = math.max(spent.stepping, 1e-9), system.clock() - spent.start
  self.progress:step {
    step = at.step, steps = self.options.steps, nll = at.weight > 0 and at.smooth / at.weight or 0 / 0,
    per_second = spent.steps / stepping, left = (self.options.steps - at.step) * all / spent.steps,
    memory = (system.memory()), data_share = spent.data / stepping, valid = at.valid,
  }
end

-- All that belongs to one step, in the order in which it is logged.
local function advance(self)
  local o, at = self.options, self.at
  make_step(self)
  local last = at.step == o.steps
  if last or at.step % o.log_every == 0 then log_step(self) end
  if self.validation and (last or at.step % o.valid_every == 0) then validate(self) end
  if last or at.step % o.checkpoint_every == 0 then
    self.keeper:save_checkpoint(self, not last and self.policy.in_a_row > 0)
  end
  show(self)
  if o.on_step then o.on_step(self) end
end

local function train(self, catch)
  self.keeper:open(self)
  self.spent.before, self.spent.start = self.at.seconds, system.clock()
  while self.at.step < self.options.steps and not self.signal do
    advance(self)
    self.signal = catch:received()
  end
  self.keeper:save_checkpoint(self)
  self.keeper:write_report()
  if self.at.step < self.options.steps then
    stop.raise("interrupted", ("stopped at step %d of %d"):format(self.at.step, self.options.steps))
  end
end

local function outcome(self, reason, message)
  local at = self.at
  return {
    reason = reason, message = message, signal = self.signal, step = at.step, steps = self.options.steps,
    nll = at.weight > 0 and at.smooth / at.weight or nil, valid = at.valid,
    best = at.best_nll and {step = at.best_step, nll = at.best_nll},
    checkpoint = self.keeper:newest(),
  }
end

--- Train until the last step, or Ctrl-C, or trouble.
-- @treturn table what came of it: `reason` ("done", "interrupted", "diverged",
-- "failed"), `message` (unless done), `signal` ("INT" or "TERM", if one came),
-- `step`, `nll` (smoothed), `valid` (the last validation), `best` (`step` and
-- `nll` of the best one), `checkpoint` (path of the newest one)
-- @raise an error of the model's, the data set's or a callback's
function Trainer:run()
  local catch <close> = system.catch_interrupt(NOTICE)
  local ok, why = xpcall(train, function(e)
    return stop.is(e) and e or debug.traceback(tostring(e), 2)
  end, self, catch)
  self.keeper:close()
  self.progress:close()
  if not ok and not stop.is(why) then error(why, 0) end
  return outcome(self, ok and "done" or why.reason, not ok and why.message or nil)
end

function Trainer:__tostring()
  return ("cglow.Trainer  step %d of %d, batch %d, %d samples, %s"):format(self.at.step, self.options.steps,
    self.options.batch, self.options.train:size(), self.options.run or "nothing kept")
end

check.class("Trainer", Trainer, "keeper")

return M
