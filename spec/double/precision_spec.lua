-- The double-precision core proves gradients by differences, and a rounding has none.
local cglow = require "cglow"
local core = require "cglow.core"

describe("bfloat16 in the double-precision core", function()
  it("is refused", function()
    assert.has_error(function() core.precision "bf16" end,
      "bad argument #1 to 'precision' (fp32 expected: this core computes in double precision)")
    assert.has_error(function() cglow.precision "bf16" end,
      "bad argument #1 to 'cglow.precision': name must be one of 'fp32', got 'bf16'")
    assert.has_error(function() cglow.Glow { y = { 1, 4, 4 }, levels = 1, depth = 1, precision = "bf16" } end,
      "cglow.Model: option 'precision' must be one of 'fp32', got 'bf16'")
    assert.equal("fp32", (cglow.precision()))
  end)
end)
