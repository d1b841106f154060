--- What a recipe may ask of the trainer: schedules, averages of the weights, accumulation,
-- early ends, callbacks, a head's targets, and data that a density can be trained on.
local scratch = require "spec.fixtures.scratch"
local cglow = require "cglow"
local core = require "cglow.core"
local safetensors = require "cglow.util.safetensors"
local threads = require "spec.support.threads"
local toy = require "spec.support.toy"

local function trainer(options)
  return toy.trainer(options, {
    steps = 20, optimizer = {lr = 1e-3, clip_norm = 1}, valid_every = 5, checkpoint_every = 4,
  })
end

-- What a run raises, without the trace that comes after.
local function assert_raises(pattern, f)
  local ok, message = pcall(f)
  assert.is_false(ok)
  assert.matches(pattern, message)
end

local function weights_of(model)
  local weights = {}
  for _, p in ipairs(model:parameters()) do weights[p.name] = p.value:clone() end
  return weights
end

local function assert_same_tensors(a, b)
  for name, t in pairs(a) do assert.is_true(t == b[name], name) end
  for name in pairs(b) do assert.is_not_nil(a[name], name) end
end

describe("a recipe", function()
  local run <const> = scratch.each(before_each, after_each)
  setup(threads.one)
  teardown(threads.restore)

  -- The step sizes of a run, in units of the full one.
  local function step_sizes(options)
    local seen = {}
    options.steps, options.valid = 10, false
    options.on_step = function(self) seen[#seen + 1] = self.optimizer.lr * 1e3 end
    trainer(options):run()
    return seen
  end

  local function assert_near(expected, got)
    assert.equal(#expected, #got)
    for i, v in ipairs(expected) do assert.is_true(math.abs(v - got[i]) < 1e-12, i .. ": " .. got[i]) end
  end

  it("lets the step size fall along a curve, over a share of the steps", function()
    assert_near({1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, step_sizes {schedule = "constant"})
    assert_near({1, 1, 1, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6}, step_sizes {schedule = "linear"})
    assert_near({0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25}, step_sizes {schedule = "linear", warmup = 2, fall = 0.4})
    assert_near({1, 1, 1, 1, 1, 1, 1, 1, 0.75, 0.25}, step_sizes {schedule = "cosine", cooldown = 3})
  end)

  it("takes any function of where the training stands for a schedule", function()
    local stood
    assert_near({0.5, 2, 2, 2, 2, 2, 2, 2, 2, 2}, step_sizes {warmup = 2, schedule = function(status)
      stood = status
      return status.step == 0 and 1 or 2
    end})
    assert.equal(9, stood.step)
    assert.equal(10, stood.steps)
    assert.equal(1e-3, stood.lr)
    assert.is_true(stood.nll > 0 and stood.epoch > 2.5 and stood.seconds > 0)
    assert_raises("'schedule' must give a number from 0 to 1e9, got %-1", function()
      step_sizes {schedule = function() return -1 end}
    end)
  end)

  it("refuses schedules that are none or contradict themselves", function()
    assert_raises("'constant', 'linear', 'cosine', got 'staircase'", function() trainer {schedule = "staircase"} end)
    assert.error_matches(function() trainer {fall = 0.5, cooldown = 3} end, "'fall' and 'cooldown' say one thing twice")
    assert.error_matches(function() trainer {schedule = "constant", fall = 0.5} end, "belong to the schedules")
    assert.error_matches(function() trainer {schedule = print, cooldown = 5} end, "belong to the schedules")
  end)

  it("averages the weights: that is what is validated, saved as the model and loaded", function()
    local model, reference = toy.model(), toy.model()
    local average = cglow.optim.Average(reference:parameters(), {decay = 0.5})
    local validated, given = {}, nil
    local outcome = trainer {
      model = model, ema = 0.5, steps = 10, run = run,
      validate = function(m)
        given = weights_of(m)
        return {}
      end,
      on_step = function(self)
        for i, p in ipairs(reference:parameters()) do p.value:copy(model:parameters()[i].value) end
        average:update()
        if self.at.step % 5 == 0 then validated[self.at.step] = {given, average:state()} end
      end,
    }:run()
    assert.equal("done", outcome.reason)
    for _, step in ipairs {5, 10} do
      local metrics, expected = table.unpack(validated[step])
      if step == 10 then assert_same_tensors(expected, metrics) end
    end
    local final = (average:state())
    for _, name in ipairs {"model", "last"} do
      assert_same_tensors(final, weights_of(cglow.load(("%s/%s.safetensors"):format(run, name))))
    end
    -- the trainer's model has its own weights again
    assert.is_false(weights_of(model)["level.1.step.1.coupling.net.conv1.weight"]
      == final["level.1.step.1.coupling.net.conv1.weight"])
  end)

  for name, options in pairs {
    ["an average of the weights"] = {ema = 0.9}, ["accumulation"] = {accumulate = 3},
    ["weight decay and a falling step size"] = {optimizer = {lr = 1e-3, weight_decay = 0.1}, schedule = "cosine"},
    ["a step size that a callback changes"] = {on_validation = function(self) self:set_lr(self.lr / 2) end},
    ["a best model by another metric"] = {metric = "up", higher = true,
      validate = function(_, data) return {up = data:size()} end},
  } do
    it("goes on bit for bit with " .. name, function()
      local whole, remove_whole = toy.folder()
      finally(remove_whole)
      local function make(o)
        for key, value in pairs(options) do o[key] = value end
        return trainer(o)
      end
      make({run = whole}):run()
      local t = make {run = run, on_step = function(self) if self.at.step == 11 then error("power cut", 0) end end}
      t.store.save_checkpoint = (function(save)
        return function(store, self, ...) if self.at.step ~= 11 then return save(store, self, ...) end end
      end)(t.store.save_checkpoint) -- as when the power is really gone
      assert.has_error(function() t:run() end)
      make({run = run, resume = true, model = toy.model(99)}):run()
      for _, file in ipairs {"last", "best", "model"} do
        local a, b = ("%s/%s.safetensors"):format(whole, file), ("%s/%s.safetensors"):format(run, file)
        assert_same_tensors(assert(safetensors.load(a)), assert(safetensors.load(b)))
      end
    end)
  end

  it("is not changed on the way", function()
    trainer {run = run, ema = 0.9, steps = 4}:run()
    local function message(o)
      o.run, o.resume = run, true
      return trainer(o):run().message
    end
    assert.matches("the run was started with ema 0.9, not absent", message {})
    assert.matches("started with ema 0.9, not 0.5", message {ema = 0.5})
    assert.matches("started with accumulate 1, not 2", message {ema = 0.9, accumulate = 2})
    assert.matches("started with metric nll, not iou", message {ema = 0.9, metric = "iou"})
  end)

  it("steps by the mean gradient of the batches that it accumulates", function()
    -- Gradients of a sum over the batch: two of 2 and one of 4 are the same but for rounding.
    local data = {}
    for _, batch in ipairs {2, 4} do
      local model = toy.model()
      local set = cglow.data.Dataset {size = 4, get = function(i)
        local x = core.Rng(i):uniform(3, 8, 8)
        return {x = x, y = x * 0.5 + i / 4}
      end}
      trainer {model = model, train = set, valid = false, batch = batch, accumulate = 4 // batch, steps = 1,
        optimizer = cglow.optim.SGD(model:parameters(), {lr = 1e-2})}:run()
      data[batch] = weights_of(model)
    end
    local start, moved, apart = weights_of(toy.model()), 0, 0
    for name, t in pairs(data[2]) do
      moved = math.max(moved, ((t - start[name]):abs():max()))
      apart = math.max(apart, ((t - data[4][name]):abs():max()))
    end
    assert.is_true(moved > 1e-4)
    assert.is_true(apart < 1e-3 * moved) -- measured: 7e-9 of 4e-4, a rounding of values near 0.3
  end)

  it("ends when its function says so, with everything saved", function()
    local outcome = trainer {run = run, stop = function(status) return status.step == 7 and "enough" end}:run()
    assert.equal("stopped", outcome.reason)
    assert.equal("stopped at step 7: enough", outcome.message)
    assert.equal(run .. "/checkpoints/step-00000007.safetensors", outcome.checkpoint)
    assert.is_truthy(cglow.load(run .. "/model.safetensors"))
    assert.equal("done", trainer {run = run, resume = true}:run().reason)
  end)

  it("ends when a callback says so", function()
    local outcome = trainer {on_step = function(self) if self:step_count() == 3 then self:stop() end end}:run()
    assert.equal("stopped at step 3: as it was told to", outcome.message)
    outcome = trainer {on_validation = function(self, metrics) self:stop(("nll %d"):format(metrics.nll * 0)) end}:run()
    assert.equal("stopped at step 5: nll 0", outcome.message)
  end)

  it("ends when the metric has not become better for a while", function()
    local values = {3, 4, 5, 4, 5, 6}
    local function outcome(o)
      local n = 0
      o.steps, o.valid_every, o.patience, o.metric, o.run = 12, 1, 2, "height", run .. "/" .. tostring(o):sub(-6)
      o.validate = function()
        n = n + 1
        return {height = values[n]}
      end
      return trainer(o):run()
    end
    local high = outcome {higher = true}
    assert.equal("stopped at step 5: no better height in 2 validations; the best was 5 at step 3", high.message)
    assert.same({3, 5.0}, {high.best.step, high.best.value})
    local low = outcome {higher = false}
    assert.equal("stopped at step 3: no better height in 2 validations; the best was 3 at step 1", low.message)
    assert_raises("'metric': the validation gives nll .*, and no 'iou'", function() trainer {metric = "iou"}:run() end)
    assert.error_matches(function() trainer {patience = 1, valid = false} end, "'patience' needs 'valid'")
  end)

  it("saves the last whole step when a sample cannot be read or a callback fails", function()
    local whole, remove_whole = toy.folder()
    finally(remove_whole)
    trainer {run = whole}:run()
    local data = toy.data(7)
    local batch, calls = data.batch, 0
    function data:batch(...)
      calls = calls + 1
      if calls == 7 then return nil, "the disk is gone" end
      return batch(self, ...)
    end
    local outcome = trainer {run = run, train = data}:run()
    assert.same({"failed", "the disk is gone", 6}, {outcome.reason, outcome.message, outcome.step})
    assert.equal(run .. "/checkpoints/step-00000006.safetensors", outcome.checkpoint)
    assert_raises("oops", function()
      trainer {run = run, resume = true, on_step = function(self) if self.at.step == 9 then error "oops" end end}:run()
    end)
    assert.equal(9, select(2, require "cglow.run.folder".at(run):newest()))
    assert.equal("done", trainer {run = run, resume = true}:run().reason)
    assert_same_tensors(assert(safetensors.load(whole .. "/last.safetensors")),
      assert(safetensors.load(run .. "/last.safetensors")))
  end)

  it("trains plain Glow, whether or not the samples have an x", function()
    for _, with_x in ipairs {false, true} do
      local data = cglow.data.Dataset {size = 5, random = true, get = function(i, rng)
        return {x = with_x and core.zeros(1, 8, 8) or nil, y = rng:normal(1, 8, 8) * 0.2 + i}
      end}
      local model = cglow.Glow {y = {1, 8, 8}, levels = 2, depth = 2, coupling = {width = 8}, rng = core.Rng(1)}
      local outcome = trainer {model = model, train = data, valid = data, steps = 60}:run()
      assert.equal("done", outcome.reason)
      -- measured: 5.2 at the start, 3.2 after 60 steps
      assert.is_true(outcome.valid.nll < 4.5, outcome.valid.nll)
    end
    assert_raises("the model takes an x, the data set's samples have none", function()
      trainer {train = cglow.data.Dataset {size = 2, get = function() return {y = core.ones(3, 8, 8)} end}}
    end)
  end)

  it("lets no rotation and no prior shrink with the weights", function()
    for _, o in ipairs {
      {y = {1, 8, 8}, levels = 2, depth = 1, coupling = {width = 4}, learned_prior = true},
      {x = {1, 8, 8}, y = {1, 8, 8}, levels = 2, depth = 1, encoder = {channels = {2, 2, 2}}, coupling = {width = 4}},
    } do
      o.rng = core.Rng(1)
      local model, decays, kept = cglow.Model(o), {}, 0
      for _, group in ipairs(model:parameter_groups()) do
        for _, p in ipairs(group.params) do decays[p.name] = group.decay end
      end
      for _, p in ipairs(model:parameters()) do
        local whole = p.name:find "invconv.weight" or p.name:find "^prior"
        assert.equal(whole and 0 or 1, decays[p.name], p.name)
        kept = kept + (whole and 1 or 0)
      end
      assert.is_true(kept >= 3)
    end
  end)

  it("leaves its curves as a table", function()
    trainer {run = run, steps = 6, log_every = 2, valid_every = 3, validate = function(m)
      return {iou = 0.5, ["a,b"] = m:parameter_count()}
    end}:run()
    local lines = {}
    for line in io.lines(run .. "/curves.csv") do lines[#lines + 1] = line end
    assert.equal('step,seconds,epoch,lr,nll,"valid.a,b",valid.iou,valid.nll', lines[1])
    local count = toy.model():parameter_count()
    assert.matches("^2,[%d.]+,0.571428571,0.001,[%d.]+,,,$", lines[2])
    assert.matches("^3,[%d.]+,,,," .. count .. ",0.5,[%d.]+$", lines[3])
    assert.equal(6, #lines) -- steps 2, 4 and 6, validations at 3 and 6, and the names
  end)

  describe("of discrete data", function()
    local function masks(info)
      return cglow.data.Dataset {size = 6, info = info, get = function(i)
        local x = core.Rng(i):uniform(3, 8, 8)
        return {x = x, y = x:gt(0.5)}
      end}
    end

    -- Values of y that a step was made with.
    local function trained_on(set)
      local model, seen = toy.model(), nil
      local real = model.loss_and_grad
      function model:loss_and_grad(x, y, o)
        seen = y:clone()
        return real(self, x, y, o)
      end
      trainer {model = model, train = set, valid = set, steps = 1}:run()
      return seen
    end

    local function has_noise(y) return (y - y:round()):abs():max() > 0.1 end

    it("adds the noise that the set has not", function()
      assert.is_true(has_noise(trained_on(masks {cell_width = 1})))
    end)

    it("adds none to a set that has it", function()
      local y = trained_on(masks({cell_width = 1}):dequantise())
      assert.is_true(y:min() >= -0.5 and y:max() < 1.5 and has_noise(y))
      local own = masks({cell_width = 1}):map(function(s) return {x = s.x, y = s.y + 0.25} end, {dequantised = true})
      assert.is_true((trained_on(own):totable()[1] - 0.25) % 1 == 0)
    end)

    it("refuses values that nothing was said of", function()
      assert_raises("'train': y is discrete .* info = {cell_width = …}", function() trained_on(masks()) end)
      local bytes = masks():map(function(s) return {x = s.x, y = (s.x * 255):round() / 255} end)
      assert_raises("y is discrete", function() trained_on(bytes) end)
      -- in large units single precision has no fractions at all, which makes nothing discrete
      local large = cglow.data.Dataset {size = 2, get = function(i)
        return {x = core.Rng(i):uniform(3, 8, 8), y = core.Rng(i):uniform(3, 8, 8) * 1e9}
      end}
      assert.is_true(trained_on(large):max() > 1e8)
      assert_raises("'valid': y is discrete", function() trainer {valid = masks()} end)
    end)

    it("leaves models with a loss of their own what there is", function()
      local seg = cglow.feedforward.Segmenter {x = {3, 8, 8}, classes = 3, channels = 4, depth = 1}
      assert.equal("done", trainer {model = seg, train = masks(), valid = masks(), steps = 2}:run().reason)
    end)
  end)

  describe("for a head", function()
    it("makes targets of the y without noise, and hands on target and weight", function()
      local set = cglow.data.Dataset {size = 6, info = {cell_width = 1}, get = function(i)
        local x = core.Rng(i):uniform(3, 8, 8)
        return {x = x, y = x:gt(0.5)}
      end}
      local model, seen = toy.model(), {}
      local real = model.loss_and_grad
      function model:loss_and_grad(x, y, o)
        seen[#seen + 1] = {target = o.head:clone(), weight = o.head_weight, y = y:clone()}
        return real(self, x, y, {cell_width = o.cell_width})
      end
      trainer {model = model, train = set, valid = false, steps = 3, head = {
        target = function(sample) return sample.y:narrow(1, 1, 1) end,
        weight = function(status) return 1 / (1 + status.step) end,
      }}:run()
      for step, s in ipairs(seen) do
        assert.equal(1 / step, s.weight)
        assert.same({2, 1, 8, 8}, s.target:size())
        local first = core.stack {s.y[1][1], s.y[2][1]}
        assert.is_true((first - s.target:reshape(2, 8, 8)):abs():max() <= 0.5)
      end
      assert_raises("'head.weight' must give a number from 0 on, got nil", function()
        local head = {target = function(s) return s.y end, weight = function() end}
        trainer {model = model, train = set, valid = false, head = head}:run()
      end)
    end)
  end)
end)
