--- `cglow pairs`: any two folders of pictures, and models that know their task.
local command_line = require "spec.support.command_line"
local core = require "cglow.core"
local image = require "cglow.image"
local json = require "cglow.util.json"
local safetensors = require "cglow.util.safetensors"
local sets = require "spec.support.sets"
local toy = require "spec.support.toy"

local SMALL <const> = "--size 8 --steps 3 --seed 4 --config levels=1 --config depth=1 --config encoder.channels=2,2,2 "
  .. "--config coupling.width=4 --config valid_images=2 --config samples=2 --config warmup=1"

describe("cglow pairs", function()
  local folder, remove, run
  before_each(function()
    folder, remove = toy.folder()
    run = command_line.runner(folder)
  end)
  after_each(function() remove() end)

  local function cglow(arguments) return run("lua/cglow/cli/program.lua", arguments) end

  local function must(arguments)
    local code, out, err = cglow(arguments)
    assert.equal(0, code, err)
    return out, err
  end

  -- Ten pictures and what `partner` gives for each.
  local function write(partner, options)
    for i = 1, 10 do
      local x = core.rand(3, 10, 12, core.Rng(i))
      sets.save(("%s/photos/p%02d.png"):format(folder, i), x)
      sets.save(("%s/answers/p%02d-gt.png"):format(folder, i), partner(x), options)
    end
  end

  local function train(more)
    return must(("pairs train --x %s/photos --y %s/answers --run %s/run %s %s"):format(folder, folder, folder, SMALL,
      more or ""))
  end

  local function mask(x) return x:narrow(1, 1, 1):gt(0.5) end
  local function labels(x) return x:narrow(1, 1, 1):gt(0.3) + x:narrow(1, 1, 1):gt(0.6) end

  it("trains, evaluates, predicts and samples masks without a word about them", function()
    write(mask)
    local out, err = train()
    assert.matches("answers: taken for masks, by a look at 10 of 10 files", err)
    assert.matches("10 pairs (partners named NAME-gt)", err, 1, true)
    assert.matches("8 images to learn from, 2 held out", out)
    out = must(("pairs evaluate --run %s/run"):format(folder))
    assert.matches("dice", out)
    assert.matches("all background", out)
    assert.matches("best_sample: image_iou of the best of an image's samples\n", out, 1, true)
    must(("pairs predict --run %s/run %s/photos/p01.png --out %s/out"):format(folder, folder, folder))
    assert.same({1, 10, 12}, assert(image.load(folder .. "/out/p01.png")):size())
    must(("pairs sample --run %s/run --count 2 --images 1"):format(folder))
  end)

  it("counts labels, keeps their number, and writes labels as the files have them", function()
    write(labels, {raw = true})
    local _, err = train()
    assert.matches("answers: taken for maps of labels", err)
    assert.matches("answers: 3 labels, from 0 to 2", err)
    local settings = json.read(folder .. "/run/config.json").settings
    assert.same({"labels", 3}, {settings.kind, settings.classes})
    assert.matches("pixel_accuracy", must(("evaluate --run %s/run"):format(folder)))
    must(("predict --run %s/run %s/photos/p01.png --out %s/out"):format(folder, folder, folder))
    assert.is_true(assert(image.load(folder .. "/out/p01.png", {raw = true})):max() <= 2)
  end)

  it("writes labels that have no colours of their own with a palette", function()
    write(labels, {raw = true})
    train()
    must(("predict --run %s/run %s/photos/p01.png --out %s/out"):format(folder, folder, folder))
    local path = folder .. "/out/p01.png"
    assert.is_true(image.info(path).palette)
    local index, shown = image.load(path, {raw = true}), image.load(path, {channels = 3})
    assert.same({1, 10, 12}, index:size())
    for c = 1, 3 do assert.equal(0, (shown[c] * index[1]:eq(0)):max()) end -- the first one is black
    assert.equal(0, (shown:sum(1):eq(0) * index[1]:gt(0)):max()) -- and the others are not
  end)

  it("holds out a part for tests that nothing else is told of", function()
    write(mask)
    local _, err = train "--test 0.2"
    assert.matches("of the 10 pairs 6 are taken for train, 2 for valid, 2 for test, by their names", err, 1, true)
    local out = must(("pairs evaluate --run %s/run --split test"):format(folder))
    assert.matches("2 held-out images", out, 1, true)
    sets.write(folder .. "/names.txt", "p03\n")
    train(("--test %s/names.txt --run %s/listed"):format(folder, folder))
    out = must(("pairs evaluate --run %s/listed --split test --json"):format(folder))
    assert.equal(1, json.decode(out).images)
    train(("--run %s/without"):format(folder))
    local code
    code, _, err = cglow(("pairs evaluate --run %s/without --split test"):format(folder))
    assert.equal(2, code)
    assert.matches("there is no part for tests: train with --test", err, 1, true)
    code, _, err = cglow(("pairs train --x %s/photos --y %s/answers --test 2 --run %s/no"):format(folder, folder,
      folder))
    assert.equal(2, code)
    assert.matches("--test: a share between 0 and 1 or a list of names expected", err, 1, true)
  end)

  it("leaves pixels without label out of every score", function()
    write(function(x)
      local map = labels(x)
      map:narrow(2, 1, 5):fill(255)
      return map
    end, {raw = true})
    local _, err = train "--ignore 255"
    assert.matches("answers: 3 labels, from 0 to 2", err, 1, true)
    local settings = json.read(folder .. "/run/config.json").settings
    assert.same({"labels", 3, "255"}, {settings.kind, settings.classes, settings.ignore})
    assert.matches("iou", must(("evaluate --run %s/run"):format(folder)))
    must(("pairs score --run %s/run --y %s/answers %s/photos/p01.png"):format(folder, folder, folder))
    local code
    code, _, err = cglow(("pairs train --x %s/photos --y %s/answers --ignore red --run %s/no"):format(folder, folder,
      folder))
    assert.equal(2, code)
    assert.matches("--ignore: a number from 0 to 65535, or a colour", err, 1, true)
  end)

  it("names the folders when a resumed run has others", function()
    write(mask)
    train()
    for i = 1, 4 do
      sets.save(("%s/less/p%02d.png"):format(folder, i), core.rand(3, 8, 8, core.Rng(i)))
      sets.save(("%s/few/p%02d.png"):format(folder, i), core.rand(1, 8, 8, core.Rng(i)):gt(0.5))
    end
    local code, _, err = cglow(("pairs train --resume --run %s/run --x %s/less --y %s/few"):format(folder, folder,
      folder))
    assert.equal(2, code)
    assert.matches(("--resume: the run learns from 8 images (%s/photos and %s/answers), not from 3 images (%s/less and "
      .. "%s/few)"):format(folder, folder, folder, folder), err, 1, true)
  end)

  it("learns colours of labels and answers in them", function()
    write(function(x)
      local k = labels(x)
      return core.cat({k:eq(1), k:eq(2), k:eq(0)}, 1)
    end)
    local _, err = train()
    assert.matches("3 labels, by their colours: 0000ff 00ff00 ff0000", err)
    must(("predict --run %s/run %s/photos/p01.png --out %s/out"):format(folder, folder, folder))
    local answer = assert(image.load(folder .. "/out/p01.png"))
    assert.same({3, 10, 12}, answer:size())
    assert.equal(1, answer:sum() / (10 * 12)) -- one of the three at each pixel
  end)

  it("takes grey pictures for pictures of one channel", function()
    write(function(x) return x:narrow(1, 1, 1) end)
    local _, err = train()
    assert.matches("answers: taken for pictures", err)
    assert.same({1, 8, 8}, json.read(folder .. "/run/config.json").model.y)
    assert.matches("psnr", must(("evaluate --run %s/run"):format(folder)))
  end)

  it("says once which pairs there are and how they are dealt, and what has changed since", function()
    write(mask)
    local _, err = train()
    for _, text in ipairs {"10 pairs (partners named NAME-gt)", "8 are taken for train, 2 for valid"} do
      assert.matches(text, err, 1, true)
    end
    for _, command in ipairs {"evaluate --samples 2", "score", "score --split train", "sample --count 1"} do
      _, err = must(("pairs %s --run %s/run"):format(command, folder))
      assert.is_nil(err:find("pairs", 1, true), err)
    end
    -- others, as far as their name tells
    _, err = must(("pairs evaluate --samples 2 --run %s/run --x %s/photos --y %s/answers/../answers"):format(folder,
      folder, folder))
    assert.matches("10 pairs (partners named NAME-gt)", err, 1, true)
    assert.equal("all", json.read(folder .. "/run/evaluation.json").split)
    for i = 1, 2 do os.remove(("%s/photos/p%02d.png"):format(folder, i)) end
    _, err = must(("pairs score --split train --run %s/run"):format(folder))
    assert.matches("cglow: 6 images for 'train' now, 8 when the run was begun", err, 1, true)
    assert(os.rename(folder .. "/photos", folder .. "/elsewhere"))
    local code
    code, _, err = cglow(("pairs evaluate --run %s/run"):format(folder))
    assert.equal(2, code)
    assert.matches(("the run's own data: --x: there is no folder %s/photos"):format(folder), err, 1, true)
  end)

  it("evaluates on folders that are named where those it was trained on are elsewhere now", function()
    write(mask)
    train()
    for _, name in ipairs {"photos", "answers"} do
      assert(os.rename(("%s/%s"):format(folder, name), ("%s/moved-%s"):format(folder, name)))
    end
    local command = ("evaluate --samples 2 --run %s/run --x %s/moved-photos --y %s/moved-answers --json"):format(folder,
      folder, folder)
    for more, images in pairs {[""] = 10, [" --split valid"] = 2} do
      local out, err = must(command .. more)
      assert.equal(images, json.decode(out).images)
      assert.matches("there is no folder [^\n]*/photos, on which the model was trained: trivial answers are those of "
        .. "[^\n]*/moved%-answers", err)
    end
  end)

  it("goes on without being told again, with the same parts", function()
    write(mask)
    train()
    local out, err = must(("pairs train --resume --steps 5 --run %s/run"):format(folder))
    assert.is_nil(err:find("taken for masks", 1, true))
    assert.matches("step 5/5", out)
  end)

  it("passes over damaged files with --skip-damaged, from the first look at them on", function()
    write(mask)
    for _, name in ipairs {"p01", "p02"} do sets.write(("%s/answers/%s-gt.png"):format(folder, name), "hello") end
    local _, err = train "--skip-damaged"
    assert.matches("answers: taken for masks, by a look at 8 of 10 files", err)
    local code
    code, _, err = cglow(("evaluate --run %s/run"):format(folder))
    assert.equal(2, code)
    assert.matches("^pairs: [^\n]*answers/p0[12]%-gt.png: neither PNG[^\n]*\n$", err)
  end)

  it("lists the settings of what the partners are", function()
    write(mask)
    local function shift(arguments)
      return must("pairs train --config help " .. arguments):match "augment.shift +(%S+)"
    end
    assert.equal("0", shift "")
    assert.equal("0.03", shift "--kind labels")
    assert.equal("0.06", shift(("--x %s/photos --y %s/answers"):format(folder, folder)))
  end)

  it("leaves model files that know their task", function()
    write(labels, {raw = true})
    train()
    for _, name in ipairs {"best", "model", "last"} do
      local known = json.decode(assert(safetensors.metadata(("%s/run/%s.safetensors"):format(folder, name))).task)
      assert.equal("pairs", known.name)
      assert.same({kind = "labels", classes = 3, samples = 2, size = 8, ["augment.mirror"] = true}, known.settings)
    end
    os.rename(folder .. "/run/best.safetensors", folder .. "/alone.safetensors")
    local alone = ("--checkpoint %s/alone.safetensors"):format(folder)
    must(("predict %s %s/photos/p01.png --out %s/out"):format(alone, folder, folder))
    local out = must(("evaluate %s --x %s/photos --y %s/answers --samples 2"):format(alone, folder, folder))
    assert.matches("10 held-out images", out, 1, true) -- of folders that it may not have been trained on, all
    local code, _, err = cglow("evaluate --force " .. alone)
    assert.equal(2, code)
    assert.matches("--x: a folder of pictures must be named", err, 1, true)
    code, _, err = cglow(("denoising predict %s %s/photos/p01.png"):format(alone, folder))
    assert.equal(2, code)
    assert.matches("alone.safetensors is a model of pairs, not of denoising", err, 1, true)
  end)

  for _, case in ipairs {
    {"pairs train", "--x: a folder of pictures must be named"},
    {"pairs train --x spec", "--y: a folder of what belongs to the pictures must be named"},
    {"pairs train --x nowhere --y spec", "--x: there is no folder nowhere"},
    {"pairs train --x spec --y spec --kind music", "argument for option '--kind' must be one of"},
    {"pairs train --x spec --y spec --kind labels --classes 1", "--classes: an integer from 2 to 256 expected, got 1"},
    {"pairs train --x spec --y spec --ignore ff0000 --classes 3", "--classes: which colours the labels have must be"},
    {"evaluate --run nowhere", "--run: there is no run in nowhere"},
    {"predict --checkpoint README.md README.md", "README.md: no safetensors file"},
    {"sample --run=README.md", "--run: README.md is a file; --checkpoint names a model file"},
  } do
    it("answers '" .. case[1] .. "' with one line and exit code 2", function()
      local code, out, err = cglow(case[1])
      assert.equal(2, code)
      assert.equal("", out)
      assert.matches(case[2], err, 1, true)
      assert.equal(1, select(2, err:gsub("\n", "")))
    end)
  end

  it("says of a model file without a word about its task that the task must be named", function()
    local path = folder .. "/m.safetensors"
    assert(require("cglow").Model {x = {3, 8, 8}, y = {1, 8, 8}, levels = 1, depth = 1}:save(path))
    local code, _, err = cglow(("predict --checkpoint %s %s"):format(path, path))
    assert.equal(2, code)
    assert.matches("does not say of which task it is", err)
    assert(require("cglow").Model {x = {3, 8, 8}, y = {1, 8, 8}, levels = 1, depth = 1}:save(path,
      {metadata = {task = "[1]"}}))
    code, _, err = cglow(("predict --checkpoint %s %s"):format(path, path))
    assert.equal(2, code)
    assert.matches("task: an object with name and settings expected", err)
  end)
end)
