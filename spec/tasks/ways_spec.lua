-- The mean that an answer is made of: the plain one, or the task's own, wherever samples are averaged.
local cglow = require "cglow"
local core = require "cglow.core"
local define = require "cglow.tasks.define".define
local depth = require "cglow.tasks.depth_refinement"
local pipeline = require "cglow.tasks.pipeline"
local view_of = require "cglow.tasks.view"
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

describe("samples of a picture that is seen by tiles", function()
  local SIDE <const>, WIDTH <const>, OVERLAP <const> = 128, 192, 64 -- two tiles, which share columns 65 to 128
  local SEEN <const> = 28 -- columns away, at most, on which a pixel of this model's y depends

  local before <const> = {WHOLE = view_of.WHOLE, TILE = view_of.TILE, OVERLAP = view_of.OVERLAP}
  local function restore() for name, value in pairs(before) do view_of[name] = value end end
  before_each(function() view_of.TILE, view_of.OVERLAP = SIDE, OVERLAP end)
  after_each(restore)

  local task = define {
    name = "t", data = data, x = 1, y = 1, kind = "image", tiled = true, head = false,
    values = function(y) return y end, finish = function(values) return values, values, {} end,
  }

  -- A model that nobody has trained, whose layers do something.
  local function model()
    local made, rng = cglow.Model {x = {1, 8, 8}, y = {1, 8, 8}, levels = 1, depth = 1, encoder = {channels = {2, 2}},
      coupling = {width = 4}, rng = core.Rng(1)}, core.Rng(2)
    for _, p in ipairs(made:parameters()) do p.value:add(rng:normal(table.unpack(p.value:size())), 0.1) end
    return made
  end

  -- Two samples of a picture; `whole`: it is one tile itself.
  local function samples_of(made, whole, together)
    local view, picture = view_of.of(made, 8), {x = core.Rng(3):uniform(1, SIDE, WIDTH)}
    view_of.WHOLE = whole and SIDE * WIDTH or 1
    local draw = ways.drawer(made, {samples = 2, pairs = false, rng = core.Rng(4)}, together)
    return pipeline.look(task, picture, view, function(x, place)
      return draw(x, place or {top = 1, left = 1, height = SIDE, width = WIDTH})
    end, {samples = true}).samples
  end

  -- How far off are they in these columns, at most?
  local function off(a, b, first, count)
    return ((a:narrow(3, first, count) - b:narrow(3, first, count)):abs():max())
  end

  it("are samples of all of it, but for what lies beyond the rims of tiles", function()
    local made = model()
    local tiled, whole, apart = samples_of(made, false, true), samples_of(made, true, true), samples_of(made, false)
    local inner <const> = WIDTH - SIDE + 1 + SEEN -- where both tiles see all that a pixel depends on
    for k = 1, 2 do
      for _, at in ipairs {{1, 64}, {inner, OVERLAP - 2 * SEEN}, {SIDE + 1, WIDTH - SIDE}} do
        assert.is_true(off(tiled[k], whole[k], at[1], at[2]) < 1e-5) -- of numbers around 1, in floats
      end
      assert.is_true(off(tiled[k], whole[k], 65, 64) < 0.1)
      assert.is_true(off(apart[k], whole[k], 1, WIDTH) > 1)
    end
    assert.is_true(off(tiled[1], tiled[2], 1, WIDTH) > 1)
  end)

  it("are not given by a model that takes its own size alone", function()
    local paper = view_of.of({config = {levels = 1}}, 8)
    local picture = {x = core.zeros(1, 9, 8), name = "p.png"}
    assert.same({nil, "p.png: 8×9 pixels are seen by tiles, whose samples do not fit together: take 8×8, or a model "
      .. "with an encoder"}, {pipeline.has_samples(task, picture, paper)})
    assert.is_true(pipeline.has_samples(task, {x = core.zeros(1, 8, 8)}, paper))
    assert.is_true(pipeline.has_samples(task, picture, {size = 8, unit = 8}))
  end)
end)
