--- JSON: strict where it reads, stable where it writes.
--
-- Configurations and checkpoints may come from strangers, or damaged: what is not JSON by
-- the letter (comments, commas too many or too few, a key twice, any depth of nesting) is
-- refused, so that no byte of a file's header can change unnoticed. Keys are written in sorted
-- order, so that two versions of a file differ only where they differ, and numbers with as
-- many digits as reading them back needs.
--
-- Why this is not dkjson with a few checks around it: of the 42 texts that
-- spec/util/json_spec.lua refuses, dkjson 2.6 takes 27 for JSON. Some could be checked apart
-- (depth, UTF-8, what follows the value), the others not without reading the text a second
-- time: keys twice or without quotes, missing and trailing commas, comments, control
-- characters, unknown escapes, halves of surrogate pairs, 01, 1. and .5. Two readers of one
-- text may understand it in two ways, and that is what a hostile file looks for. dkjson also
-- writes 14 digits: 0.1 + 0.2 comes back as 0.3.
--
-- Names of files are bytes, and need not be UTF-8. A byte that is part of none, 0xE9 say,
-- is written as \udce9, half of a surrogate pair that no text holds, and read back as that
-- byte: every string comes back as it was. Python's "surrogateescape" is the same.
-- @module cglow.util.json
local options = require "cglow.util.options"
local read_file = require "cglow.util.read_file"
local EBADMSG = require "cglow.core".file.EBADMSG
local repair = require("cglow.util.bytes").repair
local sort_by_bytes = require("cglow.util.bytes").sort

local M = {}

-- Levels of nesting, read or written; both recurse once for each.
local MAX_DEPTH <const> = 64

local LARGEST <const> = 1 << 26 -- bytes of a file

--- What stands for `null` when encoding; `decode` returns it for a text that
-- is nothing but `null`.
M.null = setmetatable({}, {__tostring = function() return "null" end})

-- ---- reading ---------------------------------------------------------------

-- What values have for a metatable, so that an empty one can be told when written.
local OBJECT <const>, LIST <const> = {__jsontype = "object"}, {__jsontype = "array"}

local function fail(pos, message) error({message = message, at = pos}, 0) end

-- The readers below take the text, where something begins, and `state`: `null`, what
-- stands for it. They return the value and the position after it.

local function skip(text, pos) return text:find("[^ \t\n\r]", pos) or #text + 1 end

local ESCAPES <const> = {
  ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t",
}

local function read_escape(text, pos)
  local plain = ESCAPES[text:sub(pos + 1, pos + 1)]
  if plain then return plain, pos + 2 end
  local hex = text:match("^\\u(%x%x%x%x)", pos)
  if not hex then fail(pos, "unknown escape") end
  local code = tonumber(hex, 16)
  if code < 0xD800 or code > 0xDFFF then return utf8.char(code), pos + 6 end
  if code >= 0xDC80 and code <= 0xDCFF then return string.char(code & 0xFF), pos + 6 end -- a byte, see above
  local low = code < 0xDC00 and text:match("^\\u([dD][c-fC-F]%x%x)", pos + 6)
  if not low then fail(pos, "half of a surrogate pair") end
  return utf8.char(0x10000 + (code - 0xD800 << 10) + tonumber(low, 16) - 0xDC00), pos + 12
end

local function read_string(text, start)
  local pieces, pos = {}, start + 1
  while true do
    local stop = text:find('["\\\0-\31]', pos)
    if not stop then fail(start, "unterminated string") end
    pieces[#pieces + 1] = text:sub(pos, stop - 1)
    local char = text:sub(stop, stop)
    if char == '"' then return table.concat(pieces), stop + 1 end
    if char ~= "\\" then fail(stop, "control character in a string") end
    pieces[#pieces + 1], pos = read_escape(text, stop)
  end
end

local function read_number(text, start)
  local pos = text:match("^%-?0()", start) or text:match("^%-?[1-9]%d*()", start)
  if not pos then fail(start, "a value expected") end
  pos = text:match("^%.%d+()", pos) or pos
  pos = text:match("^[eE][-+]?%d+()", pos) or pos
  local number = tonumber(text:sub(start, pos - 1))
  if math.abs(number) == math.huge then fail(start, "number out of range") end
  return number, pos
end

local read_value -- forward: values hold values

local function read_list(text, start, state, depth)
  local list, n, pos = setmetatable({}, LIST), 0, skip(text, start + 1)
  if text:find("^]", pos) then return list, pos + 1 end
  while true do
    n = n + 1
    list[n], pos = read_value(text, pos, state, depth + 1)
    pos = skip(text, pos)
    if text:find("^]", pos) then return list, pos + 1 end
    if not text:find("^,", pos) then fail(pos, "',' or ']' expected") end
    pos = skip(text, pos + 1)
  end
end

local function read_pair(text, start, state, depth, object, seen)
  if not text:find('^"', start) then fail(start, "a key expected") end
  local key, pos = read_string(text, start)
  if seen[key] then fail(start, ("key %s comes twice"):format(options.show(key))) end
  seen[key] = true
  pos = skip(text, pos)
  if not text:find("^:", pos) then fail(pos, "':' expected") end
  object[key], pos = read_value(text, skip(text, pos + 1), state, depth + 1)
  return skip(text, pos)
end

local function read_object(text, start, state, depth)
  local object, seen, pos = setmetatable({}, OBJECT), {}, skip(text, start + 1)
  if text:find("^}", pos) then return object, pos + 1 end
  while true do
    pos = read_pair(text, pos, state, depth, object, seen)
    if text:find("^}", pos) then return object, pos + 1 end
    if not text:find("^,", pos) then fail(pos, "',' or '}' expected") end
    pos = skip(text, pos + 1)
  end
end

function read_value(text, pos, state, depth)
  if depth > MAX_DEPTH then fail(pos, ("nested deeper than %d"):format(MAX_DEPTH)) end
  local char = text:sub(pos, pos)
  if char == "{" then return read_object(text, pos, state, depth) end
  if char == "[" then return read_list(text, pos, state, depth) end
  if char == '"' then return read_string(text, pos) end
  local word = text:match("^%a+", pos)
  if word == "true" or word == "false" then return word == "true", pos + #word end
  if word == "null" then return state.null, pos + #word end
  return read_number(text, pos)
end

local function read(text, state)
  local ok, bad = utf8.len(text)
  if not ok then fail(bad, "no valid UTF-8") end
  local value, pos = read_value(text, skip(text, 1), state, 1)
  pos = skip(text, pos)
  if pos <= #text then fail(pos, "end of text expected") end
  return value
end

local DECODE = {keep_null = {type = "boolean"}}

--- Decode a text. Arrays and objects become tables, `null` inside them nil.
-- @tparam string text JSON (RFC 8259) in UTF-8
-- @tparam[opt] table opts `keep_null` = true: `null` becomes `json.null` everywhere
-- @return[1] the value; `json.null` for a bare `null`
-- @treturn[2] nil
-- @treturn[2] string message with the place of the fault in bytes from 1
function M.decode(text, opts)
  options.arg("json.decode", 1, "text", text, "string")
  opts = options.check("json.decode", opts, DECODE)
  local ok, value = pcall(read, text, {null = opts.keep_null and M.null or nil})
  if not ok then
    if type(value) ~= "table" then error(value, 0) end
    return nil, ("invalid JSON at byte %d: %s"):format(value.at, value.message)
  end
  if value == nil then return M.null end
  return value
end

--- Decode a file.
-- @tparam string path
-- @return[1] the value
-- @treturn[2] nil
-- @treturn[2] string message
-- @treturn[2] integer code
function M.read(path)
  options.arg("json.read", 1, "path", path, {type = "string", path = true})
  local text, message, code = read_file(path, LARGEST)
  if not text then return nil, message, code end
  local value, fault = M.decode(text)
  if value == nil then return nil, ("%s: %s"):format(path, fault), EBADMSG end
  return value
end

-- ---- writing -------------------------------------------------------------

local QUOTED <const> = {
  ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t",
}

local function escaped(byte) return ("\\udc%02x"):format(byte:byte()) end

local function quoted(text)
  local inside = text:gsub('[%z\1-\31\127"\\]', function(char)
    return QUOTED[char] or ("\\u%04x"):format(char:byte())
  end)
  return '"' .. (utf8.len(inside) and inside or repair(inside, escaped)) .. '"'
end

-- The fewest digits that read back as the same number.
local function float(value, state)
  if value ~= value or math.abs(value) == math.huge then
    if state.not_finite == "null" then return "null" end
    return nil, ("the number %s (not_finite = \"null\" writes null)"):format(value)
  end
  for digits = 15, 17 do
    local text = ("%%.%dg"):format(digits):format(value)
    if tonumber(text) == value then
      text = text:gsub("[^%deE+-]", ".") -- whatever the locale's decimal point is
      return text:find("[.eE]") and text or text .. ".0"
    end
  end
end

local encode_value -- forward

-- How many elements a list has; nil when the table is an object. Only the
-- metatable that decoding gives tells what an empty table is.
local function list_length(value)
  local meta = getmetatable(value)
  if next(value) == nil then return type(meta) == "table" and meta.__jsontype == "array" and 0 or nil end
  return #value > 0 and #value or nil
end

local function put(state, ...)
  for i = 1, select("#", ...) do state[#state + 1] = (select(i, ...)) end
end

local function new_line(state, depth)
  if state.indent then put(state, "\n", ("  "):rep(depth)) end
end

-- Are there values at 1..n and nowhere else?
local function is_list(value, n)
  local count = 0
  for _ in pairs(value) do count = count + 1 end
  for i = 1, n do
    if value[i] == nil then return false end
  end
  return count == n
end

local function encode_list(value, n, state, depth)
  if not is_list(value, n) then return nil, "a table that is neither a list nor an object" end
  put(state, "[")
  for i = 1, n do
    if i > 1 then put(state, state.indent and ", " or ",") end
    local ok, message = encode_value(value[i], state, depth)
    if not ok then return nil, message end
  end
  put(state, "]")
  return true
end

local function sorted_keys(value)
  local keys = {}
  for key in pairs(value) do
    if type(key) ~= "string" then return nil, ("a key of type %s"):format(type(key)) end
    keys[#keys + 1] = key
  end
  sort_by_bytes(keys)
  return keys
end

local function encode_object(value, state, depth)
  local keys, message = sorted_keys(value)
  if not keys then return nil, message end
  put(state, "{")
  for i, key in ipairs(keys) do
    if i > 1 then put(state, ",") end
    new_line(state, depth)
    local ok
    put(state, quoted(key), state.indent and ": " or ":")
    ok, message = encode_value(value[key], state, depth)
    if not ok then return nil, message end
  end
  if #keys > 0 then new_line(state, depth - 1) end
  put(state, "}")
  return true
end

local scalars = {
  string = quoted,
  boolean = tostring,
  number = function(value, state)
    if math.type(value) == "integer" then return ("%d"):format(value) end
    return float(value, state)
  end,
}

function encode_value(value, state, depth)
  if value == M.null then
    put(state, "null")
    return true
  end
  local scalar = scalars[type(value)]
  if scalar then
    local text, message = scalar(value, state)
    if not text then return nil, message end
    put(state, text)
    return true
  end
  if type(value) ~= "table" then return nil, ("a %s"):format(type(value)) end
  if depth >= MAX_DEPTH then return nil, ("tables nested deeper than %d"):format(MAX_DEPTH) end
  local n = list_length(value)
  if n then return encode_list(value, n, state, depth + 1) end
  return encode_object(value, state, depth + 1)
end

local ENCODE = {
  indent = {type = "boolean"},
  not_finite = {one_of = {"null"}},
}

--- Encode a value. A table with elements 1..n is a list, one with string keys
-- an object; an empty one is an object unless `decode` made it from a list.
-- @param value string, number, boolean, `json.null`, or a table of them
-- @tparam[opt] table opts `indent` = true: one key to a line;
-- `not_finite` = "null": NaN and infinities become null
-- @treturn string
-- @raise on anything that JSON cannot hold
function M.encode(value, opts)
  local state = options.check("json.encode", opts, ENCODE)
  local ok, message = encode_value(value, state, 0)
  if not ok then error(("json.encode: cannot encode %s"):format(message), 2) end
  return table.concat(state)
end

return M
