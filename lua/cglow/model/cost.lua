--- What a model costs: arithmetic and memory, counted from its layers.
-- @module cglow.model.cost
local kinds = require "cglow.model.kinds"

local M = {}

--- Arithmetic of one training step and of one sample, counted from the layers
-- (two flops for each multiply-add; a backward pass counts twice a forward pass).
-- Networks and layers of the user's own count nothing.
-- @tparam Model model
-- @int batch samples in a step
-- @treturn table `train` flops of a step; `sample` flops of one sample of y once
-- x is conditioned; `condition` flops of conditioning one x
function M.flops(model, batch)
  local flow, nets = 0, 0
  for _, layer in ipairs(model.layers) do
    local kind = kinds[layer.kind]
    if type(layer.flow) == "userdata" then flow = flow + kind.madds(layer.flow, layer.shape) end
    if layer.cn and layer.cn == layer.standard_cn then
      nets = nets + kind.network_madds(layer.cn, model.config.x, layer.outputs)
    end
  end
  if model.encoder then nets = nets + model.encoder:madds() end
  return { train = 6 * batch * (flow + nets), sample = 2 * flow, condition = 2 * nets }
end

--- Parameters of a model by the kind of layer that owns them.
-- @tparam Model model
-- @treturn table e.g. {actnorm = n, invconv = n, coupling = n, split = n, prior = n}; with
-- an encoder also `encoder`, with the head and what reads the features
function M.parameters(model)
  local t = {}
  local function add(kind, object)
    for _, p in ipairs(object:parameters()) do t[kind] = (t[kind] or 0) + p.value:count() end
  end
  if model.encoder then add("encoder", model.encoder) end
  for _, layer in ipairs(model.layers) do
    if layer.net then add(layer.kind, layer.net) end
    if layer.kind ~= "squeeze" then add(layer.kind, layer.run) end
  end
  return t
end

return M
