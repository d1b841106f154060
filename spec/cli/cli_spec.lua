-- The command line of a task: help, and what is refused.
local cglow = require "cglow"
local command_line = require "spec.support.command_line"
local core = require "cglow.core"
local image = require "cglow.image"
local lfs = require "lfs"
local toy = require "spec.support.toy"

local TOY <const> = command_line.TOY
local SCRIPTS <const> = command_line.tasks()
local lines_of = command_line.lines_of

describe("command line", function()
  local folder, run, train = command_line.each(before_each, after_each)

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
      {"schedule of a step size that stays", "train --recipe paper --config schedule=cosine",
        "schedule makes no difference: the step size does not fall unless fall or cooldown"},
      {"fall of a step size that stays", "train --config fall=0.5 --config schedule=constant",
        "fall makes no difference: with schedule=constant"},
      {"fall beside a cool-down", "train --config fall=0.5 --config cooldown=2", "fall makes no difference: cooldown"},
      {"setting of no word", "train --config schedule=3", "schedule must be a word, got '3'"},
      {"schedule that is none", "train --config schedule=steps --config fall=1", "'constant', 'linear', 'cosine'"},
      {"list that is none", "train --config encoder.channels=8,,8", "must be a list like 32,64,128, got '8,,8'"},
      {"setting of another name", "train --config calm=5", "--config: 'calm' is called 'recover_after' now"},
      {"setting without a value", "train --config depth", "--config expects NAME=VALUE or a file, got 'depth'"},
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
end)
