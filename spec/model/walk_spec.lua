-- The one walk over a model's layers, and what is counted on it.
local cglow = require "cglow"
local core = require "cglow.core"
local cost = require "cglow.model.cost"
local kinds = require "cglow.model.kinds"
local walk = require "cglow.model.walk"

local function small(x)
  local new = x and cglow.Model or cglow.Glow
  return new { x = x, y = {2, 8, 8}, levels = 2, depth = 1, cn = {channels = 4, width = 6}, coupling = {width = 8},
    rng = core.Rng(1) }
end

local ORDER = {
  "level.1.squeeze", "level.1.step.1.actnorm", "level.1.step.1.invconv", "level.1.step.1.coupling", "level.1.split",
  "level.2.squeeze", "level.2.step.1.actnorm", "level.2.step.1.invconv", "level.2.step.1.coupling", "prior",
}

-- Visitors that count up from what they are given; they note names, and end the walk at `last`.
local function visitors(seen, last)
  local function visit(layer, n)
    seen[#seen + 1] = layer.name
    if layer.name ~= last then return n + 1 end
  end
  return {squeeze = visit, part = visit, split = visit, prior = visit}
end

describe("walk", function()
  local model = small {1, 8, 8}

  it("goes up over every layer, each given what the one before returned", function()
    local seen = {}
    assert.equal(10, walk.up(model.layers, 0, visitors(seen)))
    assert.same(ORDER, seen)
    for i, layer in ipairs(model.layers) do assert.equal(i, layer.index) end
  end)

  it("goes down over the same in reverse", function()
    local seen, reversed = {}, {}
    assert.equal(10, walk.down(model.layers, 0, visitors(seen)))
    for i, name in ipairs(ORDER) do reversed[#ORDER + 1 - i] = name end
    assert.same(reversed, seen)
  end)

  it("ends on the way up where a visitor returns nil", function()
    local seen = {}
    assert.is_nil(walk.up(model.layers, 0, visitors(seen, "level.1.step.1.invconv")))
    assert.equal(3, #seen)
  end)

  it("knows the kind of every layer", function()
    for _, layer in ipairs(model.layers) do assert.is_truthy(kinds[layer.kind].role, layer.kind) end
  end)
end)

describe("cost.flops", function()
  -- multiply-adds: of a level's 1×1 convolution and coupling, and of the split between the levels
  local function step(c, inputs, pixels) return pixels * (c * c + 8 * 9 * inputs + 8 * 8 + 9 * c * 8) end

  it("counts plain Glow's layers", function()
    local n = step(8, 4, 16) + 16 * 9 * 4 * 8 + step(16, 8, 4)
    assert.same({train = 6 * 5 * n, sample = 2 * n, condition = 0}, cost.flops(small(), 5))
  end)

  it("counts the conditioning networks too", function()
    -- of x 1×8×8: convolutions to 4 channels of 4×4, 2×2 and 1 pixel, each with a 2×2 kernel, and fc1, fc2
    local body = 4 * 1 * 4 * 16 + 4 * 4 * 4 * 4 + 4 * 4 * 4 + 4 * 6 + 6 * 6
    local function networks(c, h)
      local k, kernel = c // 2, 8 - (h - 1) * (8 // h)
      return 2 * body + 6 * 2 * c + 6 * c * c + 16 * 9 * 64 + k * 16 * kernel ^ 2 * h * h + k * k * 9 * h * h
    end
    local nets = networks(8, 4) + networks(16, 2)
    local flow = step(8, 8, 16) + 16 * 9 * 4 * 8 + step(16, 16, 4)
    assert.same({train = 6 * (flow + nets), sample = 2 * flow, condition = 2 * nets}, cost.flops(small {1, 8, 8}, 1))
  end)

  it("leaves out networks of the user's own", function()
    local model = small {1, 8, 8}
    local before = cost.flops(model, 1).condition
    local net = require("cglow.model.networks").cn {x = {1, 8, 8}, outputs = 16, channels = 4, width = 6}
    model:replace {level = 1, step = 1, part = "actnorm", cn = net}
    assert.is_true(cost.flops(model, 1).condition < before)
  end)
end)

describe("cost.parameters", function()
  it("tells kinds apart and leaves none out", function()
    local model, sum = small {1, 8, 8}, 0
    local counts = cost.parameters(model)
    for _, n in pairs(counts) do sum = sum + n end
    assert.equal(model:parameter_count(), sum)
    assert.equal(8 * 4 * 9 + 8, counts.split) -- weight and bias
  end)
end)
