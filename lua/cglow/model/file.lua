--- Models as safetensors files (design section 2, checkpoints).
-- @module cglow.model.file
local core = require "cglow.core"
local json = require "cglow.util.json"
local networks = require "cglow.model.networks"
local options = require "cglow.util.options"
local safetensors = require "cglow.util.safetensors"

local M = {}

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

--- See `Model:save`.
function M.save(model, path, extra)
  options.arg("Model:save", 1, "path", path, { type = "string", path = true }, 1)
  extra = options.check("Model:save", extra, EXTRA, 1)
  local tensors, metadata = {}, { config = json.encode(config_of(model)) }
  for _, p in ipairs(model:parameters()) do tensors[p.name] = p.value end
  if model.unstarted then metadata.actnorm = "unstarted" end
  for name, t in pairs(extra.tensors or {}) do
    if tensors[name] then error(("Model:save: tensor '%s' is a parameter's name"):format(name), 3) end
    tensors[name] = t
  end
  for key, value in pairs(extra.metadata or {}) do metadata[key] = value end
  return safetensors.save(path, tensors, metadata)
end

--- Copy tensors named like a model's parameters into them.
-- @tparam Model model
-- @tparam {[string]=Tensor} tensors
-- @return true, or nil and a message that names what is missing or misshapen
function M.fill(model, tensors)
  for _, p in ipairs(model:parameters()) do
    local t = tensors[p.name]
    if not t then return nil, ("tensor '%s' is missing"):format(p.name) end
    local got, want = table.concat(t:size(), "x"), table.concat(p.value:size(), "x")
    if got ~= want then return nil, ("tensor '%s' has shape %s, expected %s"):format(p.name, got, want) end
  end
  for _, p in ipairs(model:parameters()) do p.value:copy(tensors[p.name]) end
  model.unstarted = nil
  return true
end

local function numbers_in(tensors)
  local n = 0
  for _, t in pairs(tensors) do n = n + t:count() end
  return n
end

-- So much more is no matter, and then `fill` can say what does not fit.
local SLACK <const> = 1 << 20

--- Make a model with hardly more parameters than a file has numbers: a few bytes
-- of configuration must not take gigabytes, nor minutes for starts that the file
-- overwrites.
-- @tparam {[string]=Tensor} tensors all of the file
-- @tparam function make
-- @param ... its arguments
-- @return as `pcall`
function M.build_within(tensors, make, ...)
  core.parameter_limit(numbers_in(tensors) + SLACK)
  local ok, model = networks.without_starts(make, ...)
  core.parameter_limit(nil)
  return ok, model
end

--- Read a model; see `cglow.load`.
-- @tparam function make `Model.new`
-- @string path
-- @tparam[opt] table override options that replace the file's
function M.load(make, path, override)
  options.arg("cglow.load", 1, "path", path, {type = "string", path = true})
  options.arg("cglow.load", 2, "override", override, { type = "table", optional = true })
  local tensors, metadata, code = safetensors.load(path)
  if not tensors then return nil, metadata, code end
  if not metadata.config then return nil, ("%s: no 'config' in its metadata, so not a cglow model"):format(path) end
  local config, err = json.decode(metadata.config)
  if type(config) ~= "table" then
    return nil, ("%s: config is not a JSON object: %s"):format(path, err or type(config))
  end
  for key, value in pairs(override or {}) do config[key] = value end
  local ok, model = M.build_within(tensors, make, config)
  if not ok then return nil, ("%s: %s"):format(path, model) end
  local filled, why = M.fill(model, tensors)
  if not filled then return nil, ("%s: %s"):format(path, why) end
  model.unstarted = metadata.actnorm == "unstarted" and model.encoder and true or nil
  return model, tensors, metadata
end

return M
