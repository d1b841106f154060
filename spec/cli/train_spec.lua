-- The command `train` of a task, as a user runs it.
local command_line = require "spec.support.command_line"
local core = require "cglow.core"
local json = require "cglow.util.json"
local lfs = require "lfs"
local mutate = require "spec.support.mutate"
local toy = require "spec.support.toy"

local TOY <const> = command_line.TOY
local lines_of = command_line.lines_of

describe("train", function()
  local folder, run, train = command_line.each(before_each, after_each)

  local function log_of(name) return toy.log_of(folder .. "/" .. name) end

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
    assert.equal(cost.bytes, cost.bytes_of.step + cost.bytes_of.validation + cost.bytes_of.data)
  end)
end)
