-- Tensors: arithmetic, functions of every number, reductions.
local core = require "cglow.core"
local tensors = require "spec.support.tensors"

local counting, lengths, stored = tensors.counting, tensors.lengths, tensors.stored

local is_float = core.scalar == "float"

describe("arithmetic", function()
  local operators = {
    add = function(a, b) return a + b end,
    sub = function(a, b) return a - b end,
    mul = function(a, b) return a * b end,
    div = function(a, b) return a / b end,
    gt = function(a, b) return type(a) == "number" and (a > b and 1 or 0) or a:gt(b) end,
    ge = function(a, b) return type(a) == "number" and (a >= b and 1 or 0) or a:ge(b) end,
    le = function(a, b) return type(a) == "number" and (a <= b and 1 or 0) or a:le(b) end,
    ne = function(a, b) return type(a) == "number" and (a ~= b and 1 or 0) or a:ne(b) end,
    lt = function(a, b) return type(a) == "number" and (a < b and 1 or 0) or a:lt(b) end,
    eq = function(a, b) return type(a) == "number" and (a == b and 1 or 0) or a:eq(b) end,
  }
  local rng = core.Rng(1)

  for name, op in pairs(operators) do
    it(name .. " works on tensors and numbers", function()
      for _, n in ipairs(lengths) do
        local a, b = (rng:normal(n) * 2):round(), (rng:normal(n) * 2):round() + 0.25
        if n > 1 then -- something equal, and no 0/0
          a[2], b[2] = 3, 3
        end
        local both, right = op(a, b):totable(), op(a, 0.75):totable()
        for i = 1, n do
          -- One operation on stored numbers, rounded once: equal to the bit.
          assert.equal(stored(op(a[i], b[i])), both[i])
          assert.equal(stored(op(a[i], 0.75)), right[i])
        end
        if name == "add" or name == "sub" or name == "mul" or name == "div" then
          local left = op(0.75, b):totable()
          for i = 1, n do assert.equal(stored(op(0.75, b[i])), left[i]) end
        end
      end
    end)
  end

  it("negates", function()
    assert.same({ -1, 2 }, (-core.tensor { 1, -2 }):totable())
  end)

  it("works in place", function()
    local t = counting(3)
    assert.equal(t, t:add(1))
    assert.same({ 2, 3, 4 }, t:totable())
    t:add(core.tensor { 1, 2, 3 }, -2)
    assert.same({ 0, -1, -2 }, t:totable())
    t:add(2, 3):mul(2)
    assert.same({ 12, 10, 8 }, t:totable())
    assert.equal(t, t:mul(core.tensor { 0, 1, 2 }))
    assert.same({ 0, 10, 16 }, t:totable())
    t:add(t):mul(t)
    assert.same({ 0, 400, 1024 }, t:totable())
  end)

  it("takes overlapping operands as they were", function()
    for _, n in ipairs { 5, 100 } do
      local t = core.ones(n)
      t:narrow(1, 2, n - 1):add(t:narrow(1, 1, n - 1))
      assert.equal(1 + 2 * (n - 1), t:sum())
      t = counting(n)
      t:narrow(1, 1, n - 1):mul(t:narrow(1, 2, n - 1))
      for i = 1, n - 1 do assert.equal(i * (i + 1), t[i]) end
    end
  end)

  it("compares as a whole with ==", function()
    local a = counting(2, 3)
    assert.is_true(a == counting(2, 3))
    assert.is_true(a:equal(a:clone()))
    assert.is_false(a == counting(3, 2))
    assert.is_false(a == counting(6))
    assert.is_false(a == core.Rng(1))
    assert.is_false(core.Rng(1) == a)
    for i = 1, 6 do
      local b = a:clone()
      b:reshape(-1)[i] = 0
      assert.is_false(a == b)
    end
    local nan = core.tensor { 0 / 0 }
    assert.is_false(nan == nan:clone())
    assert.is_false(nan:equal(nan))
  end)

  it("treats NaN as unequal and unordered", function()
    local nan = core.tensor { 0 / 0 }
    assert.same({ 0 }, nan:gt(0):totable())
    assert.same({ 0 }, nan:lt(0):totable())
    assert.same({ 0 }, nan:ge(0):totable())
    assert.same({ 0 }, nan:le(nan):totable())
    assert.same({ 0 }, nan:eq(nan):totable())
    assert.same({ 1 }, nan:ne(nan):totable())
  end)
end)

describe("functions of every number", function()
  local x = core.tensor { -2.5, -1.5, -0.5, 0, 0.25, 0.5, 1.5, 2.75, 80, -80 }

  local function each(t, f, tolerance)
    local out = t:totable()
    assert.same(x:size(), t:size())
    for i = 1, #x do
      local want = f(x[i])
      if want ~= want then
        assert.is_true(out[i] ~= out[i])
      elseif out[i] ~= want then
        assert.is_true(math.abs(out[i] - want) <= tolerance * math.abs(want), ("%g gives %g"):format(x[i], out[i]))
      end
    end
  end

  it("agree with Lua's", function()
    -- libm: within one unit in the last place.
    local ulp = is_float and 2.0 ^ -23 or 2.0 ^ -52
    each(x:exp(), math.exp, ulp)
    each(x:log(), math.log, ulp)
    each(x:sqrt(), math.sqrt, ulp)
    each(x:abs(), math.abs, 0)
    each(x:floor(), math.floor, 0)
    each(x:round(), function(v) return v < 0 and -math.floor(0.5 - v) or math.floor(v + 0.5) end, 0)
    each(x:sign(), function(v) return v > 0 and 1 or v < 0 and -1 or 0 end, 0)
    -- Written for compilers that vectorise: a few units (double: libm).
    each(x:tanh(), function(v) return 1 - 2 / (math.exp(2 * v) + 1) end, 8 * ulp)
    each(x:sigmoid(), function(v) return 1 / (1 + math.exp(-v)) end, 8 * ulp)
    each(x:clamp(-1.5, 0.5), function(v) return math.max(-1.5, math.min(0.5, v)) end, 0)
    each(x:clamp(0, math.huge), function(v) return math.max(0, v) end, 0)
    each(x:map(function(v) return 2 * v end), function(v) return 2 * v end, 0)
  end)

  it("leave the tensor alone and give memory of its own", function()
    local t = core.tensor { 4 }
    t:sqrt():fill(0)
    t:map(function() return 1 end):fill(0)
    assert.equal(4, t[1])
  end)

  it("keep NaN", function()
    local nan = core.tensor { 0 / 0 }
    for _, f in ipairs { "exp", "log", "sqrt", "abs", "floor", "round", "sign", "tanh",
      "sigmoid" } do
      local v = nan[f](nan)[1]
      assert.is_true(v ~= v, f)
    end
    local v = nan:clamp(0, 1)[1]
    assert.is_true(v ~= v)
  end)

  it("find numbers that are not finite, wherever they are", function()
    for _, n in ipairs(lengths) do
      local t = core.zeros(n)
      assert.is_true(t:isfinite())
      for _, bad in ipairs { 0 / 0, math.huge, -math.huge } do
        for _, i in ipairs { 1, (n + 1) // 2, n } do
          t[i] = bad
          assert.is_false(t:isfinite())
          t[i] = 0
        end
      end
    end
  end)
end)

describe("reductions", function()
  local rng = core.Rng(2)

  it("to a number agree with a loop", function()
    for _, n in ipairs(lengths) do
      local t = rng:normal(n)
      local sum, squares, low, high = 0, 0, math.huge, -math.huge
      for _, v in pairs(t) do
        sum, squares = sum + v, squares + v * v
        low, high = math.min(low, v), math.max(high, v)
      end
      -- Sums in double in another order: a few thousand roundings of 1e-16.
      assert.is_true(math.abs(t:sum() - sum) < 1e-12)
      assert.is_true(math.abs(t:mean() - sum / n) < 1e-12)
      assert.is_true(math.abs(t:norm() - math.sqrt(squares)) < 1e-12)
      local variance = 0
      for _, v in pairs(t) do variance = variance + (v - sum / n) ^ 2 / n end
      assert.is_true(math.abs(t:std() - math.sqrt(variance)) < 1e-12)
      assert.is_true(math.abs(t:var() - variance) < 1e-12)
      assert.equal(low, (t:min()))
      assert.equal(high, (t:max()))
      assert.equal(high, t[t:argmax()])
      assert.equal(low, t[t:argmin()])
      assert.equal(t:argmax(), (select(2, t:max())))
      assert.equal(t:argmin(), (select(2, t:min())))
    end
  end)

  it("sum in double precision", function()
    -- 2^24 is where float stops counting by ones.
    local t = core.ones(1003)
    t[1] = 1 << 24
    assert.equal((1 << 24) + 1002, t:sum())
    -- A mean far from 0 does not swallow the spread.
    assert.equal(0.5, core.tensor({ 1 << 20, (1 << 20) + 1 }):std())
  end)

  it("along a dimension agree with those of its slices", function()
    for _, shape in ipairs { { 3, 4 }, { 2, 5, 3 }, { 2, 3, 2, 4 }, { 2, 17, 300 }, { 40, 1 }, { 1, 40 } } do
      local t = rng:normal(shape)
      for d = 1, t:dim() do
        local order = {}
        for i = 1, t:dim() do order[i] = i end
        table.insert(order, table.remove(order, d))
        local rows = t:permute(table.unpack(order)):reshape(-1, t:size(d))
        local want = t:size()
        table.remove(want, d)
        local high, high_at = t:max(d)
        local low, low_at = t:min(d)
        local results = { sum = t:sum(d), mean = t:mean(d), max = high, min = low }
        results.argmax, results.argmin = t:argmax(d), t:argmin(d)
        results.var, results.std, results.norm = t:var(d), t:std(d), t:norm(d)
        local kept = t:size()
        kept[d] = 1
        for name, result in pairs(results) do
          assert.same(want, result:size())
          assert.same(kept, t[name](t, d, true):size())
          assert.is_true(t[name](t, d, true):reshape(want) == result)
          local flat = result:totable()
          for i, row in pairs(rows) do
            -- The same sums in another order, then rounded once.
            local expected, got = row[name](row), flat[i]
            local extreme = name:find "m[axin]+$" and name ~= "sum"
            local slack = extreme and 0 or 1e-6 * (math.abs(expected) + 1)
            assert.is_true(math.abs(expected - got) <= slack, name)
          end
        end
        assert.is_true(high_at == results.argmax)
        assert.is_true(low_at == results.argmin)
      end
    end
  end)

  it("of a 1-D tensor along its dimension are numbers", function()
    local t = core.tensor { 3, 1, 5 }
    assert.same({ 9, 3, 5, 1, 3, 2 }, { t:sum(1), t:mean(1), (t:max(1)), (t:min(1)), t:argmax(1), t:argmin(1) })
    assert.equal("integer", math.type(t:argmax()))
    assert.same({ 1 }, t:mean(1, true):size())
    assert.equal(3, t:mean(1, true)[1])
  end)

  it("take the first of equals", function()
    local t = core.tensor { { 1, 7, 7 }, { 7, 7, 2 } }
    assert.equal(2, t:argmax())
    assert.same({ 2, 1 }, t:argmax(2):totable())
    assert.same({ 2, 1, 1 }, t:argmax(1):totable())
    assert.same({ 1, 3 }, t:argmin(2):totable())
  end)

  it("show NaN instead of hiding it", function()
    for at = 1, 3 do
      local t = core.tensor { { 1, 5, 3 }, { 4, 4, 4 } }
      t:set(1, at, 0 / 0)
      for _, f in ipairs { "sum", "mean", "var", "std", "norm", "max", "min" } do
        local v = t[f](t)
        assert.is_true(v ~= v, f)
      end
      assert.equal(at, t:argmax())
      assert.equal(at, t:argmin())
      assert.same({ at, 1 }, t:argmax(2):totable())
      assert.same({ at, 1 }, t:argmin(2):totable())
      local v = t:max(2)[1]
      assert.is_true(v ~= v)
    end
  end)
end)
