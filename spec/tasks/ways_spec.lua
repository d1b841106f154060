-- The mean that an answer is made of: the plain one, or the task's own, wherever samples are averaged.
local core = require "cglow.core"
local define = require "cglow.tasks.define".define
local depth = require "cglow.tasks.depth_refinement"
local pipeline = require "cglow.tasks.pipeline"
local ways = require "cglow.tasks.ways"

local function data() return nil, "none" end

describe("the mean of samples", function()
  local samples = core.Rng(1):normal(4, 1, 2, 3)

  it("is the plain one unless the task says another", function()
    local task = define { name = "t", data = data, y = 1, kind = "image" }
    local want = (samples[1] + samples[2] + samples[3] + samples[4]) / 4
    assert.is_true((ways.mean(task, samples) - want):abs():max() < 1e-6) -- the order of a sum of 4
  end)

  it("is the task's for the answer in evaluations and for users' pictures", function()
    local task = define {
      name = "t", data = data, x = 1, y = 1, kind = "image", tiled = true, decide = function(y) return y end,
      mean = function(list) return list[3]:clone() end, finish = function(values) return values, values, {} end,
    }
    assert.is_true(ways.decide(task, samples, {}, {samples = 4}) == samples[3])
    local picture = {x = core.zeros(1, 2, 3)}
    task.map = function(f) return f(picture.x) end
    local result = pipeline.look(task, picture, {}, function() return samples end)
    assert.is_true(result.answer == samples[3])
    assert.is_true(result.mean == samples[3])
  end)

  it("is a single sample itself", function()
    local task = define { name = "t", data = data, y = 1, kind = "image", mean = function() error "asked" end }
    assert.is_true(ways.mean(task, samples:narrow(1, 2, 1)) == samples[2])
  end)
end)

describe("the mean of depth corrections", function()
  local STEP <const>, RANGE <const> = 0.004, 4 -- metres, as the task has them

  -- y for a correction in metres, and back.
  local function squashed(metres)
    local a = metres / STEP
    return math.log(a + math.sqrt(a * a + 1))
  end
  local function metres_of(y) return STEP * (math.exp(y) - math.exp(-y)) / 2 end

  -- Of two samples in metres, of one pixel each.
  local function mean(a, b)
    local ys = core.tensor { squashed(a), squashed(b) }:reshape(2, 1, 1, 1)
    return metres_of(ways.mean(depth, ys):sum())
  end

  it("is the plain mean of corrections of millimetres, in metres", function()
    assert.near(0.005, mean(0.002, 0.008), 1e-5)
    assert.near(0, mean(-0.006, 0.006), 1e-6)
  end)

  it("lies between the median and the plain mean where samples differ by a metre", function()
    local m = mean(0, 1)
    assert.is_true(m > 0.1 and m < 0.5, m)
    assert.is_true(mean(0, RANGE) < 0.5)
  end)

  it("is what all samples say when they agree", function()
    for _, d in ipairs { 0, 0.001, -0.05, 0.7, -2.5 } do
      assert.near(d, mean(d, d), 1e-5 * math.max(1, math.abs(d) * 10), d) -- float through two logarithms and back
    end
  end)
end)
