--- All samples of a data set in one file.
--
-- A safetensors file: the tensors of all samples, under "field" with the samples
-- along a new first dimension when all have one shape, else under "field.i"; what
-- is no tensor is in the metadata, as JSON.
-- @module cglow.data.cache
local core = require "cglow.core"
local files = require "cglow.data.files"
local json = require "cglow.util.json"
local options = require "cglow.util.options"
local safetensors = require "cglow.util.safetensors"

local M = {}

local function is_tensor(value) return core.type(value) == "cglow.Tensor" end

local function same_shape(list)
  local first = table.concat(list[1]:size(), "x")
  for _, t in ipairs(list) do
    if t:dim() > 3 or table.concat(t:size(), "x") ~= first then return false end
  end
  return true
end

-- The samples by field: name → list of their tensors, and a list of all else.
local function columns(samples)
  local tensors, rest = {}, {}
  for i, sample in ipairs(samples) do
    rest[i] = {}
    for key, value in pairs(sample) do
      if is_tensor(value) then
        tensors[key] = tensors[key] or {}
        tensors[key][i] = value
      else
        rest[i][key] = value
      end
    end
  end
  return tensors, rest
end

local function save(path, samples)
  local tensors, rest = columns(samples)
  local flat = {}
  for field, list in pairs(tensors) do
    if #list == #samples and same_shape(list) then
      flat[field] = core.stack(list)
    else
      for i, t in pairs(list) do flat[("%s.%d"):format(field, i)] = t end
    end
  end
  return safetensors.save(path, flat, {samples = json.encode(rest)})
end

local function are_samples(list, count)
  if type(list) ~= "table" or #list ~= count then return false end
  for _, sample in ipairs(list) do
    if type(sample) ~= "table" or type(sample.name or "") ~= "string" then return false end
  end
  return true
end

-- Give a tensor of the file to the samples that it belongs to; false when there are none.
local function deal(samples, name, t)
  local field, i = name:match("^(.+)%.(%d+)$")
  if field then
    local sample = samples[math.tointeger(tonumber(i))]
    if sample then sample[field] = t end
    return sample ~= nil
  end
  if t:dim() < 2 or t:size(1) ~= #samples then return false end
  for k, sample in ipairs(samples) do sample[name] = t[k] end
  return true
end

local function load(path, count)
  local tensors, metadata = safetensors.load(path)
  if not tensors then return nil, metadata end
  local samples = json.decode(metadata.samples or "")
  if not are_samples(samples, count) then return nil, ("%s does not hold %d samples"):format(path, count) end
  for name, t in pairs(tensors) do
    if not deal(samples, name, t) then return nil, ("%s: no samples for tensor %s"):format(path, options.show(name)) end
  end
  return samples
end

local function read_all(ds)
  local samples = {}
  for i = 1, ds:size() do
    local message
    samples[i], message = ds:get(i)
    if not samples[i] then return nil, message end
  end
  return samples
end

-- Write the cache; one that cannot be written is told, and stops nothing.
local function keep(path, dir, samples)
  local ok, message = files.make_folder(dir)
  if ok then ok, message = save(path, samples) end
  if not ok then files.notify(("the cache is not kept: %s"):format(message)) end
end

-- The samples from the file, or read and put there.
local function obtain(ds, path, dir)
  if files.is_file(path) then
    local samples, message = load(path, ds:size())
    if samples then return samples end
    files.notify(("%s; making it again"):format(message))
  end
  local samples, message = read_all(ds)
  if samples then keep(path, dir, samples) end
  return samples, message
end

-- All samples, from the file or read; nil and a message when one of them cannot be read.
local function obtain_all(ds, recipe, dir)
  local message
  if not dir then dir, message = files.cache_dir() end
  if dir then return obtain(ds, files.join(dir, files.fingerprint(recipe, ds.files) .. ".safetensors"), dir) end
  files.notify_once(("the cache is not kept: %s"):format(message))
  return read_all(ds)
end

--- The `get` of the cached set. While a sample cannot be read there is no cache: the
-- others are read one by one.
-- @tparam Dataset ds not random
-- @string recipe names the samples
-- @tparam ?string dir folder for the file
-- @treturn function
function M.getter(ds, recipe, dir)
  local samples, message
  return function(i)
    if not samples and not message then
      samples, message = obtain_all(ds, recipe, dir)
      if not samples then ds = ds:cache() end
    end
    if samples then return samples[i] end
    return ds:get(i)
  end
end

return M
