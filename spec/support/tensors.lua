--- Numbers and checks that specs of tensors share.
local assert = require "luassert"
local core = require "cglow.core"

local M = {}

local is_float = core.scalar == "float"

--- A Lua number as a tensor stores it.
function M.stored(x)
  return is_float and (string.unpack("f", string.pack("f", x))) or x
end

--- f raises an error that holds this message.
function M.raises(message, f)
  local ok, err = pcall(f)
  assert.is_false(ok)
  assert.is_truthy(err:find(message, 1, true), ("expected '%s' in: %s"):format(message, err))
end

--- 1, 2, 3, … in the given shape.
function M.counting(...)
  local t = core.empty(...)
  local flat = t:reshape(-1)
  for i = 1, #flat do flat[i] = i end
  return t
end

--- Lengths around the kernels' vector and block sizes.
M.lengths = { 1, 2, 15, 16, 17, 100, 255, 256, 257, 1003 }

return M
