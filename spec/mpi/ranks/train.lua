-- A training on the toy problem:  train.lua FOLDER STEPS [WHAT [RANK]]
-- WHAT happens on RANK is in the table below.
local core = require "cglow.core"
local mpi = require "cglow.mpi"
local stop = require "cglow.train.stop"
local toy = require "spec.support.toy"
local train = require "cglow.train"

local folder, steps, what, who = arg[1], tonumber(arg[2]), arg[3] or "nothing", tonumber(arg[4] or 0)
local here = mpi.rank() == who

local data = toy.data(13)
local o = {
  model = toy.model(), train = data, valid = toy.data(7), steps = steps, batch = 2, seed = 5, ema = 0.9,
  optimizer = {lr = 1e-3, clip_norm = 1}, log_every = 3, valid_every = 10, checkpoint_every = 8,
  run = folder, world = mpi, resume = what == "resume",
}

local function at(step, f)
  o.on_step = function(trainer)
    if here and trainer:step_count() == step then f(trainer) end
  end
end

-- Spoil the samples of the sixth batch.
local function spoil(f)
  local batch, calls = data.batch, 0
  function data.batch(self, indices, x, y, ...)
    calls = calls + 1
    local ok, message = batch(self, indices, x, y, ...)
    if here and calls == 6 then return f(y) end
    return ok, message
  end
end

local HAPPENS = {
  nothing = function() end,
  resume = function() end,
  messages = function() o.world = setmetatable({share = false}, {__index = mpi}) end,
  no_memory = function()
    o.world = setmetatable({share = function() return mpi.share(1 << 40) end}, {__index = mpi})
  end,
  other_model = function() o.model = toy.model(3 + mpi.rank()) end,
  -- Twelve samples in all, without noise; the step itself changes nothing.
  start = function()
    o.model = require "cglow".Model {x = {3, 8, 8}, y = {3, 8, 8}, levels = 1, depth = 1, coupling = {width = 8},
      encoder = {channels = {4, 8}}, rng = core.Rng(1)}
    o.batch, o.valid, o.ema, o.optimizer = 12 // mpi.size(), nil, nil, {lr = 0}
    local batch = data.batch
    local no_noise = {fill_uniform = function(_, t) return t:fill(0) end}
    function data.batch(self, indices, x, y) return batch(self, indices, x, y, no_noise) end
  end,
  -- Pairs of files beside FOLDER, which RANK threads of each process read ahead.
  files = function()
    o.train = assert(require "cglow.data".pairs(folder:match "^(.*)/", {x = "x", y = "y", kind = "mask"}))
    o.model = require "cglow".Model {x = {3, 8, 8}, y = {1, 8, 8}, levels = 1, depth = 1, coupling = {width = 4},
      encoder = {channels = {2, 4}}, rng = core.Rng(1)}
    o.valid, o.optimizer, o.read_ahead = nil, {lr = 1e-2}, who
    o.on_step = function() assert((o.train.ahead[1].readers ~= nil) == (who > 0)) end
  end,
  nan = function() spoil(function(y) y:fill(0 / 0) return true end) end,
  missing = function() spoil(function() return nil, "the sample is gone" end) end,
  error = function() at(5, function() error("a callback's mistake") end) end,
  kill = function() at(12, function() os.execute "kill -9 $PPID" end) end,
  signal = function() at(9, function() io.popen("kill -TERM $PPID"):close() end) end,
  ctrl_c = function() -- on mpirun, which is this process's parent
    at(9, function() io.popen("kill -INT $(cut -d' ' -f4 /proc/$PPID/stat)"):close() end)
  end,
  stop = function() at(7, function(trainer) trainer:stop("enough of it") end) end,
  differ = function()
    at(50, function() o.model:parameters()[3].value:add(1e-6) end)
  end,
  disk = function()
    at(4, function(trainer)
      trainer.store.write_log = function() stop.raise("failed", "no room on the disk") end
    end)
  end,
}
HAPPENS[what]()

core.threads(1)
local outcome = train.Trainer(o):run()
print(("rank %d: %s at step %d: %s; nll %.17g; signal %s; weights %08x"):format(mpi.rank(), outcome.reason,
  outcome.step, outcome.message, outcome.valid and outcome.valid.nll or 0 / 0, outcome.signal,
  core.checksum(o.model:parameters())))
