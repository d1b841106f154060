--- Checkpoints of a training run: a model file that also holds the optimizer's
-- tensors and the training state, so that going on from it gives bit for bit
-- what never stopping would have given.
-- @module cglow.train.checkpoint
local json = require "cglow.util.json"
local model_file = require "cglow.model.file"
local safetensors = require "cglow.util.safetensors"
local state = require "cglow.train.state"

local M = {}

local PREFIX = "optimizer."

-- Ending of the trained weights where the parameters' own names stand for their average.
local TRAINED = ".value"

--- Write a checkpoint. With an average of the weights, that is what is under the names of the
-- parameters, so that whoever loads the model has what was validated; the weights that training
-- goes on from are under `optimizer.<name>.value`.
-- @tparam string path
-- @param model
-- @param optimizer
-- @param averaging see `cglow.train.averaging`
-- @tparam table training_state as `cglow.train.state` wants it; NaN is not kept
-- @tparam[opt] {[string]=string} more metadata
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message
function M.save(path, model, optimizer, averaging, training_state, more)
  local moments, steps = optimizer:state()
  local tensors = {}
  for name, tensor in pairs(moments) do tensors[PREFIX .. name] = tensor end
  local _ <close> = averaging:exchange()
  local trained, updates = averaging:trained()
  for name, tensor in pairs(trained) do tensors[PREFIX .. name .. TRAINED] = tensor end
  local metadata = {}
  for key, text in pairs(more or {}) do metadata[key] = text end
  metadata.training = json.encode({optimizer_steps = steps, average_updates = updates, state = training_state},
    {not_finite = "null"})
  metadata.cell_width = json.encode(training_state.cell_width) -- for those who only load the model
  return model:save(path, {tensors = tensors, metadata = metadata})
end

local Checkpoint = {}
Checkpoint.__index = Checkpoint

--- A checkpoint of what a file holds.
-- @tparam table fields `tensors`, `metadata`, `state`, `steps`, `updates`
-- @treturn Checkpoint
function M.of(fields) return setmetatable(fields, Checkpoint) end

--- Read a checkpoint.
-- @tparam string path
-- @treturn[1] Checkpoint with `state`, what `save` was given
-- @treturn[2] nil
-- @treturn[2] string message
-- @treturn[2] ?integer code
function M.read(path)
  local tensors, metadata, code = safetensors.load(path)
  if not tensors then return nil, metadata, code end
  if not metadata.training then
    return nil, ("%s is a model without training state: it cannot be resumed"):format(path)
  end
  local training, message = json.decode(metadata.training)
  if training ~= nil then training, message = state.check(training) end
  if not training then return nil, ("%s: training state: %s"):format(path, message) end
  return M.of {tensors = tensors, metadata = metadata, state = training.state, steps = training.optimizer_steps,
    updates = training.average_updates}
end

local function first_not_finite(model, tensors)
  for _, p in ipairs(model:parameters()) do
    local t = tensors[p.name]
    if t and not t:isfinite() then return p.name end
  end
end

-- The weights to go on from, by name of their parameter.
local function trained_weights(self, model)
  if not self.updates then return self.tensors end
  local weights = {}
  for _, p in ipairs(model:parameters()) do weights[p.name] = self.tensors[PREFIX .. p.name .. TRAINED] end
  return weights
end

--- Put the weights into a model, the moments into its optimizer and the averages into theirs.
-- @param model
-- @param optimizer
-- @param averaging
-- @treturn[1] boolean true
-- @treturn[2] nil when they do not fit
-- @treturn[2] string message
function Checkpoint:apply(model, optimizer, averaging)
  local moments, weights = {}, trained_weights(self, model)
  for name, tensor in pairs(self.tensors) do
    if name:sub(1, #PREFIX) == PREFIX then moments[name:sub(#PREFIX + 1)] = tensor end
  end
  local bad = first_not_finite(model, weights)
  if bad then return nil, ("tensor '%s' is not finite"):format(bad) end
  local ok, message = model_file.fill(model, weights, self.metadata)
  if ok then ok, message = averaging:restore(self.tensors, self.updates) end
  if not ok then return nil, message end
  return optimizer:set_state(moments, self.steps)
end

return M
