--- One step of a training: a batch, or several whose gradients are added up, and what the
-- optimizer makes of them; or a refusal that leaves everything as it was.
-- @module cglow.train.step
local json = require "cglow.util.json"
local options = require "cglow.util.options"
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
  trainer.keeper:write_log(line)
end

--- Log the mean loss since the last such line.
function M.log_loss(trainer)
  local at = trainer.at
  if at.count == 0 then return end
  M.log(trainer, {nll = at.sum / at.count, lr = trainer.optimizer.lr, epoch = trainer.shuffle:epochs()})
  at.sum, at.count = 0.0, 0
end

local function set_step_size(self)
  local lr = self.lr * self.schedule(self:status()) * self.policy:factor()
  if lr ~= self.optimizer.lr then self.optimizer:set_lr(lr) end
end

local function load_batch(self)
  local before = system.clock()
  self.shuffle:fill(self.feed.indices, self.options.batch)
  local y, x, target = stop.must(self.feed:load(self.options.batch, self.noise))
  self.spent.data = self.spent.data + system.clock() - before
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

-- The loss, or nil and why the step was refused; then nothing has changed.
local function try_step(self)
  local parts, sum = self.options.accumulate, 0
  self.model:zero_grad()
  for _ = 1, parts do
    local y, x, target = load_batch(self)
    local loss, why = self.model:loss_and_grad(x, y, loss_options(self, target))
    if not loss then return nil, why end
    sum = sum + loss
  end
  local ok, why = self.optimizer:step(parts)
  if not ok then return nil, why end
  return sum / parts
end

local function note_made(self, loss)
  local at = self.at
  at.smooth = SMOOTHING * at.smooth + (1 - SMOOTHING) * loss
  at.weight = SMOOTHING * at.weight + (1 - SMOOTHING)
  at.sum, at.count = at.sum + loss, at.count + 1
  self.averaging:update()
  self.policy:made()
end

local function note_refused(self, why)
  local over = self.policy:refuse()
  M.log(self, {skipped = why, lr = self.optimizer.lr})
  self.progress:warn(("step %d skipped: %s; step size halved to %g for the next %d good steps"):format(
    self.at.step, why, self.lr * self.policy:factor(), self.options.calm))
  if over then
    stop.raise("diverged", ("gave up at step %d: %d steps in a row were refused, the last because %s"):format(
      self.at.step, self.policy.in_a_row, why))
  end
end

--- Make a step. While it is made, `trainer.unmade` holds where the random streams stood
-- before it: a checkpoint of a step that broke off is one of the step before.
function M.make(trainer)
  local before = system.clock()
  trainer.unmade = {shuffle = trainer.shuffle:state(), noise = trainer.noise:state()}
  set_step_size(trainer)
  local loss, why = try_step(trainer)
  trainer.at.step, trainer.unmade = trainer.at.step + 1, nil
  if loss then note_made(trainer, loss) else note_refused(trainer, why) end
  trainer.spent.stepping = trainer.spent.stepping + system.clock() - before
  trainer.spent.steps = trainer.spent.steps + 1
end

return M
