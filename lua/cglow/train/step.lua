--- One step of a training: a batch, or several whose gradients are added up, and what the
-- optimizer makes of them; or a refusal that leaves everything as it was.
-- @module cglow.train.step
local batches = require "cglow.train.batches"
local json = require "cglow.util.json"
local options = require "cglow.util.options"
local precision = require "cglow.model.precision"
local stop = require "cglow.train.stop"
local system = require "cglow.core".system

local M = {}

local SMOOTHING <const> = 0.98 -- weight of the past in the NLL that is shown

--- Seconds of training so far, those of earlier processes included.
function M.seconds(trainer)
  local spent = trainer.spent
  return spent.before + (spent.start and system.clock() - spent.start or 0)
end

--- Log a record: every line of a given step is the same after resuming, but for `seconds`.
function M.log(trainer, record)
  record.step, record.seconds = trainer.at.step, tonumber(("%.3f"):format(M.seconds(trainer)))
  local line = json.encode(record, {not_finite = "null"})
  trainer.progress:record(line)
  trainer.world:attempt(trainer.store.write_log, trainer.store, line)
end

--- Log the mean loss since the last such line.
function M.log_loss(trainer)
  local at = trainer.at
  if at.count == 0 then return end
  M.log(trainer, {nll = at.sum / at.count, lr = trainer.optimizer.lr, epoch = trainer.shuffle:epochs()})
  at.sum, at.count = 0.0, 0
end

local function set_step_size(self)
  local lr = self.lr * self.schedule(self:status()) * self.guard:factor()
  if lr ~= self.optimizer.lr then self.optimizer:set_lr(lr) end
end

--- Load the next batch of this process.
-- @treturn[1] Tensor y
-- @treturn[1] ?Tensor x
-- @treturn[1] ?Tensor target of the head
-- @treturn[2] nil when a sample cannot be read
-- @treturn[2] string message
function M.load_batch(trainer)
  local before, batch = system.clock(), trainer.options.batch
  trainer.world:fill(trainer.shuffle, trainer.batches.indices, batch)
  if trainer.options.read_ahead > 0 then
    trainer.batches:expect(trainer.world:upcoming(trainer.shuffle, batch, batches.AHEAD))
  end
  local y, x, target = trainer.batches:load(batch, trainer.noise)
  trainer.spent.data = trainer.spent.data + system.clock() - before
  return y, x, target
end

-- What the model is told beside x and y.
local function loss_options(self, target)
  local o = self.loss_options
  if not target then return o end
  local weight = self.options.head.weight
  if type(weight) == "function" then weight = weight(self:status()) end
  if type(weight) ~= "number" or not (weight >= 0 and weight < math.huge) then
    error("Trainer: option 'head.weight' must give a number from 0 on, got " .. options.show(weight), 0)
  end
  o.head, o.head_weight = target, weight
  return o
end

-- Add up the gradients of this process's batches. The mean loss; or nil, why, and whether it is
-- for want of data. `done` is told of the parts of the model in the last backward pass.
local function gradients(self, done)
  local parts, sum = self.options.accumulate, 0
  for part = 1, parts do
    local y, x, target = M.load_batch(self)
    if not y then return nil, x, true end
    self.last_x, self.last_y = x, y
    local o = loss_options(self, target)
    if done and part == parts and self.model.gradient_parts then o.done = done end
    local loss, why = self.model:loss_and_grad(x, y, o)
    o.done = nil
    if not loss then return nil, why end
    sum = sum + loss
  end
  return sum / parts
end

-- The loss, or nil and why the step was refused; then nothing has changed.
local function try_step(self)
  self.model:zero_grad()
  local loss, why = self.world:reduce(gradients(self, self.world:begin()))
  if self.options.reduce then loss, why = self.options.reduce(self, loss, why) end
  if not loss then return nil, why end
  local ok
  ok, why = self.optimizer:step(self.options.accumulate)
  if not ok then return nil, why end
  return loss
end

local function note_made(self, loss)
  local at = self.at
  at.smooth = SMOOTHING * at.smooth + (1 - SMOOTHING) * loss
  at.weight = SMOOTHING * at.weight + (1 - SMOOTHING)
  at.sum, at.count = at.sum + loss, at.count + 1
  self.averaging:update()
  self.guard:made()
end

local function note_refused(self, why)
  local over = self.guard:refuse()
  M.log(self, {skipped = why, lr = self.optimizer.lr})
  self.progress:warn(("step %d skipped: %s; step size halved to %g for the next %d good steps"):format(
    self.at.step, why, self.lr * self.guard:factor(), self.options.recover_after))
  if over then
    stop.raise("diverged", ("gave up at step %d: %d steps in a row were refused, the last because %s"):format(
      self.at.step, self.guard.in_a_row, why))
  end
end

--- Make a step. While it is made, `trainer.unmade` holds where the random streams stood
-- before it: a checkpoint of a step that broke off is one of the step before.
function M.make(trainer)
  local before = system.clock()
  trainer.unmade = {shuffle = trainer.shuffle:state(), noise = trainer.noise:state()}
  set_step_size(trainer)
  trainer.world:set_noise(trainer.noise, trainer.noise_seed, trainer.at.step)
  local loss, why = try_step(trainer)
  trainer.at.step, trainer.unmade = trainer.at.step + 1, nil
  if loss then note_made(trainer, loss) else note_refused(trainer, why) end
  trainer.spent.stepping = trainer.spent.stepping + system.clock() - before
  trainer.spent.steps = trainer.spent.steps + 1
end

--- Warn, once for a model, when what it decodes would be off by more than `precision.LIMIT`
-- for a sample of the last batch.
function M.check_precision(trainer)
  local model = trainer.model
  local flow = model.layers and model.decode_error
  if not flow or trainer.guard.in_a_row > 0 then return end -- or the step was refused
  trainer.looked = true
  local text = precision.warning_of_batch(model, trainer.last_x, trainer.last_y)
  if text then trainer.progress:warn(("step %d: %s"):format(trainer.at.step, text)) end
end

return M
