-- Tensors: how they are made, read, viewed, copied and printed.
local core = require "cglow.core"
local tensors = require "spec.support.tensors"

local counting, raises, stored = tensors.counting, tensors.raises, tensors.stored

local is_float = core.scalar == "float"

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
