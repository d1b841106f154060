--- The average of a model's weights during a training: what is validated, and what the
-- files of a run hold under the names of the parameters.
-- @module cglow.train.averaging
local optim = require "cglow.optim"

local Averaging = {}
Averaging.__index = Averaging

local M = {}

--- @param model
-- @tparam ?number decay what a step keeps of the average; nil: there is no average
function M.new(model, decay)
  return setmetatable({average = decay and optim.Average(model:parameters(), {decay = decay})}, Averaging)
end

--- Note a step that was made.
function Averaging:update()
  if self.average then self.average:update() end
end

local Exchanged = {}
Exchanged.__index = Exchanged

--- Give the model its own weights back; a second time does nothing.
function Exchanged:close()
  if self.average then self.average:swap() end
  self.average = nil
end

Exchanged.__close = Exchanged.close

--- Let the model have the average until the result is closed.
-- @return to be closed; nil when there is no average
function Averaging:exchange()
  if not self.average then return nil end
  self.average:swap()
  return setmetatable({average = self.average}, Exchanged)
end

--- What a checkpoint keeps while the model has the average: the trained weights.
-- @treturn {[string]=Tensor} by name of the parameter
-- @treturn ?integer updates made; nil when there is no average
function Averaging:trained()
  if not self.average then return {} end
  return self.average:state()
end

--- Go on from a checkpoint.
-- @tparam {[string]=Tensor} tensors the averages
-- @tparam ?integer updates
-- @treturn[1] boolean true
-- @treturn[2] nil when they do not fit
-- @treturn[2] string message
function Averaging:restore(tensors, updates)
  if not self.average then return true end
  if not updates then return nil, "average_updates is missing, so there is no average of the weights" end
  return self.average:set_state(tensors, updates)
end

return M
