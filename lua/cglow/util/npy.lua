--- Arrays in NumPy's files (.npy), to exchange tensors with Python.
--
--     numpy.save("x.npy", x)                        # in Python
--     local x = cglow.npy.load "x.npy"              -- here
--     cglow.npy.save("y.npy", y)
--
-- A file is a magic string, a version (1 to 3), the length of a header, the header (a
-- Python dictionary of type, order and shape, which is read as text and never run), and
-- the numbers. Sizes are held against the file's before anything is allocated.
-- @module cglow.npy
local core = require "cglow.core"
local options = require "cglow.util.options"
local show = options.show

local file = core.file
local M = {}

local MAGIC <const> = "\x93NUMPY"
local MAX_HEADER <const> = 65535 -- bytes; NumPy writes 64 to 192 of them
local MAX_DIM <const> = 4

-- NumPy's types → the core's formats.
local FORMAT <const> = {
  f2 = "F16", f4 = "F32", f8 = "F64", i1 = "I8", i2 = "I16", i4 = "I32", i8 = "I64", u1 = "U8", u2 = "U16", u4 = "U32",
  u8 = "U64", b1 = "U8",
}
local NAMES <const> = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}
local OWN <const> = core.scalar == "double" and "f8" or "f4"

-- ---- the header ----------------------------------------------------------

-- The text of a tuple of integers → a list, or nil.
local function tuple(text)
  local list = {}
  if not (text:find "^[%d, ]*$" and (text:find "," or not text:find "%d")) then return nil end
  for word in (text .. ","):gmatch "([^,]*)," do
    local digits = word:match "^ *(%d*) *$"
    if digits == nil or #digits > 18 then return nil end
    if digits ~= "" then list[#list + 1] = math.tointeger(tonumber(digits)) end
  end
  return list
end

-- The value that begins at `at` in the dictionary, and the place behind it.
local function value_at(text, at)
  local word, behind = text:match("^'([^'\\]*)'()", at)
  if word then return word, behind end
  word, behind = text:match("^(%a+)()", at)
  if word == "True" or word == "False" then return word == "True", behind end
  word, behind = text:match("^%(([^()]*)%)()", at)
  if word then return tuple(word), behind end
  return nil
end

-- "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }" → a table of the three
local function parse(text)
  local fields, count = {}, 0
  local at = text:match "^{%s*()"
  while at and text:sub(at, at) ~= "}" do
    local key, from = text:match("^'([%w_]+)'%s*:%s*()", at)
    local value, behind
    if key then value, behind = value_at(text, from) end
    if value == nil or fields[key] ~= nil then return nil end
    fields[key], count = value, count + 1
    at = text:match("^%s*,%s*()", behind) or text:match("^%s*()}", behind)
  end
  if not at or not text:find("^}%s*$", at) or count ~= 3 then return nil end
  return type(fields.descr) == "string" and type(fields.fortran_order) == "boolean" and type(fields.shape) == "table"
    and fields or nil
end

-- The name of the type, and is its highest byte first?
local function type_of(descr)
  local order, name = descr:match "^([<>|=])(%a%d+)$"
  if not FORMAT[name] or (order == "|") ~= (name:sub(2) == "1") and name:sub(2) ~= "1" then return nil end
  return name, order == ">"
end

-- The header's text and where the numbers begin.
local function read_header(reader, size)
  local head, message, code = reader:read(0, math.min(size, 12))
  if not head then return nil, message, code end
  if head:sub(1, 6) ~= MAGIC or #head < 10 then return nil, "no npy file: it does not begin as one" end
  local major = head:byte(7)
  if major < 1 or major > 3 then return nil, ("npy of version %d is not known"):format(major) end
  if major > 1 and #head < 12 then return nil, "damaged npy: it ends before its header" end
  local length = major == 1 and string.unpack("<I2", head, 9) or string.unpack("<I4", head, 9)
  local origin = major == 1 and 10 or 12
  if length > MAX_HEADER or length > size - origin then
    return nil, ("damaged npy: a header of %d bytes in a file of %d"):format(length, size)
  end
  local text
  text, message, code = reader:read(origin, length)
  return text, text and origin + length or message, code
end

-- ---- loading -------------------------------------------------------------

-- Numbers in a shape of this many bytes, or nil and why not.
local function check_shape(shape, width, available)
  local bytes = width
  for _, d in ipairs(shape) do
    if d == 0 then return nil, "an array without numbers: tensors hold at least one" end
    if bytes > available // d then bytes = nil break end
    bytes = bytes * d
  end
  if #shape > MAX_DIM then
    return nil, ("an array of %d dimensions: tensors have at most %d"):format(#shape, MAX_DIM)
  end
  if bytes ~= available then
    return nil, ("damaged npy: shape %s of %d bytes a number does not fit the file's %d bytes of data"):format(
      "(" .. table.concat(shape, ",") .. ")", width, available)
  end
  return true
end

local function reversed(list)
  local result = {}
  for i = 1, #list do result[i] = list[#list + 1 - i] end
  return result
end

local function load_from(reader)
  local size, message, code = reader:size()
  if not size then return nil, message, code end
  local text, origin
  text, origin, code = read_header(reader, size)
  if not text then return nil, origin, code end
  local fields = parse(text)
  if not fields then
    return nil, "the header is none of an array of numbers (records and objects of Python are not read)"
  end
  local name, big = type_of(fields.descr)
  if not name then return nil, ("type %s is not supported"):format(show(fields.descr)) end
  local ok
  ok, message = check_shape(fields.shape, tonumber(name:sub(2)), size - origin)
  if not ok then return nil, message end
  local shape = #fields.shape > 0 and fields.shape or {1}
  local fits, t, why
  fits, t, why, code = pcall(reader.read_tensor, reader, origin, FORMAT[name], fields.fortran_order and reversed(shape)
    or shape, big)
  if not fits and t ~= "not enough memory" then error(t, 0) end
  if not fits then return nil, t, file.ENOMEM end
  if not t then return nil, why, code end
  if name == "b1" and t:max() > 1 then return nil, "damaged npy: it holds booleans other than 0 and 1" end
  if fields.fortran_order and #shape > 1 then
    local order = {}
    for i = 1, #shape do order[i] = #shape + 1 - i end
    t = t:permute(table.unpack(order))
  end
  return t, name
end

--- Read an array.
--
-- Types f2, f4, f8, i1 to i8, u1 to u8 and b1 in either byte order, in C's order of
-- dimensions or Fortran's. Fractions are rounded to the core's precision; a whole number
-- that is not among its numbers is an error. An array without dimensions comes as shape {1}.
-- @string path
-- @treturn[1] Tensor
-- @treturn[1] string the type that the file has, as "f4"
-- @treturn[2] nil when it cannot be read, is damaged, of another type, or has no numbers or
-- more than 4 dimensions
-- @treturn[2] string message
-- @treturn[2] integer code
function M.load(path)
  options.arg("npy.load", 1, "path", path, {type = "string", path = true})
  local reader <close>, message, code = file.open(path)
  if not reader then return nil, message, code end
  local t, name
  t, name, code = load_from(reader)
  if not t then return nil, ("%s: %s"):format(path, name), code or file.EBADMSG end
  return t, name
end

-- ---- saving --------------------------------------------------------------

local SAVE <const> = {dtype = {type = "string", one_of = NAMES, default = OWN}}

local function header_of(shape, name)
  local text = ("{'descr': '%s%s', 'fortran_order': False, 'shape': (%s), }"):format(
    name:sub(2) == "1" and "|" or "<", name, table.concat(shape, ", ") .. (#shape == 1 and "," or ""))
  local length = #MAGIC + 4 + #text + 1
  return MAGIC .. "\1\0" .. string.pack("<s2", text .. (" "):rep(-length % 64) .. "\n")
end

-- The numbers' bytes in another type than the core's.
local function bytes_of(t, name)
  local ok, bytes = pcall(t.bytes, t, FORMAT[name])
  if ok and not (name == "b1" and (t:min() < 0 or t:max() > 1)) then return bytes end
  error(("npy.save: option 'dtype': not all of the tensor's numbers have a place in %s"):format(name), 3)
end

--- Write an array, whole or not at all.
-- @string path
-- @tparam Tensor tensor
-- @tparam[opt] table opts `dtype`: f2, f4, f8, i1, i2, i4, i8, u1, u2, u4, u8 or b1; by default the
-- core's own numbers, f4. Fractions are rounded to f2 and f4; the rest takes whole numbers alone
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message
-- @treturn[2] integer code
-- @raise when a number has no place in the type
function M.save(path, tensor, opts)
  options.arg("npy.save", 1, "path", path, {type = "string", path = true})
  options.arg("npy.save", 2, "tensor", tensor, "tensor")
  local name = options.check("npy.save", opts, SAVE).dtype
  local bytes = name ~= OWN and bytes_of(tensor, name)
  local out <close>, message, code = file.create(path)
  if not out then return nil, message, code end
  local ok
  ok, message, code = out:write(header_of(tensor:size(), name))
  if ok and bytes then ok, message, code = out:write(bytes) end
  if ok and not bytes then ok, message, code = out:write_tensor(tensor) end
  if not ok then return nil, message, code end
  return out:commit()
end

return M
