--- How likely pairs are, and how unusual: with a density that is known in place of a model's.
local core = require "cglow.core"
local image = require "cglow.image"
local kept = require "cglow.run.scores"
local scores = require "cglow.tasks.scores"
local sets = require "spec.support.sets"
local task_of = require "cglow.tasks.define"

local LN2 <const> = math.log(2)

-- A density of independent normal numbers around x's mean; it counts what it is given.
local function normal_model()
  local model = {given = {}}
  function model:log_prob(x, y)
    self.given[#self.given + 1] = y:clone()
    local n, list = #y, {}
    for i = 1, n do
      local d = y[i] - x[i]:mean()
      list[i] = -0.5 * (d * d):sum() - y[i]:count() * 0.5 * math.log(2 * math.pi)
    end
    return core.tensor(list)
  end
  return model
end

describe("scores", function()
  local x <const> = core.full({3, 4, 4}, 0.5)

  it("are nats and bits per dimension of a continuous y, exactly", function()
    local y = core.rand(1, 4, 4, core.Rng(1))
    local d = y - 0.5
    local expected = -0.5 * (d * d):sum() - 16 * 0.5 * math.log(2 * math.pi)
    local score = scores.of(normal_model(), {x = x, y = y}, {draws = 4, seed = 1})
    assert.near(expected, score.log_prob, 1e-4) -- sums of 16 numbers in single precision
    assert.near(-expected / (16 * LN2), score.bits_per_dim, 1e-5)
  end)

  it("count a discrete y by the volume of its cells, over several draws of its noise", function()
    local model, y = normal_model(), core.full({1, 4, 4}, 0.5)
    local fine = scores.of(model, {x = x, y = y}, {cell_width = 1 / 256, draws = 3, seed = 1})
    assert.equal(3, #model.given[1])
    assert.is_true((model.given[1][1] - model.given[1][2]):abs():max() > 0)
    assert.is_true((model.given[1] - 0.5):abs():max() < 1 / 128)
    -- density near the middle of a normal one, times the cell: the noise adds no more than its square
    assert.near(math.log(2 * math.pi) / 2 / LN2 + 8, fine.bits_per_dim, 1e-4)
  end)

  it("depend on the seed and the pair alone", function()
    local o = {cell_width = 1, draws = 2, seed = 3}
    local sample = {x = x, y = core.ones(1, 4, 4)}
    local first = scores.of(normal_model(), sample, o)
    core.rand(3)
    assert.same(first, scores.of(normal_model(), sample, o))
    o.seed = 4
    assert.are_not.equal(first.log_prob, scores.of(normal_model(), sample, o).log_prob)
  end)

  it("stand beside others by percentile and robust z", function()
    local reference = scores.reference {3, 1, 2, 5, 4, 0 / 0, math.huge}
    assert.same({1, 2, 3, 4, 5}, reference.sorted)
    assert.equal(3, reference.median)
    assert.near(1.4826, reference.spread, 1e-12) -- the median of 2, 1, 0, 1, 2 is 1
    local score = scores.compare({bits_per_dim = 10}, reference)
    assert.equal(100, score.percentile)
    assert.near(7 / 1.4826, score.z, 1e-12)
    assert.is_true(score.z > scores.UNUSUAL)
    score = scores.compare({bits_per_dim = 2.5}, reference)
    assert.equal(40, score.percentile)
    assert.is_true(score.z < 0)
    assert.same({1, 2, 3, 4}, scores.reference({4, 3, 1, 2}).sorted)
    assert.equal(2.5, scores.reference({4, 3, 1, 2}).median)
  end)

  it("say nothing where there is too little to compare with", function()
    assert.is_nil(scores.reference {1})
    assert.same({bits_per_dim = 1}, scores.compare({bits_per_dim = 1}, nil))
    local score = scores.compare({bits_per_dim = 2}, scores.reference {1, 1, 1, 5})
    assert.same({75, nil}, {score.percentile, score.z})
  end)
end)

describe("a pair of files of", function()
  local folder, remove
  before_each(function() folder, remove = sets.folder() end)
  after_each(function() remove() end)

  local photo <const> = (core.rand(3, 40, 40, core.Rng(7)) * 255):round() / 255

  local function saved(name, t, options)
    local path = folder .. "/" .. name
    sets.save(path, t, options)
    return path
  end

  local function task_named(name) return require("cglow.tasks." .. name) end

  it("binary segmentation has the mask in y's channels", function()
    local mask = core.zeros(1, 40, 40)
    mask:narrow(2, 1, 20):fill(1)
    local sample = assert(task_named("binary_segmentation").pair(saved("p.png", photo), saved("m.png", mask), 8))
    assert.same({3, 8, 8}, sample.x:size())
    assert.same({3, 8, 8}, sample.y:size())
    assert.equal(1, sample.y:narrow(2, 1, 4):min())
    assert.equal(0, sample.y:narrow(2, 5, 4):max())
    -- the same from tensors
    local other = assert(task_named("binary_segmentation").pair(photo, mask[1], 8))
    assert.equal(0, (other.y - sample.y):abs():max())
    assert.is_true((other.x - sample.x):abs():max() < 1e-6)
  end)

  it("multi-class segmentation has labels one-hot, from a file or a tensor", function()
    local task, labels = task_named "multiclass_segmentation", core.zeros(40, 40)
    labels:narrow(1, 1, 20):fill(2)
    local sample = assert(task.pair(photo, labels, 8))
    assert.same({0, 0, 32}, {sample.y[2]:sum(), sample.y[1]:narrow(1, 1, 4):sum(), sample.y[3]:sum()})
    local none, message = task.pair(photo, labels + 1, 8)
    assert.is_nil(none)
    assert.equal("the answer: labels go from 0 to 2", message)
  end)

  it("a task of one's own takes a mask in any number of channels, and labels in one", function()
    local task = task_of.define {name = "own", kind = "mask", data = function() end}
    assert.same({1, 8, 8}, assert(task.pair(photo, core.ones(3, 40, 40), 8)).y:size())
    task = task_of.define {name = "own", kind = "labels", classes = 2, data = function() end}
    assert.matches("H×W labels expected, got 3 channels", select(2, task.pair(photo, core.ones(3, 40, 40), 8)))
    task = task_of.define {name = "own", data = function() end}
    assert.matches("1 or 3 channels expected, got 2", select(2, task.pair(photo, core.ones(2, 40, 40), 8)))
    assert.same({3, 8, 8}, assert(task.pair(photo, core.ones(1, 40, 40), 8)).y:size())
  end)

  it("denoising has the noise between the two, in sigmas", function()
    local clean = photo * 0.5
    local sample = assert(task_named("denoising").pair(clean + 0.1, clean, 16))
    assert.same({3, 16, 16}, sample.y:size())
    assert.is_true((sample.y - 0.1 / (25 / 255)):abs():max() < 1e-5)
  end)

  it("depth refinement has the correction to the raw map", function()
    local task = task_named "depth_refinement"
    local raw = core.full({1, 40, 40}, 2.0)
    local sample = assert(task.pair(raw, raw, 16))
    assert.same({3, 16, 16}, sample.x:size())
    assert.equal(0, sample.y:abs():max())
    assert.is_true(task.pair(raw, raw + 0.01, 16).y:min() > 0)
  end)

  it("inpainting is one file, which has the middle", function()
    local task = task_named "inpainting"
    assert.is_true(task.alone)
    local sample = assert(task.pair(saved("p.png", photo), nil, 16))
    assert.same(task.y(16), sample.y:size())
    local truth = image.crop(image.resize(photo, 16, 16), 5, 5, 8, 8)
    assert.is_true((task.decide(sample.y, sample) - truth):abs():max() < 1e-5)
  end)

  it("anything that does not fit says what", function()
    local task = task_of.define {name = "own", kind = "mask", data = function() end}
    for _, case in ipairs {
      {photo, core.zeros(40, 10), "do not show the same"},
      {photo, core.full({40, 40}, 0 / 0), "not finite"},
      {photo, folder .. "/no.png", "no.png"},
      {folder .. "/no.png", photo, "no.png"},
      {photo, 42, "the answer must be a path, the bytes of a file or a tensor"},
    } do
      local none, message = task.pair(case[1], case[2], 8)
      assert.is_nil(none)
      assert.matches(case[3], message, 1, true)
    end
  end)
end)

describe("scores that a run keeps", function()
  local folder, remove
  before_each(function() folder, remove = sets.folder() end)
  after_each(function() remove() end)

  it("belong to one model and one way", function()
    local tensors, path, way = {a = core.ones(2)}, folder .. "/m.safetensors", {draws = 2, seed = 1}
    assert(require("cglow").save_tensors(path, tensors))
    assert.is_nil(kept.read(folder, path, way))
    assert(kept.write(folder, path, way, {1.5, 2.25}, "here"))
    assert.same({1.5, 2.25}, kept.read(folder, path, way))
    assert.is_nil(kept.read(folder, path, {draws = 3, seed = 1}))
    assert.is_nil(kept.read(folder, path, {draws = 2, seed = 2}))
    tensors.a[1] = 3
    assert(require("cglow").save_tensors(path, tensors))
    assert.is_nil(kept.read(folder, path, way))
    for _, text in ipairs {"no json", "[]", '{"model": 3}'} do
      sets.write(folder .. "/scores.json", text)
      assert.is_nil(kept.read(folder, path, way))
    end
  end)
end)
