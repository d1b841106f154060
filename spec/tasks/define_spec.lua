--- What a task needs to say, and what follows from the kind of its y.
local core = require "cglow.core"
local pipeline = require "cglow.tasks.pipeline"
local source = require "cglow.image.source"
local task_of = require "cglow.tasks.define"

local function nothing() end

-- A task of which only the kind is said.
local function made(fields)
  local definition = {name = "own", data = nothing}
  for name, value in pairs(fields or {}) do definition[name] = value end
  return task_of.define(definition)
end

describe("task.define", function()
  it("names all that is missing at once", function()
    local ok, message = pcall(function() return (task_of.define {title = "A task."}) end)
    assert.is_false(ok)
    assert.matches("task.define: option 'data' is required: a function; option 'name' is required: a string$", message)
  end)

  for _, case in ipairs {
    {"option 'kind' must be one of 'mask', 'labels', 'image'", {kind = "music"}},
    {"option 'classes' is required for kind = \"labels\"", {kind = "labels"}},
    {"option 'x' must be a function or integer, got 'grey'", {x = "grey"}},
    {"unknown option 'predict_file'", {predict_file = nothing}},
  } do
    it("says: " .. case[1], function() assert.error_matches(function() made(case[2]) end, case[1], 1, true) end)
  end

  it("gives shapes to numbers of channels", function()
    for kind, channels in pairs {mask = 1, labels = 5, image = 3} do
      local task = made {kind = kind, classes = kind == "labels" and 5 or nil, size = 16}
      assert.same({3, 16, 16}, task.x(16))
      assert.same({channels, 16, 16}, task.y(16))
    end
    assert.same({1, 8, 8}, made {x = 1}.x(8))
    assert.same({2, 4, 8}, made {y = function(size) return {2, size // 2, size} end}.y(8))
  end)

  it("takes what is given for what the kind says", function()
    local function show(y) return y end
    local task = made {kind = "mask", show = show, head = false}
    assert.equal(show, task.show)
    assert.equal(show, task.show_answer)
    assert.is_false(task.head)
    assert.is_table(made {kind = "mask", head = true}.head)
  end)

  -- The truth of each kind and what is shown of it.
  local TRUTHS <const> = {
    mask = {core.tensor {{{0, 1}, {1, 0}}}, {iou = 1, dice = 1, foreground_iou = 1, image_iou = 1}},
    labels = {core.tensor {{{1, 0}, {0, 0}}, {{0, 1}, {0, 0}}, {{0, 0}, {1, 1}}},
      {iou = 1, dice = 1, pixel_accuracy = 1}},
    image = {core.full({3, 2, 2}, 0.25), {psnr = 100, perfect = 1}},
  }
  for kind, case in pairs(TRUTHS) do
    it("scores, rates and shows a " .. kind, function()
      local task, sample = made {kind = kind, classes = kind == "labels" and 3 or nil}, {x = core.zeros(3, 2, 2)}
      local truth = task.decide(case[1], sample)
      local score = task.score()
      score:add(truth, truth, sample)
      assert.same(case[2], score:result())
      assert.is_true(task.rate(truth, truth, sample) > task.rate(task.decide(-case[1] + 1, sample), truth, sample))
      local shown = task.show_answer(truth, sample)
      assert.is_true(shown:min() >= 0 and shown:max() <= 1)
      assert.equal((task.show(case[1], sample) - shown):abs():max(), 0)
      assert.is_string(task.notes)
    end)
  end

  it("measures the structure of pictures that are large enough", function()
    local task = made {kind = "image"}
    local score, y = task.score(), core.Rng(1):uniform(3, 16, 16)
    score:add(y, y * 0.5, {})
    assert.near(require("cglow.metrics").ssim(y, y * 0.5), score:result().ssim, 1e-12)
  end)

  it("counts Dice of the foreground", function()
    local task = made {kind = "mask"}
    local score = task.score()
    score:add(task.decide(core.tensor {{{1, 1, 1, 0}}}), task.decide(core.tensor {{{1, 1, 0, 1}}}))
    assert.near(2 * 2 / (3 + 3), score:result().dice, 1e-12)
  end)
end)

describe("a picture's way through a task", function()
  local picture <const> = core.rand(3, 20, 36, core.Rng(1))

  -- Two samples of y for an x: its first channel, and 1.
  local function draw(channels)
    return function(x)
      assert.same({3, 8, 8}, x:size())
      local y = core.ones(2, channels, 8, 8)
      for c = 1, channels do y[1][c] = x[1] end
      return y
    end
  end

  local function look(task, o)
    return pipeline.look(task, assert(task.read(source.of(picture), {})), {size = 8}, draw(task.y(8)[1]), o)
  end

  it("ends in the picture's own size, whole or by tiles", function()
    for _, tiled in ipairs {true, false} do
      local said = look(made {tiled = tiled})
      for _, t in ipairs {said.answer, said.mean, said.std, said.picture} do assert.same({3, 20, 36}, t:size()) end
      assert.is_nil(said.samples)
    end
  end)

  it("gives mean, spread and samples that belong together", function()
    local said = look(made {tiled = true}, {samples = true})
    assert.equal(2, #said.samples)
    local first = picture[1]
    assert.is_true((said.samples[1][1] - first):abs():max() < 1e-5)
    assert.is_true((said.mean[1] - (first + 1) / 2):abs():max() < 1e-5)
    assert.is_true((said.std[1] - (-first + 1) / 2):abs():max() < 1e-3) -- a root of the difference of squares
    assert.equal(0, (said.answer - said.mean):abs():max())
  end)

  it("answers with a mask of 0 and 1", function()
    local said = look(made {kind = "mask"})
    assert.same({20, 36}, said.answer:size())
    assert.equal(0, (said.answer * (-said.answer + 1)):abs():max())
  end)

  it("answers with labels from 0 on, for a file as they are or in their colours", function()
    local said = look(made {kind = "labels", classes = 3})
    assert.same({20, 36}, said.answer:size())
    assert.is_true(said.answer:min() >= 0 and said.answer:max() <= 2)
    assert.equal(3, #said.form.palette) -- a colour for each label, and the file holds the labels
    said = look(made {kind = "labels", classes = 2, colours = {{255, 0, 0}, {0, 255, 0}}})
    assert.same({3, 20, 36}, said.picture:size())
    assert.equal(1, said.picture[1]:min()) -- all of both samples' channels are equal: label 0, red
  end)
end)

describe("a source of a picture", function()
  local image = require "cglow.image"
  local t <const> = (core.rand(3, 5, 7, core.Rng(2)) * 255):round() / 255

  it("is a path, the bytes of a file or a tensor", function()
    local bytes = assert(image.encode(t, "ppm"))
    for _, what in ipairs {bytes, assert(image.encode(t, "png")), t} do
      local loaded = assert(source.load(source.of(what), {channels = 3}))
      assert.is_true((loaded - t):abs():max() < 1e-6)
      assert.equal("the picture", source.of(what).name)
    end
    assert.equal("P5 holiday.png", source.of("P5 holiday.png").path)
    assert.same({1, 5, 7}, source.of(t[1]).tensor:size())
  end)

  it("has as many channels as are asked for", function()
    for channels = 1, 4 do
      for given = 1, 4 do
        local loaded = assert(source.load(source.of(core.full({given, 2, 2}, 0.5)), {channels = channels}))
        assert.same({channels, 2, 2}, loaded:size())
        assert.near(channels % 2 == 0 and given % 2 == 1 and 1 or 0.5, loaded[channels]:mean(), 1e-6)
      end
    end
  end)

  it("is nothing else, and says what is wrong with its contents", function()
    for _, what in ipairs {42, true, "", "a\0b", {}, core.zeros(3), core.zeros(1, 2, 3, 4)} do
      assert.is_nil(source.of(what))
    end
    local bytes = assert(image.encode(t, "png"))
    local none, message = source.load(source.of(bytes:sub(1, 60)))
    assert.is_nil(none)
    assert.matches("^the picture: ", message)
    none, message = source.load(source.of(core.full({1, 2, 2}, 0 / 0)))
    assert.is_nil(none)
    assert.equal("the picture: a number of it is not finite", message)
  end)
end)
