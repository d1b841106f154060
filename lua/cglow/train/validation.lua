--- Validation: the loss over a whole data set with noise that is the same each
-- time, and whatever metrics the task adds.
-- @module cglow.train.validation
local core = require "cglow.core"
local metrics = require "cglow.metrics"
local options = require "cglow.util.options"
local batches = require "cglow.train.batches"
local world = require "cglow.train.world"

-- Added to the seed for each batch; above what the seed's other shares take.
local BATCH_STREAM <const> = 1 << 34

local Validation = {}
Validation.__index = Validation

local M = {}

-- A model may have a loss of its own (the feed-forward baselines do).
local function batch_loss(model, x, y, opts)
  if model.loss then return model:loss(x, y, opts) end
  local logp = model:log_prob(x, y)
  return metrics.bits_per_dim(logp, y:count() // y:size(1), opts.cell_width)
end

--- @tparam table o `data`, `batch`, `cell_width`, `seed`, `takes_x` (does the model?), `metrics`
-- (function of the model and `given` that gives a table, or nil), `given` (the data set before
-- it was dequantised), `world` that shares the work (see `cglow.train.world`), `progress`
-- (function called once for each sample that this process has done)
function M.new(o)
  return setmetatable({
    batches = batches.new(o.data, o.batch, {takes_x = o.takes_x}), data = o.data, given = o.given or o.data,
    seed = o.seed, metrics = o.metrics, world = o.world or world.ALONE, progress = o.progress,
    loss_options = {cell_width = o.cell_width},
  }, Validation)
end

-- The noise of a batch depends on its place alone, so that any rank may compute its loss.
local function mean_loss(self, model)
  local batch, count, indices = self.batches.batch, self.data:size(), self.batches.indices
  local function size_of(i) return math.min(batch, count - (i - 1) * batch) end
  local losses, message = self.world:numbers((count + batch - 1) // batch, function(i)
    local n = size_of(i)
    for k = 1, n do indices[k] = (i - 1) * batch + k end
    local y, x = self.batches:load(n, core.Rng(self.seed + BATCH_STREAM * i))
    if not y then return nil, x end
    local loss = batch_loss(model, x, y, self.loss_options)
    for _ = 1, self.progress and n or 0 do self.progress() end
    return loss
  end)
  if not losses then return nil, message end
  local total = 0
  for i, loss in ipairs(losses) do total = total + size_of(i) * loss end
  return total / count
end

-- What the task's function gave, which goes into the log.
local function checked(given)
  local function must(ok, expected, got)
    if not ok then error(("Trainer: option 'validate' must give %s, got %s"):format(expected, options.show(got)), 0) end
  end
  must(type(given) == "table", "a table of metrics", given)
  for name, value in pairs(given) do
    must(type(name) == "string", "metrics under names", name)
    must(type(value) == "number", "numbers", value)
  end
  return given
end

--- Validate a model.
-- @treturn[1] table `nll` (bits per dim, or the model's own loss) and the task's metrics
-- @treturn[2] nil when a sample cannot be read
-- @treturn[2] string message
function Validation:run(model)
  local nll, message = mean_loss(self, model)
  if not nll then return nil, message end
  local result = {nll = nll}
  if self.metrics then
    local given = self.world:same(checked(self.metrics(model, self.given, self.world)))
    for name, value in pairs(given) do result[name] = value end
  end
  return result
end

return M
