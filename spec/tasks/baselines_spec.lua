-- Answers that need no learning.
local core = require "cglow.core"
local baselines = require "cglow.tasks.baselines"
local data = require "cglow.data"
local failure = require "cglow.util.failure"
local metrics = require "cglow.metrics"

local tensor = core.tensor

local function set_of(ys)
  return data.Dataset {size = #ys, get = function(i) return {x = ys[i], y = ys[i], name = "s" .. i} end}
end

describe("baselines", function()
  it("mean: the share of samples in which a pixel is set", function()
    local predict = baselines.mean(set_of {tensor {{{0, 1}}}, tensor {{{0, 1}}}, tensor {{{1, 1}}}, tensor {{{0, 0}}}})
    assert.same({0.25, 0.75}, predict():totable())
    assert.same({1, 2}, metrics.binarise(predict()):totable())
  end)

  it("mean: of the samples that are not left out", function()
    local set = data.Dataset {size = 3, get = function(i)
      if i == 2 then return nil, "the second is damaged", true end
      return {x = tensor {{{0}}}, y = tensor {{{i, 1}}}, name = "s" .. i}
    end}
    assert.same({2, 1}, baselines.mean(set)():totable())
  end)

  it("majority: the commonest label at each position", function()
    local labels = {tensor {{1, 2, 3}}, tensor {{1, 3, 3}}, tensor {{2, 3, 2}}}
    for i, t in ipairs(labels) do labels[i] = metrics.one_hot(t, 3) end
    assert.equal(metrics.one_hot(tensor {{1, 3, 3}}, 3), baselines.majority(set_of(labels))())
  end)

  it("zero: nothing anywhere", function()
    local y = baselines.zero()({y = core.ones(2, 3, 4)})
    assert.same({2, 3, 4}, y:size())
    assert.equal(0, y:max())
  end)

  it("median_depth: the reading with its holes filled", function()
    local sample = {x = tensor {{{1, 0, 3, 3}}}, y = core.ones(1, 1, 4)}
    assert.same({1, 3, 3, 3}, baselines.median_depth()(sample):totable()) -- 1, 3, 3 around the hole
    assert.same({1, 2, 3, 3}, baselines.median_depth {radius = 1}(sample):totable())
    sample.x = core.zeros(1, 1, 4)
    assert.equal(0, baselines.median_depth()(sample):max())
    sample.x = core.cat({tensor {{{1, 0, 3, 3}}}, core.ones(1, 1, 4)}, 1)
    assert.same({1, 1, 4}, baselines.median_depth()(sample):size())
  end)

  it("mean_colour and diffusion: the block from what surrounds it", function()
    local x = core.empty(3, 6, 6)
    for c = 1, 3 do
      for i = 1, 6 do
        for j = 1, 6 do x:set(c, i, j, c + i / 10 + j / 100) end
      end
    end
    local sample = data.transform.hide_centre {height = 2, width = 2}({x = x})
    local mean = baselines.mean_colour()(sample)
    for c = 1, 3 do assert.near(c + 0.35 + 0.035, mean[c]:mean(), 1e-6) end -- the ramp's middle
    assert.equal(0, mean[1]:std())
    -- a linear ramp is harmonic, so diffusion gives it back
    assert.is_true((baselines.diffusion()(sample) - sample.y):abs():max() < 1e-4) -- ten times its tolerance
    assert.equal(0, sample.x:get(1, 3, 3))
  end)

  it("are misused with errors that tell", function()
    assert.error_matches(function() baselines.mean() end, "'baselines.mean': ds must be a data set, got nil")
    assert.error_matches(function() baselines.majority(set_of {}) end, "baselines.majority: the data set is empty")
    assert.error_matches(function() baselines.median_depth {radius = 0} end, "'radius' must be an integer >= 1")
  end)

  it("fail with the message of a sample that cannot be read, which is no fault of the program", function()
    local damaged = data.Dataset {size = 1, get = function() return nil, "a.png: damaged" end}
    local ok, e = pcall(baselines.mean, damaged)
    assert.is_false(ok)
    assert.equal("a.png: damaged", failure.message(e))
  end)
end)
