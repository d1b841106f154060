-- The trainer: steps that are not finite are skipped, said of, and do no harm.
local scratch = require "spec.fixtures.scratch"
local core = require "cglow.core"
local threads = require "spec.support.threads"
local toy = require "spec.support.toy"

local trainer = toy.trainer

describe("A step that is not finite", function()
  local run <const> = scratch.each(before_each, after_each)
  setup(threads.one)
  teardown(threads.restore)

  -- The model, but with a loss that is refused in the given steps.
  local function failing(steps)
    local model = toy.model()
    local count, real = 0, model.loss_and_grad
    function model:loss_and_grad(...)
      count = count + 1
      if steps[count] then return nil, "level.1.step.1.coupling made a NaN" end
      return real(self, ...)
    end
    return model
  end

  it("skips it, names the layer, halves the step size for a while", function()
    local seen = {}
    local t = trainer {
      model = failing {[3] = true}, steps = 10, recover_after = 4, run = run,
      on_step = function(self) seen[#seen + 1] = self.optimizer.lr * 1e3 end,
    }
    local warnings = {}
    t.progress.warn = function(_, text) warnings[#warnings + 1] = text end
    assert.equal("done", t:run().reason)
    assert.same({1, 1, 1, 0.5, 0.5, 0.5, 0.5, 1, 1, 1}, seen)
    assert.equal(1, #warnings)
    assert.matches("step 3 skipped: level.1.step.1.coupling made a NaN", warnings[1], 1, true)
    assert.matches('"skipped":"level.1.step.1.coupling made a NaN"', toy.read(run .. "/log.jsonl"), 1, true)
  end)

  it("leaves parameters and optimizer as they were", function()
    local model = failing {[2] = true}
    local before, moments
    local t = trainer {
      model = model, steps = 2,
      on_step = function(self)
        if self.at.step ~= 1 then return end
        before = {}
        for _, p in ipairs(model:parameters()) do before[p.name] = p.value:clone() end
        moments = select(2, self.optimizer:state())
      end,
    }
    t.progress.warn = function() end
    t:run()
    for _, p in ipairs(model:parameters()) do assert.is_true(p.value == before[p.name]) end
    assert.equal(1, moments)
  end)

  it("gives up after so many in a row and keeps the last good checkpoint", function()
    local bad = {}
    for i = 10, 40 do bad[i] = true end
    local t = trainer {model = failing(bad), run = run, max_refused = 5}
    t.progress.warn = function() end
    local outcome = t:run()
    assert.equal("diverged", outcome.reason)
    assert.equal(14, outcome.step)
    assert.matches("gave up at step 14: 5 steps in a row were refused", outcome.message)
    assert.same({8}, toy.kept_steps(run))
  end)

  it("does not let refused steps push out the checkpoints from before them, and resumes from those", function()
    local bad = {}
    for i = 10, 17 do bad[i] = true end
    local function make(o)
      o.checkpoint_every, o.keep, o.steps, o.recover_after = 2, 2, 30, 5
      local t = trainer(o)
      t.progress.warn = function() end
      return t
    end
    local whole, remove_whole = toy.folder()
    finally(remove_whole)
    assert.equal("done", make({model = failing(bad), run = whole}):run().reason)
    assert.equal("diverged", make({model = failing(bad), run = run, max_refused = 8}):run().reason)
    assert.same({6, 8}, toy.kept_steps(run))
    bad = {}
    for i = 2, 9 do bad[i] = true end -- calls of this process, which begins at step 9
    assert.equal("done", make({model = failing(bad), run = run, resume = true}):run().reason)
    assert.equal(toy.log_of(whole), toy.log_of(run))
    toy.assert_same_checkpoints(whole .. "/last.safetensors", run .. "/last.safetensors")
  end)

  it("never makes steps shorter than 1/1024, however often it halves them", function()
    local bad = {}
    for i = 1, 60, 2 do bad[i] = true end
    local t = trainer {model = failing(bad), steps = 60}
    t.progress.warn = function() end
    assert.equal("done", t:run().reason)
    assert.equal(1e-3 / 1024, t.optimizer.lr)
  end)

  it("says what its functions must give", function()
    local function message(options)
      options.run = run .. "/" .. tostring(options):match("%w+$")
      return select(2, pcall(function() trainer(options):run() end))
    end
    assert.matches("'validate' must give a table of metrics, got nil", message {validate = function() end})
    assert.matches("'validate' must give numbers, got 'x'", message {validate = function() return {a = "x"} end})
    assert.matches("'validate' must give metrics under names, got 1", message {validate = function() return {2} end})
    assert.matches("'picture' must give an image, got nil", message {picture = function() end})
  end)

  it("writes no checkpoint of a model that is not finite", function()
    local model = toy.model()
    local outcome = trainer {
      model = model, run = run, valid = false,
      on_step = function(self)
        if self.at.step == 15 then model:parameters()[1].value:fill(math.huge) end
      end,
      max_refused = 50,
    }
    outcome.progress.warn = function() end
    outcome = outcome:run()
    assert.equal("diverged", outcome.reason)
    assert.matches(model:parameters()[1].name .. " is not finite after step 16", outcome.message, 1, true)
    assert.same({8}, toy.kept_steps(run))
  end)

  it("names the layer with a NaN among its weights, and gives up without touching a thing", function()
    local model = toy.model()
    local before = {}
    for _, p in ipairs(model:parameters()) do
      if p.name == "level.1.step.1.coupling.net.conv1.weight" then p.value[1][1][1][1] = 0 / 0 end
      before[p.name] = core.file.crc32c(p.value)
    end
    local t = trainer {model = model, run = run, max_refused = 3}
    local warnings = {}
    t.progress.warn = function(_, text) warnings[#warnings + 1] = text end
    local outcome = t:run()
    assert.equal("diverged", outcome.reason)
    assert.equal(3, outcome.step)
    assert.matches("level.1.step.1.coupling", outcome.message, 1, true)
    assert.equal(3, #warnings)
    for _, p in ipairs(model:parameters()) do assert.equal(before[p.name], core.file.crc32c(p.value), p.name) end
    assert.equal(0, select(2, t.optimizer:state()))
    assert.same({}, toy.kept_steps(run))
  end)

  for _, bad in ipairs {math.huge, -math.huge, 0 / 0} do
    for _, field in ipairs {"x", "y"} do
      it(("survives a sample with %s in %s"):format(bad, field), function()
        local data = toy.data(7)
        local get = data.get
        function data:get(i)
          local sample = get(self, i)
          if i == 4 then sample[field][1][2][3] = bad end
          return sample
        end
        local t = trainer {train = data, steps = 14, valid = false}
        local warnings = 0
        t.progress.warn = function() warnings = warnings + 1 end
        local outcome = t:run()
        assert.equal("done", outcome.reason)
        assert.equal(4, warnings) -- 28 samples in 14 steps: each of the 7 is seen four times
        for _, p in ipairs(t.model:parameters()) do assert.is_true(p.value:isfinite(), p.name) end
      end)
    end
  end

  it("tells a checkpoint what the guard of the steps has counted, so that resuming goes on with it", function()
    local first = trainer {model = failing {[3] = true}, steps = 8, recover_after = 20, run = run}
    first.progress.warn = function() end
    first:run()
    local t = trainer {steps = 9, recover_after = 20, run = run, resume = true}
    t:run()
    assert.equal(0.5e-3, t.optimizer.lr)
  end)
end)
