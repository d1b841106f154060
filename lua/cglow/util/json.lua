--- JSON: strict where it reads, stable where it writes.
--
-- dkjson builds the values and quotes the strings. What it lets pass (comments,
-- missing commas, a key twice, any depth of nesting) is refused here first,
-- because configurations and checkpoints may come from strangers. Keys are
-- written in sorted order, so that two versions of a file differ only where
-- they differ, and numbers with as many digits as reading them back needs.
-- @module cglow.util.json
local dkjson = require "dkjson"
local options = require "cglow.util.options"
local read_file = require "cglow.util.read_file"
local EBADMSG = require "cglow.core".file.EBADMSG
local sort_by_bytes = require("cglow.util.bytes").sort

local M = {}

-- Levels of nesting, read or written; both recurse once for each.
local MAX_DEPTH = 64

local LARGEST <const> = 1 << 26 -- bytes of a file

--- What stands for `null` when encoding; `decode` returns it for a text that
-- is nothing but `null`.
M.null = dkjson.null

-- ---- reading: is this text JSON? -----------------------------------------

local function skip(text, pos)
  return text:find("[^ \t\n\r]", pos) or #text + 1
end

-- These return the position after what they found, or nil, a message and where.

local function after_escape(text, pos)
  if text:find('^\\["\\/bfnrt]', pos) then return pos + 2 end
  local hex = text:match("^\\u(%x%x%x%x)", pos)
  if not hex then return nil, "unknown escape", pos end
  local code = tonumber(hex, 16)
  if code < 0xD800 or code > 0xDFFF then return pos + 6 end
  local paired = code < 0xDC00 and text:find("^\\u[dD][c-fC-F]%x%x", pos + 6)
  if not paired then return nil, "half of a surrogate pair", pos end
  return pos + 12
end

local function after_string(text, start)
  local pos = start + 1
  while true do
    local stop = text:find('["\\\0-\31]', pos)
    if not stop then return nil, "unterminated string", start end
    local char = text:sub(stop, stop)
    if char == '"' then return stop + 1 end
    if char ~= "\\" then return nil, "control character in a string", stop end
    local message, at
    pos, message, at = after_escape(text, stop)
    if not pos then return nil, message, at end
  end
end

local function after_number(text, start)
  local pos = text:match("^%-?0()", start) or text:match("^%-?[1-9]%d*()", start)
  if not pos then return nil, "a value expected", start end
  pos = text:match("^%.%d+()", pos) or pos
  pos = text:match("^[eE][-+]?%d+()", pos) or pos
  if math.abs(tonumber(text:sub(start, pos - 1))) == math.huge then return nil, "number out of range", start end
  return pos
end

local after_value -- forward: values hold values

local function after_array(text, start, depth)
  local pos = skip(text, start + 1)
  if text:find("^]", pos) then return pos + 1 end
  while true do
    local message, at
    pos, message, at = after_value(text, pos, depth + 1)
    if not pos then return nil, message, at end
    pos = skip(text, pos)
    if text:find("^]", pos) then return pos + 1 end
    if not text:find("^,", pos) then return nil, "',' or ']' expected", pos end
    pos = skip(text, pos + 1)
  end
end

-- A key as the program will see it: "a" and "\u0061" are the same one.
local function key_at(text, start, stop)
  local key = text:sub(start + 1, stop - 2)
  if not key:find("\\", 1, true) then return key end
  return (dkjson.decode(text:sub(start, stop - 1)))
end

local function after_pair(text, start, depth, seen)
  if not text:find('^"', start) then return nil, "a key expected", start end
  local pos, message, at = after_string(text, start)
  if not pos then return nil, message, at end
  local key = key_at(text, start, pos)
  if seen[key] then return nil, ("key %s comes twice"):format(options.show(key)), start end
  seen[key] = true
  pos = skip(text, pos)
  if not text:find("^:", pos) then return nil, "':' expected", pos end
  return after_value(text, skip(text, pos + 1), depth + 1)
end

local function after_object(text, start, depth)
  local pos, seen = skip(text, start + 1), {}
  if text:find("^}", pos) then return pos + 1 end
  while true do
    local message, at
    pos, message, at = after_pair(text, pos, depth, seen)
    if not pos then return nil, message, at end
    pos = skip(text, pos)
    if text:find("^}", pos) then return pos + 1 end
    if not text:find("^,", pos) then return nil, "',' or '}' expected", pos end
    pos = skip(text, pos + 1)
  end
end

function after_value(text, pos, depth)
  if depth > MAX_DEPTH then return nil, ("nested deeper than %d"):format(MAX_DEPTH), pos end
  local char = text:sub(pos, pos)
  if char == "{" then return after_object(text, pos, depth) end
  if char == "[" then return after_array(text, pos, depth) end
  if char == '"' then return after_string(text, pos) end
  local word = text:match("^%a+", pos)
  if word == "true" or word == "false" or word == "null" then return pos + #word end
  return after_number(text, pos)
end

local function check(text)
  local ok, bad = utf8.len(text)
  if not ok then return nil, "no valid UTF-8", bad end
  local pos, message, at = after_value(text, skip(text, 1), 1)
  if not pos then return nil, message, at end
  pos = skip(text, pos)
  if pos <= #text then return nil, "end of text expected", pos end
  return true
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
  local ok, message, at = check(text)
  if not ok then return nil, ("invalid JSON at byte %d: %s"):format(at, message) end
  local value = dkjson.decode(text, 1, opts.keep_null and M.null or nil)
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

local function quoted(text)
  if not utf8.len(text) then return nil, "a string that is no valid UTF-8" end
  return dkjson.quotestring(text)
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
    local name, ok
    name, message = quoted(key)
    if not name then return nil, message end
    put(state, name, state.indent and ": " or ":")
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
