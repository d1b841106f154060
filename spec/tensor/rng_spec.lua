-- The random generator: the published algorithm, the numbers made from it, and
-- its state.  All seeds are fixed, so every statistical test always gives the
-- same verdict; its level says how unlikely that verdict would be by chance.
local core = require "cglow.core"

local is_float = core.scalar == "float"
local per_block = is_float and 4 or 2

-- Bounds of level 1e-6: a right generator misses one in a million seeds.
local Z = 4.9 -- two-sided, standard normal
local KS = 2.7 -- sqrt(n)·D: sqrt(ln(2/1e-6)/2)

local function f32(x)
  return (string.unpack("f", string.pack("f", x)))
end

-- Wilson and Hilferty's approximation of the chi-square quantile.
local function chi_square_bound(freedom)
  local a = 2 / (9 * freedom)
  return freedom * (1 - a + 4.75 * math.sqrt(a)) ^ 3
end

local function chi_square(counts, expected)
  local x = 0
  for _, c in ipairs(counts) do
    x = x + (c - expected) ^ 2 / expected
  end
  return x
end

-- sqrt(n) times the greatest distance between the empirical distribution
-- function of the numbers and cdf.
local function kolmogorov(numbers, cdf)
  table.sort(numbers)
  local n, d = #numbers, 0
  for i, x in ipairs(numbers) do
    local p = cdf(x)
    d = math.max(d, i / n - p, p - (i - 1) / n)
  end
  return math.sqrt(n) * d
end

-- Φ by its series of odd powers over double factorials.
local function normal_cdf(x)
  local term, sum = x, x
  for k = 3, 301, 2 do
    term = term * x * x / k
    sum = sum + term
  end
  return 0.5 + sum * math.exp(-x * x / 2) / math.sqrt(2 * math.pi)
end

local function raises(message, f, ...)
  local ok, err = pcall(f, ...)
  assert.is_false(ok)
  assert.is_truthy(err:find(message, 1, true), ("expected '%s' in: %s"):format(message, err))
end

describe("Philox4x32-10", function()
  -- Counter, key, result: the known answers that its authors publish with Random123.
  local known = {
    { { 0, 0, 0, 0, 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
    {
      { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff },
      { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd },
    },
    {
      { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0 },
      { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 },
    },
  }

  it("gives the published answers", function()
    for _, case in ipairs(known) do
      assert.same(case[2], { core.philox(table.unpack(case[1])) })
    end
  end)

  it("is what a generator runs through: counter = position, key = seed", function()
    local seed = 0x0123456789abcdef
    local rng = core.Rng(seed)
    for position = 0, 5 do
      assert.same({ core.philox(position, 0, 0, 0, 0x89abcdef, 0x01234567) }, { rng:block() })
    end
    rng:set_state(("philox4x32-10:%d:%d"):format(seed, 0xffffffff))
    assert.same({ core.philox(0xffffffff, 0, 0, 0, 0x89abcdef, 0x01234567) }, { rng:block() })
    assert.same({ core.philox(0, 1, 0, 0, 0x89abcdef, 0x01234567) }, { rng:block() })
  end)
end)

describe("uniform numbers", function()
  it("are the words' upper bits, so never 1", function()
    local words, rng = core.Rng(3), core.Rng(3)
    local x = rng:uniform(1000):totable()
    for i = 1, #x, per_block do
      local w = { words:block() }
      for j = 0, per_block - 1 do
        -- 24 bits of a word, or 53 of two: at most 1 − 2^-24 or 1 − 2^-53.
        local want = is_float and (w[j + 1] >> 8) * 2.0 ^ -24
          or ((w[2 * j + 2] << 32 | w[2 * j + 1]) >> 11) * 2.0 ^ -53
        assert.equal(want, x[i + j])
      end
    end
  end)

  it("follow the uniform distribution", function()
    local n = 200000
    local t = core.Rng(1):uniform(n)
    assert.is_true(math.abs(t:mean() - 0.5) < Z * math.sqrt(1 / 12 / n))
    -- The variance of (x − 1/2)² is 1/180.
    assert.is_true(math.abs(t:std() ^ 2 - 1 / 12) < Z * math.sqrt(1 / 180 / n))
    assert.is_true(kolmogorov(t:totable(), function(x) return x end) < KS)
  end)

  it("do not depend on their neighbours", function()
    local n = 1 << 18
    local x = core.Rng(2):uniform(n) - 0.5
    for lag = 1, 9 do -- within a block and across blocks
      local a, b = x:narrow(1, 1, n - lag), x:narrow(1, 1 + lag, n - lag)
      local correlation = (a * b):mean() * 12
      assert.is_true(math.abs(correlation) < Z / math.sqrt(n - lag), "lag " .. lag)
    end
  end)

  it("of different seeds are unrelated, also of neighbouring ones", function()
    local n = 1 << 18
    for seed = 0, 3 do
      local a, b = core.Rng(seed):uniform(n) - 0.5, core.Rng(seed + 1):uniform(n) - 0.5
      assert.is_true(math.abs((a * b):mean() * 12) < Z / math.sqrt(n))
    end
  end)
end)

describe("normal numbers", function()
  -- Box-Muller in double precision from the same words.  The float kernel
  -- rounds the first uniform number to 24 bits, which is part of its
  -- definition and so done here too.
  local function reference(words)
    local out = {}
    if is_float then
      for j = 1, 3, 2 do
        local u = f32(f32(words[j] >> 1) + 1) * 2.0 ^ -31
        local radius, angle = math.sqrt(-2 * math.log(u)), 2 * math.pi * words[j + 1] * 2.0 ^ -32
        out[j], out[j + 1] = radius * math.cos(angle), radius * math.sin(angle)
      end
    else
      local u = ((words[2] << 32 | words[1]) >> 11) * 2.0 ^ -53 + 2.0 ^ -53
      local radius = math.sqrt(-2 * math.log(u))
      local angle = 2 * math.pi * ((words[4] << 32 | words[3]) >> 11) * 2.0 ^ -53
      out[1], out[2] = radius * math.cos(angle), radius * math.sin(angle)
    end
    return out
  end

  it("are Box and Muller's transform of the words", function()
    local words, x = core.Rng(5), core.Rng(5):normal(40000):totable()
    -- A few roundings of numbers up to 6.6 (float) or 8.6 (double); the
    -- float angle is rounded to 24 bits, half an ulp of pi times the radius.
    local tolerance = is_float and 2e-6 or 1e-14
    for i = 1, #x, per_block do
      local want = reference { words:block() }
      for j = 1, per_block do
        assert.is_true(math.abs(x[i + j - 1] - want[j]) < tolerance)
      end
    end
  end)

  it("follow the normal distribution", function()
    local n = 200000
    local t = core.Rng(7):normal(n)
    assert.is_true(kolmogorov(t:totable(), normal_cdf) < KS)
    -- Moments 1 to 4 of N(0, 1) are 0, 1, 0, 3; the variances of x, x², x³, x⁴ are 1, 2, 15, 96.
    local power = t
    for k, want in ipairs { { 0, 1 }, { 1, 2 }, { 0, 15 }, { 3, 96 } } do
      assert.is_true(math.abs(power:mean() - want[1]) < Z * math.sqrt(want[2] / n), "moment " .. k)
      power = power * t
    end
  end)

  it("have the right tails", function()
    local n = 1 << 22
    local beyond = core.Rng(8):normal(n):abs():gt(4):sum()
    local p = 2 * (1 - normal_cdf(4)) -- 6.3e-5: 266 expected
    assert.is_true(math.abs(beyond - n * p) < Z * math.sqrt(n * p))
  end)

  it("do not depend on their neighbours", function()
    local n = 1 << 18
    local x = core.Rng(9):normal(n)
    for lag = 1, 9 do
      local a, b = x:narrow(1, 1, n - lag), x:narrow(1, 1 + lag, n - lag)
      assert.is_true(math.abs((a * b):mean()) < Z / math.sqrt(n - lag), "lag " .. lag)
      -- Squares have variance 2; the pair of one radius must not show either.
      local squares = ((a * a - 1) * (b * b - 1)):mean() / 2
      assert.is_true(math.abs(squares) < Z / math.sqrt(n - lag), "squares, lag " .. lag)
    end
  end)
end)

describe("fills", function()
  local before
  setup(function() before = core.threads() end)
  teardown(function() core.threads(before) end)

  for _, fill in ipairs { "fill_uniform", "fill_normal" } do
    it(fill .. " gives the same numbers on any number of threads and in pieces", function()
      local n = 300003 -- several parallel pieces and a part of a block
      local whole, rng = core.empty(n), core.Rng(11)
      core.threads(1)
      assert.equal(whole, rng[fill](rng, whole))
      local state = rng:state()
      for threads = 2, 5 do
        local other, again = core.empty(n), core.Rng(11)
        core.threads(threads)
        again[fill](again, other)
        assert.is_true(whole == other)
        assert.equal(state, again:state())
      end
      local pieces, again, at = core.zeros(n), core.Rng(11), 1
      while at <= n do -- pieces of whole blocks, from one block on
        local length = math.min(n - at + 1, 4 * at)
        again[fill](again, pieces:narrow(1, at, length))
        at = at + length
      end
      assert.is_true(whole == pieces)
      assert.equal(state, again:state())
    end)
  end

  it("take whole blocks", function()
    local rng = core.Rng(1)
    rng:uniform()
    assert.equal("philox4x32-10:1:1", rng:state())
    rng:normal(per_block + 1)
    assert.equal("philox4x32-10:1:3", rng:state())
  end)

  it("in place allocate nothing", function()
    local t, rng = core.zeros(1000), core.Rng(1)
    local made = core.stats().tensors
    rng:fill_uniform(t)
    rng:fill_normal(t)
    assert.equal(made, core.stats().tensors)
  end)

  it("take a shape as integers or a list, and give a number without one", function()
    assert.same({ 2, 3 }, core.Rng(1):uniform(2, 3):size())
    assert.same({ 2, 3 }, core.Rng(1):normal({ 2, 3 }):size())
    assert.equal(core.Rng(1):uniform(1)[1], core.Rng(1):uniform())
    assert.equal(core.Rng(1):normal(1)[1], core.Rng(1):normal())
  end)
end)

describe("integers", function()
  it("are equally likely, both ends included", function()
    local rng, counts, n = core.Rng(21), {}, 70000
    for i = 1, 7 do counts[i] = 0 end
    for _ = 1, n do
      local k = rng:integer(-3, 3) + 4
      counts[k] = counts[k] + 1
    end
    assert.is_true(chi_square(counts, n / 7) < chi_square_bound(6))
  end)

  it("are unbiased where a remainder would not be", function()
    -- Of 0 .. 3·2^62 − 1 a plain remainder of 64 bits would give the first third twice as often.
    local rng, n, low = core.Rng(22), 30000, 0
    local lo = math.mininteger
    local hi = lo + 3 * (1 << 62) - 1
    for _ = 1, n do
      if rng:integer(lo, hi) < lo + (1 << 62) then low = low + 1 end
    end
    assert.is_true(math.abs(low - n / 3) < Z * math.sqrt(n * 2 / 9))
  end)

  it("come from the widest and the narrowest range", function()
    local rng, negative, n = core.Rng(23), 0, 10000
    for _ = 1, n do
      if rng:integer(math.mininteger, math.maxinteger) < 0 then negative = negative + 1 end
    end
    assert.is_true(math.abs(negative - n / 2) < Z * math.sqrt(n / 4))
    assert.equal(5, rng:integer(5, 5))
  end)
end)

describe("permutations", function()
  it("hold every number once", function()
    local rng = core.Rng(31)
    for _, n in ipairs { 0, 1, 2, 100 } do
      local p = rng:permutation(n)
      assert.equal(n, #p)
      table.sort(p)
      for i = 1, n do assert.equal(i, p[i]) end
    end
    assert.equal("integer", math.type(rng:permutation(1)[1]))
  end)

  it("are equally likely", function()
    local rng, seen, n = core.Rng(32), {}, 24000
    for _ = 1, n do
      local key = table.concat(rng:permutation(4), " ")
      seen[key] = (seen[key] or 0) + 1
    end
    local counts = {}
    for _, c in pairs(seen) do counts[#counts + 1] = c end
    assert.equal(24, #counts)
    assert.is_true(chi_square(counts, n / 24) < chi_square_bound(23))
  end)
end)

describe("the state", function()
  it("continues where it was taken", function()
    local rng = core.Rng(-1)
    rng:normal(17)
    local state = rng:state()
    local a = { rng:uniform(5):totable(), rng:permutation(9), rng:integer(1, 1000), rng:normal() }
    rng:set_state(state)
    local b = { rng:uniform(5):totable(), rng:permutation(9), rng:integer(1, 1000), rng:normal() }
    assert.same(a, b)
    local blocks = (17 + per_block - 1) // per_block
    assert.equal("philox4x32-10:18446744073709551615:" .. blocks, state)
  end)

  it("is one string that the other builds and machines read", function()
    local rng = core.Rng(42)
    rng:block()
    assert.equal("philox4x32-10:42:1", rng:state())
    assert.equal("cglow.Rng philox4x32-10:42:1", tostring(rng))
    assert.equal(rng, rng:set_state("philox4x32-10:18446744073709551615:18446744073709551615"))
    rng:block() -- the position wraps
    assert.equal("philox4x32-10:18446744073709551615:0", rng:state())
  end)

  it("is refused, and left alone, when it is none", function()
    local rng = core.Rng(1)
    for _, bad in ipairs {
      "", "1:2", "philox4x32-10:", "philox4x32-10:1", "philox4x32-10:1:", "philox4x32-10::2", "philox4x32-10:1:2 ",
      "philox4x32-10:1:2:3", "philox4x32-10:-1:2", "philox4x32-10:0x1:2", "philox4x32-10:1:2\0", "philox4x32-10:1\0:2",
      "philox4x32-10:18446744073709551616:0", "philox4x32-10:0:99999999999999999999999999", "PHILOX4x32-10:1:2",
    } do
      raises('state "philox4x32-10:<seed>:<position>" expected', rng.set_state, rng, bad)
    end
    assert.equal("philox4x32-10:1:0", rng:state())
  end)
end)

describe("the default generator", function()
  it("is seeded by core.seed and used where none is given", function()
    core.seed(5)
    local a, b = core.rand(3), core.randn(2, 2)
    local rng = core.Rng(5)
    assert.is_true(a == rng:uniform(3))
    assert.is_true(b == rng:normal(2, 2))
    assert.equal(rng:state(), core.rng():state())
    core.seed(5)
    assert.is_true(a == core.rand(3))
  end)

  it("stays untouched when another one is given", function()
    local before = core.rng():state()
    assert.is_true(core.rand(2, 3, core.Rng(6)) == core.rand({ 2, 3 }, core.Rng(6)))
    assert.is_true(core.randn(7, core.Rng(6)) == core.Rng(6):normal(7))
    assert.equal(before, core.rng():state())
  end)
end)

describe("misuse of the generator", function()
  local rng = core.Rng(1)
  local cases = {
    { "number expected, got no value", function() return core.Rng() end },
    { "number has no integer representation", function() return core.Rng(1.5) end },
    { "number expected, got string", function() return core.seed("x") end },
    { "cglow.Rng expected, got table", function() return rng.uniform({}) end },
    { "cglow.Rng expected, got cglow.Tensor", function() return rng.uniform(core.zeros(1)) end },
    { "dimension 1 must be a positive integer, got 0", function() return rng:uniform(0) end },
    { "dimension 2 must be a positive integer, got -3", function() return rng:normal({ 2, -3 }) end },
    { "dimension 1 must be a positive integer, got nil", function() return rng:normal(nil) end },
    { "1 to 4 dimensions expected, got 5", function() return rng:normal(1, 1, 1, 1, 1) end },
    { "cglow.Tensor expected, got number", function() return rng:fill_uniform(3) end },
    { "cglow.Tensor expected, got no value", function() return rng:fill_normal() end },
    { "integer of at least 3 expected, got 2", function() return rng:integer(3, 2) end },
    { "number expected, got no value", function() return rng:integer(3) end },
    { "integer from 0 to 2147483647 expected, got -1", function() return rng:permutation(-1) end },
    { "string expected, got table", function() return rng:set_state({}) end },
    { "integer from 0 to 2^32 - 1 expected, got -1", function() return core.philox(-1, 0, 0, 0, 0, 0) end },
    { "from 0 to 2^32 - 1 expected, got 4294967296", function() return core.philox(0, 0, 0, 0, 0, 1 << 32) end },
    { "dimension 2 must be a positive integer, got string", function() return core.rand(2, "x") end },
  }
  for i, case in ipairs(cases) do
    it(i .. ": " .. case[1], function() raises(case[1], case[2]) end)
  end

  it("draws nothing", function() assert.equal("philox4x32-10:1:0", rng:state()) end)

  it("cannot reach the metatable", function() assert.is_false(getmetatable(rng)) end)
end)
