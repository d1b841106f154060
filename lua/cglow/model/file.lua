--- Models as safetensors files: the parameters by name, and in the metadata the
-- constructor's table as JSON.
-- @module cglow.model.file
local budget = require "cglow.nn.budget"
local bytes = require "cglow.util.bytes"
local json = require "cglow.util.json"
local kinds = require "cglow.model.kinds"
local notice = require "cglow.util.notice"
local options = require "cglow.util.options"
local safetensors = require "cglow.util.safetensors"
local seen = require "cglow.model.seen"

local M = {}

-- Metadata key: a JSON list of the parameters' names, where some are of layers that no
-- configuration describes.
local PARAMETERS <const> = "parameters"

-- The constructor table as a checkpoint states it.
local function config_of(model)
  local c = model.config
  local precision = c.precision ~= "fp32" and c.precision or nil -- there was no other once
  if c.encoder then
    return {
      x = c.x, y = c.y, levels = c.levels, depth = c.depth,
      encoder = { channels = c.encoder.channels },
      coupling = { width = c.coupling.width, bound = c.coupling.bound },
      condition = c.condition, head = c.head,
      learned_prior = c.learned_prior, precision = precision,
    }
  end
  return {
    x = c.x, y = c.y, levels = c.levels, depth = c.depth,
    cn = { channels = c.cn.channels, width = c.cn.width },
    coupling = { width = c.coupling.width },
    learned_prior = c.learned_prior, precision = precision,
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

-- Tensors whose names begin so are parameters, in every model; other names are free for what
-- is kept beside them.
local SPACES <const> = { level = true, prior = true, encoder = true, head = true }

local function is_parameter_name(name) return SPACES[name:match "^(%w+)%."] == true end

--- Write parameters, a configuration and what the caller adds as a safetensors file.
-- @string fname the public function, whose caller errors point at
-- @param object with the method `parameters`
-- @string path
-- @tparam table config for the constructor
-- @tparam table metadata what else its file says; the caller's own wins
-- @tparam ?table extra the caller's: `tensors` and `metadata`
-- @return true, or nil, message, code
function M.write(fname, object, path, config, metadata, extra)
  options.arg(fname, 1, "path", path, { type = "string", path = true }, 1)
  extra = options.check(fname, extra, EXTRA, 1)
  local params, names = by_name(object)
  if not params then
    error(("%s: parameters with names of their own expected, got two called '%s'"):format(fname, names), 3)
  end
  local tensors = {}
  for name, p in pairs(params) do tensors[name] = p.value end
  for name, t in pairs(extra.tensors or {}) do
    if tensors[name] or is_parameter_name(tostring(name)) then
      error(("%s: tensor '%s' is a parameter's name"):format(fname, name), 3)
    end
    tensors[name] = t
  end
  metadata.config = json.encode(config)
  seen.save(object, metadata)
  for key, value in pairs(extra.metadata or {}) do metadata[key] = value end
  return safetensors.save(path, tensors, metadata)
end

--- See `Model:save`.
function M.save(model, path, extra)
  local metadata = {}
  if model.unstarted then metadata.actnorm = "unstarted" end
  if has_own(model) then metadata[PARAMETERS] = json.encode((select(2, by_name(model)))) end
  local ok, message, code = M.write("Model:save", model, path, config_of(model), metadata, extra)
  if ok then return true end
  return nil, message, code
end

local NAMED <const> = 3 -- of the tensors that do not fit, so many are named

local function some_of(list, separator)
  return table.concat(list, separator, 1, math.min(#list, NAMED))
    .. (#list > NAMED and ("%sand %d more"):format(separator, #list - NAMED) or "")
end

-- The parameters that the file has, by its list of them or by their names, and the model
-- has not; or nil and a message.
local function left_over(params, tensors, metadata)
  local left, seen_names = {}, {}
  local function look_at(name)
    if not params[name] and not seen_names[name] then left[#left + 1] = options.show(name) end
    seen_names[name] = true
  end
  if metadata[PARAMETERS] then
    local names, message = json.decode(metadata[PARAMETERS])
    if type(names) ~= "table" then
      return nil, ("%s is not a JSON list: %s"):format(PARAMETERS, message or type(names))
    end
    for _, name in ipairs(names) do look_at(name) end
  end
  for name in pairs(tensors) do
    if is_parameter_name(name) then look_at(name) end
  end
  return bytes.sort(left)
end

-- The parameters that a file has no tensor for, and what is said of those whose tensor has
-- another shape.
local function misfits(params, names, tensors)
  local missing, misshapen = {}, {}
  for _, name in ipairs(names) do
    local t = tensors[name]
    local want = table.concat(params[name].value:size(), "x")
    local got = t and table.concat(t:size(), "x")
    if not t then missing[#missing + 1] = name
    elseif got ~= want then
      misshapen[#misshapen + 1] = ("tensor '%s' has shape %s, expected %s"):format(name, got, want)
    end
  end
  return missing, misshapen
end

-- Why a file does not fit, or nil.
local function refusal(missing, misshapen, left)
  local list = table.move(misshapen, 1, #misshapen, 1, {})
  for _, name in ipairs(missing) do list[#list + 1] = ("tensor '%s' is missing"):format(name) end
  if #list > 0 then return some_of(list, "; ") end
  if #left == 0 then return nil end
  return ("the file has parameters of layers that this model has not, %s: give these layers with the option "
    .. "'replace', or take the model without them with 'strict = false'"):format(some_of(left, ", "))
end

-- Says what was not as it should be, and was taken all the same.
local function tell(missing, left)
  local told = {}
  if #missing > 0 then told[1] = "not in the file and as a new model has them: " .. some_of(missing, ", ") end
  if #left > 0 then told[#told + 1] = "in the file, but not in the model: " .. some_of(left, ", ") end
  if #told > 0 then notice.notify("cglow.load: " .. table.concat(told, "; ")) end
end

--- Copy a file's tensors into a model's parameters of these names.
-- @tparam Model model
-- @tparam {[string]=Tensor} tensors
-- @tparam {[string]=string} metadata the file's
-- @bool[opt] lax may either have parameters that the other has not? Then they are told of.
-- @return true, or nil and a message that names what is missing, misshapen or left over;
-- then nothing is copied
function M.fill(model, tensors, metadata, lax)
  local params, names = by_name(model)
  if not params then return nil, ("the model has two parameters called '%s'"):format(names) end
  local missing, misshapen = misfits(params, names, tensors)
  local left, bad = left_over(params, tensors, metadata)
  if left then bad = refusal(lax and {} or missing, misshapen, lax and {} or left) end
  if bad then return nil, bad end
  tell(missing, left)
  local ok, message = seen.load(model, metadata)
  if not ok then return nil, message end
  for name, p in pairs(params) do
    if tensors[name] then p.value:copy(tensors[name]) end
  end
  model.unstarted = metadata.actnorm == "unstarted" and model.encoder and true or nil
  return true
end

-- Numbers that a model may have beyond its file's: then `fill` can say what does not fit.
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

--- Read a file of parameters and a configuration.
-- @string path
-- @string what it should be, for messages
-- @treturn[1] {[string]=Tensor} tensors
-- @treturn[1] table configuration
-- @treturn[1] {[string]=string} metadata
-- @treturn[2] nil
-- @treturn[2] string message
-- @treturn[2] ?integer code
function M.read(path, what)
  local tensors, metadata, code = safetensors.load(path)
  if not tensors then return nil, metadata, code end
  if not metadata.config then return nil, ("%s: no 'config' in its metadata, so not %s"):format(path, what) end
  local config, why = json.decode(metadata.config)
  if type(config) ~= "table" then
    return nil, ("%s: config is not a JSON object: %s"):format(path, why or type(config))
  end
  return tensors, config, metadata
end

local function build(make, config, tensors, o)
  return pcall(function()
    local model = make(config, M.budget(tensors), not o.strict)
    for _, where in ipairs(o.replace) do model:replace(where) end
    return model
  end)
end

--- Read a model; see `cglow.load`.
-- @tparam function make a model, from its options, a budget and whether it is to be started
-- @string path
-- @tparam[opt] table override
function M.load(make, path, override)
  options.arg("cglow.load", 1, "path", path, {type = "string", path = true})
  options.arg("cglow.load", 2, "override", override, { type = "table", optional = true })
  local own, o = split_override(override)
  local tensors, config, metadata = M.read(path, "a cglow model")
  if not tensors then return nil, config, metadata end
  if type(config.kind) == "string" then -- as feedforward.load wants it
    return nil, ("%s: no flow, but a feed-forward network (%s), which cglow.feedforward.load reads"):format(path,
      options.show(config.kind))
  end
  config.precision = config.precision or "fp32"
  for key, value in pairs(own) do config[key] = value end
  local ok, model = build(make, config, tensors, o)
  if not ok then return nil, ("%s: %s"):format(path, model) end
  local filled, why = M.fill(model, tensors, metadata, not o.strict)
  if not filled then return nil, ("%s: %s"):format(path, why) end
  return model, tensors, metadata
end

return M
