-- Answers that several samples agree on.
local core = require "cglow.core"
local metrics = require "cglow.metrics"

-- Mean over the samples of both classes' intersection over union, pixel by pixel.
local function expected_iou(answer, masks)
  local sum = 0
  for m = 1, masks:size(1) do
    local mine, other = answer:totable(), masks[m]:totable()
    for _, class in ipairs {0, 1} do
      local both, either = 0, 0
      for i = 1, #mine do
        local a, b = mine[i] == class, other[i] == class
        if a and b then both = both + 1 end
        if a or b then either = either + 1 end
      end
      sum = sum + (either == 0 and 1 or both / either)
    end
  end
  return sum / masks:size(1)
end

describe("metrics.consensus", function()
  it("is the best of all thresholds on the share of the samples", function()
    for seed = 1, 20 do
      local rng = core.Rng(seed)
      local likely = rng:uniform(6, 7)
      local masks = core.empty(5, 6, 7)
      for m = 1, 5 do masks[m] = rng:uniform(6, 7):lt(likely) end
      local answer, share, threshold = metrics.consensus(masks)
      assert.is_true((share - masks:mean(1):reshape(6, 7)):abs():max() < 1e-6)
      assert.is_true((answer - 1) == share:gt(threshold))
      local best = -1
      for least = 1, 6 do best = math.max(best, expected_iou(share:gt((least - 0.5) / 5), masks)) end
      assert.is_true(math.abs(expected_iou(answer - 1, masks) - best) < 1e-12)
    end
  end)

  it("keeps what is thin and uncertain where a majority would lose it", function()
    -- two samples of four have one half of a line, two the other
    local masks = core.zeros(4, 1, 40)
    for i = 1, 4 do
      masks[1][1][i], masks[2][1][i], masks[3][1][4 + i], masks[4][1][4 + i] = 1, 1, 1, 1
    end
    assert.equal(8, (metrics.consensus(masks) - 1):sum())
    assert.equal(0, masks:mean(1):gt(0.5):sum())
  end)

  it("agrees with samples that agree", function()
    local one = core.Rng(1):uniform(5, 5):gt(0.5)
    assert.is_true(metrics.consensus(core.stack {one, one}) - 1 == one)
    assert.is_true(metrics.consensus(core.stack {one}) - 1 == one)
    assert.equal(25, metrics.consensus(core.zeros(4, 5, 5)):sum())
    assert.equal(50, metrics.consensus(core.ones(4, 5, 5)):sum())
  end)
end)
