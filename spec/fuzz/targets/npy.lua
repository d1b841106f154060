--- Load the file; a good one is saved in its own type and loaded again, and must be the same.
local check = require "spec.fuzz.targets.check"
local file = require "cglow.core".file
local npy = require "cglow.util.npy"

local function run(bytes, folder)
  local path = check.write(folder .. "/input", bytes)
  local t, kind, code = npy.load(path)
  if not t then return check.reason(kind, code) end
  assert(npy.save(path, t, {dtype = kind}))
  local again, same = assert(npy.load(path))
  assert(kind == same)
  assert(table.concat(t:size(), " ") == table.concat(again:size(), " "))
  -- in a wider type every pattern of NaN bits need not survive
  assert(file.crc32c(t) == file.crc32c(again) or not t:isfinite())
  return true
end

return {run = run, anyway = 1 << 20, each = 200}
