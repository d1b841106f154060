-- The trainer: steps, refusals, validation, what is kept, going on.
local core = require "cglow.core"
local json = require "cglow.util.json"
local lfs = require "lfs"
local safetensors = require "cglow.util.safetensors"
local toy = require "spec.support.toy"
local train = require "cglow.train"

-- A trainer on the toy problem, with options replaced or added.
local function trainer(options)
  local o = {
    model = toy.model(), train = toy.data(7), valid = toy.data(3), steps = 40, batch = 2, seed = 5,
    optimizer = {lr = 1e-3, clip_value = 0.25}, log_every = 3, valid_every = 10, checkpoint_every = 8,
    progress = "quiet",
  }
  for name, value in pairs(options or {}) do o[name] = value end
  o.valid = o.valid or nil -- false: none
  return train.Trainer(o)
end

local function kept_steps(path)
  return require "cglow.run.folder".at(path):steps()
end

-- Not os.execute: while that waits, the process ignores SIGINT.
local function interrupt() io.popen("kill -INT $PPID"):close() end

-- The log without the one field that may differ after resuming.
local function log_of(path)
  return (toy.read(path .. "/log.jsonl"):gsub('"seconds":[%d.]+,', ""))
end

local function same_file_contents(a, b)
  local ta, ma = assert(safetensors.load(a))
  local tb, mb = assert(safetensors.load(b))
  for name, tensor in pairs(ta) do
    assert.is_true(tensor == tb[name], name .. " differs")
    tb[name] = nil
  end
  assert.is_nil(next(tb))
  local function state(metadata)
    local decoded = json.decode(metadata.training)
    decoded.state.at.seconds = nil
    return decoded
  end
  assert.same(state(ma), state(mb))
end

describe("Trainer", function()
  local run, remove, threads
  -- The toy is so small that threads would only wait for each other.
  setup(function()
    threads = core.threads()
    core.threads(1)
  end)
  teardown(function() core.threads(threads) end)
  before_each(function() run, remove = toy.folder() end)
  after_each(function() remove() end)

  it("lowers the loss and says what came of it", function()
    local outcome = trainer {steps = 100}:run()
    assert.equal("done", outcome.reason)
    assert.equal(100, outcome.step)
    assert.is_nil(outcome.message)
    -- measured: 1.9 at the start, 0.2 after 100 steps
    assert.is_true(outcome.valid.nll < 1.0)
    assert.is_true(outcome.best.nll <= outcome.valid.nll)
  end)

  it("writes a folder that explains itself", function()
    local outcome = trainer {run = run, keep = 2, config = {task = "toy"}}:run()
    assert.equal(run .. "/checkpoints/step-00000040.safetensors", outcome.checkpoint)
    assert.same({32, 40}, kept_steps(run))
    assert.equal("checkpoints/step-00000040.safetensors", lfs.symlinkattributes(run .. "/last.safetensors", "target"))
    assert.same({task = "toy"}, json.read(run .. "/config.json"))
    local best = assert(require "cglow".load(run .. "/best.safetensors"))
    assert.equal(toy.model():parameter_count(), best:parameter_count())
  end)

  it("logs every so many steps, and each validation", function()
    trainer {run = run, steps = 10}:run()
    local seen = {}
    for line in io.lines(run .. "/log.jsonl") do
      local record = json.decode(line)
      seen[#seen + 1] = record.step .. (record.valid and "v" or "")
      assert.equal("number", type(record.seconds))
      if not record.valid then assert.equal(1e-3, record.lr) end
    end
    assert.same({"3", "6", "9", "10", "10v"}, seen)
  end)

  it("logs the mean over the steps since the last line", function()
    trainer {run = run, steps = 6, log_every = 1}:run()
    local single = {}
    for line in io.lines(run .. "/log.jsonl") do
      local record = json.decode(line)
      single[#single + 1] = record.nll
    end
    local other, remove_other = toy.folder()
    trainer {run = other, steps = 6, log_every = 6}:run()
    local first = json.decode(io.lines(other .. "/log.jsonl")())
    remove_other()
    local sum = 0
    for i = 1, 6 do sum = sum + single[i] end
    assert.is_true(math.abs(first.nll - sum / 6) < 1e-12) -- six additions in double
  end)

  it("shuffles: every sample once in an epoch, in another order each time", function()
    local data = toy.data(8)
    local batch, epochs, seen = data.batch, {}, {}
    function data:batch(indices, ...)
      for _, i in ipairs(indices) do seen[#seen + 1] = i end
      return batch(self, indices, ...)
    end
    trainer {train = data, steps = 12, batch = 2}:run()
    for epoch = 1, 3 do epochs[epoch] = {table.unpack(seen, 8 * epoch - 7, 8 * epoch)} end
    assert.is_not.same(epochs[1], epochs[2])
    for _, order in ipairs(epochs) do
      table.sort(order)
      assert.same({1, 2, 3, 4, 5, 6, 7, 8}, order)
    end
  end)

  it("trains on fewer samples than a batch holds", function()
    assert.equal("done", trainer {train = toy.data(1), steps = 3, batch = 4}:run().reason)
  end)

  it("validates with the same noise each time, and adds the task's metrics", function()
    local got = {}
    local t = trainer {
      steps = 4, valid_every = 2, optimizer = {lr = 0},
      validate = function(_, data) return {count = data:size()} end,
      on_step = function(self) if self.at.valid then got[self.at.step] = self.at.valid end end,
    }
    t:run()
    assert.equal(3, got[2].count)
    assert.equal(got[2].nll, got[4].nll)
  end)

  it("counts bits per dimension with the cell width that it is given", function()
    local one = trainer {steps = 1, cell_width = 1}:run()
    local quarter = trainer {steps = 1, cell_width = 0.25}:run()
    -- −log₂ ¼ = 2 bits more, exactly but for rounding in double
    assert.is_true(math.abs(quarter.nll - one.nll - 2) < 1e-9)
    assert.is_true(math.abs(quarter.valid.nll - one.valid.nll - 2) < 1e-9)
  end)

  it("allocates no tensor in a steady step", function()
    local data, made, bytes = toy.data(7), {}, {}
    local samples = {}
    for i = 1, 7 do samples[i] = data:get(i) end
    function data.get(_, i) return samples[i] end -- the data set's own tensors are not the trainer's
    trainer {
      train = data, steps = 30, valid = false,
      on_step = function(self)
        local stats = core.stats()
        made[self.at.step], bytes[self.at.step] = stats.tensors, stats.bytes
      end,
    }:run()
    assert.is_true(made[1] > 0)
    assert.equal(made[3], made[30])
    assert.equal(bytes[3], bytes[30])
  end)

  it("grows the step size over the warm-up", function()
    local seen = {}
    trainer {
      steps = 6, warmup = 4, on_step = function(self) seen[#seen + 1] = self.optimizer.lr end,
    }:run()
    assert.same({0.25e-3, 0.5e-3, 0.75e-3, 1e-3, 1e-3, 1e-3}, seen)
  end)

  it("lets the step size fall over the cool-down", function()
    local seen = {}
    trainer {
      steps = 6, cooldown = 4, on_step = function(self) seen[#seen + 1] = self.optimizer.lr end,
    }:run()
    assert.same({1e-3, 1e-3, 1e-3, 0.75e-3, 0.5e-3, 0.25e-3}, seen)
  end)

  it("keeps a contact sheet of each validation", function()
    trainer {run = run, steps = 20, picture = function() return core.zeros(1, 4, 4) end}:run()
    assert.equal("file", lfs.attributes(run .. "/samples/step-00000010.png", "mode"))
    assert.equal("file", lfs.attributes(run .. "/samples/step-00000020.png", "mode"))
  end)

  it("tells those who load the model how y was dequantised", function()
    trainer {run = run, steps = 8, cell_width = 1 / 256}:run()
    for _, name in ipairs {"best", "last"} do
      local _, metadata = safetensors.load(("%s/%s.safetensors"):format(run, name))
      assert.equal(1 / 256, tonumber(metadata.cell_width))
    end
  end)

  it("takes any optimizer", function()
    local model = toy.model()
    local sgd = require "cglow.optim".SGD(model:parameters(), {lr = 1e-3, momentum = 0.9, clip_norm = 1})
    assert.equal("done", trainer {model = model, optimizer = sgd, run = run, steps = 9}:run().reason)
    assert.equal(9, kept_steps(run)[2])
  end)

  describe("resuming", function()
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
        assert.equal(log_of(whole), log_of(run))
        same_file_contents(whole .. "/last.safetensors", run .. "/last.safetensors")
        same_file_contents(whole .. "/checkpoints/step-00000032.safetensors",
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
      local other = require "cglow".Model {
        x = {3, 8, 8}, y = {3, 8, 8}, levels = 2, depth = 1, cn = {channels = 4, width = 8}, coupling = {width = 16},
      }
      assert.matches("has shape", message {model = other})
    end)

    it("may go on for longer than was planned", function()
      trainer {run = run, steps = 8}:run()
      assert.equal(16, trainer {run = run, steps = 16, resume = true}:run().step)
      assert.same({8, 16}, kept_steps(run))
    end)
  end)

  it("does not overwrite a run", function()
    trainer {run = run, steps = 8}:run()
    local outcome = trainer {run = run, steps = 8}:run()
    assert.equal("failed", outcome.reason)
    assert.matches("holds a run that has come to step 8", outcome.message)
  end)

  it("keeps a second process out of its folder", function()
    trainer {run = run, steps = 1}:run()
    local lock <close> = assert(core.file.lock(run .. "/lock"))
    local outcome = trainer {run = run, steps = 2, resume = true}:run()
    assert.equal("failed", outcome.reason)
    assert.matches("lock", outcome.message)
    lock:close()
    assert.equal("done", trainer {run = run, steps = 2, resume = true}:run().reason)
  end)

  it("finishes the step, saves and stops when it is interrupted", function()
    local outcome = trainer {
      run = run, checkpoint_every = 1000,
      on_step = function(self) if self.at.step == 13 then interrupt() end end,
    }:run()
    assert.equal("interrupted", outcome.reason)
    assert.equal("INT", outcome.signal)
    assert.same({13}, kept_steps(run))
    assert.equal("stopped at step 13 of 40", outcome.message)
  end)

  describe("on a step that is not finite", function()
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
      assert.same({8}, kept_steps(run))
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
      assert.same({6, 8}, kept_steps(run))
      bad = {}
      for i = 2, 9 do bad[i] = true end -- calls of this process, which begins at step 9
      assert.equal("done", make({model = failing(bad), run = run, resume = true}):run().reason)
      assert.equal(log_of(whole), log_of(run))
      same_file_contents(whole .. "/last.safetensors", run .. "/last.safetensors")
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
      assert.same({8}, kept_steps(run))
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
      assert.same({}, kept_steps(run))
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

  it("ends with a message when a sample cannot be read", function()
    local data = toy.data(7)
    data.missing = 4
    local outcome = trainer {train = data, run = run}:run()
    assert.equal("failed", outcome.reason)
    assert.equal("sample 4 cannot be read", outcome.message)
  end)

  it("ends with a message when the folder cannot be made", function()
    local file <close> = assert(io.open(run .. "/file", "w"))
    file:close()
    local outcome = trainer {run = run .. "/file/run"}:run()
    assert.equal("failed", outcome.reason)
    assert.matches("cannot make folder", outcome.message)
  end)

  it("refuses unknown and impossible options", function()
    assert.error_matches(function() trainer {stepz = 1} end, "unknown option 'stepz'.*steps")
    assert.error_matches(function() trainer {steps = 0} end, "option 'steps' must be an integer >= 1, got 0")
    assert.error_matches(function() trainer {model = {}} end, "option 'model' must have methods")
    assert.error_matches(function() trainer {train = toy.model()} end, "option 'train' must have methods")
    assert.error_matches(function() trainer {resume = true} end, "'resume' needs 'run'")
    assert.error_matches(function() trainer {progress = "loud"} end, "'bar', 'lines', 'json', 'quiet'")
  end)
end)

describe("progress", function()
  local format = require "cglow.run.format"
local progress = require "cglow.train.progress"

  -- A file that remembers.
  local function sink()
    local text = {}
    return setmetatable({text = text}, {__index = {
      write = function(_, ...) for _, s in ipairs {...} do text[#text + 1] = s end end,
      flush = function() end,
    }}), function() return table.concat(text) end
  end

  local AT = {step = 25, steps = 100, nll = 0.51234, per_second = 5.25, left = 187, memory = 812e6,
    data_share = 0.034, valid = {nll = 0.47, iou = 0.66}}

  it("draws a bar with everything that is asked for, in one line of 79 columns", function()
    local out, text = sink()
    local p = progress.new("bar", out, sink())
    p.last = -1
    p:step(AT)
    local line = text():gsub("\r\27%[K", "")
    for _, part in ipairs {"25/100", "[==", "nll 0.512", "5.2 steps/s", "left 3:07"} do
      assert.matches(part, line, 1, true)
    end
    assert.is_true(#line <= 79)
  end)

  it("leaves each validation to be read above the bar", function()
    local out, text = sink()
    local p = progress.new("bar", out, sink())
    p.last = -1
    p:step(AT)
    p:validation(25, {nll = 0.47, iou = 0.66})
    assert.matches("\r\27[Kstep 25  validation: nll 0.47, iou 0.66\n", text(), 1, true)
  end)

  it("writes plain lines with all of it elsewhere", function()
    local out, text = sink()
    local p = progress.new("lines", out, sink())
    p.last = -1e9
    p:step(AT)
    assert.equal("step 25/100  nll 0.512  5.2 steps/s  left 3:07  valid nll 0.47, iou 0.66  812 MB  data 3%\n", text())
  end)

  it("shows plain lines no oftener than every few seconds", function()
    local out, text = sink()
    local p = progress.new("lines", out, sink())
    p:step(AT)
    assert.equal("", text())
  end)

  it("keeps JSON output pure and warns on the error stream", function()
    local out, text = sink()
    local err, warned = sink()
    local p = progress.new("json", out, err)
    p:step(AT)
    p:note("hello")
    p:warn("careful")
    p:record('{"step":1}')
    p:close()
    assert.equal('{"step":1}\n', text())
    assert.equal("warning: careful\n", warned())
  end)

  it("is silent when asked to be, but for warnings", function()
    local out, text = sink()
    local p = progress.new("quiet", out, sink())
    p:step(AT)
    p:validation(1, {nll = 1})
    p:record("{}")
    p:note("hello")
    assert.equal("", text())
  end)

  it("writes durations and sizes as people read them", function()
    assert.equal("9 s", format.duration(9.2))
    assert.equal("3:07", format.duration(187))
    assert.equal("2:03:59", format.duration(7439))
    assert.equal("?", format.duration(0 / 0))
    assert.equal("812 MB", format.bytes(812e6))
    assert.equal("1.4 GB", format.bytes(1.4e9))
  end)
end)

describe("the trainer's old options", function()
  it("are refused by their new names, which the known ones are listed by", function()
    for old, new in pairs {calm = "recover_after", give_up = "max_refused"} do
      assert.error_matches(function() trainer {[old] = 3} end,
        ("Trainer: option '%s' is called '%s' now"):format(old, new), 1, true)
    end
    local _, message = pcall(trainer, {stepz = 3})
    assert.matches("known: .*max_refused.*recover_after", message)
    assert.not_matches("calm", message)
  end)
end)

describe("core.system", function()
  local system = core.system

  it("has a clock that goes forward", function()
    local a = system.clock()
    local b = system.clock()
    assert.is_true(b >= a)
  end)

  it("tells memory, the machine and the terminal", function()
    local now, peak = system.memory()
    assert.is_true(now > 1e6 and peak >= now)
    local machine = system.machine()
    assert.is_true(#machine.cpu > 0 and machine.cores >= 1 and machine.memory > 1e8)
    assert.truthy(({ ["AVX-512"] = true, AVX2 = true, any = true })[machine.instructions])
    assert.equal("boolean", type(system.isatty(1)))
    assert.error_matches(function() system.isatty(3) end, "expected 0, 1 or 2")
    assert.error_matches(function() system.columns(-1) end, "expected 0, 1 or 2")
  end)

  it("catches one interrupt at a time, and lets go", function()
    do
      local catch <close> = system.catch_interrupt()
      assert.error_matches(function() system.catch_interrupt() end, "a catch is open already")
      assert.is_nil(catch:received())
      os.execute("kill -TERM $PPID")
      assert.equal("TERM", catch:received())
    end
    local again <close> = system.catch_interrupt()
    assert.is_nil(again:received())
    assert.error_matches(function() system.catch_interrupt(("x"):rep(256)) end, "at most 255 bytes")
  end)
end)
