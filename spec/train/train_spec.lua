-- The trainer: steps, validation, what is logged and kept, what is refused.
local scratch = require "spec.fixtures.scratch"
local core = require "cglow.core"
local json = require "cglow.util.json"
local lfs = require "lfs"
local safetensors = require "cglow.util.safetensors"
local threads = require "spec.support.threads"
local toy = require "spec.support.toy"

local trainer = toy.trainer

-- Not os.execute: while that waits, the process ignores SIGINT.
local function interrupt() io.popen("kill -INT $PPID"):close() end

describe("Trainer", function()
  local run <const> = scratch.each(before_each, after_each)
  setup(threads.one)
  teardown(threads.restore)

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
    assert.same({32, 40}, toy.kept_steps(run))
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
    assert.equal(9, toy.kept_steps(run)[2])
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
    assert.same({13}, toy.kept_steps(run))
    assert.equal("stopped at step 13 of 40", outcome.message)
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

  it("refuses old options by their new names, which the known ones are listed by", function()
    for old, new in pairs {calm = "recover_after", give_up = "max_refused"} do
      assert.error_matches(function() trainer {[old] = 3} end,
        ("Trainer: option '%s' is called '%s' now"):format(old, new), 1, true)
    end
    local _, message = pcall(trainer, {stepz = 3})
    assert.matches("known: .*max_refused.*recover_after", message)
    assert.not_matches("calm", message)
  end)
end)
