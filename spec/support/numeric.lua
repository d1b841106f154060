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

local function swap(a, i, j) a[i], a[j] = a[j], a[i] end

--- log|det| of a square matrix (list of rows, overwritten) by elimination with
-- partial pivoting.
function M.log_abs_det(a)
  local n, sum = #a, 0
  for k = 1, n do
    local best = k
    for i = k + 1, n do
      if math.abs(a[i][k]) > math.abs(a[best][k]) then best = i end
    end
    swap(a, k, best)
    local pivot = a[k]
    sum = sum + math.log(math.abs(pivot[k]))
    for i = k + 1, n do
      local row = a[i]
      local factor = row[k] / pivot[k]
      for j = k + 1, n do row[j] = row[j] - factor * pivot[j] end
    end
  end
  return sum
end

--- The explicit Jacobian of f at a tensor, built column by column with central
-- differences of fourth order.
-- @func f returns a flat list of numbers that depends on t's
-- @tparam Tensor t
-- @number h step
-- @treturn rows: J[i][j] = d f_i / d t_j
function M.jacobian(f, t, h)
  local flat, rows = t:reshape(t:count()), {}
  for j = 1, t:count() do
    local at = flat[j]
    local function moved(s)
      flat[j] = at + s
      return f()
    end
    local a, b, c, d = moved(2 * h), moved(h), moved(-h), moved(-2 * h)
    flat[j] = at
    for i = 1, #a do
      rows[i] = rows[i] or {}
      rows[i][j] = (8 * (b[i] - c[i]) - (a[i] - d[i])) / (12 * h)
    end
  end
  return rows
end

--- Largest difference between two matrices.
function M.difference(a, b)
  local most = 0
  for i, row in ipairs(a) do
    for j, v in ipairs(row) do most = math.max(most, math.abs(v - b[i][j])) end
  end
  return most
end

--- Rows and columns first .. first+n-1 of a matrix.
function M.block(a, first, n)
  local rows = {}
  for i = 1, n do rows[i] = table.move(a[first + i - 1], first, first + n - 1, 1, {}) end
  return rows
end

return M
