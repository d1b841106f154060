-- Numbers, durations and sizes as people read them.
local format = require "cglow.run.format"

describe("a number", function()
  it("is written by its pattern", function()
    assert.equal("0.1235", format.number("%.4f", 0.12345678))
    assert.equal("    0.5000", format.number("%10.4f", 0.5))
    assert.equal("inf", format.number("%.4g", math.huge))
  end)

  it("that is none is a dash as wide as the pattern, whatever the sign of NaN", function()
    for _, nan in ipairs {0 / 0, -(0 / 0)} do
      assert.equal("–", format.number("%.4g", nan))
      assert.equal((" "):rep(9) .. "–", format.number("%10.4f", nan))
    end
    assert.equal("–", format.number("%.4g", nil))
    assert.equal("nll –, iou 0.5", format.metrics {iou = 0.5, nll = 0 / 0})
  end)
end)

describe("names of metrics", function()
  it("of all tables come once, the NLL first, the rest by their bytes", function()
    assert.same({"nll", "B", "a", "psnr"}, format.metric_names {{psnr = 1, a = 2}, {nll = 3, B = 4, a = 5}})
    assert.same({"iou"}, format.metric_names {{iou = 1}, {}})
    assert.same({}, format.metric_names {})
  end)
end)
