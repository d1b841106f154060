--- Checks of options and arguments, so that misuse is told at once.
--
-- A public function describes its options in a table, one entry for each key:
--
-- * `type`: "number", "integer", "string", "boolean", "table", "function",
--   "tensor", "rng", "userdata", or several as in "string|boolean"; any value without it
-- * `required` = true, or `default`: the value when the key is absent
-- * `min`, `max` (inclusive), `above`, `below` (exclusive): bounds of a number
-- * `finite` = false: NaN and infinities are welcome (they are refused otherwise)
-- * `one_of`: list of the values that are allowed
-- * `length`: how many elements a list must have; `each`: what each one must be
-- * `path` = true: a string that can name a file, so one without a NUL
-- * `fields`: a table that is itself a table of options
-- * `renamed`: what an option that had this name before is called now; it is refused
--
-- Errors name the function, the option, what was expected and what came, and
-- point at the line that called the public function.
-- @module cglow.util.options
local M = {}

local TENSOR = "cglow.Tensor"
local MAX_SHOWN = 100 -- bytes of a string in a message

local type_name = require("cglow.core").type
local bytes = require "cglow.util.bytes"

-- Kinds that are more than a `type` of Lua: the value as it is passed on, or nil.
local kinds = {
  rng = function(value)
    if type_name(value) == "cglow.Rng" then return value end
  end,
  integer = function(value) return math.type(value) and math.tointeger(value) end,
  tensor = function(value)
    if type_name(value) == TENSOR then return value end
  end,
}

local function convert(value, names)
  for name in names:gmatch("[%w_]+") do
    local kind = kinds[name]
    if kind then
      local converted = kind(value)
      if converted ~= nil then return converted end
    elseif type(value) == name then
      return value
    end
  end
end

--- A value as messages show it: numbers and booleans as they are, strings
-- quoted, without control characters and cut when long, anything else by type.
-- @param value
-- @treturn string
function M.show(value)
  if value ~= value then return "NaN" end
  if type(value) == "number" then return bytes.pointed(tostring(value)) end
  if type(value) == "boolean" then return tostring(value) end
  if type(value) ~= "string" then return type_name(value) end
  if #value > MAX_SHOWN then
    value = value:sub(1, MAX_SHOWN - 3):gsub("[\xC0-\xFF][\x80-\xBF]*$", "") .. "..."
  end
  return "'" .. value:gsub("%c", "?") .. "'"
end

local show = M.show

local function list(values)
  local text = {}
  for i, value in ipairs(values) do text[i] = show(value) end
  return table.concat(text, ", ")
end

local ARTICLES = {integer = "an", userdata = "a", ["function"] = "a"}

local function with_article(names)
  local first = names:match("[%w_]+")
  return (ARTICLES[first] or "a") .. " " .. names:gsub("|", " or ")
end

-- "an integer >= 1", "one of 'a', 'b'", "a list of 3".
local function expectation(rule)
  if rule.one_of then return "one of " .. list(rule.one_of) end
  local bounds = {}
  for _, bound in ipairs {{">= %s", rule.min}, {"> %s", rule.above}, {"<= %s", rule.max}, {"< %s", rule.below},
                          {"of length %s", rule.length}} do
    if bound[2] then bounds[#bounds + 1] = bound[1]:format(show(bound[2])) end
  end
  local what = rule.type and with_article(rule.type) or "a value"
  return #bounds > 0 and what .. " " .. table.concat(bounds, " and ") or what
end

local function in_range(value, rule)
  if value ~= value or value == math.huge or value == -math.huge then return rule.finite == false end
  return (not rule.min or value >= rule.min) and (not rule.max or value <= rule.max)
    and (not rule.above or value > rule.above) and (not rule.below or value < rule.below)
end

local function member(value, values)
  for _, known in ipairs(values) do
    if value == known then return true end
  end
  return false
end

-- Edit distance of two names, for "did you mean".
local function distance(a, b)
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      diagonal, row[j] = row[j], math.min(row[j] + 1, row[j - 1] + 1, diagonal + cost)
    end
  end
  return row[#b]
end

local function names_of(spec)
  local names = {}
  for name, rule in pairs(spec) do
    if not rule.renamed then names[#names + 1] = name end
  end
  bytes.sort(names)
  return names
end

local function closest(key, names)
  local best, least = nil, math.max(2, #key // 3) + 1
  for _, name in ipairs(names) do
    local d = distance(key, name)
    if d < least then best, least = name, d end
  end
  return best
end

local function unknown(key, spec, path)
  if spec[key] then return ("option '%s%s' is called '%s%s' now"):format(path, key, path, spec[key].renamed) end
  local names = names_of(spec)
  local guess = type(key) == "string" and #key <= 64 and closest(key, names)
  return ("unknown option %s (%sknown: %s)"):format(
    show(type(key) == "string" and path .. key or key),
    guess and ("did you mean '%s'? "):format(guess) or "", table.concat(names, ", "))
end

local check_fields -- forward: options may hold tables of options

-- The value as it is passed on, or nil and a message about what `label` calls.
local function check_value(label, value, rule, path)
  local got = value
  if rule.type then value = convert(value, rule.type) end
  local ok = value ~= nil
  if ok and type(value) == "number" then ok = in_range(value, rule) end
  if ok and rule.one_of then ok = member(value, rule.one_of) end
  if ok and rule.length then ok = #value == rule.length end
  if not ok then
    local what = type(got) == "table" and rule.length and ("a list of %d"):format(#got) or show(got)
    return nil, ("%s must be %s, got %s"):format(label, expectation(rule), what)
  end
  if rule.path and type(value) == "string" and value:find("\0", 1, true) then
    return nil, ("%s holds a zero byte, as no path can, got %s"):format(label, show(value))
  end
  if rule.fields and type(value) == "table" then return check_fields(value, rule.fields, path) end
  if rule.each and type(value) == "table" then
    local checked = {}
    for i = 1, #value do
      local message
      checked[i], message = check_value(("%s, element %d,"):format(label, i), value[i], rule.each, path)
      if message then return nil, message end
    end
    return checked
  end
  return value
end

-- A default is shared by all calls, so a table is handed out as a copy.
local function fresh(default)
  if type(default) ~= "table" or getmetatable(default) then return default end
  local copy = {}
  for k, v in pairs(default) do copy[k] = v end
  return copy
end

-- All that is required and absent, in one message; nil when nothing is.
local function missing(opts, spec, names, path)
  local told = {}
  for _, key in ipairs(names) do
    local rule = spec[key]
    if rule.required and opts[key] == nil and rule.default == nil then
      told[#told + 1] = ("option '%s%s' is required: %s"):format(path, key, expectation(rule))
    end
  end
  return told[1] and table.concat(told, "; ")
end

function check_fields(opts, spec, path)
  for key in pairs(opts) do
    if not spec[key] or spec[key].renamed then return nil, unknown(key, spec, path) end
  end
  local checked, names = {}, names_of(spec)
  local absent = missing(opts, spec, names, path)
  if absent then return nil, absent end
  for _, key in ipairs(names) do
    local rule, value = spec[key], opts[key]
    if value == nil then value = fresh(rule.default) end
    if value ~= nil then
      local message
      checked[key], message = check_value(("option '%s%s'"):format(path, key), value, rule, path .. key .. ".")
      if message then return nil, message end
    end
  end
  return checked
end

--- Check a table of options against its description.
-- @tparam string fname name of the public function, for messages
-- @tparam ?table opts what the caller gave; nil is {}
-- @tparam table spec key → rule, as described above
-- @tparam[opt=0] integer up how many functions lie between the public one and
-- this call
-- @treturn table a new table: the options, defaults filled in, integral floats
-- turned into integers where those are expected
-- @raise on an unknown, missing or unsuitable option; the error points at the
-- caller of the public function
function M.check(fname, opts, spec, up)
  local level = 3 + (up or 0)
  if opts ~= nil and type(opts) ~= "table" then
    error(("%s: table of options expected, got %s"):format(fname, show(opts)), level)
  end
  local checked, message = check_fields(opts or {}, spec, "")
  if not checked then error(("%s: %s"):format(fname, message), level) end
  return checked
end

--- Check a table that came out of a file: what does not fit is no misuse.
-- @tparam table t
-- @tparam table spec as for `check`; without defaults
-- @treturn[1] table a new table, as from `check`
-- @treturn[2] nil
-- @treturn[2] string message that names the field, what was expected and what came
function M.fields(t, spec)
  local checked, message = check_fields(t, spec, "")
  if not checked then return nil, (message:gsub("option", "field", 1):gsub("; option '", "; field '")) end
  return checked
end

--- Check a positional argument.
-- @tparam string fname name of the public function
-- @tparam integer index place of the argument, from 1
-- @tparam string name of the argument
-- @param value what came
-- @tparam string|table rule a type as above, or a table with `type`, `min`, …;
-- `optional` = true lets nil pass
-- @tparam[opt=0] integer up as in `check`
-- @return the value (an integral float turned into an integer where that is expected)
-- @raise naming function, argument, expectation and what came
function M.arg(fname, index, name, value, rule, up)
  if type(rule) == "string" then rule = {type = rule} end
  if value == nil then value = rule.default end
  if value == nil and rule.optional then return nil end
  local label = ("bad argument #%d to '%s': %s"):format(index, fname, name)
  local checked, message = check_value(label, value, rule, "")
  if message then error(message, 3 + (up or 0)) end
  return checked
end

return M
