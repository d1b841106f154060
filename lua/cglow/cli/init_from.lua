--- New runs that begin with the weights of another run or of a model file: to train on at
-- another size, or on other data.
-- @module cglow.cli.init_from
local command = require "cglow.cli.command"
local json = require "cglow.util.json"
local lfs = require "lfs"
local model_file = require "cglow.model.file"
local runfolder = require "cglow.run.folder"

local M = {}

-- The step at which the weights were written, where the file tells.
local function step_of(metadata)
  local kept = metadata.validation and json.decode(metadata.validation)
  if type(kept) == "table" and math.type(kept.step) == "integer" then return kept.step end
  local training = metadata.training and json.decode(metadata.training)
  local state = type(training) == "table" and training.state
  local at = type(state) == "table" and state.at
  return type(at) == "table" and math.type(at.step) == "integer" and at.step or nil
end

--- Read what `--init-from` names.
-- @string name a run folder, of which the best model is taken, else the newest; or a model file.
-- Where a run keeps an average of the weights, both hold the average.
-- @treturn table `path`, `step` (when the file tells), `config` (of the model), `tensors`, `metadata`
function M.read(name)
  local mode = lfs.attributes(name, "mode")
  if mode ~= "directory" then command.require_path(name, "file", "--init-from") end
  local path = mode == "directory" and command.must(runfolder.at(name):model()) or name
  local tensors, config, metadata = model_file.read(path, "a model")
  if not tensors then command.misuse("--init-from: " .. config) end
  return {path = path, step = step_of(metadata), config = config, tensors = tensors, metadata = metadata}
end

--- Give a new model the weights that were read.
-- @param model
-- @tparam table source from `read`
function M.fill(model, source)
  local ok, message = model_file.fill(model, source.tensors, source.metadata)
  if not ok then command.misuse(("--init-from: %s does not fit: %s"):format(source.path, message)) end
end

--- What the configuration of the run says of it.
function M.describe(source) return {path = source.path, step = source.step} end

return M
