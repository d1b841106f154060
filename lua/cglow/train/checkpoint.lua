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

--- Write a checkpoint.
-- @tparam string path
-- @param model
-- @param optimizer
-- @tparam table training_state as `cglow.train.state` wants it; NaN is not kept
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message
function M.save(path, model, optimizer, training_state)
  local moments, steps = optimizer:state()
  local tensors = {}
  for name, tensor in pairs(moments) do tensors[PREFIX .. name] = tensor end
  return model:save(path, {
    tensors = tensors,
    metadata = {
      training = json.encode({optimizer_steps = steps, state = training_state}, {not_finite = "null"}),
      cell_width = json.encode(training_state.cell_width), -- for those who only load the model
    },
  })
end

local Checkpoint = {}
Checkpoint.__index = Checkpoint

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
  return setmetatable({tensors = tensors, state = training.state, steps = training.optimizer_steps}, Checkpoint)
end

local function sick_parameter(model, tensors)
  for _, p in ipairs(model:parameters()) do
    local t = tensors[p.name]
    if t and not t:isfinite() then return p.name end
  end
end

--- Put the weights into a model and the moments into its optimizer.
-- @param model
-- @param optimizer
-- @treturn[1] boolean true
-- @treturn[2] nil when they do not fit
-- @treturn[2] string message
function Checkpoint:apply(model, optimizer)
  local moments = {}
  for name, tensor in pairs(self.tensors) do
    if name:sub(1, #PREFIX) == PREFIX then moments[name:sub(#PREFIX + 1)] = tensor end
  end
  local sick = sick_parameter(model, self.tensors)
  if sick then return nil, ("tensor '%s' is not finite"):format(sick) end
  local ok, message = model_file.fill(model, self.tensors)
  if not ok then return nil, message end
  return optimizer:set_state(moments, self.steps)
end

return M
