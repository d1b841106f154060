--- Models that take their start from data, on several ranks: from the samples of all of them,
-- so that the start is what one process with all samples would have made.
-- @module cglow.train.start
local core = require "cglow.core"
local step = require "cglow.train.step"
local stop = require "cglow.train.stop"

local M = {}

local MOST <const> = 64 -- samples; more make the start no better, and all ranks hold them

-- Every rank's tensor of this rank's samples, one after the other.
local function gather(world, t)
  local shape = t:size()
  shape[1] = shape[1] * world.size
  local all = core.zeros(shape)
  world.mpi.igather(t, all):wait()
  return all
end

--- Let a model that has not started take its start from the first batch of all ranks.
-- Gradients count as zero afterwards, and streams of samples and noise are where they were.
-- @param world
-- @param trainer
function M.together(world, trainer)
  local model = trainer.model
  if not model.unstarted then return end
  local shuffle, noise = trainer.shuffle:state(), trainer.noise:state()
  local y, x
  world:attempt(function() y, x = stop.must(step.load_batch(trainer)) end)
  trainer.shuffle:restore(shuffle)
  trainer.noise:set_state(noise)
  world:settle()
  local n = math.max(1, math.min(y:size(1), MOST // world.size))
  y, x = gather(world, y:narrow(1, 1, n)), x and gather(world, x:narrow(1, 1, n))
  local loss, why = model:loss_and_grad(x, y, {cell_width = trainer.options.cell_width})
  if not loss then stop.raise("failed", "the model cannot start: " .. why) end
  model:zero_grad()
end

return M
