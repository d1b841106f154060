-- Products of matrices against three loops.
local core = require "cglow.core"

local rng = core.Rng(3)
local EPS = core.scalar == "float" and 2.0 ^ -24 or 2.0 ^ -53

-- Is the m×n tensor got the product of m×k and k×n?  A sum of k products of numbers is off
-- by at most k roundings of each product, in whatever order (Higham, "Accuracy and
-- Stability of Numerical Algorithms", 3.1).
local function check_product(a, b, got)
  local m, k, n = a:size(1), a:size(2), b:size(2)
  local x, y, z = a:totable(), b:totable(), got:totable()
  assert.same({ m, n }, got:size())
  for i = 1, m do
    for j = 1, n do
      local sum, size = 0, 0
      for l = 1, k do
        local p = x[(i - 1) * k + l] * y[(l - 1) * n + j]
        sum, size = sum + p, size + math.abs(p)
      end
      assert.is_true(math.abs(z[(i - 1) * n + j] - sum) <= (k + 1) * EPS * size, ("%d, %d of %dx%dx%d"):format(i, j, m,
        k, n))
    end
  end
end

describe("Tensor:matmul", function()
  it("is the sum of products, for sizes around those of its pieces", function()
    for _, s in ipairs { { 1, 1, 1 }, { 2, 3, 4 }, { 16, 5, 32 }, { 17, 129, 33 }, { 1, 40, 70 }, { 70, 40, 1 },
      { 129, 7, 3 }, { 3, 7, 257 }, { 130, 2, 260 }, { 5, 300, 31 }, { 4, 1, 4 } } do
      local a, b = rng:normal(s[1], s[2]), rng:normal(s[2], s[3])
      check_product(a, b, a:matmul(b))
    end
  end)

  it("takes one dimension as a row on the left and as a column on the right", function()
    local a, row, column = rng:normal(5, 7), rng:normal(5), rng:normal(7)
    check_product(a, column:reshape(7, 1), a:matmul(column):reshape(5, 1))
    check_product(row:reshape(1, 5), a, row:matmul(a):reshape(1, 7))
    assert.same({ 5 }, a:matmul(column):size())
    assert.same({ 7 }, row:matmul(a):size())
    assert.equal(14, core.arange(3):matmul(core.arange(3)))
  end)

  it("makes a product for each index of earlier dimensions", function()
    local a, b = rng:normal(2, 3, 4, 5), rng:normal(2, 3, 5, 6)
    local all = a:matmul(b)
    assert.same({ 2, 3, 4, 6 }, all:size())
    for i = 1, 2 do
      for j = 1, 3 do check_product(a[i][j], b[i][j], all[i][j]) end
    end
    local one, many = rng:normal(4, 5), rng:normal(3, 5, 2)
    for i = 1, 3 do check_product(one, many[i], one:matmul(many)[i]) end
    assert.same({ 3, 4, 2 }, one:matmul(many):size())
    local left, right = rng:normal(2, 1, 4, 5), rng:normal(3, 5, 2)
    local both = left:matmul(right)
    assert.same({ 2, 3, 4, 2 }, both:size())
    for i = 1, 2 do
      for j = 1, 3 do check_product(left[i][1], right[j], both[i][j]) end
    end
    assert.same({ 2, 3, 4 }, a:matmul(core.ones(5)):size())
    assert.same({ 2, 3, 6 }, core.ones(5):matmul(b):size())
    assert.is_true(a:matmul(core.ones(5)) == a:matmul(core.ones(5, 1)):reshape(2, 3, 4))
  end)

  it("gives the same bits on any number of threads", function()
    local a, b, threads = rng:normal(300, 200), rng:normal(200, 600), core.threads()
    local many, column = rng:normal(5, 100, 90), rng:normal(200)
    local function all() return { a:matmul(b), many:matmul(b[1]:reshape(1, -1):narrow(2, 1, 90):reshape(90, 1)),
      a:matmul(column) } end
    core.threads(1)
    local alone = all()
    for n = 2, 4 do
      core.threads(n)
      for i, t in ipairs(all()) do assert.is_true(t == alone[i]) end
    end
    core.threads(threads)
  end)

  it("shows NaN", function()
    local v = core.tensor({ { 0 / 0, 1 } }):matmul(core.tensor { 0, 1 })[1]
    assert.is_true(v ~= v)
  end)

  it("says which shapes do not go together", function()
    for _, case in ipairs { { { 2, 3 }, { 2, 3 } }, { { 2, 3 }, { 2 } }, { { 3 }, { 2, 3 } }, { { 3 }, { 4 } },
      { { 2, 4, 3 }, { 3, 3, 2 } }, { { 2, 1, 4, 3 }, { 3, 1, 3, 2 } } } do
      local a, b = core.ones(case[1]), core.ones(case[2])
      local ok, message = pcall(a.matmul, a, b)
      assert.is_false(ok)
      assert.truthy(message:find(("tensor that can follow one of shape %s in a matrix product expected, got %s")
        :format(table.concat(case[1], "x"), table.concat(case[2], "x")), 1, true), message)
    end
  end)
end)
