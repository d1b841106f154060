-- Predictions for a data set: how many pictures are predicted at a time.
local core = require "cglow.core"
local evaluation = require "cglow.tasks.evaluation"

-- Pictures of so many pixels each way, named by their numbers.
local function pictures(count, side)
  return {
    size = function() return count end,
    get = function(_, i) return {x = core.zeros(1, side, side):fill(i), number = i} end,
  }
end

-- A network whose answer is x, and the list of how many it was asked for at a time.
local function echo()
  local asked = {}
  return {predict = function(_, x) asked[#asked + 1] = x:size(1) return x end}, asked
end

-- The pictures that were visited, and how many were predicted at a time.
local function seen(count, side, o)
  local model, asked = echo()
  local visited = {}
  evaluation.each(model, pictures(count, side), o, function(sample, samples)
    assert.is_true(samples == core.zeros(1, 1, side, side):fill(sample.number))
    visited[#visited + 1] = sample.number
  end)
  return visited, asked
end

describe("an evaluation", function()
  local ALL <const> = {1, 2, 3, 4, 5, 6, 7}

  it("predicts as many pictures at a time as have 65,536 pixels", function()
    local visited, asked = seen(7, 128, {samples = 1})
    assert.same(ALL, visited)
    assert.same({4, 3}, asked)
    assert.same({1, 1}, select(2, seen(2, 300, {samples = 1})))
  end)

  it("counts the samples that each of them gets, and predicts no more than it is told", function()
    assert.equal(4, evaluation.pictures_at_once(4, 64 * 64))
    assert.equal(1, evaluation.pictures_at_once(10, 128 * 128))
    local visited, asked = seen(7, 128, {samples = 1, most = 3})
    assert.same(ALL, visited)
    assert.same({3, 3, 1}, asked)
    assert.same({4, 3}, select(2, seen(7, 128, {samples = 1, most = 100})))
  end)
end)
