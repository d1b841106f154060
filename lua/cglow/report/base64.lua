--- Bytes as text (RFC 4648, section 4).
-- @module cglow.report.base64
local M = {}

local DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

-- Every 12-bit number as its two digits: half as many look-ups as one by one.
local PAIRS = {}
for i = 0, 4095 do
  local high, low = i >> 6, i & 63
  PAIRS[i] = DIGITS:sub(high + 1, high + 1) .. DIGITS:sub(low + 1, low + 1)
end

local function tail(bytes)
  local a, b = bytes:byte(1, 2)
  local n = a << 16 | (b or 0) << 8
  local third = b and PAIRS[n & 4095]:sub(1, 1) or "="
  return PAIRS[n >> 12] .. third .. "="
end

--- Encode.
-- @tparam string bytes
-- @treturn string
function M.encode(bytes)
  local out, n = {}, 0
  local whole = #bytes - #bytes % 3
  for i = 1, whole, 3 do
    local a, b, c = bytes:byte(i, i + 2)
    out[n + 1] = PAIRS[a << 4 | b >> 4]
    out[n + 2] = PAIRS[(b & 15) << 8 | c]
    n = n + 2
  end
  if whole < #bytes then out[n + 1] = tail(bytes:sub(whole + 1)) end
  return table.concat(out)
end

return M
