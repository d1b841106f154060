-- Products of operands that are rounded to bfloat16: what they are, against plain loops.
local core = require "cglow.core"
local nn = require "cglow.nn"
local bf16 = require "spec.support.bf16"

local EPS <const> = 2.0 ^ -23

local function randn(rng, ...)
  local size = table.pack(...)
  size[#size + 1] = rng
  return core.randn(table.unpack(size))
end

local function layer(o) return bf16.with("bf16", nn.Conv2d, o) end

local function weight_of(net) return net:parameters()[1] end

-- |got − want| in units of what is allowed for each number.
local function worst(got, want, allowed) return ((got - want):abs() / (allowed + 1e-30)):max() end

describe("cglow.core.precision", function()
  it("tells what is in force and how it is computed", function()
    local name, how = core.precision()
    assert.equal("fp32", name)
    assert.equal("fp32", how)
    bf16.with("bf16", function()
      name, how = core.precision()
      assert.equal("bf16", name)
      assert.is_true(how == "AMX" or how == "AVX512_BF16" or how == "emulated")
    end)
  end)

  it("stays with a layer that was made under it", function()
    local rng = core.Rng(1)
    local x = randn(rng, 1, 3, 5, 7)
    local o = { in_channels = 3, out_channels = 4, kernel = 3, bias = false }
    local plain, other = nn.Conv2d(o), layer(o)
    weight_of(plain).value:copy(randn(rng, 4, 3, 3, 3))
    weight_of(other).value:copy(weight_of(plain).value)
    local before = plain:forward(x):clone()
    local rounded = other:forward(x):clone()
    assert.is_true((before - rounded):abs():max() > 1e-4) -- bfloat16 is 2^-9 off
    bf16.with("bf16", function() assert.equal(0, (plain:forward(x) - before):abs():max()) end)
    assert.equal(0, (other:forward(x) - rounded):abs():max())
  end)
end)

-- Sizes that lead to each of the ways in which a convolution is computed: columns and a
-- product, one tile and several; stride; the pixels themselves; planes of many channels to
-- few; a long sum, which is cut; one pixel. The sums are in fp32: so many roundings.
local CASES = {
  { "columns", 2, 3, 9, 11, 5, 3, 1 }, { "stride 2", 1, 7, 12, 10, 37, 3, 2 },
  { "1×1", 2, 33, 5, 6, 19, 1, 1 }, { "many to few", 1, 40, 6, 7, 3, 3, 1 },
  { "a long sum", 1, 70, 3, 3, 9, 3, 2 }, { "one pixel", 1, 21, 1, 1, 17, 3, 1 },
  { "many rows", 3, 4, 16, 17, 45, 3, 1 },
}

describe("products of bfloat16", function()
  for _, case in ipairs(CASES) do
    local name, n, from, h, w, to, side, stride = table.unpack(case)
    local rng, pad = core.Rng(7), side // 2

    local function make()
      local net = layer { in_channels = from, out_channels = to, kernel = side, stride = stride, padding = pad,
        bias = false }
      weight_of(net).value:copy(randn(rng, to, from, side, side))
      return net, randn(rng, n, from, h, w)
    end

    it("are those of rounded operands, summed in fp32: " .. name, function()
      local net, x = make()
      local got = net:forward(x)
      local want, size = bf16.conv(bf16.rounded(x), bf16.rounded(weight_of(net).value), stride, pad)
      -- A sum of k numbers in fp32 is at most k roundings of their magnitudes off.
      assert.is_true(worst(got, want, size * (from * side * side * EPS)) <= 1)
    end)

    -- ⟨dy, conv(x)⟩ is linear in x and in the weight: with operands that are bfloat16 already
    -- the gradients are the plain ones.
    it("have the gradients of rounded operands: " .. name, function()
      local net, x = make()
      local w_param = weight_of(net)
      x = bf16.rounded(x)
      w_param.value:copy(bf16.rounded(w_param.value))
      local dy = bf16.rounded(randn(rng, table.unpack(net:forward(x):size())))
      core.zero_grad(net:parameters())
      local dx = net:backward(dy, true):clone()
      local dw = w_param.grad:clone()
      local plain = nn.Conv2d { in_channels = from, out_channels = to, kernel = side, stride = stride, padding = pad,
        bias = false }
      weight_of(plain).value:copy(w_param.value)
      plain:forward(x)
      core.zero_grad(plain:parameters())
      local want = plain:backward(dy, true)
      -- Both are fp32 sums of the same products, in orders of their own; k·eps each.
      assert.is_true((dx - want):abs():max() <= 2 * to * side * side * EPS * 16)
      assert.is_true((dw - weight_of(plain).grad):abs():max() <= 2 * n * h * w * EPS * 16)
    end)
  end

  -- The patches are rounded after their transform: the result is off by what 8 bits leave.
  it("by Winograd's form are as near as 8 bits and its transforms let them", function()
    local rng = core.Rng(3)
    local net = layer { in_channels = 32, out_channels = 32, kernel = 3, padding = 1, bias = false }
    local plain = nn.Conv2d { in_channels = 32, out_channels = 32, kernel = 3, padding = 1, bias = false }
    weight_of(net).value:copy(randn(rng, 32, 32, 3, 3))
    weight_of(plain).value:copy(weight_of(net).value)
    local x = randn(rng, 1, 32, 16, 16)
    local want = plain:forward(x):clone()
    local off, size = net:forward(x) - want, math.sqrt((want * want):mean())
    -- Columns and a product are 0.0023 off, F(4×4) is 5.2 times that: rounding is by what its
    -- transforms make of pixels and filters, and they magnify what was rounded again.
    assert.is_true(math.sqrt((off * off):mean()) < 0.0023 * 5.5 * size)
    assert.is_true(math.sqrt((off * off):mean()) > 0.0023 * size) -- it was rounded
  end)

  it("take infinities and NaN through, and numbers too large for fp32 to infinity", function()
    local net = layer { in_channels = 1, out_channels = 1, kernel = 1, bias = false }
    weight_of(net).value:copy(core.tensor { 1.0 }:reshape(1, 1, 1, 1))
    local big = string.unpack("<f", "\xff\xff\x7f\x7f") -- the largest float
    local y = net:forward(core.tensor { math.huge, -math.huge, 0 / 0, big, 1e-40, 3.0 }:reshape(1, 1, 2, 3))
      :reshape(-1):totable()
    assert.equal(math.huge, y[1])
    assert.equal(-math.huge, y[2])
    assert.is_true(y[3] ~= y[3])
    assert.equal(math.huge, y[4])
    assert.equal(0.0, y[5]) -- the processor's instruction takes what is below 2^-126 for 0
    assert.equal(3.0, y[6])
  end)

  it("are the same bits for a sample alone and among others, on one thread and on several", function()
    local threads, rng = core.threads(), core.Rng(5)
    for _, side in ipairs { 2, 4, 8, 20 } do
      local net = layer { in_channels = 24, out_channels = 40, kernel = 3, padding = 1 }
      weight_of(net).value:copy(randn(rng, 40, 24, 3, 3))
      local x = randn(rng, 9, 24, side, side)
      core.threads(1)
      local all = net:forward(x):clone()
      core.threads(4)
      assert.equal(0, (net:forward(x) - all):abs():max())
      core.threads(threads)
      assert.equal(0, (net:forward(x:narrow(1, 4, 1)) - all:narrow(1, 4, 1)):abs():max())
    end
  end)
end)
