-- Tensors: shapes, views, arithmetic, reductions, printing, misuse.  Every
-- number is compared with a plain Lua computation of the same thing.
local core = require "cglow.core"

local is_float = core.scalar == "float"

-- A Lua number as a tensor stores it.
local function stored(x)
  return is_float and (string.unpack("f", string.pack("f", x))) or x
end

local function raises(message, f)
  local ok, err = pcall(f)
  assert.is_false(ok)
  assert.is_truthy(err:find(message, 1, true), ("expected '%s' in: %s"):format(message, err))
end

-- 1, 2, 3, … in the given shape.
local function counting(...)
  local t = core.empty(...)
  local flat = t:reshape(-1)
  for i = 1, #flat do flat[i] = i end
  return t
end

-- Lengths around the kernels' vector and block sizes.
local lengths = { 1, 2, 15, 16, 17, 100, 255, 256, 257, 1003 }

describe("making tensors", function()
  it("from nested tables of one to four levels", function()
    local t = core.tensor { { 1, 2, 3 }, { 4, 5.5, -6 } }
    assert.same({ 2, 3 }, t:size())
    assert.same({ 1, 2, 3, 4, 5.5, -6 }, t:totable())
    assert.same({ 3 }, core.tensor({ 7, 8, 9 }):size())
    local four = core.tensor { { { { 1, 2 } }, { { 3, 4 } }, { { 5, 6 } } } }
    assert.same({ 1, 3, 1, 2 }, four:size())
    assert.same({ 1, 2, 3, 4, 5, 6 }, four:totable())
  end)

  it("of one number", function()
    assert.same({ 0, 0, 0, 0, 0, 0 }, core.zeros(2, 3):totable())
    assert.same({ 1, 1, 1 }, core.ones({ 3 }):totable())
    assert.same({ 2.5, 2.5 }, core.full(2, 1, 2.5):totable())
    assert.same({ 2, 1 }, core.full({ 2, 1 }, 2.5):size())
    assert.same({ 1, 2, 3, 4 }, core.empty(1, 2, 3, 4):size())
  end)

  it("of numbers at equal distances, as a loop counts", function()
    for _, case in ipairs { { 1, 5 }, { 0, 1, 0.25 }, { 0, 1, 0.1 }, { 3, 3 }, { 5, -3, -2 }, { 0.5, 2.2, 0.5 },
      { -1, 1e3, 7.5 }, { 2, 3, 5 } } do
      local want = {}
      for v = case[1], case[2], case[3] or 1 do want[#want + 1] = v end
      local got = core.arange(table.unpack(case))
      assert.same({ #want }, got:size())
      -- The loop adds, which rounds each time.
      for i, v in ipairs(want) do assert.is_true(math.abs(got[i] - v) <= 1e-6 * (math.abs(v) + 1)) end
      assert.equal(stored(case[1]), got[1])
    end
    assert.same({ 1, 2, 3, 4 }, core.arange(4):totable())
    assert.equal(4, #core.arange(0, 0.3, 0.1)) -- 0.3/0.1 is less than 3
  end)

  it("of random numbers", function()
    local t = core.rand(4, 5)
    assert.same({ 4, 5 }, t:size())
    assert.is_true(t:min() >= 0 and t:max() < 1)
    assert.same({ 3, 2, 2 }, core.randn({ 3, 2, 2 }):size())
  end)

  it("names the place where a table is wrong", function()
    raises("element [2]: table of 2 expected, got one of 1", function() core.tensor { { 1, 2 }, { 3 } } end)
    raises("element [2]: table of 2 expected, got one of 3", function() core.tensor { { 1, 2 }, { 3, 4, 5 } } end)
    raises("element [2]: table of 2 expected, got number", function() core.tensor { { 1, 2 }, 3 } end)
    raises("element [2][1]: number expected, got table", function() core.tensor { { 1 }, { { 2 } } } end)
    raises("element [2][2]: number expected, got string", function() core.tensor { { 1, 2 }, { 3, "4" } } end)
    raises("element [1][1][1][1]: number expected, got table", function() core.tensor { { { { { 1 } } } } } end)
    raises("table is empty", function() core.tensor {} end)
    raises("element [1]: table is empty", function() core.tensor { {} } end)
    raises("element [2]: table of 1 expected, got one of 0", function() core.tensor { { 1 }, {} } end)
    raises("element [1]: number expected, got boolean", function() core.tensor { true } end)
    local cycle = {}
    cycle[1] = cycle
    raises("number expected, got table (at most 4 levels)", function() core.tensor(cycle) end)
  end)

  it("counts what was made", function()
    local before = core.stats()
    local t = core.zeros(100)
    local after = core.stats()
    assert.equal(1, after.tensors - before.tensors)
    assert.is_true(after.bytes - before.bytes >= 100 * (is_float and 4 or 8))
    t:reshape(10, 10):narrow(1, 2, 3):fill(1):add(1, 2):mul(0.5)
    t:copy(t):sum()
    assert.same(after, core.stats())
  end)

  it("is freed by Lua, which sees the memory", function()
    collectgarbage()
    local before = collectgarbage "count"
    local t = core.zeros(1 << 20)
    assert.is_true(collectgarbage "count" - before > (is_float and 4 or 8) * 1024)
    assert.equal(0, t[1])
    t = nil -- luacheck: ignore
    collectgarbage()
    assert.is_true(collectgarbage "count" - before < 1024)
  end)
end)

describe("element access", function()
  it("reads and writes numbers of a 1-D tensor", function()
    local t = counting(3)
    assert.equal(2, t[2])
    assert.equal(3, t[3.0])
    t[2] = -1.5
    assert.same({ 1, -1.5, 3 }, t:totable())
  end)

  it("gives rows as views", function()
    local t = counting(2, 3, 2)
    assert.same({ 3, 2 }, t[2]:size())
    assert.same({ 7, 8, 9, 10, 11, 12 }, t[2]:totable())
    assert.equal(10, t[2][2][2])
    t[1][3][1] = 50
    assert.equal(50, t:get(1, 3, 1))
  end)

  it("sets rows to a tensor or a number", function()
    local t = counting(3, 2)
    t[2] = core.tensor { 8, 9 }
    t[3] = 0
    t[1] = t[2]
    assert.same({ 8, 9, 8, 9, 0, 0 }, t:totable())
  end)

  it("gets and sets single numbers", function()
    local t = counting(2, 3, 4, 5)
    assert.equal(((1 * 3 + 2) * 4 + 3) * 5 + 4 + 1, t:get(2, 3, 4, 5))
    assert.equal(t, t:set(1, 2, 3, 4, -7))
    assert.equal(-7, t[1][2][3][4])
  end)

  it("ends ipairs after the last row, as a list does", function()
    local seen = {}
    for i, row in ipairs(counting(2, 2)) do seen[i] = row:totable() end
    assert.same({ { 1, 2 }, { 3, 4 } }, seen)
    seen = {}
    for i, v in ipairs(counting(3)) do seen[i] = v end
    assert.same({ 1, 2, 3 }, seen)
    assert.is_nil(counting(3)[4])
  end)

  it("hands out NaN without a sign, which Lua would print", function()
    local t = core.tensor { -(0 / 0), 0 / 0 }
    local shown = { t[1], t[2], t:get(1), t:totable()[2], t:sum(), t:mean(), (t:min()), t:norm(), t:std() }
    for i, v in ipairs(shown) do assert.are.equal("nan", tostring(v), i) end
    t:map(function(v) assert.are.equal("nan", tostring(v)) return v end)
  end)

  it("iterates over rows with pairs", function()
    local seen = {}
    for i, row in pairs(counting(2, 2)) do seen[i] = row:totable() end
    assert.same({ { 1, 2 }, { 3, 4 } }, seen)
    for i, v in pairs(counting(3)) do seen[i] = v end
    assert.same({ 1, 2, 3 }, seen)
  end)

  it("knows its sizes", function()
    local t = core.zeros(2, 3, 4)
    assert.equal(2, #t)
    assert.equal(3, t:dim())
    assert.equal(24, t:count())
    assert.equal(4, t:size(3))
    assert.same({ 2, 3, 4 }, t:size())
    assert.same({ 2, 3, 4 }, t.shape)
    t.shape[1] = 5 -- a copy
    assert.same({ 2, 3, 4 }, t.shape)
  end)

  it("stores numbers in the library's precision", function()
    assert.equal(stored(0.1), core.tensor({ 0.1 })[1])
    assert.equal(math.huge, core.tensor({ math.huge })[1])
    local nan = core.tensor({ 0 / 0 })[1]
    assert.is_true(nan ~= nan)
  end)
end)

describe("views", function()
  it("share the numbers", function()
    local t = counting(2, 6)
    local r = t:reshape(3, 4)
    r[1][1] = 100
    assert.equal(100, t:get(1, 1))
    t:set(2, 6, 200)
    assert.equal(200, r[3][4])
  end)

  it("take -1 for what is left", function()
    local t = counting(2, 6)
    assert.same({ 3, 4 }, t:reshape(3, -1):size())
    assert.same({ 12 }, t:reshape(-1):size())
    assert.same({ 1, 2, 2, 3 }, t:reshape({ 1, -1, 2, 3 }):size())
  end)

  it("keep the numbers alive, but not the views between", function()
    local t = counting(1000)
    local weak = setmetatable({}, { __mode = "k" })
    for i = 1, 10 do
      t = t:reshape(i % 2 == 0 and { 1000 } or { 10, 100 })
      weak[t] = true
    end
    for _ = 1, 5 do
      collectgarbage()
      core.full(1000, -1)
    end
    local alive = 0
    for _ in next, weak do alive = alive + 1 end
    assert.equal(1, alive)
    assert.equal(500500, t:sum())
  end)

  it("narrow the leading dimension without a copy", function()
    local t = counting(4, 3)
    local v = t:narrow(1, 2, 2)
    assert.same({ 4, 5, 6, 7, 8, 9 }, v:totable())
    v:fill(0)
    assert.equal(1 + 2 + 3 + 10 + 11 + 12, t:sum())
    local u = counting(1, 1, 5)
    u:narrow(3, 2, 3):zero()
    assert.same({ 1, 0, 0, 0, 5 }, u:totable())
  end)

  it("narrow later dimensions by a copy", function()
    local t = counting(2, 3, 2)
    local v = t:narrow(2, 2, 2)
    assert.same({ 2, 2, 2 }, v:size())
    assert.same({ 3, 4, 5, 6, 9, 10, 11, 12 }, v:totable())
    v:fill(0)
    assert.equal(78, t:sum())
    assert.same({ 2, 4, 6, 8, 10, 12 }, t:narrow(3, 2, 1):totable())
  end)

  it("select an index of any dimension", function()
    local t = counting(2, 3, 2)
    assert.same({ 3, 2 }, t:select(1, 2):size())
    assert.same({ 7, 8, 9, 10, 11, 12 }, t:select(1, 2):totable())
    assert.same({ 5, 6, 11, 12 }, t:select(2, 3):totable())
    assert.same({ 1, 3, 5, 7, 9, 11 }, t:select(3, 1):totable())
    assert.equal(4, counting(5):select(1, 4))
    t:select(1, 1):zero() -- a view
    assert.equal(57, t:sum())
  end)
end)

describe("copies", function()
  it("are independent", function()
    local t = counting(2, 2)
    local c = t:clone()
    c:fill(0)
    assert.same({ 1, 2, 3, 4 }, t:totable())
    assert.equal(c, c:copy(t))
    assert.same({ 1, 2, 3, 4 }, c:totable())
    assert.equal(c, c:zero())
    assert.same({ 0, 0, 0, 0 }, c:totable())
  end)

  it("may overlap", function()
    local t = counting(5)
    t:narrow(1, 2, 4):copy(t:narrow(1, 1, 4))
    assert.same({ 1, 1, 2, 3, 4 }, t:totable())
  end)

  it("permute dimensions", function()
    local t = counting(2, 3, 4, 5)
    local p = t:permute(3, 1, 4, 2)
    assert.same({ 4, 2, 5, 3 }, p:size())
    for i = 1, 2 do
      for j = 1, 3 do
        for k = 1, 4 do
          for l = 1, 5 do assert.equal(t:get(i, j, k, l), p:get(k, i, l, j)) end
        end
      end
    end
    assert.same({ 1, 4, 2, 5, 3, 6 }, counting(2, 3):transpose(1, 2):totable())
    assert.same({ 4, 3, 2 }, counting(2, 3, 4):transpose(1, 3):size())
    assert.is_true(t == t:transpose(2, 4):transpose(4, 2))
    assert.is_true(counting(3) == counting(3):permute(1))
  end)

  it("join along any dimension", function()
    local a, b = counting(2, 2), core.tensor { { 5, 6, 7 }, { 8, 9, 10 } }
    assert.same({ 1, 2, 5, 6, 7, 3, 4, 8, 9, 10 }, core.cat({ a, b }, 2):totable())
    assert.same({ 2, 5 }, core.cat({ a, b }, 2):size())
    assert.same({ 1, 2, 3, 4, 1, 2, 3, 4 }, core.cat({ a, a }):totable())
    assert.same({ 4, 2 }, core.cat({ a, a }):size())
    local c = core.cat({ counting(2, 1, 3), counting(2, 2, 3) }, 2)
    assert.same({ 1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6, 7, 8, 9, 10, 11, 12 }, c:totable())
  end)

  it("stack along a new dimension", function()
    local s = core.stack { counting(2, 3), counting(2, 3) * 10 }
    assert.same({ 2, 2, 3 }, s:size())
    assert.same({ 1, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, 60 }, s:totable())
    assert.same({ 1, 3 }, core.stack({ counting(3) }):size())
  end)
end)

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

describe("printing", function()
  it("shows small tensors whole, in columns", function()
    assert.equal(table.concat({
      "cglow.Tensor 2x3  min -0.845  mean 1.672  max 5",
      "       1       2       3",
      "  -0.125       5  -0.845",
    }, "\n"), tostring(core.tensor { { 1, 2, 3 }, { -0.125, 5, -0.845 } }))
  end)

  it("wraps lists and labels matrices", function()
    assert.equal(table.concat({
      "cglow.Tensor 12  min 1  mean 6.5  max 12",
      "   1   2   3   4   5   6   7   8   9  10",
      "  11  12",
    }, "\n"), tostring(counting(12)))
    assert.equal(table.concat({
      "cglow.Tensor 2x2x1x2  min 1  mean 4.5  max 8",
      "[1,1]", "  1  2", "[1,2]", "  3  4", "[2,1]", "  5  6", "[2,2]", "  7  8",
    }, "\n"), tostring(counting(2, 2, 1, 2)))
    assert.equal("cglow.Tensor 1x1x1  min 1  mean 1  max 1\n[1]\n  1", tostring(counting(1, 1, 1)))
  end)

  it("shows a corner of large ones", function()
    local lines = {}
    for line in tostring(counting(2, 3, 32, 32)):gmatch "[^\n]+" do lines[#lines + 1] = line end
    assert.equal("cglow.Tensor 2x3x32x32  min 1  mean 3072  max 6144", lines[1])
    assert.equal("[1,1]", lines[2])
    assert.equal("    1    2    3    4    5    6    7    8  ...", lines[3])
    assert.equal("  225  226  227  228  229  230  231  232  ...", lines[10])
    assert.equal("  ...", lines[11])
    assert.equal("...", lines[12])
    assert.equal(12, #lines)
    assert.equal("cglow.Tensor 101  min 1  mean 51  max 101\n  1  2  3  4  5  6  7  8  ...", tostring(counting(101)))
  end)

  it("counts what is not finite and leaves it out of the range", function()
    local t = core.tensor { 1, 0 / 0, -0 / 0, 3, -math.huge }
    local text = tostring(t)
    assert.truthy(text:find("cglow.Tensor 5  min 1  mean 2  max 3  2 NaN  1 inf\n", 1, true))
    assert.falsy(text:find("-nan", 1, true))
    assert.equal("cglow.Tensor 1  1 NaN\n  nan", tostring(core.tensor { 0 / 0 }))
  end)

  it("keeps extreme numbers readable", function()
    local big = is_float and "3e+38" or "1e+308"
    assert.truthy(tostring(core.tensor { tonumber(big), -1e-30 }):find(big .. "  -1e-30", 1, true))
  end)
end)

describe("misuse of tensors", function()
  local t, row, rng = core.zeros(2, 3), core.zeros(3), core.Rng(1)
  local cases = {
    -- making
    { "table expected, got number", function() core.tensor(3) end },
    { "nothing expected after the table", function() core.tensor({ 1, 2 }, { 2 }) end },
    { "1 to 4 dimensions expected, got 0", function() core.zeros() end },
    { "1 to 4 dimensions expected, got 5", function() core.ones { 1, 1, 1, 1, 1 } end },
    { "dimension 2 must be a positive integer, got 0", function() core.zeros(2, 0) end },
    { "dimension 1 must be a positive integer, got 2.5", function() core.zeros(2.5) end },
    { "dimension 1 must be a positive integer, got -1", function() core.empty { -1 } end },
    { "dimension 2 must be a positive integer, got table", function() core.zeros { 2, {} } end },
    { "nothing expected after the list of dimensions", function() core.zeros({ 2 }, 3) end },
    { "number expected after the shape, got no value", function() core.full(3) end },
    { "number expected, got table", function() core.full(3, {}) end },
    { "overflows", function() core.zeros(1 << 40, 1 << 40) end },
    { "overflows", function() core.zeros(math.maxinteger) end },
    { "not enough memory", function() core.zeros(1 << 45) end },
    { "nothing expected after the list", function() core.rand({ 2 }, 3) end },
    -- access
    { "index from 1 to 2 expected, got 4", function() return t[4] end },
    { "index from 1 to 2 expected, got 0", function() return t[0] end },
    { "index from 1 to 2 expected, got -9223372036854775808", function() return t[math.mininteger] end },
    { "number has no integer representation", function() return t[1.5] end },
    { "number has no integer representation", function() return t[0 / 0] end },
    { "cglow.Tensor has no field 'foo'", function() return t.foo end },
    { "cglow.Tensor has no field 'foo'", function() t:foo() end },
    { "cglow.Tensor has no field 'nil'", function() return t[nil] end },
    { "cglow.Tensor has no field '__index'", function() return t.__index end },
    { "cglow.Tensor has no field 'shape' to set", function() t.shape = { 3, 2 } end },
    { "cglow.Tensor has no field 'size' to set", function() t.size = 1 end },
    { "index from 1 to 2 expected, got 3", function() t[3] = 1 end },
    { "number expected, got string", function() row[1] = "x" end },
    { "number expected, got nil", function() row[1] = nil end },
    { "number expected, got cglow.Tensor", function() row[1] = row end },
    { "tensor of shape 3 expected, got 2x3", function() t[1] = t end },
    { "cglow.Tensor expected, got string", function() t[1] = "x" end },
    { "get: 2 indices expected for a tensor of shape 2x3, got 1", function() t:get(1) end },
    { "index from 1 to 3 expected, got 4", function() t:get(1, 4) end },
    { "set: 2 indices expected for a tensor of shape 2x3, got 1", function() t:set(1, 2) end },
    { "number expected, got table", function() t:set(1, 2, {}) end },
    { "dimension from 1 to 2 expected, got 3", function() t:size(3) end },
    { "cglow.Tensor expected, got cglow.Rng", function() t.size(rng) end },
    { "cglow.Tensor expected, got no value", function() t.sum() end },
    -- shape
    { "shape of 6 numbers expected (positive sizes, one may be -1), got 4", function() t:reshape(4) end },
    { "(positive sizes, one may be -1), got 4x-1", function() t:reshape(4, -1) end },
    { "(positive sizes, one may be -1), got 7x-1", function() t:reshape(7, -1) end },
    { "(positive sizes, one may be -1), got -1x-1", function() t:reshape(-1, -1) end },
    { "(positive sizes, one may be -1), got 0x-1", function() t:reshape(0, -1) end },
    { "(positive sizes, one may be -1), got -2x-3", function() t:reshape { -2, -3 } end },
    { "got 4294967296x4294967296x6", function() t:reshape(1 << 32, 1 << 32, 6) end },
    { "1 to 4 dimensions expected, got 0", function() t:reshape() end },
    { "1 to 4 dimensions expected, got 5", function() t:reshape(1, 1, 1, 1, 6) end },
    { "number expected, got string", function() t:reshape("x") end },
    { "dimension 2 must be an integer, got string", function() t:reshape { 2, "x" } end },
    { "dimension from 1 to 2 expected, got 0", function() t:narrow(0, 1, 1) end },
    { "index from 1 to 3 expected, got 4", function() t:narrow(2, 4, 1) end },
    { "length from 1 to 2 expected, got 3", function() t:narrow(2, 2, 3) end },
    { "length from 1 to 2 expected, got 0", function() t:narrow(1, 1, 0) end },
    { "length from 1 to 2 expected, got " .. math.maxinteger, function() t:narrow(1, 1, math.maxinteger) end },
    { "index from 1 to 2 expected, got 3", function() t:select(1, 3) end },
    { "permute: 2 dimensions expected, got 1", function() t:permute(1) end },
    { "each dimension once expected, got one twice", function() t:permute(1, 1) end },
    { "dimension from 1 to 2 expected, got 3", function() t:transpose(1, 3) end },
    { "tensor of shape 2x3 expected, got 3", function() t:copy(row) end },
    { "cglow.Tensor expected, got number", function() t:copy(1) end },
    { "number expected, got no value", function() t:fill() end },
    { "at least one tensor expected, got an empty list", function() core.cat {} end },
    { "table expected, got cglow.Tensor", function() core.cat(t, t) end },
    { "element [2]: cglow.Tensor expected, got number", function() core.cat { t, 2 } end },
    { "element [2]: shape ?x3 expected, got 3", function() core.cat { t, row } end },
    { "element [3]: shape 2x? expected, got 1x3", function() core.cat({ t, t, core.zeros(1, 3) }, 2) end },
    { "dimension from 1 to 2 expected, got 3", function() core.cat({ t }, 3) end },
    { "element [2]: shape 2x3 expected, got 3", function() core.stack { t, row } end },
    { "tensors of at most 3 dimensions expected, got 1x1x1x1", function() core.stack { core.zeros(1, 1, 1, 1) } end },
    -- arithmetic
    { "tensor of shape 2x3 expected, or one that is broadcast with it, got 2", function() return t + core.ones(2) end },
    { "number or cglow.Tensor expected, got string", function() return t * "2" end },
    { "number or cglow.Tensor expected, got string", function() return "2" * t end },
    { "number or cglow.Tensor expected, got nil", function() return nil / t end },
    { "number or cglow.Tensor expected, got cglow.Rng", function() return t - rng end },
    { "attempt to", function() return t .. "x" end },
    { "attempt to", function() return t < t end },
    { "attempt to", function() return t() end },
    { "cglow.Tensor expected, got number", function() t.gt(1, 2) end },
    { "number or cglow.Tensor expected, got no value", function() t:gt() end },
    { "number or cglow.Tensor expected, got table", function() t:add {} end },
    { "tensor of shape 2x3 expected, got 1x2x3", function() t:add(core.ones(1, 2, 3)) end },
    { "number expected, got string", function() t:add(1, "x") end },
    { "tensor of shape 2x3 expected, got 1x2x3", function() t:mul(core.ones(1, 2, 3)) end },
    { "number expected, got no value", function() t:clamp(1) end },
    { "number of at least 2.0 expected, got 1.0", function() t:clamp(2, 1) end },
    { "number expected, got NaN", function() t:clamp(0 / 0, 1) end },
    { "number of at least 0.0 expected", function() t:clamp(0, 0 / 0) end },
    { "function expected, got no value", function() t:map() end },
    { "map: the function must return a number, got string", function() t:map(function() return "1" end) end },
    { "map: the function must return a number, got nil for number 1", function() t:map(function() end) end },
    { "cglow.Tensor expected, got number", function() t:equal(1) end },
    { "dimension from 1 to 2 expected, got 3", function() t:sum(3) end },
    { "dimension from 1 to 1 expected, got 2", function() row:max(2) end },
    { "number expected, got string", function() t:mean("x") end },
    { "boolean expected, got number", function() t:mean(1, 1) end },
    { "dimension to keep expected, got no value", function() t:max(nil, true) end },
    { "finite number other than 0 expected, got 0", function() core.arange(1, 2, 0) end },
    { "number that is reached from 1.0 by steps of 1.0 expected, got 0", function() core.arange(0) end },
    { "number that is reached from 1.0 by steps of -1.0 expected, got 2", function() core.arange(1, 2, -1) end },
    { "number that is reached from 1.0 by steps of 1.0 expected, got inf", function() core.arange(math.huge) end },
    { "nan by steps of 1.0 expected, got 1", function() core.arange(0 / 0, 1) end },
    { "number expected, got no value", function() core.arange() end },
  }
  for i, case in ipairs(cases) do
    it(i .. ": " .. case[1], function() raises(case[1], case[2]) end)
  end

  it("changes nothing", function()
    assert.is_true(t == core.zeros(2, 3))
    assert.is_true(row == core.zeros(3))
  end)

  it("names the function and the argument", function()
    raises("bad argument #1 to 'copy' (tensor of shape 2x3 expected, got 3)", function() t:copy(row) end)
    raises("bad argument #2 to 'add' (tensor of shape 2x3 expected, or one that is broadcast with it, got 2)",
      function() return t + core.ones(2) end)
    raises("bad argument #3 to 'narrow' (length from 1 to 2 expected, got 9)", function() t:narrow(1, 1, 9) end)
  end)

  it("passes on errors of mapped functions", function()
    raises("inside", function() t:map(function() error "inside" end) end)
  end)

  it("cannot reach the metatable", function()
    assert.is_false(getmetatable(t))
    assert.is_false(pcall(setmetatable, t, {}))
  end)
end)
