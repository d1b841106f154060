--- Endless shuffled indices: a new permutation for each epoch.
--
-- The stream is cut into batches without regard to epoch ends, so every batch
-- is full and a data set smaller than a batch works too. Its whole state is
-- where the generator stood when the running epoch was shuffled, and how far
-- the epoch has come: the permutation is drawn again on resuming.
-- @module cglow.train.shuffle
local core = require "cglow.core"

local Shuffle = {}
Shuffle.__index = Shuffle

local M = {}

local function start_epoch(self)
  self.origin = self.rng:state()
  self.order = self.rng:permutation(self.count)
  self.position = 0
end

--- A stream over 1..count.
-- @tparam integer count how many there are
-- @tparam integer seed
-- @treturn Shuffle
function M.new(count, seed)
  local self = setmetatable({count = count, rng = core.Rng(seed), epoch = 0}, Shuffle)
  start_epoch(self)
  return self
end

--- Fill a list with the next indices.
-- @tparam {integer,...} list overwritten from 1 to n
-- @tparam integer n how many
function Shuffle:fill(list, n)
  for i = 1, n do
    if self.position == self.count then
      self.epoch = self.epoch + 1
      start_epoch(self)
    end
    self.position = self.position + 1
    list[i] = self.order[self.position]
  end
end

--- The next indices of this epoch, without taking them.
-- @tparam integer n at most so many
-- @treturn {integer,...}
function Shuffle:upcoming(n)
  return table.move(self.order, self.position + 1, math.min(self.position + n, self.count), 1, {})
end

--- Epochs begun and done so far, as a fraction.
function Shuffle:epochs()
  return self.epoch + self.position / self.count
end

--- What `restore` needs to go on from here.
-- @treturn table strings and integers only
function Shuffle:state()
  return {count = self.count, epoch = self.epoch, position = self.position, origin = self.origin}
end

--- Go on from a saved state.
-- @tparam table state what `state` gave
-- @treturn[1] boolean true
-- @treturn[2] nil when the data set has another size now
-- @treturn[2] string message
function Shuffle:restore(state)
  if state.count ~= self.count then
    return nil, ("the checkpoint was trained on %d samples, the data set has %d now"):format(state.count, self.count)
  end
  self.rng:set_state(state.origin)
  start_epoch(self)
  self.epoch, self.position = state.epoch, state.position
  return true
end

return M
