--- A stream of random numbers cut into parts, one for each piece of a work, so that each
-- piece gets the same numbers whoever does it, and whatever others have drawn before.
-- @module cglow.util.streams
local M = {}

local PART <const> = 1 << 32 -- blocks of four words; more than a piece of any work draws

--- Cut what is to come of a generator's stream into parts.
-- @tparam Rng rng
-- @treturn function called with i, a number from 1 on, it lets `rng` stand at the beginning
-- of part i
function M.cut(rng)
  local head, position = rng:state():match "^(.*:)(%d+)$"
  return function(i) rng:set_state(("%s%d"):format(head, math.tointeger(position) + i * PART)) end
end

return M
