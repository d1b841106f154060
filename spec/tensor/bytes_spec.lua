-- Bytes of tensors against string.pack.
local core = require "cglow.core"

local is_float = core.scalar == "float"
local packed = { U8 = "<I1", I8 = "<i1", U16 = "<I2", I16 = "<i2", U32 = "<I4", I32 = "<i4", U64 = "<I8", I64 = "<i8",
  F32 = "<f", F64 = "<d" }
-- What each format of whole numbers holds; the largest are those that float has, too.
local limits = { U8 = { 0, 255 }, I8 = { -128, 127 }, U16 = { 0, 65535 }, I16 = { -32768, 32767 },
  U32 = { 0, (1 << 32) - 256 }, I32 = { -(1 << 31), (1 << 31) - 128 }, U64 = { 0, (1 << 63) - (1 << 39) },
  I64 = { math.mininteger, (1 << 63) - (1 << 39) } }

local function pack(format, list)
  local parts = {}
  for i, v in ipairs(list) do parts[i] = packed[format]:pack(v) end
  return table.concat(parts)
end

describe("Bytes of a tensor", function()
  it("are what string.pack makes of whole numbers, and back", function()
    for format, range in pairs(limits) do
      local list = { 0, 1, 100, range[1], range[2] }
      local t = core.tensor(list)
      assert.equal(pack(format, list), t:bytes(format), format)
      assert.is_true(core.from_bytes(t:bytes(format), format) == t, format)
    end
  end)

  it("are the numbers themselves in the core's own format", function()
    local t = core.Rng(1):normal(3, 5)
    assert.equal(pack("F32", t:totable()), t:bytes())
    assert.equal(pack("F64", t:totable()), t:bytes "F64")
    assert.is_true(core.from_bytes(t:bytes(is_float and "F32" or "F64"), is_float and "F32" or "F64", 3, 5) == t)
    assert.is_true(core.from_bytes(t:bytes "F64", "F64", { 3, 5 }) == t)
    assert.same({ 15 }, core.from_bytes(t:bytes()):size())
  end)

  -- Two-byte formats: bits of numbers as IEEE 754 (binary16) and bfloat16 have them.
  local known = {
    F16 = { { 0, 0 }, { 1, 0x3c00 }, { -2, 0xc000 }, { 65504, 0x7bff }, { 2.0 ^ -24, 1 }, { 2.0 ^ -14, 0x0400 },
      { 2.0 ^ -14 - 2.0 ^ -24, 0x03ff }, { math.huge, 0x7c00 }, { -math.huge, 0xfc00 }, { 0.333251953125, 0x3555 } },
    BF16 = { { 0, 0 }, { 1, 0x3f80 }, { -2, 0xc000 }, { 2.0 ^ -126, 0x0080 }, { 2.0 ^ -133, 1 },
      { (2 - 2.0 ^ -7) * 2.0 ^ 127, 0x7f7f }, { math.huge, 0x7f80 }, { -math.huge, 0xff80 }, { 0.333984375, 0x3eab } },
  }
  for format, cases in pairs(known) do
    it("of " .. format .. " have the bits that they should", function()
      for _, case in ipairs(cases) do
        assert.equal(("%04x"):format(case[2]), ("%04x"):format(("<I2"):unpack(core.tensor({ case[1] }):bytes(format))))
        assert.equal(case[1], core.from_bytes(("<I2"):pack(case[2]), format)[1])
      end
      local nan = core.from_bytes(core.tensor({ 0 / 0 }):bytes(format), format)[1]
      assert.is_true(nan ~= nan)
    end)

    it("of " .. format .. " survive a way there and back, all 65536 of them", function()
      local all = {}
      for bits = 0, 65535 do all[bits + 1] = ("<I2"):pack(bits) end
      local bytes = table.concat(all)
      local t = core.from_bytes(bytes, format)
      local again = t:bytes(format)
      local different = 0
      for i = 1, 65536 do
        if t[i] == t[i] and all[i] ~= again:sub(2 * i - 1, 2 * i) then different = different + 1 end
      end
      assert.equal(0, different)
    end)
  end

  it("round halves to even in two bytes", function()
    local t = core.tensor { 1 + 2.0 ^ -11, 1 + 3 * 2.0 ^ -11, 1 + 2.0 ^ -11 + 2.0 ^ -20, 65519, 2.0 ^ -25 }
    assert.same({ 1, 1 + 2.0 ^ -9, 1 + 2.0 ^ -10, 65504, 0 }, core.from_bytes(t:bytes "F16", "F16"):totable())
    t = core.tensor { 1 + 2.0 ^ -8, 1 + 3 * 2.0 ^ -8, 1 + 2.0 ^ -8 + 2.0 ^ -15 }
    assert.same({ 1, 1 + 2.0 ^ -6, 1 + 2.0 ^ -7 }, core.from_bytes(t:bytes "BF16", "BF16"):totable())
  end)

  it("are not made of numbers that have no place in the format", function()
    for format, list in pairs { U8 = { -1, 256, 0.5, 0 / 0, math.huge }, I8 = { -129, 128 }, U16 = { 65536, -1 },
      I16 = { 32768 }, U32 = { 1 << 32, -1 }, I32 = { 1 << 31 }, U64 = { -1, 2.0 ^ 64 }, I64 = { 2.0 ^ 63, -math.huge },
      F16 = { 65520, -1e6 } } do
      for _, v in ipairs(list) do
        local ok, message = pcall(function() return core.tensor({ 1, v }):bytes(format) end)
        assert.is_false(ok, format .. v)
        assert.truthy(message:find("which is number 2, got '" .. format, 1, true), message)
      end
    end
    if is_float then
      local ok, message = pcall(core.from_bytes, ("<dd"):pack(1, 1e300), "F64")
      assert.is_false(ok)
      assert.truthy(message:find("got a larger one at 2", 1, true), message)
    end
  end)

  it("must be as many as the shape wants", function()
    for _, case in ipairs { { "", "U8" }, { "abc", "U16" }, { "abcd", "U8", 3 }, { "abcd", "U8", { 2, 3 } },
      { "abcd", "U8", 1 << 62, 4 } } do
      local ok, message = pcall(core.from_bytes, table.unpack(case))
      assert.is_false(ok)
      assert.truthy(message:find "expected, got %d", message)
    end
  end)
end)
