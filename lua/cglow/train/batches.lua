--- Batches of a data set in buffers that are allocated once.
-- @module cglow.train.batches
local core = require "cglow.core"
local notice = require "cglow.util.notice"

local Batches = {}
Batches.__index = Batches

local M = {}

--- Batches that are read ahead while one is computed.
M.AHEAD = 2

local function buffer(batch, like)
  return core.zeros(batch, table.unpack(like:size()))
end

-- The first sample that is not left out.
local function first_of(data)
  for i = 1, data:size() do
    local sample, message, skip = data:get(i)
    if sample or not skip then return sample, message end
  end
  return nil, ("none of %d samples can be used"):format(data:size())
end

--- @param data data set with `size`, `get` and `batch`
-- @tparam integer batch the most samples at once
-- @tparam[opt] table o `takes_x` = true: false for a model without a condition;
-- `target` = false: load the samples' field of this name, too
-- @raise when there is no first sample, or it cannot be read
function M.new(data, batch, o)
  if data:size() == 0 then error("Trainer: the data set is empty", 0) end
  local first, message = first_of(data)
  if not first then error("Trainer: " .. message, 0) end
  o = o or {}
  local self = setmetatable({data = data, batch = batch, indices = {}, takes_x = o.takes_x ~= false}, Batches)
  if self.takes_x and not first.x then error("Trainer: the model takes an x, the data set's samples have none", 0) end
  self.x, self.y = first.x and buffer(batch, first.x), buffer(batch, first.y)
  self.more = o.target and {target = buffer(batch, first.target)} or nil
  return self
end

-- The first n of a buffer, which may be missing.
local function part(t, n, all)
  if not t or n == all then return t or nil end
  return t:narrow(1, 1, n)
end

--- Load the samples that `self.indices` names from 1 to n.
-- @tparam integer n how many; at most the batch size
-- @param rng generator for the data set's random transforms
-- @treturn[1] Tensor y, n×C×H×W; overwritten by the next call
-- @treturn[1] ?Tensor x, n×Cx×Hx×Wx, if the model takes it; overwritten by the next call
-- @treturn[1] ?Tensor target, likewise, if it was asked for
-- @treturn[2] nil when a sample cannot be read
-- @treturn[2] string message
function Batches:load(n, rng)
  for i = #self.indices, n + 1, -1 do self.indices[i] = nil end
  local x, y = part(self.x, n, self.batch), part(self.y, n, self.batch)
  local target = self.more and part(self.more.target, n, self.batch)
  local ok, message = self.data:batch(self.indices, x, y, rng, target and {target = target})
  if ok == nil and message then return nil, message end
  return y, self.takes_x and x or nil, target or nil
end

--- Start threads that read ahead, and tell a person where the data set's samples cannot be.
-- @tparam integer threads 0: none
-- @treturn ?table to be closed
function Batches:read_ahead(threads)
  local data = self.data
  if threads == 0 then return nil end
  local reading = data.read_ahead and data:read_ahead(threads, (1 + M.AHEAD) * self.batch + threads)
  if not reading then notice.notify "read_ahead makes no difference: no thread can read this data set beforehand" end
  return reading
end

--- Announce the samples of this batch, which `self.indices` names, and those that come after it.
-- @tparam {integer,...} upcoming
function Batches:expect(upcoming)
  if not self.data.expect then return end
  self.data:expect(self.indices)
  self.data:expect(upcoming)
end

return M
