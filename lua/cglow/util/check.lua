--- Checks of tensors and objects that models and layers are given.
-- @module cglow.util.check
local core = require "cglow.core"

local M = {}

local function show(v)
  if core.type(v) == "cglow.Tensor" then return "a tensor of shape " .. table.concat(v:size(), "x") end
  return type(v) == "nil" and "nothing" or "a " .. type(v)
end

--- Is v a tensor of this shape? Raises, at the caller of the public function,
-- when it is not.
-- @string fname the public function
-- @string name of the argument
-- @param v what came
-- @tparam table shape sizes; a string such as "N" stands for any
-- @int[opt=0] up how many functions lie between the public one and this call
function M.shape(fname, name, v, shape, up)
  local ok = core.type(v) == "cglow.Tensor" and v:dim() == #shape
  if ok then
    for i, want in ipairs(shape) do ok = ok and (type(want) == "string" or v:size(i) == want) end
  end
  if not ok then
    error(("%s: %s must be a tensor of shape %s, got %s"):format(fname, name, table.concat(shape, "x"), show(v)),
      3 + (up or 0))
  end
end

-- What a call gave, or its error one function up, which is where calls in last place lead.
local function relay(fname, ok, ...)
  if ok then return ... end
  local message = (...)
  error(type(message) == "string" and message:gsub("'%?'", function() return "'" .. fname .. "'" end, 1) or message, 2)
end

--- Call a function of the core as the last thing that a public function does: errors name that
-- one and point at its caller.
-- @string fname the public function
-- @tparam function f in C
-- @param ... its arguments, in the order of the public function's
-- @return what it returns
function M.call(fname, f, ...) return relay(fname, pcall(f, ...)) end

--- Has v a method of this name? Some userdata raise on names they do not know.
-- @param v
-- @string method
function M.has(v, method)
  if type(v) ~= "table" and type(v) ~= "userdata" then return false end
  local ok, f = pcall(function() return v[method] end)
  local meta = ok and getmetatable(f)
  return ok and (type(f) == "function" or type(meta) == "table" and meta.__call ~= nil)
end

--- Has v all of these methods? Raises when it has not.
-- @string fname
-- @string name of the option
-- @param v
-- @tparam {string,...} methods
-- @int[opt=3] level where the error points, as in `error`
function M.methods(fname, name, v, methods, level)
  for _, method in ipairs(methods) do
    if not M.has(v, method) then
      error(("%s: option '%s' must have methods %s; %s has no '%s'"):format(fname, name,
        table.concat(methods, ", "), show(v), method), level or 3)
    end
  end
end

--- Let the methods of a class say so when they are called on something else, as with
-- a dot for a colon.
-- @string name of the class
-- @tparam table class
-- @string field that each of its objects has, and what stands for one, too
-- @treturn table class
function M.class(name, class, field)
  for key, method in pairs(class) do
    if type(method) == "function" and key ~= "new" then
      class[key] = function(self, ...)
        if type(self) ~= "table" or self[field] == nil then
          error(("bad argument #0 to '%s:%s': cglow.%s expected, got %s"):format(name, key, name, show(self)), 2)
        end
        return method(self, ...) -- in place of this function, so that levels of errors stay
      end
    end
  end
  return class
end

return M
