--- Tensors in safetensors files, which Python reads and writes too.
--
-- A file is the header's length (8 bytes, little-endian), the header (JSON: for
-- each tensor its dtype, shape and place in the data; under `__metadata__` a
-- table of strings), and the data, raw and little-endian. Loading runs no code
-- and trusts no number: every size is held against the file's before anything
-- is allocated.
--
-- Files written here also carry checksums: the metadata key `checksums` holds
-- a JSON object with the CRC-32C of each tensor's bytes as 8 hexadecimal digits
-- and, under `__metadata__`, that of all the other metadata. They are verified
-- when they are there. Big tensors never pass through Lua strings.
-- @module cglow.util.safetensors
local file = require "cglow.core".file
local scalar = require "cglow.core".scalar
local json = require "cglow.util.json"
local options = require "cglow.util.options"
local show = options.show

local M = {}

local METADATA, CHECKSUMS = "__metadata__", "checksums"
-- Bytes of a number; 8-bit floating point, of which there are several kinds, is not read.
local WIDTH = {
  F64 = 8, F32 = 4, F16 = 2, BF16 = 2, I64 = 8, I32 = 4, I16 = 2, I8 = 1, U64 = 8, U32 = 4, U16 = 2, U8 = 1, BOOL = 1,
}
local DTYPE = scalar == "double" and "F64" or "F32"
local MAX_HEADER = 100000000 -- bytes; the limit of the format's own library
local MAX_DIM = 4

-- ---- what both directions use --------------------------------------------

local before = file.before

local function hex(crc) return ("%08x"):format(crc) end

-- The checksum of the metadata besides the checksums: of each key and value,
-- each after its length, in the order of the keys' bytes.
local function metadata_checksum(metadata)
  local keys, parts = {}, {}
  for key in pairs(metadata) do
    if key ~= CHECKSUMS then keys[#keys + 1] = key end
  end
  table.sort(keys, before)
  for i, key in ipairs(keys) do parts[i] = string.pack("<s8s8", key, metadata[key]) end
  return hex(file.crc32c(table.concat(parts)))
end

-- ---- saving --------------------------------------------------------------

local function check_name(name)
  if type(name) ~= "string" then return ("tensor names must be strings, got a %s"):format(type(name)) end
  if not utf8.len(name) then return "a tensor's name is no valid UTF-8" end
  if name == METADATA then return ("no tensor can be called '%s'"):format(METADATA) end
end

-- The tensors in the order of their names, in a list of our own: what a finalizer
-- does to the caller's table later is no matter.
local function check_tensors(tensors)
  local list = {}
  for name, tensor in pairs(tensors) do
    local fault = check_name(name)
    if fault then error("save_tensors: " .. fault, 3) end
    list[#list + 1] = {
      name = name, tensor = options.arg("save_tensors", 2, ("tensor '%s'"):format(name), tensor, "tensor", 1),
    }
  end
  table.sort(list, function(a, b) return before(a.name, b.name) end)
  return list
end

-- A copy of the metadata.
local function check_metadata(metadata)
  local copy = {}
  for key, value in pairs(metadata) do
    if type(key) ~= "string" or type(value) ~= "string" then
      error(("save_tensors: metadata must be strings under strings, got a %s under a %s"):format(
        type(value), type(key)), 3)
    end
    if key == CHECKSUMS then
      error(("save_tensors: the metadata key '%s' is written by save_tensors itself"):format(key), 3)
    end
    if not (utf8.len(key) and utf8.len(value)) then
      error(("save_tensors: metadata '%s' is no valid UTF-8"):format(key), 3)
    end
    copy[key] = value
  end
  return copy
end

-- The header's text. Every entry of the list has its checksum in `crc`, or none has
-- yet: a text of the same length.
local function header_of(list, metadata)
  local header, checksums, offset = {}, {[METADATA] = metadata_checksum(metadata)}, 0
  for _, e in ipairs(list) do
    local stop = offset + WIDTH[DTYPE] * e.tensor:count()
    header[e.name] = {dtype = DTYPE, shape = e.tensor:size(), data_offsets = {offset, stop}}
    checksums[e.name] = hex(e.crc or 0)
    offset = stop
  end
  local all = {[CHECKSUMS] = json.encode(checksums)}
  for key, value in pairs(metadata) do all[key] = value end
  header[METADATA] = all
  local text = json.encode(header)
  return text .. (" "):rep(-#text % 8) -- the data starts at a multiple of 8
end

-- Room for the header, the tensors, and then the header with the checksums of the
-- bytes that were written: a finalizer may change a tensor at any time until then.
local function write(out, list, metadata, header)
  local ok, message, code = out:write(string.pack("<I8", #header) .. header)
  for _, e in ipairs(list) do
    if not ok then return nil, message, code end
    ok, message, code = out:write_tensor(e.tensor)
    e.crc = ok and message
  end
  if ok then ok, message, code = out:write(header_of(list, metadata), 8) end
  if not ok then return nil, message, code end
  return out:commit()
end

--- Write tensors to a file, all or nothing: the path holds the old file or the
-- new one at any moment, and the new one is on the disk when this returns.
-- @tparam string path
-- @tparam {[string]=Tensor,...} tensors stored as F32 (F64 by the double build)
-- @tparam[opt] {[string]=string,...} metadata
-- @treturn[1] boolean true
-- @treturn[2] nil the old file, if any, is untouched
-- @treturn[2] string message
-- @treturn[2] integer code
-- @raise on names that are no UTF-8 strings, values that are no tensors,
-- metadata that are no strings
function M.save(path, tensors, metadata)
  options.arg("save_tensors", 1, "path", path, {type = "string", path = true})
  options.arg("save_tensors", 2, "tensors", tensors, "table")
  metadata = options.arg("save_tensors", 3, "metadata", metadata, {type = "table", default = {}})
  local list = check_tensors(tensors)
  metadata = check_metadata(metadata)
  local header = header_of(list, metadata)
  if #header > MAX_HEADER then
    return nil, ("%s: a header of %d bytes is more than the format's %d"):format(path, #header, MAX_HEADER),
      file.EBADMSG
  end
  local out <close>, message, code = file.create(path)
  if not out then return nil, message, code end
  return write(out, list, metadata, header)
end

-- ---- loading -------------------------------------------------------------

-- The header's text and where the data begin.
local function read_header(reader, size)
  if size < 8 then return nil, "too short for a safetensors file" end
  local length, message, code = reader:read(0, 8)
  if not length then return nil, message, code end
  local n = string.unpack("<i8", length)
  if n < 2 or n > MAX_HEADER or n > size - 8 then
    return nil, ("no safetensors file: a header of %s bytes in a file of %d"):format(
      n < 0 and "more than 2^63" or n, size)
  end
  local text
  text, message, code = reader:read(8, n)
  if not text then return nil, message, code end
  if text:byte() ~= 123 then return nil, "no safetensors file: the header does not begin with '{'" end
  return text, 8 + n
end

-- A list of integers and nothing else, at most `max` of them.
local function is_integers(list, max)
  if type(list) ~= "table" then return false end
  local count = 0
  for key, value in pairs(list) do
    if math.type(key) ~= "integer" or math.type(value) ~= "integer" then return false end
    count = count + 1
  end
  return count == #list and count <= max
end

-- Bytes of a tensor of this shape, or nil when they are more than there are.
local function bytes_of(shape, width, available)
  local bytes, empty = width, false
  for _, d in ipairs(shape) do
    if d < 0 then return nil end
    empty = empty or d == 0
  end
  for _, d in ipairs(empty and {} or shape) do
    if bytes > available // d then return nil end
    bytes = bytes * d
  end
  return empty and 0 or bytes <= available and bytes or nil
end

local KEYS = {dtype = true, shape = true, data_offsets = true}

-- One tensor's entry, checked against the size of the data: where it lies.
local function check_entry(name, entry, available)
  local function fail(format, ...) return nil, "tensor " .. show(name) .. ": " .. format:format(...) end
  if type(entry) ~= "table" then return fail("an object expected") end
  for key in pairs(entry) do
    if not KEYS[key] then return fail("unknown key %s", show(key)) end
  end
  local width = type(entry.dtype) == "string" and WIDTH[entry.dtype]
  if not width then return fail("dtype %s is not supported", show(entry.dtype)) end
  local shape, place = entry.shape, entry.data_offsets
  if not is_integers(shape, MAX_DIM) then return fail("shape must be a list of at most %d integers", MAX_DIM) end
  if not is_integers(place, 2) or #place ~= 2 then return fail("data_offsets must be two integers") end
  local bytes = bytes_of(shape, width, available)
  if not bytes then return fail("shape %s does not fit the file's %d bytes of data", json.encode(shape), available) end
  if place[1] < 0 or place[2] > available or place[2] - place[1] ~= bytes then
    return fail("data_offsets [%d,%d] do not fit %d bytes of data in %d", place[1], place[2], bytes, available)
  end
  return {name = name, dtype = entry.dtype, shape = #shape > 0 and shape or {1}, start = place[1], stop = place[2]}
end

-- The tensors must follow each other without a gap from the data's first byte
-- to its last.
local function check_coverage(entries, available)
  table.sort(entries, function(a, b) return a.start < b.start or a.start == b.start and a.stop < b.stop end)
  local stop = 0
  for _, e in ipairs(entries) do
    if e.start ~= stop then
      return nil, ("tensor %s begins at %d, where %d was expected: tensors %s"):format(
        show(e.name), e.start, stop, e.start < stop and "overlap" or "leave a gap")
    end
    stop = e.stop
  end
  if stop ~= available then return nil, ("%d bytes follow the last tensor"):format(available - stop) end
  return true
end

local function check_entries(header, available)
  local entries = {}
  for name, entry in pairs(header) do
    if name ~= METADATA then
      local e, message = check_entry(name, entry, available)
      if not e then return nil, message end
      entries[#entries + 1] = e
    end
  end
  local ok, message = check_coverage(entries, available)
  if not ok then return nil, message end
  return entries
end

local function strings_under_strings(t)
  if type(t) ~= "table" then return false end
  for key, value in pairs(t) do
    if type(key) ~= "string" or type(value) ~= "string" then return false end
  end
  return true
end

-- Programs that know nothing of the checksums keep them when they change a tensor.
local OR_CHANGED <const> = ", or another program changed it: without the metadata key 'checksums' the file loads "
  .. "as it is"

-- The checksums when there are any: one for each tensor and one for the metadata.
local function read_checksums(metadata, entries)
  if not metadata[CHECKSUMS] then return {} end
  local sums, message = json.decode(metadata[CHECKSUMS])
  if sums == nil then return nil, "checksums: " .. message end
  if not strings_under_strings(sums) then return nil, "checksums: an object of strings expected" end
  local count = 0
  for _ in pairs(sums) do count = count + 1 end
  for _, e in ipairs(entries) do
    if not sums[e.name] then return nil, ("tensor %s has no checksum%s"):format(show(e.name), OR_CHANGED) end
  end
  if not sums[METADATA] or count ~= #entries + 1 then return nil, "checksums and tensors do not belong together" end
  local found = metadata_checksum(metadata)
  if sums[METADATA] ~= found then
    return nil, ("the metadata are damaged (checksum %s, expected %s)"):format(found, show(sums[METADATA]))
      .. OR_CHANGED
  end
  return sums
end

-- A file may be longer than memory, with holes even longer than its disk.
local function read_tensor(reader, origin, e)
  local bool = e.dtype == "BOOL"
  local ok, t, crc, code = pcall(reader.read_tensor, reader, origin + e.start, bool and "U8" or e.dtype, e.shape)
  if ok and t and bool and t:max() > 1 then return nil, "holds booleans other than 0 and 1" end
  if ok then return t, crc, code end
  if t ~= "not enough memory" then error(t, 0) end
  return nil, t, file.ENOMEM
end

local function read_tensors(reader, entries, origin, sums)
  local tensors, empty = {}, {}
  for _, e in ipairs(entries) do
    local t, crc, code = false, 0, nil -- of no bytes
    if e.stop > e.start then t, crc, code = read_tensor(reader, origin, e) end
    if t == nil then return nil, ("tensor %s: %s"):format(show(e.name), crc), code end
    if sums[e.name] and sums[e.name] ~= hex(crc) then
      return nil, ("tensor %s is damaged (checksum %s, expected %s)%s"):format(
        show(e.name), hex(crc), show(sums[e.name]), OR_CHANGED)
    end
    if t then tensors[e.name] = t else empty[e.name] = e.shape end
  end
  return tensors, empty
end

-- All but the tensors: the metadata, where they are, and what their checksums should be.
local function read_front(reader)
  local size, message, code = reader:size()
  if not size then return nil, message, code end
  local text, origin
  text, origin, code = read_header(reader, size)
  if not text then return nil, origin, code end
  local header
  header, message = json.decode(text, {keep_null = true})
  if type(header) ~= "table" then return nil, "header: " .. message end
  local metadata = header[METADATA]
  if metadata == nil or metadata == json.null then metadata = {} end
  if not strings_under_strings(metadata) then return nil, "the metadata must be an object of strings" end
  local entries, sums
  entries, message = check_entries(header, size - origin)
  if not entries then return nil, message end
  sums, message = read_checksums(metadata, entries)
  if not sums then return nil, message end
  metadata[CHECKSUMS] = nil
  return {metadata = metadata, entries = entries, sums = sums, origin = origin}
end

-- Everything between opening and closing; messages do not name the file yet.
local function load_from(reader)
  local front, message, code = read_front(reader)
  if not front then return nil, message, code end
  local tensors, empty
  tensors, empty, code = read_tensors(reader, front.entries, front.origin, front.sums)
  if not tensors then return nil, empty, code end
  return tensors, front.metadata, empty
end

--- Read all tensors of a file. Those without dimensions come as shape {1}; those without
-- numbers, of which there are none in Lua, are listed apart.
-- @tparam string path
-- @treturn[1] {[string]=Tensor,...} tensors; F64, F32, F16 and BF16 are rounded to the core's
-- numbers, I64 to I8, U64 to U8 and BOOL are just what they were
-- @treturn[1] {[string]=string,...} metadata without the checksums
-- @treturn[1] {[string]={integer,...},...} shapes of the tensors that hold no numbers
-- @treturn[2] nil when the file cannot be read, is malformed or damaged, or holds a number
-- that has no place among the core's, another dtype, or more than 4 dimensions
-- @treturn[2] string message
-- @treturn[2] integer code
function M.load(path)
  options.arg("load_tensors", 1, "path", path, {type = "string", path = true})
  local reader <close>, message, code = file.open(path)
  if not reader then return nil, message, code end
  local tensors, metadata
  tensors, metadata, code = load_from(reader)
  if not tensors then return nil, ("%s: %s"):format(path, metadata), code or file.EBADMSG end
  return tensors, metadata, code
end

--- What a file says of itself, without its tensors.
-- @tparam string path
-- @treturn[1] {[string]=string,...} metadata without the checksums
-- @treturn[1] {[string]=string,...} checksums of the tensors and the metadata by name; empty when there are none
-- @treturn[2] nil
-- @treturn[2] string message
-- @treturn[2] integer code
function M.metadata(path)
  options.arg("safetensors.metadata", 1, "path", path, {type = "string", path = true})
  local reader <close>, message, code = file.open(path)
  if not reader then return nil, message, code end
  local front
  front, message, code = read_front(reader)
  if not front then return nil, ("%s: %s"):format(path, message), code or file.EBADMSG end
  return front.metadata, front.sums
end

return M
