--- A small model and a small data set for specs of training.
local core = require "cglow.core"
local cglow = require "cglow"
local scratch = require "spec.fixtures.scratch"

local M = {folder = scratch.folder, read = scratch.read}

local Data = {}
Data.__index = Data

function Data:size() return self.count end

-- y is x in another scale plus a constant that depends on the sample.
function Data:get(i)
  local x = core.Rng(1000 + i):uniform(3, 8, 8)
  return {x = x, y = x * 0.5 + i / self.count}
end

function Data:batch(indices, x, y, rng)
  self.noise = self.noise or core.zeros(16, 3, 8, 8)
  for place, i in ipairs(indices) do
    if i == self.missing then return nil, ("sample %d cannot be read"):format(i) end
    local sample = self:get(i)
    x[place], y[place] = sample.x, sample.y
  end
  local noise = self.noise:narrow(1, 1, #indices)
  rng:fill_uniform(noise)
  y:add(noise, 0.1)
  return true
end

--- A data set of `count` samples, 3×8×8 each, with noise in every batch.
function M.data(count) return setmetatable({count = count}, Data) end

--- A conditional Glow of a few thousand parameters.
function M.model(seed)
  return cglow.Model {
    x = {3, 8, 8}, y = {3, 8, 8}, levels = 2, depth = 1,
    cn = {channels = 4, width = 8}, coupling = {width = 8}, rng = core.Rng(seed or 3),
  }
end

--- A trainer on the toy problem.
-- @tparam ?table options replace those below; `valid` = false: no validation
-- @tparam ?table defaults replace them, too, where `options` does not
function M.trainer(options, defaults)
  local o = {
    model = M.model(), train = M.data(7), valid = M.data(3), steps = 40, batch = 2, seed = 5,
    optimizer = {lr = 1e-3, clip_value = 0.25}, log_every = 3, valid_every = 10, checkpoint_every = 8,
    progress = "quiet",
  }
  for _, given in ipairs {defaults or {}, options or {}} do
    for name, value in pairs(given) do o[name] = value end
  end
  o.valid = o.valid or nil
  return require("cglow.train").Trainer(o)
end

--- The steps whose checkpoints a run's folder holds.
function M.kept_steps(path) return require("cglow.run.folder").at(path):steps() end

--- A run's log without the one field that may differ after resuming.
function M.log_of(path) return (M.read(path .. "/log.jsonl"):gsub('"seconds":[%d.]+,', "")) end

--- Two checkpoints hold the same tensors and the same state of a training, but for the time.
function M.assert_same_checkpoints(a, b)
  local assert = require "luassert"
  local safetensors = require "cglow.util.safetensors"
  local ta, ma = assert(safetensors.load(a))
  local tb, mb = assert(safetensors.load(b))
  for name, tensor in pairs(ta) do
    assert.is_true(tensor == tb[name], name .. " differs")
    tb[name] = nil
  end
  assert.is_nil(next(tb))
  local function state(metadata)
    local decoded = require("cglow.util.json").decode(metadata.training)
    decoded.state.at.seconds = nil
    return decoded
  end
  assert.same(state(ma), state(mb))
end

return M
