--- Load the file; a good one is saved and loaded again and must be the same.
local json, safetensors = require "cglow.util.json", require "cglow.util.safetensors"
local file = require "cglow.core".file
local check = require "spec.fuzz.targets.check"

local function same(a, b)
  for name, t in pairs(a) do
    assert(file.crc32c(t) == file.crc32c(b[name]))
    assert(table.concat(t:size(), " ") == table.concat(b[name]:size(), " "))
  end
end

local function run(bytes, folder)
  local path = check.write(folder .. "/input", bytes)
  local tensors, metadata, code = safetensors.load(path)
  if not tensors then return check.reason(metadata, code) end
  assert(safetensors.save(path, tensors, metadata))
  local again, notes = assert(safetensors.load(path))
  same(tensors, again)
  same(again, tensors)
  assert(json.encode(metadata) == json.encode(notes))
  return true
end

-- What a table, a string and a tensor of their own cost for the shortest texts that
-- ask for them, with room to spare.
return {run = run, anyway = 1 << 20, each = 200}
