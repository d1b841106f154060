-- The trainer: a run that was cut off goes on as if it had not been.
local scratch = require "spec.fixtures.scratch"
local cglow = require "cglow"
local json = require "cglow.util.json"
local threads = require "spec.support.threads"
local toy = require "spec.support.toy"

local trainer = toy.trainer

describe("Resuming a run", function()
  local run <const> = scratch.each(before_each, after_each)
  setup(threads.one)
  teardown(threads.restore)

  -- Stop as a crash would, in the middle of a run; returns after `step` steps.
  local function crash_at(step, options)
    options.on_step = function(self) if self.at.step == step then error("power cut", 0) end end
    local t = trainer(options)
    assert.has_error(function() t:run() end)
  end

  for _, step in ipairs {8, 9, 15, 30, 39} do
    it(("gives bit for bit what an uninterrupted run gives, cut at step %d"):format(step), function()
      local whole, remove_whole = toy.folder()
      trainer {run = whole}:run()
      crash_at(step, {run = run})
      -- another initial model: everything must come from the checkpoint
      local outcome = trainer {run = run, resume = true, model = toy.model(99)}:run()
      assert.equal("done", outcome.reason)
      assert.equal(toy.log_of(whole), toy.log_of(run))
      toy.assert_same_checkpoints(whole .. "/last.safetensors", run .. "/last.safetensors")
      toy.assert_same_checkpoints(whole .. "/checkpoints/step-00000032.safetensors",
        run .. "/checkpoints/step-00000032.safetensors")
      assert.equal(toy.read(whole .. "/best.safetensors"), toy.read(run .. "/best.safetensors"))
      remove_whole()
    end)
  end

  it("drops a log line that was cut short", function()
    crash_at(12, {run = run})
    local log <close> = io.open(run .. "/log.jsonl", "a")
    log:write('{"step":13,"nl')
    log:close()
    trainer {run = run, resume = true}:run()
    for line in io.lines(run .. "/log.jsonl") do assert.is_table(json.decode(line)) end
  end)

  it("starts again when there was no checkpoint yet", function()
    crash_at(5, {run = run})
    assert.equal("done", trainer {run = run, resume = true}:run().reason)
  end)

  it("is refused with fewer steps than there were", function()
    trainer {run = run, steps = 8, config = {settings = {steps = 8}}}:run()
    local outcome = trainer {run = run, resume = true, steps = 4, config = {settings = {steps = 4}}}:run()
    assert.same({"failed", false}, {outcome.reason, outcome.began})
    assert.matches("00000008.safetensors: the run has come to step 8 already, 4 in all are fewer", outcome.message, 1,
      true)
    assert.equal(8, json.read(run .. "/config.json").settings.steps) -- so that the next one can go on
  end)

  it("is refused where no run is", function()
    local outcome = trainer {run = run .. "/none", resume = true}:run()
    assert.equal("failed", outcome.reason)
    assert.matches("there is no run in .*/none to resume", outcome.message)
  end)

  it("is refused with another batch size, seed or data set, or another model", function()
    trainer {run = run, steps = 8}:run()
    local function message(options)
      options.run, options.resume = run, true
      local outcome = trainer(options):run()
      assert.equal("failed", outcome.reason)
      return outcome.message
    end
    assert.matches("the run was started with batch 2, not 3", message {batch = 3})
    assert.matches("the run was started with seed 5, not 6", message {seed = 6})
    assert.matches("trained on 7 samples, the data set has 6 now", message {train = toy.data(6)})
    local other = cglow.Model {
      x = {3, 8, 8}, y = {3, 8, 8}, levels = 2, depth = 1, cn = {channels = 4, width = 8}, coupling = {width = 16},
    }
    assert.matches("has shape", message {model = other})
  end)

  it("may go on for longer than was planned", function()
    trainer {run = run, steps = 8}:run()
    assert.equal(16, trainer {run = run, steps = 16, resume = true}:run().step)
    assert.same({8, 16}, toy.kept_steps(run))
  end)
end)
