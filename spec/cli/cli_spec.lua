-- The commands of a task, as a user runs them.
local core = require "cglow.core"
local image = require "cglow.image"
local json = require "cglow.util.json"
local lfs = require "lfs"
local mutate = require "spec.support.mutate"
local toy = require "spec.support.toy"

local TOY <const> = "spec/support/toy_task.lua"
local SCRIPTS <const> = {
  "binary_segmentation", "multiclass_segmentation", "denoising", "depth_refinement", "inpainting",
}

describe("command line", function()
  local folder, remove
  before_each(function() folder, remove = toy.folder() end)
  after_each(function() remove() end)

  -- Run a script; gives its exit code, standard output and error output.
  local function run(script, arguments, environment)
    local out, err = folder .. "/.out", folder .. "/.err"
    local setting = ("LUA_PATH='%s' LUA_CPATH='%s' OMP_NUM_THREADS=1 CGLOW_CACHE='%s/.cache' %s"):format(
      package.path, package.cpath, folder, environment or "")
    local _, _, code = os.execute(("%s lua5.4 %s %s >'%s' 2>'%s'"):format(setting, script, arguments, out, err))
    return code, toy.read(out), toy.read(err)
  end

  local function train(arguments, environment)
    return run(TOY, ("train --quiet --run '%s/run' %s"):format(folder, arguments or ""), environment)
  end

  -- The log without the one field that may differ.
  local function log_of(name)
    return (toy.read(folder .. "/" .. name .. "/log.jsonl"):gsub('"seconds":[%d.]+,', ""))
  end

  local function lines_of(text)
    local lines = {}
    for line in text:gmatch("([^\n]*)\n") do lines[#lines + 1] = line end
    return lines
  end

  describe("help", function()
    local commands = {"", "train ", "evaluate ", "predict ", "sample "}

    for _, name in ipairs(SCRIPTS) do
      for _, command in ipairs(commands) do
        it(("of %s %sfits a screen"):format(name, command), function()
          local code, out, err = run("examples/" .. name .. ".lua", command .. "--help")
          assert.equal(0, code)
          assert.equal("", err)
          local lines = lines_of(out)
          assert.is_true(#lines <= 24, #lines .. " lines")
          for _, line in ipairs(lines) do assert.is_true(#line <= 80, line) end
        end)
      end
    end

    it("shows defaults", function()
      local _, out = run(TOY, "train --help")
      for _, part in ipairs {"8, 16 (8)", "steps (12)", "(live)", "(runs/binary_segmentation)"} do
        assert.matches(part, out, 1, true)
      end
    end)

    it("lists the settings and their defaults", function()
      local code, out = run(TOY, "train --config help")
      assert.equal(0, code)
      assert.matches("coupling.width +8 ", out)
      assert.matches("optimizer.lr +0.002 ", out)
      assert.matches("valid_every +5 ", out)
      assert.not_matches("cn.width", out, 1, true)
      out = select(2, run(TOY, "train --recipe paper --config help"))
      assert.matches("cn.width +8 ", out)
      assert.matches("optimizer.lr +0.0002 ", out)
      assert.not_matches("head.weight", out, 1, true)
    end)
  end)

  describe("every task", function()
    local few = "--config depth=1 --config coupling.width=4 --config batch=2 --config valid_images=2 "
      .. "--config samples=2 --steps 2 "
    local tiny = {
      encoder = few .. "--config encoder.channels=4,4,4,4,4",
      paper = few .. "--recipe paper --config cn.channels=2 --config cn.width=4",
    }

    for i = 1, 2 * #SCRIPTS do
      local name, recipe = SCRIPTS[(i + 1) // 2], i % 2 == 1 and "encoder" or "paper"
      it(("%s trains, evaluates and samples on its embedded samples: %s"):format(name, recipe), function()
        local script, where = "examples/" .. name .. ".lua", ("--run '%s/run'"):format(folder)
        local code, _, err = run(script, ("train --quiet %s %s"):format(where, tiny[recipe]))
        assert.equal("", err)
        assert.equal(0, code)
        local out
        code, out = run(script, ("evaluate --json --limit 2 %s"):format(where))
        assert.equal(0, code)
        local results = json.decode(out).results
        assert.is_true(#results >= 2)
        local head
        for _, row in ipairs(results) do
          assert.is_not_nil(next(row.metrics), row.name)
          head = head or row.name == "its encoder's head"
        end
        assert.equal(recipe == "encoder", head)
        assert.equal(0, (run(script, ("sample --quiet --count 2 --images 2 %s"):format(where))))
        assert.equal("file", lfs.attributes(folder .. "/run/samples.png", "mode"))
      end)
    end

    it("evaluates larger pictures: whole with an encoder, else by tiles where that makes sense", function()
      local script, where = "examples/denoising.lua", ("--run '%s/run'"):format(folder)
      local function refused(size, why)
        local code, _, err = run(script, ("evaluate --size %d %s"):format(size, where))
        assert.equal(2, code)
        assert.matches(why, err, 1, true)
      end
      for _, recipe in ipairs {"encoder", "paper"} do
        os.execute(("rm -rf '%s/run'"):format(folder))
        assert.equal(0, (run(script, ("train --quiet --size 16 %s %s"):format(where, tiny[recipe]))))
        local size = recipe == "encoder" and 48 or 40
        local code, out, err = run(script, ("evaluate --limit 2 --size %d %s"):format(size, where))
        assert.equal("", err)
        assert.equal(0, code)
        assert.matches("noisy photograph itself +%d+%.", out)
        assert.matches("\nc%-Glow +%d+%.", out)
        assert.matches("dB for a peak of 1", out, 1, true)
        assert.equal(recipe == "encoder", out:find "bits_per_dim" ~= nil) -- tiles have no likelihood
        if recipe == "encoder" then refused(40, "have sides that are multiples of 16, not 40")
        else
          -- input, truth and prediction of 40 pixels, 3 times as large, with gaps of 2
          assert.equal(2 + 3 * (3 * 40 + 2), assert(image.load(folder .. "/run/evaluation.png")):size(3))
          refused(8, "the model's pictures are of 16x16, not 8x8")
        end
      end
    end)

    it("answers a size that its photographs do not have with one line", function()
      local code, _, err = run("examples/denoising.lua", ("train --size 128 --run '%s/run'"):format(folder))
      assert.equal(2, code)
      assert.matches("too small for a crop of 128x128", err)
      assert.equal(1, #lines_of(err))
    end)
  end)

  describe("misuse ends with one line and exit code 2:", function()
    local cases = {
      {"no command", "", "a command is required"},
      {"unknown command", "frob", "unknown command 'frob'"},
      {"unknown flag", "train --sizee 3", "unknown option '--sizee'. Did you mean '--size'?"},
      {"missing value", "train --size", "option '--size' requires an argument"},
      {"size that is no number", "train --size x", "--size expects an integer from 1 on, got 'x'"},
      {"size that is no whole number", "train --size 8.5", "--size expects an integer from 1 on, got '8.5'"},
      {"impossible size", "train --size 30", "height and width must be multiples of 4, got 30x30"},
      {"no steps", "train --steps 0", "--steps expects an integer from 1 on, got '0'"},
      {"too many threads", "train --threads 5000", "--threads expects an integer from 1 to 1024"},
      {"unknown initialisation", "train --init best", "argument for option '--init' must be one of"},
      {"unknown setting", "train --config deep=3", "unknown setting 'deep'"},
      {"head without a word on it", "train --config head.weight=1", "the task does not say what a head should learn"},
      {"setting without effect", "train --config cn.width=8", "cn.width makes no difference: an encoder takes"},
      {"setting of no word", "train --config schedule=3", "schedule must be a word, got '3'"},
      {"schedule that is none", "train --config schedule=steps --config fall=1", "'constant', 'linear', 'cosine'"},
      {"list that is none", "train --config encoder.channels=8,,8", "must be a list like 32,64,128, got '8,,8'"},
      {"setting of another name", "train --config calm=5", "--config: 'calm' is called 'recover_after' now"},
      {"setting without a value", "train --config depth", "--config expects NAME=VALUE, got 'depth'"},
      {"setting of another kind", "train --config depth=x", "depth must be an integer from 0 on, got 'x'"},
      {"setting that is no truth", "train --config learned_prior=1", "learned_prior must be true or false"},
      {"setting out of range", "train --config batch=0", "option 'batch' must be an integer >= 1, got 0"},
      {"missing data folder", "train --data /none", "--data: /none: No such file or directory"},
      {"file for a folder", "train --data Makefile", "--data: Makefile is a file, not a directory"},
      {"nothing to resume", "train --resume --run /none", "there is no run in /none to resume"},
      {"missing run", "evaluate --run /none", "there is no run in /none"},
      {"missing checkpoint", "evaluate --checkpoint /none", "--checkpoint: /none: No such file or directory"},
      {"checkpoint that is none", "evaluate --checkpoint Makefile", "Makefile"},
      {"missing photo", "predict /none.png", "predict: /none.png: No such file or directory"},
      {"nothing to predict", "predict", "missing argument 'file'"},
      {"negative temperature", "sample --temperature=-1", "--temperature expects a number from 0 on"},
    }
    for _, case in ipairs(cases) do
      it(case[1], function()
        local code, out, err = run(TOY, case[2])
        assert.equal(2, code)
        assert.equal("", out)
        assert.equal(1, #lines_of(err), err)
        assert.matches("^binary_segmentation: ", err)
        assert.matches(case[3], err, 1, true)
      end)
    end

    it("a folder that holds a run", function()
      assert.equal(0, (train "--steps 4"))
      local code, _, err = train "--steps 4"
      assert.equal(2, code)
      assert.matches("holds a run that has come to step 4", err)
    end)

    it("a checkpoint of another task's model", function()
      toy.model():save(folder .. "/other.safetensors")
      local cglow = require "cglow"
      cglow.Model({x = {1, 8, 8}, y = {1, 8, 8}, levels = 1, depth = 1, cn = {channels = 2, width = 2},
        coupling = {width = 2}}):save(folder .. "/grey.safetensors")
      local code, _, err = run(TOY, ("evaluate --checkpoint '%s/grey.safetensors'"):format(folder))
      assert.equal(2, code)
      assert.matches("is no model of binary_segmentation", err)
    end)

    it("two inputs with one name", function()
      assert.equal(0, (train "--steps 1"))
      for _, sub in ipairs {"a", "b"} do
        lfs.mkdir(folder .. "/" .. sub)
        image.save(folder .. "/" .. sub .. "/x.png", core.zeros(3, 8, 8))
      end
      local code, _, err = run(TOY, ("predict --run '%s/run' '%s/a/x.png' '%s/b/x.png'"):format(folder, folder, folder))
      assert.equal(2, code)
      assert.matches("would both be written to", err)
    end)
  end)

  it("trains, and leaves a folder that explains itself", function()
    local code, out, err = train()
    assert.equal(0, code)
    assert.equal("", out .. err)
    for _, name in ipairs {
      "config.json", "log.jsonl", "report.html", "best.safetensors", "last.safetensors", "samples/step-00000005.png",
      "checkpoints/step-00000012.safetensors",
    } do
      assert.equal("file", lfs.attributes(folder .. "/run/" .. name, "mode"), name)
    end
    local config = assert(json.read(folder .. "/run/config.json"))
    assert.equal("binary_segmentation", config.task)
    assert.equal(12, config.settings.steps)
    assert.same({train = 9, valid = 5, source = "embedded samples"}, config.data)
    assert.matches("toy_task.lua train %-%-quiet %-%-run", config.command)
  end)

  it("says where things are and what to do next", function()
    local code, out = run(TOY, ("train --run '%s/run'"):format(folder))
    assert.equal(0, code)
    assert.matches("9 images to learn from, 5 held out", out, 1, true)
    assert.matches("step 12  validation: nll ", out, 1, true)
    assert.matches("run folder: " .. folder .. "/run", out, 1, true)
    assert.matches("evaluate --run " .. folder .. "/run", out, 1, true)
  end)

  it("writes nothing but JSON lines when asked to", function()
    local code, out = run(TOY, ("train --json --run '%s/run'"):format(folder))
    assert.equal(0, code)
    assert.equal(toy.read(folder .. "/run/log.jsonl"), out)
    for _, line in ipairs(lines_of(out)) do assert.is_table(json.decode(line)) end
  end)

  it("takes settings from --config", function()
    assert.equal(0, (train "--config coupling.width=6 --config optimizer.lr=1e-3 --config learned_prior=true"))
    local config = assert(json.read(folder .. "/run/config.json"))
    assert.equal(6, config.model.coupling.width)
    assert.is_true(config.model.learned_prior)
    assert.matches('"lr":0.001,', log_of "run", 1, true)
  end)

  it("gives the same run for the same seed, and another for another", function()
    for name, seed in pairs {a = 1, b = 1, c = 2} do
      assert.equal(0, (run(TOY, ("train --quiet --run '%s/%s' --seed %d"):format(folder, name, seed))))
    end
    assert.equal(log_of "a", log_of "b")
    assert.equal(toy.read(folder .. "/a/best.safetensors"), toy.read(folder .. "/b/best.safetensors"))
    assert.is_not.equal(log_of "a", log_of "c")
  end)

  it("stops cleanly on Ctrl-C, says how to go on, and then does as if nothing had happened", function()
    assert.equal(0, (run(TOY, ("train --quiet --run '%s/whole'"):format(folder))))
    local code, _, err = train("", "TOY_INTERRUPT=37")
    assert.equal(130, code)
    assert.matches("stopped at step 7 of 12", err)
    assert.matches("train --resume --run " .. folder .. "/run", err, 1, true)
    code, _, err = train "--resume"
    assert.equal("", err)
    assert.equal(0, code)
    assert.equal(log_of "whole", log_of "run")
    assert.equal(toy.read(folder .. "/whole/best.safetensors"), toy.read(folder .. "/run/best.safetensors"))
    assert.equal(1, #assert(json.read(folder .. "/run/config.json")).resumed)
  end)

  it("goes on in the same way with averages, augmentation, accumulation and a schedule", function()
    local recipe = "--config ema=0.9 --config schedule=cosine --config fall=0.5 --config accumulate=2 "
      .. "--config augment.mirror=true --config augment.shift=0.1 --config augment.gain=0.2 "
      .. "--config optimizer.weight_decay=0.01 --config optimizer.clip_norm=1 --config warmup=2"
    assert.equal(0, (run(TOY, ("train --quiet --run '%s/whole' %s"):format(folder, recipe))))
    assert.equal(130, (train(recipe, "TOY_INTERRUPT=45")))
    assert.equal(0, (train "--resume"))
    assert.equal(log_of "whole", log_of "run")
    for _, name in ipairs {"best", "model"} do
      assert.equal(toy.read(("%s/whole/%s.safetensors"):format(folder, name)),
        toy.read(("%s/run/%s.safetensors"):format(folder, name)))
    end
    local _, out = run(TOY, ("evaluate --json --run '%s/run'"):format(folder))
    assert.matches("run/best.safetensors", json.decode(out).model, 1, true)
  end)

  it("keeps the model that is best by the metric that was asked for, and ends when none is better", function()
    assert.equal(0, (train "--config metric=iou --config higher=true --config patience=1 --config valid_every=1"))
    local config, last = assert(json.read(folder .. "/run/config.json")), nil
    assert.equal("iou", config.settings.metric)
    for line in io.lines(folder .. "/run/log.jsonl") do last = json.decode(line) end
    assert.is_true(last.step < 12)
  end)

  it("goes on with a run from before there were recipes as it was", function()
    assert.equal(0, (train "--recipe paper --steps 4"))
    local path = folder .. "/run/config.json"
    local config = assert(json.read(path))
    for name in pairs(config.settings) do
      if name:find "^augment%." or name:find "^head%." then config.settings[name] = nil end
    end
    for _, name in ipairs {"recipe", "ema", "fall", "schedule", "accumulate", "patience", "metric", "higher"} do
      config.settings[name] = nil
    end
    assert(core.file.write(path, json.encode(config)))
    local _, _, err = train "--resume --recipe encoder"
    assert.matches("--recipe: the run was started with paper, not encoder", err, 1, true)
    assert.equal(0, (train "--resume --steps 6"))
    assert.equal("paper", assert(json.read(path)).settings.recipe)
  end)

  it("resumes with the run's own settings, and for longer when asked to", function()
    assert.equal(0, (train "--config coupling.width=6 --steps 4"))
    assert.equal(0, (train "--resume --steps 8"))
    local config = assert(json.read(folder .. "/run/config.json"))
    assert.equal(6, config.settings["coupling.width"])
    assert.equal(8, config.settings.steps)
    assert.equal("file", lfs.attributes(folder .. "/run/checkpoints/step-00000008.safetensors", "mode"))
  end)

  it("goes on with a run whose settings had other names", function()
    assert.equal(0, (train "--steps 4 --config recover_after=7"))
    local path = folder .. "/run/config.json"
    local config = assert(json.read(path))
    config.settings.calm, config.settings.recover_after = config.settings.recover_after, nil
    assert(core.file.write(path, json.encode(config)))
    assert.equal(0, (train "--resume --steps 8"))
    assert.equal(7, assert(json.read(path)).settings.recover_after)
  end)

  it("answers a config.json that is not as it was written with one line", function()
    assert.equal(0, (train "--steps 4"))
    local path = folder .. "/run/config.json"
    local config = assert(json.read(path))
    for _, case in ipairs {
      {{"settings"}, 7, "settings must be a table, got a number"},
      {{"settings", "cn.width"}, "8", "cn.width must be an integer from 0 on, got '8'"},
      {{"settings", "valid_images"}, {}, "valid_images must be an integer from 0 on, got table"},
      {{"settings", "optimizer.lr"}, -1, "optimizer.lr must be a number from 0 on, got -1"},
      {{"settings", "learned_prior"}, 1, "learned_prior must be true or false, got 1"},
      {{"settings", "data"}, true, "data must be a string, got true"},
      {{"settings", "seed"}, 0.5, "seed must be an integer from 0 on, got 0.5"},
      {{"resumed"}, 7, "resumed must be a table, got a number"},
      {{"command"}, {1}, "command must be a string, got a table"},
      {{"task"}, {1}, "is one of table"},
    } do
      assert(core.file.write(path, json.encode(mutate.with(config, case[1], case[2]))))
      for _, command in ipairs {"train --resume", "evaluate"} do
        local code, _, err = run(TOY, ("%s --quiet --run '%s/run'"):format(command, folder))
        assert.equal(2, code, err)
        assert.matches(case[3], err, 1, true)
        assert.equal(1, #lines_of(err), err)
      end
    end
  end)

  it("shows what training would cost, and writes nothing", function()
    local code, out = run(TOY, ("train --dry-run --run '%s/run'"):format(folder))
    assert.equal(0, code)
    for _, part in ipairs {"cglow.Model", "parameters  ", "memory  ", "step  ", "12 steps, 3 validations"} do
      assert.matches(part, out, 1, true)
    end
    assert.is_nil(lfs.attributes(folder .. "/run"))
    local cost = json.decode((select(2, run(TOY, "train --dry-run --json"))))
    assert.is_true(cost.seconds_per_step > 0 and cost.parameters > 1000)
  end)

  describe("with a trained model", function()
    before_each(function() assert.equal(0, (train())) end)

    it("evaluates it beside the baselines", function()
      local code, out = run(TOY, ("evaluate --run '%s/run'"):format(folder))
      assert.equal(0, code)
      assert.matches("5 held-out images", out, 1, true)
      assert.matches("\nnothing +0%.", out)
      assert.matches("\nc%-Glow +", out)
      assert.equal("file", lfs.attributes(folder .. "/run/evaluation.png", "mode"))
    end)

    it("evaluates it for programs", function()
      local code, out = run(TOY, ("evaluate --json --limit 2 --samples 4 --run '%s/run'"):format(folder))
      assert.equal(0, code)
      local result = json.decode(out)
      assert.equal(2, result.images)
      assert.equal(4, result.samples)
      local metrics = result.results[2].metrics
      assert.equal("c-Glow", result.results[2].name)
      for _, name in ipairs {"iou", "bits_per_dim", "diversity", "best_sample"} do
        assert.equal("number", type(metrics[name]), name)
      end
    end)

    it("predicts files in their own size", function()
      image.save(folder .. "/photo.jpg", core.Rng(1):uniform(3, 20, 31))
      local code, out = run(TOY, ("predict --run '%s/run' --out '%s/p' '%s/photo.jpg'"):format(folder, folder, folder))
      assert.equal(0, code)
      assert.matches(folder .. "/p/photo.png", out, 1, true)
      local mask = assert(image.load(folder .. "/p/photo.png"))
      assert.same({1, 20, 31}, mask:size())
    end)

    it("answers a damaged photo with a message", function()
      local file <close> = io.open(folder .. "/bad.png", "w")
      file:write "no image"
      file:close()
      local code, _, err = run(TOY, ("predict --run '%s/run' --out '%s/p' '%s/bad.png'"):format(folder, folder, folder))
      assert.equal(2, code)
      assert.equal(1, #lines_of(err))
      assert.matches("bad.png", err, 1, true)
    end)

    it("draws samples of held-out images, and of files", function()
      assert.equal(0, (run(TOY, ("sample --quiet --run '%s/run' --count 3 --images 2"):format(folder))))
      -- input, 3 samples and their spread of 8 pixels, 12 times as large, with gaps of 2
      assert.equal(2 + 5 * (8 * 12 + 2), assert(image.load(folder .. "/run/samples.png")):size(3))
      image.save(folder .. "/photo.png", core.zeros(3, 9, 9))
      assert.equal(0, (run(TOY, ("sample --quiet --run '%s/run' --sheet '%s/s.png' '%s/photo.png'"):format(
        folder, folder, folder))))
      assert.equal("file", lfs.attributes(folder .. "/s.png", "mode"))
    end)

    it("says how it predicts, and predicts as it is told", function()
      local function evaluate(options)
        local code, out, err = run(TOY, ("evaluate --json --run '%s/run' %s"):format(folder, options))
        assert.equal("", err)
        assert.equal(0, code)
        return json.decode(out)
      end
      assert.equal("mean of 3 samples", evaluate("").prediction) -- the toy's setting is odd
      local cool = evaluate "--samples 4 --temperature 0.5"
      assert.equal("mean of 4 samples in pairs at temperature 0.5", cool.prediction)
      local centre = evaluate "--centre"
      assert.equal("one pass at the centre of the latents", centre.prediction)
      -- nothing is random but the noise of a discrete y in its likelihood
      assert.equal(centre.results[2].metrics.iou, evaluate("--centre --seed 7").results[2].metrics.iou)
      local both = evaluate "--mirror yes --samples 2"
      assert.equal("mean of 2 samples in pairs, and of the mirror image", both.prediction)
      assert.equal(4, both.samples)
      local _, _, err = run(TOY, ("evaluate --run '%s/run' --centre --samples 3"):format(folder))
      assert.matches("--centre: one pass at the centre has no --samples", err, 1, true)
    end)

    it("compares ways to predict, with their time", function()
      local code, out = run(TOY, ("evaluate --json --compare --run '%s/run'"):format(folder))
      assert.equal(0, code)
      local results = json.decode(out).results
      assert.equal(9, #results)
      for _, row in ipairs(results) do assert.is_true(row.metrics.seconds > 0 and row.metrics.iou > 0, row.name) end
      local _, _, err = run(TOY, ("evaluate --compare --mirror no --run '%s/run'"):format(folder))
      assert.matches("--mirror is not for --compare", err, 1, true)
    end)

    it("works from a checkpoint alone", function()
      assert.equal(0, (run(TOY, ("evaluate --quiet --checkpoint '%s/run/best.safetensors' --sheet '%s/e.png'"):format(
        folder, folder))))
    end)

    it("gives the same answer for the same seed", function()
      local function evaluate(seed)
        return (select(2, run(TOY, ("evaluate --json --run '%s/run' --seed %d"):format(folder, seed))))
      end
      assert.equal(evaluate(3), evaluate(3))
      assert.is_not.equal(evaluate(3), evaluate(4))
    end)
  end)
end)
