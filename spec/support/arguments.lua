--- Bad arguments by the table: kinds of argument with what must be refused in
-- their place, and the check that a refusal says what it should.
local core = require "cglow.core"

local M = {}

local function constant(value) return function() return value end end

-- One value of every sort that a caller could pass, by what Lua calls it.
local FOREIGN = {
  { "nil", "nil", constant(nil) },
  { "boolean", "false", constant(false) },
  { "boolean", "true", constant(true) },
  { "string", "a string", constant("no such thing") },
  { "number", "a number", constant(7) },
  { "table", "an empty table", function() return {} end },
  { "function", "a function", constant(print) },
  { "thread", "a coroutine", function() return coroutine.create(print) end },
  { "FILE*", "io.stdout", constant(io.stdout) },
  { "cglow.Tensor", "a tensor", function() return core.zeros(3, 1, 2) end },
  { "cglow.Rng", "a generator", function() return core.Rng(1) end },
  { "cglow.Net", "a network", function() return core.net.relu() end },
  { "cglow.Squeeze", "a flow layer", function() return core.flow.squeeze() end },
}

-- A kind of argument: how to make a good one, and the bad ones as
-- {label, maker}.
local function kind(good, accepted, bad)
  local accepts = {}
  for name in accepted:gmatch "[^ ]+" do accepts[name] = true end
  local list = {}
  for _, f in ipairs(FOREIGN) do
    if not accepts[f[1]] then list[#list + 1] = { f[2], f[3] } end
  end
  for _, b in ipairs(bad or {}) do list[#list + 1] = b end
  return { good = type(good) == "function" and good or constant(good), bad = list }
end

local NUMBERS = { nan = 0 / 0, inf = math.huge, ["-inf"] = -math.huge }

--- An integer from lo to hi (nil: no bound, or none that a call could try).
function M.int(good, lo, hi)
  local bad = { { "0.5", constant(0.5) } }
  for name, v in pairs(NUMBERS) do bad[#bad + 1] = { name, constant(v) } end
  for _, v in ipairs { lo and lo - 1 or false, lo and math.mininteger or false, hi and hi + 1 or false,
    hi and math.maxinteger or false, hi and hi < 1 << 31 and 1 << 31 or false, hi and 1 << 62 or false } do
    if v then bad[#bad + 1] = { tostring(v), constant(v) } end
  end
  return kind(good, "number", bad)
end

--- A number; bad: further ones that must be refused. NaN and infinities are
-- refused unless `any`.
function M.num(good, bad, any)
  local list = {}
  for name, v in pairs(any and {} or NUMBERS) do list[#list + 1] = { name, constant(v) } end
  for _, v in ipairs(bad or {}) do list[#list + 1] = { tostring(v), constant(v) } end
  return kind(good, "number", list)
end

--- A tensor of this shape; others, and other ranks, must be refused when given.
function M.tensor(shape, others)
  local bad = {}
  for _, other in ipairs(others or {}) do
    bad[#bad + 1] = { "shape " .. table.concat(other, "x"), function() return core.zeros(other) end }
  end
  return kind(function() return core.full(shape, 0.5) end, "cglow.Tensor", bad)
end

--- A string; numbers are refused only when `strict`.
function M.str(good, bad, strict)
  local list = {}
  for _, v in ipairs(bad or {}) do list[#list + 1] = { ("%q"):format(v), constant(v) } end
  return kind(good, strict and "string" or "string number", list)
end

--- One of some words.
function M.word(good) return kind(good, "", { { "another word", constant "no such word" } }) end

function M.fn(good) return kind(constant(good), "function") end

--- A table; bad: {label, maker} of tables that must be refused.
function M.list(good, bad) return kind(good, "table", bad) end

--- A userdata or an object; also refuses what `accepted` does not name.
function M.object(good, accepted, bad) return kind(good, accepted, bad) end

--- Anything may come.
function M.any(good) return { good = type(good) == "function" and good or constant(good), bad = {} } end

--- A value of this kind, or what Lua calls `accepted`.
function M.also(k, accepted)
  local bad, label = {}, {}
  for _, f in ipairs(FOREIGN) do label[f[2]] = f[1] == accepted end
  for _, b in ipairs(k.bad) do
    if not label[b[1]] then bad[#bad + 1] = b end
  end
  return { good = k.good, bad = bad, names = k.names }
end

--- Nil, or a value of this kind.
function M.optional(k) return M.also(k, "nil") end

--- A table of options, each of a kind; a key that ends in "!" is required.
function M.opts(fields)
  local required, kinds = {}, {}
  for key, k in pairs(fields) do
    local name = key:gsub("!$", "")
    kinds[name], required[name] = k, key:find("!$") ~= nil
  end
  local function given(change, value)
    local o = {}
    for name, k in pairs(kinds) do
      if required[name] then o[name] = k.good() end
    end
    if change then o[change] = value end
    return o
  end
  local bad = { { "an unknown option", function() return given("no such option", 1) end } }
  for name, k in pairs(kinds) do
    for _, b in ipairs(k.bad) do
      if b[1] ~= "nil" then
        bad[#bad + 1] = { name .. " = " .. b[1], function() return given(name, b[2]()) end }
      elseif required[name] then
        bad[#bad + 1] = { "no " .. name, function()
          local o = given()
          o[name] = nil
          return o
        end }
      end
    end
  end
  local needed = false
  for _, r in pairs(required) do needed = needed or r end
  local result = kind(function() return given() end, needed and "" or "table nil", bad)
  result.names = kinds
  return result
end

-- Calls by name, so that the error can tell the function's: a tail call or a
-- call through a variable would hide it.
local function caller(name)
  local class, method = name:match "^(.+):(.+)$"
  local code = class and ("return function(_, o, ...) local r = table.pack(o:%s(...)) return r end"):format(method)
    or ("return function(root, _, ...) local r = table.pack(root.%s(...)) return r end"):format(name)
  return assert(load(code))()
end

local function says(message, words)
  for _, word in ipairs(words) do
    if message:find(word, 1, true) then return true end
  end
  return false
end

-- What was expected, and what came. Memory that is not to be had is named so.
local EXPECTED = { "expected", "wants", "must", "required", "is for", "unknown option", "cannot", "at least",
  "too large",
  "not enough memory", "no integer representation", "no valid UTF-8", "outside", "zero byte", "overflows",
  "nothing to fill from", "is a parameter's name" }
local CAME = { "got", "has no", "unknown option", "required", "too large", "not enough memory",
  "no integer representation", "is not", "cannot",
  "no valid UTF-8", ", not ", "share memory", "outside", "zero byte",
  "no pixel is valid", "is a parameter's name" }

--- Does an error message name the function, what was expected and what came?
-- @return true, or false and what is missing
function M.well_said(short, message)
  if type(message) ~= "string" then return false, "the error is no string" end
  if not message:find(short, 1, true) and not says(message, { "not enough memory", "too large" }) then
    return false, "does not name " .. short
  end
  if not says(message, EXPECTED) then return false, "does not say what was expected" end
  if not says(message, CAME) then return false, "does not say what came" end
  return true
end

-- Does a message begin with the place of the call (by `caller`)?  Lua says of no place that
-- memory is not to be had there.
local function points_here(message)
  return message:find '^%[string "return function' ~= nil or message:find "^not enough memory" ~= nil
end

local function goods(row)
  local values = { n = #row - 1 }
  for i = 1, values.n do values[i] = row[i + 1].good() end
  return values
end

local function own(row) return row.self and row.self() end

--- Try one row of the table.
-- @tparam table root what names start from
-- @tparam table row {name, kind, …, self = maker, as = the name that errors use, wrong = {{says = …, …}}, good = false,
-- refuses = {name = true}: options that it names and never takes, inside = true: what is wrong is seen by what the
-- function calls, and errors point there}
-- @treturn {string,...} what went wrong
function M.try(root, row)
  local name = row[1]
  local call, faults = caller(name), {}
  local function refused(label, object, values, words)
    local ok, result = pcall(call, root, object, table.unpack(values, 1, values.n))
    if ok then
      faults[#faults + 1] = ("%s: %s was accepted"):format(name, label)
      return
    end
    local fine, why = M.well_said(row.as or name:match "[^.:]+$", result)
    if fine and not (row.inside or points_here(result)) then fine, why = false, "does not point at the call" end
    if words then fine, why = tostring(result):find(words, 1, true), "does not say: " .. words end
    if not fine then faults[#faults + 1] = ("%s: %s: %s: %s"):format(name, label, why, tostring(result)) end
  end
  local object = own(row)
  for i = 1, #row - 1 do
    for _, bad in ipairs(row[i + 1].bad) do
      local values = goods(row)
      values[i] = bad[2]()
      refused(("argument %d = %s"):format(i, bad[1]), object, values)
    end
  end
  for i, wrong in ipairs(row.wrong or {}) do
    local values = type(wrong.args) == "function" and table.pack(wrong.args(object)) or wrong.args or {}
    values.n = values.n or #values
    refused(wrong.label or "wrong case " .. i, wrong.self and wrong.self() or object, values, wrong.says)
  end
  -- After all that, the object still works.
  if row.good ~= false then
    local values = goods(row)
    local ok, message = pcall(call, root, object, table.unpack(values, 1, values.n))
    if not ok then faults[#faults + 1] = ("%s: good arguments refused: %s"):format(name, tostring(message)) end
  end
  return faults
end

--- The names of options that functions know and no row of theirs has: what they say to an unknown one is
-- compared with the tables.
-- @tparam table root what names start from
-- @tparam {table,...} rows as for `try`
-- @treturn {string,...}
function M.options_left_out(root, rows)
  local left_out, known = {}, {}
  for _, row in ipairs(rows) do
    known[row[1]] = known[row[1]] or {}
    for name in pairs(row.refuses or {}) do known[row[1]][name] = true end
    for i = 2, #row do
      for name in pairs(row[i].names or {}) do known[row[1]][name] = true end
    end
  end
  for _, row in ipairs(rows) do
    for i = 2, #row do
      local values = goods(row)
      values[i - 1] = row[i].names and { ["no such option"] = 1 }
      local ok, message = pcall(caller(row[1]), root, own(row), table.unpack(values, 1, values.n))
      local list = row[i].names and not ok and tostring(message):match "%(.-known: (.-)%)" or ""
      for name in list:gmatch "'?([%w_]+)'?" do
        if not known[row[1]][name] then left_out[#left_out + 1] = ("%s: %s"):format(row[1], name) end
        known[row[1]][name] = true
      end
    end
  end
  table.sort(left_out)
  return left_out
end

--- A method called on anything else.
function M.foreign_self(name, object)
  local method, faults = object[name:match ":(.+)$"], {}
  local class = type(object) == "table" and getmetatable(object).__name or core.type(object)
  for _, f in ipairs(FOREIGN) do
    local value = f[3]()
    if core.type(value) ~= class then
      local ok, message = pcall(method, value)
      if ok then
        faults[#faults + 1] = ("%s: called on %s it works"):format(name, f[2])
      elseif not tostring(message):find(class .. " expected, got", 1, true) then
        faults[#faults + 1] = ("%s: called on %s: %s"):format(name, f[2], tostring(message))
      end
    end
  end
  return faults
end

return M
