-- Operators between tensors of different shapes, against a loop that looks up each
-- number by its indices.
local core = require "cglow.core"

local rng = core.Rng(1)

local function aligned(t)
  local dims = t.shape
  while #dims < 4 do table.insert(dims, 1, 1) end
  return dims, t:reshape(dims)
end

-- f of each pair of numbers, as a list, and the result's shape.
local function looped(a, b, f)
  local adims, a4 = aligned(a)
  local bdims, b4 = aligned(b)
  local all, out = {}, {}
  for d = 1, 4 do all[d] = math.max(adims[d], bdims[d]) end
  local function at(t, dims, index)
    local i = {}
    for d = 1, 4 do i[d] = dims[d] == 1 and 1 or index[d] end
    return t:get(table.unpack(i))
  end
  for i = 1, all[1] do for j = 1, all[2] do for k = 1, all[3] do for l = 1, all[4] do
    local index = { i, j, k, l }
    out[#out + 1] = f(at(a4, adims, index), at(b4, bdims, index))
  end end end end
  local shape = {}
  for d = 5 - math.max(a:dim(), b:dim()), 4 do shape[#shape + 1] = all[d] end
  return core.tensor(out):reshape(shape)
end

local operators = {
  ["+"] = { function(a, b) return a + b end, function(a, b) return a + b end },
  ["-"] = { function(a, b) return a - b end, function(a, b) return a - b end },
  ["*"] = { function(a, b) return a * b end, function(a, b) return a * b end },
  ["/"] = { function(a, b) return a / b end, function(a, b) return a / b end },
  gt = { function(a, b) return a:gt(b) end, function(a, b) return a > b and 1 or 0 end },
  ge = { function(a, b) return a:ge(b) end, function(a, b) return a >= b and 1 or 0 end },
  lt = { function(a, b) return a:lt(b) end, function(a, b) return a < b and 1 or 0 end },
  le = { function(a, b) return a:le(b) end, function(a, b) return a <= b and 1 or 0 end },
  eq = { function(a, b) return a:eq(b) end, function(a, b) return a == b and 1 or 0 end },
  ne = { function(a, b) return a:ne(b) end, function(a, b) return a ~= b and 1 or 0 end },
}

-- Shapes that go together; each is tried both ways round.
local pairs_of_shapes = {
  { { 3, 4 }, { 4 } }, { { 3, 4 }, { 3, 1 } }, { { 3, 4 }, { 1 } }, { { 3, 1 }, { 1, 4 } }, { { 1, 1 }, { 1 } },
  { { 5 }, { 1 } }, { { 2, 3, 4, 5 }, { 3, 1, 1 } }, { { 2, 3, 4, 5 }, { 2, 1, 1, 5 } }, { { 2, 3, 4, 5 }, { 4, 5 } },
  { { 2, 1, 4, 1 }, { 3, 1, 5 } }, { { 2, 3, 1, 1 }, { 1, 1, 4, 5 } }, { { 1, 3, 1, 5 }, { 2, 1, 4, 1 } },
  { { 2, 3, 4, 5 }, { 1, 1, 1, 1 } }, { { 1, 2, 300 }, { 2, 1 } }, { { 7, 1, 1 }, { 33 } }, { { 2, 2 }, { 2, 2 } },
}

describe("Tensors of different shapes", function()
  for name, op in pairs(operators) do
    it("meet in " .. name .. " as their indices say", function()
      for _, shapes in ipairs(pairs_of_shapes) do
        -- Halves, so that many are equal and nothing but a quotient is rounded, once.
        local a, b = (rng:normal(shapes[1]) * 4):round() / 2, (rng:normal(shapes[2]) * 4):round() / 2
        if name == "/" then a, b = a + 0.25, b + 0.25 end
        assert.is_true(op[1](a, b) == looped(a, b, op[2]))
        assert.is_true(op[1](b, a) == looped(b, a, op[2]))
        assert.same(looped(a, b, op[2]).shape, op[1](a, b).shape)
      end
    end)
  end

  it("are added and multiplied in place", function()
    for _, shapes in ipairs(pairs_of_shapes) do
      local a, b = (rng:normal(shapes[1]) * 4):round(), (rng:normal(shapes[2]) * 4):round()
      local all = a + b
      if #all.shape == #a.shape and all:count() == a:count() then
        local sum, product, scaled = a + b, a * b, a + b * -0.5
        assert.is_true(a:clone():add(b) == sum)
        assert.is_true(a:clone():mul(b) == product)
        assert.is_true(a:clone():add(b, -0.5) == scaled)
      end
    end
  end)

  it("may be a view of the other, in place", function()
    local t = core.arange(6):reshape(2, 3)
    assert.same({ 2, 4, 6, 5, 7, 9 }, t:add(t[1]):totable())
    t = core.arange(6):reshape(2, 3)
    assert.same({ 4, 10, 18, 16, 25, 36 }, t:mul(t[2]):totable())
    t = core.arange(3):reshape(1, 3)
    assert.same({ 1, 4, 9 }, t:mul(t[1]):totable())
  end)

  it("are refused where sizes do not go together, and nothing is changed", function()
    local a = core.ones(2, 3)
    for _, shape in ipairs { { 2 }, { 3, 2 }, { 2, 2 }, { 2, 1, 2 }, { 4, 1, 2, 2 } } do
      for name, op in pairs(operators) do
        local ok, message = pcall(op[1], a, core.ones(shape))
        assert.is_false(ok, name)
        assert.truthy(message:find("tensor of shape 2x3 expected, or one that is broadcast with it, got "
          .. table.concat(shape, "x"), 1, true), message)
      end
    end
    for _, shape in ipairs { { 1, 2, 3 }, { 4, 2, 3 }, { 2, 2, 1 }, { 5, 1, 1, 1 } } do
      for _, name in ipairs { "add", "mul" } do -- they would make it larger
        local ok, message = pcall(a[name], a, core.ones(shape))
        assert.is_false(ok)
        assert.truthy(message:find "tensor of shape 2x3 expected", message)
      end
    end
    local row = core.ones(1, 3)
    assert.is_false(pcall(row.add, row, core.ones(2, 3)))
    assert.is_true(a == core.ones(2, 3) and row == core.ones(1, 3))
  end)
end)

describe("Powers", function()
  -- libm's powf: within one unit in the last place.
  local ulp = core.scalar == "float" and 2.0 ^ -23 or 2.0 ^ -52

  it("agree with Lua's", function()
    local a, b = rng:uniform(2, 50) * 4, rng:normal(50)
    for _, case in ipairs { { a ^ 2, function(x) return x ^ 2 end }, { a ^ 0.5, function(x) return x ^ 0.5 end },
      { a ^ -1.5, function(x) return x ^ -1.5 end }, { 2 ^ a, function(x) return 2 ^ x end },
      { a ^ 0, function() return 1 end } } do
      local got, flat = case[1]:reshape(-1), a:reshape(-1)
      for i = 1, #flat do
        local want = case[2](flat[i])
        assert.is_true(math.abs(got[i] - want) <= ulp * want)
      end
    end
    local got = a ^ b
    assert.same({ 2, 50 }, got.shape)
    for i = 1, 2 do
      for j = 1, 50 do
        local want = a:get(i, j) ^ b[j]
        assert.is_true(math.abs(got:get(i, j) - want) <= ulp * want)
      end
    end
  end)

  it("of two are products, also of negative numbers", function()
    local t = rng:normal(37)
    assert.is_true(t ^ 2 == t * t)
    assert.same({ 9, 0, 4 }, (core.tensor { -3, 0, 2 } ^ 2):totable())
    assert.same({ -8, 1 }, (core.tensor { -2, 1 } ^ 3):totable())
    local nan = (core.tensor { -2 } ^ 0.5)[1]
    assert.is_true(nan ~= nan)
  end)
end)
