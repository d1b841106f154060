--- The five tasks with answers that are known beforehand in place of a model's.
local scratch = require "spec.fixtures.scratch"
local core = require "cglow.core"
local image = require "cglow.image"
local pipeline = require "cglow.tasks.pipeline"
local source = require "cglow.image.source"
local task_of = require "cglow.tasks.define"
local sets = require "spec.support.sets"

local NAMES <const> = require("spec.support.command_line").tasks()

local function task_named(name) return require("cglow.tasks." .. name) end

-- A held-out sample of the embedded set.
local function sample_of(task, size)
  return assert(assert(task_of.data(task, {split = "valid", size = size, seed = 1})):get(1))
end

local function difference(a, b) return (a - b):abs():max() end

-- The answer for a file of a model of one size that says this of every x.
local function predict_file(task, predict, path, size, args)
  local picture, message = task.read(source.of(path), args or {})
  if not picture then return nil, message end
  local said = pipeline.look(task, picture, {size = size}, function(x) return core.stack {predict(x)} end)
  return said.picture, said.form
end

describe("tasks", function()
  local folder <const> = scratch.each(before_each, after_each)

  -- Write a picture, predict it, and read the answer as `predict` would save it.
  local function predicted(name, picture, options, predict, size, args)
    local task, path = task_named(name), folder .. "/in.png"
    sets.save(path, picture, options)
    return predict_file(task, predict, path, size, args)
  end

  for _, name in ipairs(NAMES) do
    it(name .. " has samples in the shapes that its model wants", function()
      local task = task_named(name)
      local sample = sample_of(task, 32)
      assert.same(task.x(32), sample.x:size())
      assert.same(task.y(32), sample.y:size())
    end)

    it(name .. " gives the best score to the truth", function()
      local task = task_named(name)
      local sample = sample_of(task, 32)
      local truth = task.decide(sample.y, sample)
      local wrong = task.decide(-sample.y + 1, sample)
      assert.is_true(task.rate(truth, truth, sample) > task.rate(wrong, truth, sample))
    end)

    it(name .. " shows a row of pictures of one size", function()
      local task = task_named(name)
      local sample = sample_of(task, 32)
      local answer = task.decide(sample.y, sample)
      local row = {task.show_input(sample), task.show(sample.y, sample), task.show_answer(answer, sample)}
      for _, picture in ipairs(row) do
        assert.equal(32, picture:size(picture:dim()))
        assert.is_true(picture:min() >= 0 and picture:max() <= 1 or name == "denoising")
      end
    end)
  end

  describe("segmentation of a photograph", function()
    local photo <const> = core.full({3, 40, 60}, 0.5)

    local function left_half(channels)
      return function(x)
        assert.same({3, 16, 16}, x:size())
        local y = core.zeros(channels, 16, 16)
        y[1] = image.paste(core.zeros(1, 16, 16), core.ones(1, 16, 8), 1, 1)[1]
        return y
      end
    end

    it("gives a mask in the photograph's size", function()
      local mask = predicted("binary_segmentation", photo, nil, function()
        local half = left_half(1)(core.zeros(3, 16, 16))
        return core.cat({half, half, half}, 1)
      end, 16)
      assert.equal(40, mask:size(1))
      assert.equal(60, mask:size(2))
      assert.equal(1, mask[20][5])
      assert.equal(0, mask[20][55])
      assert.equal(40 * 30, mask:sum())
    end)

    it("gives a map in the colours of the published labels", function()
      local map = predicted("multiclass_segmentation", photo, nil, function(x)
        local y = left_half(3)(x) -- background on the left, hair on the right
        y[3] = -y[1] + 1
        return y
      end, 16)
      assert.same({3, 40, 60}, map:size())
      for c, at in ipairs {{0, 1}, {0, 0}, {1, 0}} do -- red, green, blue; left, right
        assert.equal(at[1], map[c][20][5])
        assert.equal(at[2], map[c][20][55])
      end
    end)
  end)

  describe("denoising", function()
    it("takes the noise from photographs of any size", function()
      for _, size in ipairs {{16, 16}, {37, 50}, {7, 40}} do
        local noisy = core.rand(3, size[1], size[2], core.Rng(1))
        local clean = predicted("denoising", noisy, nil, function(x)
          return (x - 0.25) / (25 / 255) -- all but a grey of 1/4 is noise
        end, 16)
        assert.same(noisy:size(), clean:size())
        assert.is_true(difference(clean, core.full(clean:size(), 0.25)) < 1e-5)
      end
    end)

    it("leaves a photograph without noise as it is", function()
      local photo = (core.rand(3, 20, 33, core.Rng(2)) * 255):round() / 255
      local clean = predicted("denoising", photo, nil, function(x) return x * 0 end, 16)
      assert.is_true(difference(clean, photo) < 1e-6)
    end)
  end)

  describe("the form of a photograph", function()
    local FORMS <const> = {
      grey = {1, {bits = 8}}, ["grey with alpha"] = {2, {bits = 8}}, colour = {3, {bits = 8}},
      ["colour with alpha"] = {4, {bits = 8}}, ["grey of 16 bits"] = {1, {bits = 16}},
      ["colour with alpha of 16 bits"] = {4, {bits = 16}},
    }
    for name, form in pairs(FORMS) do
      it(name .. " is that of the answer, and nothing hidden under alpha appears", function()
        local channels, options = form[1], form[2]
        local max = 2 ^ options.bits - 1
        local given = (core.rand(channels, 24, 20, core.Rng(4)) * max):round() / max
        if channels % 2 == 0 then given[channels] = image.paste(core.ones(1, 24, 20), core.zeros(1, 6, 6), 9, 7)[1] end
        local answer, how = predicted("denoising", given, options, function(x) return x * 0 end, 16)
        assert.same({channels, 24, 20}, answer:size())
        assert.equal(options.bits, how.bits)
        assert.is_true(difference(answer, given) < 1e-5) -- one level of 16 bits is 1.5e-5
      end)
    end

    it("with a hole stays as it is, and the hole is opaque afterwards", function()
      local given = core.rand(2, 40, 40, core.Rng(5))
      given[2] = image.paste(core.ones(1, 40, 40), core.zeros(1, 8, 8), 20, 20)[1]
      given[2][1] = core.full({40}, 0.75)
      local answer, how = predicted("inpainting", given, {bits = 16}, function() return core.zeros(3, 16, 16) end, 32)
      assert.same({2, 40, 40}, answer:size())
      assert.equal(16, how.bits)
      assert.equal(1, answer[2][24][24])
      assert.near(0.75, answer[2][1][3], 1e-5)
      assert.is_true(difference(answer[1][1], given[1][1]) < 1e-5)
    end)
  end)

  describe("PSNR", function()
    it("of a perfect answer counts 100 dB, and is said", function()
      for _, name in ipairs {"denoising", "inpainting", "depth_refinement"} do
        local task = task_named(name)
        local sample = sample_of(task, 32)
        local truth = task.decide(sample.y, sample)
        local score = task.score()
        score:add(truth, truth, sample)
        score:add((truth + 0.1), truth, sample)
        local result = score:result()
        assert.near((100 + 20) / 2, result.psnr, 0.01)
        assert.equal(1, result.perfect)
        assert.matches("a perfect answer counts as 100 dB", task.notes)
        assert.equal(100, task.rate(truth, truth, sample))
      end
    end)

    it("leaves out what has no pixel to compare", function()
      local task = task_named "depth_refinement"
      local sample, score = sample_of(task, 32), task.score()
      local truth = task.decide(sample.y, sample)
      score:add(truth + 0.1, truth, sample)
      local before = score:result().psnr
      score:add(truth, truth, {valid = sample.valid * 0})
      assert.equal(before, score:result().psnr)
    end)
  end)

  describe("depth refinement", function()
    -- Millimetres of a plane, without a reading in a square.
    local function plane_with_hole()
      local mm = core.zeros(1, 40, 50)
      for i = 1, 40 do mm[1][i] = core.full({50}, 1000.0 + 10 * i) end
      image.paste(mm, core.zeros(1, 4, 4), 10, 10)
      return mm
    end

    local RAW <const> = {bits = 16, raw = true}

    it("fills holes, keeps other readings where there is nothing to correct, and writes millimetres", function()
      local mm = plane_with_hole()
      local refined, form = predicted("depth_refinement", mm, RAW, function(x)
        assert.same({3, 16, 16}, x:size())
        return core.zeros(1, 16, 16)
      end, 16)
      sets.save(folder .. "/out.png", refined, form)
      local back = assert(image.load(folder .. "/out.png", {raw = true}))
      assert.same({1, 40, 50}, back:size())
      local known = mm:gt(0)
      assert.is_true(difference(back * known, mm) <= 1)
      assert.is_true((back * (-known + 1)):max() <= 1150) -- the rows around it
      assert.is_true(back:min() >= 1010)
    end)

    it("corrects by what its y stands for", function()
      local task = task_named "depth_refinement"
      local sample = sample_of(task, 32)
      local filled = sample.x:narrow(1, 1, 1)
      for _, metres in ipairs {0.0005, -0.004, 0.1, -1} do
        -- asinh(d/4 mm), by Lua's own functions
        local a = metres / 0.004
        local y = math.log(a + math.sqrt(a * a + 1))
        local moved = task.decide(core.full(sample.y:size(), y), sample) - filled
        local expected = (filled + metres / 4):clamp(0, 1) - filled
        assert.is_true(difference(moved, expected) < 1e-6 + 1e-5 * math.abs(metres))
      end
    end)

    it("gives the model a flat detail where the depth is a plane", function()
      local task, path = task_named "depth_refinement", folder .. "/plane.png"
      sets.save(path, core.full({1, 32, 32}, 2000.0), RAW)
      local x = assert(task.read_input(path, 32)).x
      assert.is_true(difference(x[1], core.full({32, 32}, 0.5)) < 1e-6)
      assert.equal(1, x[2]:min())
      assert.is_true(x[3]:abs():max() < 1e-3)
    end)

    it("keeps readings beyond the range, and says how many", function()
      local mm = plane_with_hole()
      image.paste(mm, core.full({1, 3, 5}, 5300.0), 30, 20)
      local refined
      local notes = sets.notes(function()
        refined = predicted("depth_refinement", mm, RAW, function() return core.zeros(1, 16, 16) end, 16)
      end)
      local back = (refined * 65535):round()
      assert.same(core.full({1, 3, 5}, 5300.0):totable(), image.crop(back, 30, 20, 3, 5):totable())
      assert.is_true(difference(back[1][35], mm[1][35]) <= 1)
      assert.same({folder .. "/in.png: 15 of 2000 pixels lie beyond the 4 m that the model covers; "
        .. "they keep their reading"}, notes)
    end)

    it("takes other units and ranges, and no map of 8 bits without a unit", function()
      local task, path = task_named "depth_refinement", folder .. "/in.png"
      local function zero() return core.zeros(1, 16, 16) end
      sets.save(path, core.full({1, 20, 20}, 10000.0), RAW) -- 2 m in steps of 1/5000 m
      local fine = task.configure {unit = 1 / 5000, range = 3}
      local refined = assert(predict_file(fine, zero, path, 16))
      assert.is_true(difference(refined * 65535, core.full({1, 20, 20}, 10000.0)) < 0.1)
      assert.near(2 / 3, fine.read_input(path, 16).x[1]:mean(), 1e-5)
      sets.save(path, core.full({1, 20, 20}, 100.0), {raw = true})
      local answer, message = predict_file(task, zero, path, 16)
      assert.is_nil(answer)
      assert.matches("samples of 8 bits are no millimetres: what 1 stands for must be said by 'unit'", message)
      refined = assert(predict_file(task.configure {unit = 0.02}, zero, path, 16))
      assert.is_true(difference(refined * 65535, core.full({1, 20, 20}, 100.0)) < 0.01)
      assert.matches("for a peak of 3 m", fine.notes)
    end)

    it("answers a map without readings with a message", function()
      local answer, message = predicted("depth_refinement", core.zeros(1, 20, 20), RAW, error, 16)
      assert.is_nil(answer)
      assert.matches("no pixel has a reading", message)
    end)
  end)

  describe("inpainting", function()
    local photo <const> = (core.rand(3, 60, 80, core.Rng(3)) * 255):round() / 255
    local function zero() return core.zeros(3, 16, 16) end

    local function hole_at(top, left, height, width)
      return image.paste(core.zeros(1, 60, 80), core.ones(1, height, width), top, left)
    end

    local function check_filled(answer, hole)
      local outside = -hole[1] + 1
      for c = 1, 3 do assert.is_true(difference(answer[c] * outside, photo[c] * outside) < 1e-6) end
      return answer
    end

    it("fills a transparent hole and changes nothing else", function()
      local hole = hole_at(20, 30, 10, 12)
      check_filled(predicted("inpainting", core.cat({photo, -hole + 1}, 1), nil, zero, 32), hole)
    end)

    it("fills the hole that a mask shows, at the rim too", function()
      for _, place in ipairs {{1, 1}, {51, 69}, {25, 30}} do
        local hole = hole_at(place[1], place[2], 10, 12)
        sets.save(folder .. "/mask.png", hole)
        local answer = predicted("inpainting", photo, nil, function(x)
          return core.full({3, 16, 16}, 1.0) - image.crop(x, 9, 9, 16, 16) -- white
        end, 32, {mask = folder .. "/mask.png"})
        check_filled(answer, hole)
        for c = 1, 3 do assert.is_true(difference(answer[c] * hole[1], hole[1]) < 1e-5) end
      end
    end)

    it("fills the rectangle that the options name", function()
      local answer = predicted("inpainting", photo, nil, zero, 32, {hole = {20, 30, 10, 12}})
      check_filled(answer, hole_at(20, 30, 10, 12))
      assert.is_true(difference(answer, photo) > 0)
      for _, case in ipairs {
        {{hole = {55, 1, 7, 1}}, "the hole 55,1,7,1 lies outside of its 60 rows of 80 pixels"},
        {{hole = {1, 1, 2, 2}, mask = "m.png"}, "--hole and --mask both say where the hole is"},
        {{hole = {1, 1, 60, 80}}, "is all hole: nothing is left to go on from"},
        {{}, "has no hole: make it transparent there, or say where with --hole or --mask"},
      } do
        local none, message = predicted("inpainting", photo, nil, zero, 32, case[1])
        assert.is_nil(none)
        assert.matches(case[2], message, 1, true)
      end
    end)

    it("looks at nothing of the hidden centre", function()
      local task, seen = task_named "inpainting", {}
      for i, grey in ipairs {0, 1} do
        local path = ("%s/%d.png"):format(folder, i)
        sets.save(path, image.paste(photo:clone(), core.full({3, 20, 20}, grey), 21, 31))
        seen[i] = assert(task.read_input(path, 32)).x
      end
      assert.equal(0, difference(seen[1], seen[2]))
    end)

    it("looks at no colour under the hole, wherever it is and whatever the scale", function()
      for _, place in ipairs {{1, 1, 9, 11}, {50, 60, 11, 21}, {1, 20, 60, 9}, {20, 30, 3, 3}, {10, 1, 7, 80}} do
        local top, left, height, width = table.unpack(place)
        local hole, seen = hole_at(top, left, height, width), {}
        for i, grey in ipairs {0, 1} do
          local given = image.paste(photo:clone(), core.full({3, height, width}, grey), top, left)
          predicted("inpainting", core.cat({given, -hole + 1}, 1), nil, function(x)
            seen[i] = x:clone()
            return zero()
          end, 32)
        end
        assert.equal(0, difference(seen[1], seen[2]))
      end
    end)

    it("takes a mask by its own values, and refuses one over everything", function()
      sets.save(folder .. "/mask.png", hole_at(20, 30, 10, 12) * (1 / 255))
      local answer = assert(predicted("inpainting", photo, nil, zero, 32, {mask = folder .. "/mask.png"}))
      check_filled(answer, hole_at(20, 30, 10, 12))
      sets.save(folder .. "/mask.png", core.ones(1, 60, 80))
      local nothing, message = predicted("inpainting", photo, nil, zero, 32, {mask = folder .. "/mask.png"})
      assert.is_nil(nothing)
      assert.matches("in.png is all hole: nothing is left to go on from", message)
    end)

    it("says when there is no hole", function()
      local answer, message = predicted("inpainting", photo, nil, zero, 32)
      assert.is_nil(answer)
      assert.matches("has no hole", message)
    end)
  end)
end)
