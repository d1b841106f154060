--- JSON by dkjson, within the limits that files of strangers need.
--
-- Configurations and checkpoints may come from strangers, or be damaged. dkjson is lenient:
-- it takes comments, commas too many or too few, keys without quotes or twice, control
-- characters, unknown escapes, halves of surrogate pairs, 01, 1. and .5, and whatever follows
-- the value; it recurses as deeply as a text is nested. So one pass over the text (`check`)
-- refuses what is not JSON by the letter (RFC 8259), and what RFC 8259 leaves to the reader:
-- keys that come twice, numbers out of range, more than 64 levels. It makes no values: what it
-- lets through has one meaning, and dkjson finds that. No byte of a header can change unnoticed.
--
-- On writing, dkjson would give numbers 14 digits, NaN as null, a table with the one key "n"
-- for a list, and keys in any order. It is handed a copy in which floats are written with as
-- many digits as reading them back needs and objects name their keys, sorted by their bytes.
--
-- Names of files are bytes, and need not be UTF-8. A byte that is part of no character, 0xE9
-- say, is written as \udce9, half of a surrogate pair that no text holds, and read back as that
-- byte: every string comes back as it was. Python's "surrogateescape" is the same.
-- @module cglow.util.json
local bytes = require "cglow.util.bytes"
local dkjson = require "dkjson"
local options = require "cglow.util.options"
local read_file = require "cglow.util.read_file"
local EBADMSG = require "cglow.core".file.EBADMSG

local M = {}

local MAX_DEPTH <const> = 64 -- levels of nesting, read or written; dkjson recurses once for each
local LARGEST <const> = 1 << 26 -- bytes of a file

local function null() return "null" end

--- What stands for `null` when encoding; `decode` returns it for a text that
-- is nothing but `null`.
M.null = setmetatable({}, {__tojson = null, __tostring = null})

-- ---- reading ---------------------------------------------------------------

local function fail(pos, message) error({message = message, at = pos}, 0) end

local find, match, sub = string.find, string.match, string.sub
local function skip(text, pos) return match(text, "^[ \t\n\r]*()", pos) end

-- The functions below pass over one thing that begins at `pos` and return the position
-- after it. `halves` collects the places of the escapes that stand for a byte.

local function check_unicode(text, pos, halves)
  if not find(text, "^u%x%x%x%x", pos + 1) then fail(pos, "unknown escape") end
  if not find(text, "^[dD][89a-fA-F]", pos + 2) then return pos + 6 end
  if find(text, "^[dD][89abAB]%x%x\\u[dD][c-fC-F]%x%x", pos + 2) then return pos + 12 end
  if not find(text, "^[dD][cC][89a-fA-F]", pos + 2) then fail(pos, "half of a surrogate pair") end
  halves[#halves + 1] = pos
  return pos + 6
end

local function check_string(text, start, halves)
  local pos = start + 1
  while true do
    local stop, char, after = match(text, '^[^"\\\0-\31]*()(.?)["\\/bfnrt]?()', pos)
    if char == '"' then return stop + 1 end
    if char == "" then fail(start, "unterminated string") end
    if char ~= "\\" then fail(stop, "control character in a string") end
    pos = after > stop + 1 and after or check_unicode(text, stop, halves)
  end
end

local WORDS <const> = {["true"] = true, ["false"] = true, null = true}

local function check_word_or_number(text, start)
  local pos, more = match(text, "^%-?[1-9]%d*()([.eE]?)", start)
  if not pos then pos, more = match(text, "^%-?0()([.eE]?)", start) end
  if not pos then
    local word = match(text, "^%a+", start)
    return WORDS[word] and start + #word or fail(start, "a value expected")
  end
  if more == "" and pos - start < 300 then return pos end -- cannot be out of range
  pos = match(text, "^%.%d+()", pos) or pos
  pos = match(text, "^[eE][-+]?%d+()", pos) or pos
  if math.abs(tonumber(sub(text, start, pos - 1))) == math.huge then fail(start, "number out of range") end
  return pos
end

-- One spelling for every spelling of a key: "a" and "\u0061" are the same.
local function check_key(text, start, halves, seen)
  if not find(text, '^"', start) then fail(start, "a key expected") end
  local pos = check_string(text, start, halves)
  local key = sub(text, start + 1, pos - 2)
  if key:find("\\", 1, true) then key = dkjson.decode(text, start) end
  if seen[key] then fail(start, ("key %s comes twice"):format(options.show(key))) end
  seen[key] = true
  local colon, after = match(text, "^[ \t\n\r]*(:?)[ \t\n\r]*()", pos)
  return colon == ":" and after or fail(skip(text, pos), "':' expected")
end

local CLOSING <const> = {["["] = "]", ["{"] = "}"}

local function check_value(text, pos, halves, depth)
  local open = sub(text, pos, pos)
  if open == '"' then return check_string(text, pos, halves) end
  local close = CLOSING[open]
  if not close then return check_word_or_number(text, pos) end
  if depth > MAX_DEPTH then fail(pos, ("nested deeper than %d"):format(MAX_DEPTH)) end
  local seen = open == "{" and {}
  pos = skip(text, pos + 1)
  if sub(text, pos, pos) == close then return pos + 1 end
  while true do
    if seen then pos = check_key(text, pos, halves, seen) end
    pos = check_value(text, pos, halves, depth + 1)
    local char, after = match(text, "^[ \t\n\r]*([]},]?)[ \t\n\r]*()", pos)
    if char == close then return after end
    if char ~= "," then fail(skip(text, pos), ("',' or '%s' expected"):format(close)) end
    pos = after
  end
end

-- The places of escapes for bytes, in a text that holds one value and no fault.
local function check(text)
  local ok, bad = utf8.len(text)
  if not ok then fail(bad, "no valid UTF-8") end
  local halves = {}
  local pos = skip(text, check_value(text, skip(text, 1), halves, 1))
  if pos <= #text then fail(pos, "end of text expected") end
  return halves
end

-- The text with these bytes in the place of their escapes: dkjson copies them as they are.
local function with_bytes(text, halves)
  local pieces, from = {}, 1
  for _, at in ipairs(halves) do
    pieces[#pieces + 1] = text:sub(from, at - 1) .. string.char(tonumber(text:sub(at + 4, at + 5), 16))
    from = at + 6
  end
  return table.concat(pieces) .. text:sub(from)
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
  local ok, found = pcall(check, text)
  if not ok then
    if type(found) ~= "table" then error(found, 0) end
    return nil, ("invalid JSON at byte %d: %s"):format(found.at, found.message)
  end
  local value, _, fault = dkjson.decode(with_bytes(text, found), 1, opts.keep_null and M.null or nil)
  if fault then error("json.decode: dkjson refuses what is JSON: " .. fault) end
  if value == nil then return M.null end
  return value
end

--- Decode a file. The mark that some editors put before UTF-8 is passed over.
-- @tparam string path
-- @return[1] the value
-- @treturn[2] nil
-- @treturn[2] string message
-- @treturn[2] integer code
function M.read(path)
  options.arg("json.read", 1, "path", path, {type = "string", path = true})
  local text, message, code = read_file(path, LARGEST)
  if not text then return nil, message, code end
  local value, fault = M.decode((text:gsub("^\xef\xbb\xbf", "")))
  if value == nil then return nil, ("%s: %s"):format(path, fault), EBADMSG end
  return value
end

-- ---- writing -------------------------------------------------------------

-- What dkjson writes as it stands.
local VERBATIM <const> = {__tojson = function(self) return self[1] end}
local function verbatim(text) return setmetatable({text}, VERBATIM) end

-- The functions below return what dkjson is handed for a value, or nil and what they refuse.

-- The fewest digits that read back as the same number.
local function prepare_float(value, opts)
  if value ~= value or math.abs(value) == math.huge then
    if opts.not_finite == "null" then return M.null end
    return nil, ("the number %s (not_finite = \"null\" writes null)"):format(value)
  end
  local digits, text = 15, ("%.15g"):format(value)
  while tonumber(text) ~= value do
    digits = digits + 1
    text = ("%%.%dg"):format(digits):format(value)
  end
  text = text:gsub("[^%deE+-]", ".") -- whatever the locale's decimal point is
  return verbatim(text:find("[.eE]") and text or text .. ".0")
end

local NEITHER <const> = "a table that is neither a list nor an object"

local prepare -- forward: tables hold values

-- How many elements a list has; nil when the table is an object. Only the metatable that
-- decoding gives tells what an empty table is.
local function list_length(value)
  local meta = getmetatable(value)
  if next(value) == nil then return type(meta) == "table" and meta.__jsontype == "array" and 0 or nil end
  return #value > 0 and #value or nil
end

local function is_key(key, n)
  if n then return math.type(key) == "integer" and key >= 1 and key <= n end
  return type(key) == "string"
end

-- For an object, an empty table that looks its keys up in another: dkjson takes that for an
-- object whatever the keys are.
local function prepare_table(value, opts, depth)
  local n, keys, items = list_length(value), {}, {}
  for key, item in pairs(value) do
    if not is_key(key, n) then return nil, n and NEITHER or ("a key of type %s"):format(type(key)) end
    local message
    keys[#keys + 1] = key
    items[key], message = prepare(item, opts, depth)
    if items[key] == nil then return nil, message end
  end
  if n then return #keys == n and items or nil, NEITHER end
  if #keys == 0 then return verbatim "{}" end
  return setmetatable({}, {__jsontype = "object", __jsonorder = bytes.sort(keys), __index = items})
end

function prepare(value, opts, depth)
  local kind = math.type(value) or type(value)
  if kind == "float" then return prepare_float(value, opts) end
  if value == M.null or kind == "string" or kind == "integer" or kind == "boolean" then return value end
  if kind ~= "table" then return nil, ("a %s"):format(kind) end
  if depth == MAX_DEPTH then return nil, ("tables nested deeper than %d"):format(MAX_DEPTH) end
  return prepare_table(value, opts, depth + 1)
end

local function escaped(byte) return ("\\udc%02x"):format(byte:byte()) end

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
  opts = options.check("json.encode", opts, ENCODE)
  local prepared, message = prepare(value, opts, 0)
  if prepared == nil then error(("json.encode: cannot encode %s"):format(message), 2) end
  return bytes.repair(dkjson.encode(prepared, {indent = opts.indent}), escaped)
end

return M
