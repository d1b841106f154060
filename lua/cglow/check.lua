--- Checks of tensors and objects that models and layers are given.
-- @module cglow.check
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
function M.shape(fname, name, v, shape)
  local ok = core.type(v) == "cglow.Tensor" and v:dim() == #shape
  if ok then
    for i, want in ipairs(shape) do ok = ok and (type(want) == "string" or v:size(i) == want) end
  end
  if not ok then
    error(("%s: %s must be a tensor of shape %s, got %s"):format(fname, name, table.concat(shape, "x"), show(v)), 3)
  end
end

--- Has v all of these methods?
-- @string fname
-- @string name of the option
-- @param v
-- @tparam {string,...} methods
function M.methods(fname, name, v, methods)
  local kind = type(v)
  for _, method in ipairs(methods) do
    if not ((kind == "table" or kind == "userdata") and v[method]) then
      error(("%s: option '%s' must have methods %s; %s has no '%s'"):format(fname, name,
        table.concat(methods, ", "), show(v), method), 3)
    end
  end
end

return M
