--- Validation: the loss over a whole data set with noise that is the same each
-- time, and whatever metrics the task adds.
-- @module cglow.train.validation
local core = require "cglow.core"
local metrics = require "cglow.metrics"
local feed = require "cglow.train.feed"

local Validation = {}
Validation.__index = Validation

local M = {}

-- A model may have a loss of its own (the feed-forward baselines do).
local function batch_loss(model, x, y, options)
  if model.loss then return model:loss(x, y, options) end
  local logp = model:log_prob(x, y)
  return metrics.bits_per_dim(logp, y:count() // y:size(1), options.cell_width)
end

--- @tparam table options `data`, `batch`, `cell_width`, `seed`, `metrics`
-- (function of the model and the data set that gives a table, or nil)
function M.new(options)
  return setmetatable({
    feed = feed.new(options.data, options.batch), data = options.data, seed = options.seed,
    metrics = options.metrics, loss_options = {cell_width = options.cell_width},
  }, Validation)
end

local function mean_loss(self, model)
  local rng, total, count = core.Rng(self.seed), 0, self.data:size()
  local indices = self.feed.indices
  for first = 1, count, self.feed.batch do
    local n = math.min(self.feed.batch, count - first + 1)
    for i = 1, n do indices[i] = first + i - 1 end
    local x, y = self.feed:load(n, rng)
    if not x then return nil, y end
    total = total + n * batch_loss(model, x, y, self.loss_options)
  end
  return total / count
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
    for name, value in pairs(self.metrics(model, self.data)) do result[name] = value end
  end
  return result
end

return M
