-- Plain numerics in Lua's doubles for specs: errors, differences, determinants.
local M = {}

--- Largest |a − b| over the largest |b| (tensors of one shape).
function M.relative_to_max(a, b)
  assert(table.concat(a:size(), "x") == table.concat(b:size(), "x"), "shapes differ")
  local u, v = a:totable(), b:totable()
  local diff, most = 0, 0
  for i = 1, #v do
    local d = math.abs(u[i] - v[i])
    if d > diff or d ~= d then diff = d end -- NaN stays
    most = math.max(most, math.abs(v[i]))
  end
  if diff == 0 then return 0 end
  return diff / most
end

return M
