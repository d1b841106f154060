--- Models as safetensors files (design section 2, checkpoints).
-- @module cglow.model.file
local budget = require "cglow.nn.budget"
local json = require "cglow.util.json"
local kinds = require "cglow.model.kinds"
local options = require "cglow.util.options"
local safetensors = require "cglow.util.safetensors"

local M = {}

-- Metadata key: a JSON list of the parameters' names, where some are of layers that no
-- configuration describes.
local PARAMETERS <const> = "parameters"

-- The constructor table as a checkpoint states it.
local function config_of(model)
  local c = model.config
  if c.encoder then
    return {
      x = c.x, y = c.y, levels = c.levels, depth = c.depth,
      encoder = { channels = c.encoder.channels },
      coupling = { width = c.coupling.width, bound = c.coupling.bound },
      condition = c.condition, head = c.head,
      learned_prior = c.learned_prior,
    }
  end
  return {
    x = c.x, y = c.y, levels = c.levels, depth = c.depth,
    cn = { channels = c.cn.channels, width = c.cn.width },
    coupling = { width = c.coupling.width },
    learned_prior = c.learned_prior,
    init = c.init,
  }
end

local EXTRA = { tensors = { type = "table" }, metadata = { type = "table" } }

-- Has the model networks or flow layers of somebody's own?
local function has_own(model)
  if model.config.encoder and model.config.encoder.make then return true end
  for _, layer in ipairs(model.layers) do
    local part = kinds[layer.kind].role == "part"
    if part and (layer.flow ~= layer.standard or layer.cn ~= layer.standard_cn) then return true end
  end
  return false
end

-- The parameters by their names, and the names in order; or nil and one that two have.
local function by_name(model)
  local params, names = {}, {}
  for i, p in ipairs(model:parameters()) do
    if params[p.name] then return nil, p.name end
    params[p.name], names[i] = p, p.name
  end
  return params, names
end

--- See `Model:save`.
function M.save(model, path, extra)
  options.arg("Model:save", 1, "path", path, { type = "string", path = true }, 1)
  extra = options.check("Model:save", extra, EXTRA, 1)
  local tensors, metadata = {}, { config = json.encode(config_of(model)) }
  local params, names = by_name(model)
  if not params then
    error(("Model:save: parameters with names of their own expected, got two called '%s'"):format(names), 3)
  end
  for name, p in pairs(params) do tensors[name] = p.value end
  if model.unstarted then metadata.actnorm = "unstarted" end
  for name, t in pairs(extra.tensors or {}) do
    if tensors[name] then error(("Model:save: tensor '%s' is a parameter's name"):format(name), 3) end
    tensors[name] = t
  end
  if has_own(model) then metadata[PARAMETERS] = json.encode(names) end
  for key, value in pairs(extra.metadata or {}) do metadata[key] = value end
  return safetensors.save(path, tensors, metadata)
end

-- The names that the file says are parameters and the model does not have, as a
-- message; nil when there are none.
local function left_over(params, metadata)
  if not metadata[PARAMETERS] then return nil end
  local names, message = json.decode(metadata[PARAMETERS])
  if type(names) ~= "table" then return ("%s is not a JSON list: %s"):format(PARAMETERS, message or type(names)) end
  local left = {}
  for _, name in ipairs(names) do
    if not params[name] then left[#left + 1] = options.show(name) end
  end
  if #left == 0 then return nil end
  return ("the file has parameters of layers that this model has not, %s%s: give these layers with the option "
    .. "'replace', or take the model without them with 'strict = false'"):format(
    table.concat(left, ", ", 1, math.min(#left, 3)), #left > 3 and (" and %d more"):format(#left - 3) or "")
end

--- Copy a file's tensors into a model's parameters of these names.
-- @tparam Model model
-- @tparam {[string]=Tensor} tensors
-- @tparam[opt] {[string]=string} metadata the file's; when it says that the file has
-- parameters which the model has not, nothing is copied
-- @return true, or nil and a message that names what is missing, misshapen or left over
function M.fill(model, tensors, metadata)
  local params, names = by_name(model)
  if not params then return nil, ("the model has two parameters called '%s'"):format(names) end
  for _, name in ipairs(names) do
    local t = tensors[name]
    if not t then return nil, ("tensor '%s' is missing"):format(name) end
    local got, want = table.concat(t:size(), "x"), table.concat(params[name].value:size(), "x")
    if got ~= want then return nil, ("tensor '%s' has shape %s, expected %s"):format(name, got, want) end
  end
  local left = metadata and left_over(params, metadata)
  if left then return nil, left end
  for name, p in pairs(params) do p.value:copy(tensors[name]) end
  model.unstarted = nil
  return true
end

-- So much more is no matter, and then `fill` can say what does not fit.
local SLACK <const> = 1 << 20

--- What the parameters of a model from a file may hold together: hardly more numbers
-- than the file.
-- @tparam {[string]=Tensor} tensors all of the file
-- @treturn Budget
function M.budget(tensors)
  local n = SLACK
  for _, t in pairs(tensors) do n = n + t:count() end
  return budget.of(n)
end

local OVERRIDE = { replace = { type = "table", default = {}, each = { type = "table" } },
  strict = { type = "boolean", default = true } }

-- The override without what is not for the constructor, and that.
local function split_override(override)
  local config, rest = {}, {}
  for key, value in pairs(override or {}) do
    if OVERRIDE[key] then rest[key] = value else config[key] = value end
  end
  return config, options.check("cglow.load", rest, OVERRIDE, 2)
end

local function build(make, config, tensors, replace)
  return pcall(function()
    local model = make(config, M.budget(tensors))
    for _, where in ipairs(replace) do model:replace(where) end
    return model
  end)
end

--- Read a model; see `cglow.load`.
-- @tparam function make a model that is not started, from its options and a budget
-- @string path
-- @tparam[opt] table override
function M.load(make, path, override)
  options.arg("cglow.load", 1, "path", path, {type = "string", path = true})
  options.arg("cglow.load", 2, "override", override, { type = "table", optional = true })
  local own, o = split_override(override)
  local tensors, metadata, code = safetensors.load(path)
  if not tensors then return nil, metadata, code end
  if not metadata.config then return nil, ("%s: no 'config' in its metadata, so not a cglow model"):format(path) end
  local config, err = json.decode(metadata.config)
  if type(config) ~= "table" then
    return nil, ("%s: config is not a JSON object: %s"):format(path, err or type(config))
  end
  for key, value in pairs(own) do config[key] = value end
  local ok, model = build(make, config, tensors, o.replace)
  if not ok then return nil, ("%s: %s"):format(path, model) end
  local filled, why = M.fill(model, tensors, o.strict and metadata or nil)
  if not filled then return nil, ("%s: %s"):format(path, why) end
  model.unstarted = metadata.actnorm == "unstarted" and model.encoder and true or nil
  return model, tensors, metadata
end

return M
