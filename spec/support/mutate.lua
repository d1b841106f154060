--- Tables that came out of JSON, with one field made into something else.
local M = {}

function M.copy(value)
  if type(value) ~= "table" then return value end
  local t = setmetatable({}, getmetatable(value))
  for k, v in pairs(value) do t[k] = M.copy(v) end
  return t
end

--- Every field of a table, and of the tables in it.
-- @treturn {{key,...},...}
function M.fields(value, above, found)
  above, found = above or {}, found or {}
  for key, v in pairs(value) do
    local field = table.move(above, 1, #above, 1, {})
    field[#field + 1] = key
    found[#found + 1] = field
    if type(v) == "table" then M.fields(v, field, found) end
  end
  return found
end

--- A copy with one field changed; nil removes it.
function M.with(t, field, value)
  local result = M.copy(t)
  local at = result
  for i = 1, #field - 1 do at = at[field[i]] end
  at[field[#field]] = value
  return result
end

return M
