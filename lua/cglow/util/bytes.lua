--- Text as bytes, whatever the locale: Lua compares strings as the locale orders
-- letters and writes numbers with its decimal point.
-- @module cglow.util.bytes
local file = require "cglow.core".file

local M = {}

--- Is one string before another, byte by byte?
-- @function before
-- @tparam string a
-- @tparam string b
-- @treturn boolean
M.before = file.before

--- Sort strings, in place.
-- @tparam {string,...} list
-- @treturn {string,...} list
function M.sort(list)
  table.sort(list, M.before)
  return list
end

--- A number under a format of string.format, with a point.
-- @tparam string format for one number
-- @tparam number value
-- @treturn string
function M.number(format, value) return (format:format(value):gsub(",", ".")) end

return M
