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

-- What `--init-from` names: a run folder, of which the best model is taken, else the newest; or a model file. Where a
-- run keeps an average of the weights, both hold the average. A feed-forward network's configuration has its kind.
local function read(name, flow)
  local mode = lfs.attributes(name, "mode")
  if mode ~= "directory" then command.require_path(name, "file", "--init-from") end
  local path = mode == "directory" and command.must(runfolder.at(name):model()) or name
  local tensors, config, metadata = model_file.read(path, "a model")
  if not tensors then command.misuse("--init-from: " .. config) end
  if flow ~= (config.kind == nil) then
    command.misuse(("--init-from: %s holds %s"):format(path,
      flow and "a feed-forward network, not a flow" or "a flow, not a feed-forward network"))
  end
  return {path = path, step = step_of(metadata), config = config, tensors = tensors, metadata = metadata}
end

--- The weights that a new run begins with; so does one again that never came to a checkpoint.
-- @tparam table args `init_from`, `resume`
-- @param folder of the run
-- @tparam table config of the run that is resumed
-- @tparam boolean flow must they be a flow's, rather than a feed-forward network's?
-- @treturn ?table `path`, `step` (when the file tells), `config` (of the model), `tensors`, `metadata`
function M.of(args, folder, config, flow)
  local name = args.init_from
  if args.resume then
    if name then command.misuse "--init-from: a run that is resumed has weights of its own" end
    local path = type(config.init_from) == "table" and config.init_from.path
    name = type(path) == "string" and not folder:newest() and path
  end
  return name and read(name, flow) or nil
end

--- Give a new model the weights that were read.
-- @param model
-- @tparam table source from `of`
function M.fill(model, source)
  local ok, message = model_file.fill(model, source.tensors, source.metadata)
  if not ok then command.misuse(("--init-from: %s does not fit: %s"):format(source.path, message)) end
end

--- What the configuration of the run says of it.
-- @tparam ?table source from `of`
-- @tparam table config of the run that is resumed
function M.describe(source, config)
  return source and {path = source.path, step = source.step} or config.init_from
end

--- Say whose weights a run begins with, where there are any.
-- @tparam table args
-- @tparam ?table source from `of`
function M.tell(args, source)
  if not source then return end
  command.say(args, "weights: %s%s", source.path, source.step and (", step %d"):format(source.step) or "")
end

return M
