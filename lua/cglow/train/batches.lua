--- Batches of a data set in buffers that are allocated once.
-- @module cglow.train.batches
local core = require "cglow.core"

local Feed = {}
Feed.__index = Feed

local M = {}

local function buffer(batch, like)
  return core.zeros(batch, table.unpack(like:size()))
end

--- @param data data set with `size`, `get` and `batch`
-- @tparam integer batch the most samples at once
-- @raise when there is no first sample, or it cannot be read
function M.new(data, batch)
  if data:size() == 0 then error("Trainer: the data set is empty", 0) end
  local first, message = data:get(1)
  if not first then error("Trainer: " .. message, 0) end
  local self = setmetatable({data = data, batch = batch, indices = {}}, Feed)
  self.x, self.y = buffer(batch, first.x), buffer(batch, first.y)
  return self
end

--- Load the samples that `self.indices` names from 1 to n.
-- @tparam integer n how many; at most the batch size
-- @param rng generator for the data set's random transforms
-- @treturn[1] Tensor x, n×Cx×Hx×Wx; overwritten by the next call
-- @treturn[1] Tensor y, n×C×H×W; overwritten by the next call
-- @treturn[2] nil when a sample cannot be read
-- @treturn[2] string message
function Feed:load(n, rng)
  for i = #self.indices, n + 1, -1 do self.indices[i] = nil end
  local x, y = self.x, self.y
  if n < self.batch then x, y = x:narrow(1, 1, n), y:narrow(1, 1, n) end
  local ok, message = self.data:batch(self.indices, x, y, rng)
  if ok == nil and message then return nil, message end
  return x, y
end

return M
