--- The text as JSON: what reads must be written and read again without a change, and
-- is then the configuration of a checkpoint that `cglow.load` is given.
local cglow = require "cglow"
local json = require "cglow.util.json"
local check = require "spec.fuzz.targets.check"

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return math.type(a) == math.type(b) and a == b end
  for key, value in pairs(a) do
    if not same(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

-- Not every table that comes out can go in: `null` leaves a hole in a list.
local function check_round_trip(value)
  local ok, text = pcall(json.encode, value)
  if ok then assert(same(value, (json.decode(text)))) end
end

local MODEL <const> = cglow.Model {
  x = {1, 8, 8}, y = {1, 2, 2}, levels = 1, depth = 1, cn = {channels = 1, width = 1}, coupling = {width = 1},
}

-- The file as other programs write it: without checksums.
local function file_with(config)
  local header, data, offset = {}, {}, 0
  for i, p in ipairs(MODEL:parameters()) do
    local count = p.value:count()
    header[i] = ('"%s":{"dtype":"F32","shape":[%s],"data_offsets":[%d,%d]}'):format(
      p.name, table.concat(p.value:size(), ","), offset, offset + 4 * count)
    data[i] = ("<" .. ("f"):rep(count)):pack(table.unpack(p.value:reshape(count):totable()))
    offset = offset + 4 * count
  end
  local text = ('{"__metadata__":%s,%s}'):format(json.encode {config = config}, table.concat(header, ","))
  return ("<s8"):pack(text) .. table.concat(data)
end

local function run(text, folder)
  local value, message = json.decode(text)
  if value == nil then return check.reason(message) end
  check_round_trip(value)
  local path = check.write(folder .. "/model.safetensors", file_with(text))
  local model
  model, message = cglow.load(path)
  if not model then return check.reason(message) end
  assert(tostring(model))
  return true
end

-- A model may have a million numbers more than its file, each with its gradient, and
-- has the tables of at most 1024 steps on each of 16 levels.
return {run = run, anyway = 1 << 25, each = 200}
