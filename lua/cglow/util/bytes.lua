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

--- A text in which each byte that is part of no valid UTF-8 is exchanged.
-- @string text
-- @tparam function exchange from a byte, a string of one, to a text
-- @treturn string
function M.repair(text, exchange)
  local parts, from = {}, 1
  while true do
    local ok, bad = utf8.len(text, from)
    if ok then break end
    parts[#parts + 1] = text:sub(from, bad - 1)
    parts[#parts + 1] = exchange(text:sub(bad, bad))
    from = bad + 1
  end
  parts[#parts + 1] = text:sub(from)
  return table.concat(parts)
end

--- A byte as a person can read it: \xe9.
function M.show(byte) return ("\\x%02x"):format(byte:byte()) end

--- A text with small letters for A to Z and all other bytes as they are: string.lower takes the
-- I of .TIF for another letter where Turkish is spoken.
-- @string text
-- @treturn string
function M.lower(text)
  return (text:gsub("[A-Z]", function(letter) return string.char(letter:byte() + 32) end))
end

--- A number that was written, with a point whatever the locale puts there.
-- @string text that holds one number
-- @treturn string
function M.pointed(text)
  local mark = ("%.1f"):format(0.5):sub(2, -2)
  local from, to = text:find(mark, 1, true)
  return mark ~= "." and from and text:sub(1, from - 1) .. "." .. text:sub(to + 1) or text
end

--- A number under a format of string.format, with a point; – where it is none, NaN, which C writes as nan, -nan or
-- otherwise, or nil.
-- @tparam string format for one number, with at most a width before the precision
-- @tparam ?number value
-- @treturn string as wide as the format says
function M.number(format, value)
  if value and value == value then return M.pointed(format:format(value)) end
  return (" "):rep((tonumber(format:match "%%(%d+)") or 1) - 1) .. "–"
end

return M
