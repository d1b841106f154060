--- The walk over the layers of a flow: up, from y to the latents, or down, from
-- them to y. All that a model does with its layers one after another is a walk.
--
-- The visitors are a table with a function for each role of a layer ("squeeze",
-- "part", "split", "prior"; see `cglow.model.kinds`). Each is called with a layer,
-- what the one before returned, and `state`, which is the walk's own.
-- @module cglow.model.walk
local kinds = require "cglow.model.kinds"

local M = {}

--- Up: layer by layer, from the first squeeze to the prior.
-- @tparam {table,...} layers
-- @param z what the first visitor is given
-- @tparam {[string]=function} visitors
-- @param state passed on to each
-- @return what the last visitor returned; nil, and no further visit, once one returns nil
function M.up(layers, z, visitors, state)
  for _, layer in ipairs(layers) do
    z = visitors[kinds[layer.kind].role](layer, z, state)
    if z == nil then return nil end
  end
  return z
end

--- Down: layer by layer, from the prior to the first squeeze.
-- @tparam {table,...} layers
-- @param z what the first visitor is given, the prior's
-- @tparam {[string]=function} visitors
-- @param state passed on to each
-- @return what the last visitor returned
function M.down(layers, z, visitors, state)
  for i = #layers, 1, -1 do
    local layer = layers[i]
    z = visitors[kinds[layer.kind].role](layer, z, state)
  end
  return z
end

return M
