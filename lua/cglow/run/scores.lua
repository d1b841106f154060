--- The scores of held-out samples that a run keeps beside its model: scores.json.
--
-- They belong to one model file, told by its checksums, and to the way of scoring; a file of another
-- model is as good as none.
-- @module cglow.run.scores
local bytes = require "cglow.util.bytes"
local file = require "cglow.core".file
local json = require "cglow.util.json"
local lfs = require "lfs"
local safetensors = require "cglow.util.safetensors"

local M = {}

-- What tells a model file from others: 8 hexadecimal digits.
local function mark_of(path)
  local metadata, sums = safetensors.metadata(path)
  if not metadata then return nil, sums end
  local names, parts = {}, {}
  for name in pairs(sums) do names[#names + 1] = name end
  bytes.sort(names)
  for i, name in ipairs(names) do parts[i] = name .. sums[name] end
  return ("%08x"):format(file.crc32c(table.concat(parts, "\n")))
end

local function is_list(values)
  if type(values) ~= "table" then return false end
  for _, value in ipairs(values) do
    if type(value) ~= "number" then return false end
  end
  return #values > 0
end

--- Read the scores that a run keeps.
-- @string folder
-- @string model path of the model file
-- @tparam table way `draws`, `seed`
-- @treturn ?{number,...} bits per dimension; nil when there are none of this model and way
function M.read(folder, model, way)
  local path = folder .. "/scores.json"
  if lfs.symlinkattributes(path, "mode") ~= "file" then return nil end
  local kept = json.read(path)
  if type(kept) ~= "table" or kept.model ~= mark_of(model) then return nil end
  if kept.draws ~= way.draws or kept.seed ~= way.seed or not is_list(kept.bits_per_dim) then return nil end
  return kept.bits_per_dim
end

--- Keep scores beside a model.
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message
function M.write(folder, model, way, bits, source)
  local mark, message = mark_of(model)
  if not mark then return nil, message end
  return file.write(folder .. "/scores.json", json.encode({
    model = mark, draws = way.draws, seed = way.seed, source = source, bits_per_dim = bits,
  }, {indent = true}) .. "\n")
end

return M
