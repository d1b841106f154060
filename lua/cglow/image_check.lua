--- Checks of arguments and options for the image functions.
--
-- Each raises an error that names the public function, placed at its caller.
local M = {}

--- Raises "bad argument"; `level` 1 is the function that calls this one.
function M.fail(level, arg, name, expected, got)
  error(("bad argument #%d to '%s' (%s expected, got %s)"):format(arg, name, expected, got), level + 1)
end

function M.string(name, arg, s)
  if type(s) ~= "string" then M.fail(3, arg, name, "string", type(s)) end
end

--- io.open would take a path with a NUL for what comes before it.
function M.path(name, arg, path)
  if type(path) ~= "string" then M.fail(3, arg, name, "string", type(path)) end
  if path:find("\0", 1, true) then M.fail(3, arg, name, "path", ("%q"):format(path)) end
end

-- Kinds of options: functions of a value that say whether it is well-formed
-- and what is expected.

function M.one_of(...)
  local values, text = {...}, {}
  for i, v in ipairs(values) do text[i] = tostring(v) end
  local expected = table.concat(text, ", ", 1, #text - 1) .. " or " .. text[#text]
  return function(v)
    for _, known in ipairs(values) do
      if v == known then return true, expected end
    end
    return false, expected
  end
end

function M.integer(low, high)
  local expected = ("an integer from %d to %d"):format(low, high)
  return function(v) return math.type(v) == "integer" and v >= low and v <= high, expected end
end

function M.flag(v) return type(v) == "boolean", "a boolean" end

function M.number(v) return type(v) == "number" and v == v, "a number" end

function M.strings(v)
  local ok = type(v) == "table"
  for _, s in ipairs(ok and v or {}) do ok = ok and type(s) == "string" end
  return ok, "a list of strings"
end

function M.colour(v)
  local ok = type(v) == "table" and #v == 3
  for i = 1, ok and 3 or 0 do ok = ok and M.number(v[i]) end
  return ok, "a list {red, green, blue}"
end

local function names_of(kinds)
  local names = {}
  for name in pairs(kinds) do names[#names + 1] = name end
  table.sort(names)
  return table.concat(names, ", ")
end

--- The options, each known and well-formed; {} for nil.
function M.options(name, arg, options, kinds)
  if options == nil then return {} end
  if type(options) ~= "table" then M.fail(3, arg, name, "table of options", type(options)) end
  for key, value in pairs(options) do
    local kind = kinds[key]
    if not kind then
      error(("%s: unknown option '%s' (known: %s)"):format(name, tostring(key), names_of(kinds)), 3)
    end
    local ok, expected = kind(value)
    if not ok then
      error(("%s: option '%s' must be %s, got %s"):format(name, key, expected, tostring(value)), 3)
    end
  end
  return options
end

--- Calls a function of the core; an error about its argument n is told as one
-- about argument n + shift of the public function `name`. To be called by that
-- function itself, not as a tail call.
function M.call(name, shift, f, ...)
  local result = table.pack(pcall(f, ...))
  if result[1] then return table.unpack(result, 2, result.n) end
  local arg, why = tostring(result[2]):match("bad argument #(%d+) to .-(%b())$")
  error(why and ("bad argument #%d to '%s' %s"):format(arg + shift, name, why) or result[2], 3)
end

return M
