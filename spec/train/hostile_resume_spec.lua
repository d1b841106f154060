--- Checkpoints whose checksums are right and whose training state or moments are not:
-- resuming refuses them with a reason, or can do with them. Never an error.
local core = require "cglow.core"
local json = require "cglow.util.json"
local mutate = require "spec.support.mutate"
local safetensors = require "cglow.util.safetensors"
local scratch = require "spec.fixtures.scratch"
local toy = require "spec.support.toy"

describe("resuming from a checkpoint", function()
  local folder, remove, run, path, log, tensors, metadata

  local function trainer(steps, resume)
    return toy.trainer {
      model = toy.model(3), train = toy.data(5), valid = toy.data(2), steps = steps, optimizer = {}, log_every = 1,
      ema = 0.9, valid_every = 3, checkpoint_every = 2, keep = 2, run = run, resume = resume,
    }
  end

  setup(function()
    core.threads(1)
    folder, remove = toy.folder()
    run = folder .. "/run"
    assert(trainer(4):run().reason == "done")
    path, log = run .. "/checkpoints/step-00000004.safetensors", toy.read(run .. "/log.jsonl")
    tensors, metadata = assert(safetensors.load(path))
  end)
  teardown(function() remove() end)

  -- Go on for a step from a checkpoint with this in it.
  local function resume(with_tensors, with_metadata, label)
    assert(safetensors.save(path, with_tensors, with_metadata))
    scratch.write(run .. "/log.jsonl", log)
    local ok, outcome = pcall(function() return trainer(5, true):run() end)
    os.remove(run .. "/checkpoints/step-00000005.safetensors")
    assert.is_true(ok, label .. ": " .. tostring(outcome))
    assert.is_truthy(outcome.reason == "done" or outcome.reason == "failed", label)
    assert.is_true(outcome.reason == "done" or #outcome.message > 0, label)
    return outcome
  end

  local function refused(with_tensors, with_metadata, label, why)
    local outcome = resume(with_tensors, with_metadata, label)
    assert.equal("failed", outcome.reason, label)
    assert.is_truthy(outcome.message:find(why, 1, true), label .. ": " .. outcome.message)
  end

  -- A copy of the training state with one field changed.
  local function changed(training, field, value)
    local notes = mutate.copy(metadata)
    notes.training = json.encode(mutate.with(training, field, value))
    return notes
  end

  it("of which nothing was changed goes on", function()
    assert.equal("done", resume(tensors, metadata, "as it was").reason)
  end)

  -- What a field may be left without: there is no best model before a validation, and runs
  -- were made before there was anything to say of accumulation and metric.
  local OPTIONAL = {["state.accumulate"] = true, ["state.metric"] = true, ["state.at.best_value"] = true,
                    ["state.at.stale"] = true,
                    ["state.at.best_nll"] = true, ["state.at.best_step"] = true, ["state.at.valid"] = true,
                    ["state.at.valid.nll"] = true}

  it("of which any field of the training state is missing or of another type", function()
    local training = json.decode(metadata.training)
    local fields = mutate.fields(training)
    assert.is_true(#fields > 20)
    for _, field in ipairs(fields) do
      local name, own = table.concat(field, "."), training
      for _, key in ipairs(field) do own = own[key] end
      for _, value in ipairs {"", "x", true, {1}, type(own) == "string" and 7 or "7"} do
        local notes = changed(training, field, value)
        if type(own) == "table" and type(value) == "table" then
          resume(tensors, notes, name)
        else
          refused(tensors, notes, ("%s = %s"):format(name, value), field[#field])
        end
      end
      if not OPTIONAL[name] then refused(tensors, changed(training, field, nil), name .. " = nil", field[#field]) end
    end
  end)

  it("of which any number of the training state is absurd", function()
    local training = json.decode(metadata.training)
    for _, field in ipairs(mutate.fields(training)) do
      for _, value in ipairs {0, -1, 0.5, 1e300, -1e300, math.maxinteger, math.mininteger} do
        resume(tensors, changed(training, field, value), ("%s = %s"):format(table.concat(field, "."), value))
      end
    end
    for name, value in pairs {step = -1, seconds = 1e300, weight = -1, count = 0.5} do
      refused(tensors, changed(training, {"state", "at", name}, value), name, name)
    end
    refused(tensors, changed(training, {"state", "at", "step"}, 3), "another step", "step 3, not 4")
    refused(tensors, changed(training, {"state", "shuffle", "position"}, 6), "beyond the epoch", "position")
    refused(tensors, changed(training, {"state", "policy", "halvings"}, -1), "halvings", "halvings")
  end)

  it("of which the moments are missing, misshapen or not finite", function()
    local name = "optimizer.level.1.step.1.coupling.net.conv1.weight.v"
    local function with(tensor)
      local t = {}
      for key, value in pairs(tensors) do t[key] = value end
      t[name] = tensor
      return t
    end
    assert(tensors[name])
    refused(with(nil), metadata, "missing", "lacks 'level.1.step.1.coupling.net.conv1.weight.v'")
    refused(with(core.zeros(3)), metadata, "misshapen", "has shape 3, expected")
    for _, value in ipairs {0 / 0, math.huge} do
      refused(with(core.full(tensors[name]:size(), value)), metadata, "not finite", "is not finite")
    end
    refused(with(core.full(tensors[name]:size(), -1)), metadata, "negative squares", "is negative")
  end)

  it("of which a weight is not finite", function()
    local name = "level.1.step.1.coupling.net.conv1.weight"
    local t = {}
    for key, value in pairs(tensors) do t[key] = value end
    t[name] = core.full(tensors[name]:size(), 0 / 0)
    refused(t, metadata, "NaN", name .. "' is not finite")
  end)

  it("of which the training state is no state at all", function()
    for _, text in ipairs {"", "null", "[]", "{}", "7", '"x"', "{", '{"optimizer_steps":4}'} do
      local notes = mutate.copy(metadata)
      notes.training = text
      local outcome = resume(tensors, notes, text)
      assert.equal("failed", outcome.reason, text)
    end
  end)
end)
