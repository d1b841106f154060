--- What a model costs: arithmetic and memory, counted from its layers.
-- @module cglow.model.cost
local M = {}

-- Multiply-adds of a network in C on one sample, read off its weights and the
-- shapes that they see. Layers without weights count nothing.
local function net_madds(spec)
  local c, h, w = spec.x[1], spec.x[2], spec.x[3]
  if spec.kind == "coupling" then
    local k, oh, ow = spec.outputs[1], spec.outputs[2], spec.outputs[3]
    local kh, kw = h - (oh - 1) * (h // oh), w - (ow - 1) * (w // ow)
    return 16 * c * 9 * h * w + k * 16 * kh * kw * oh * ow + k * k * 9 * oh * ow
  end
  local n, width, total = spec.channels, spec.width, 0
  local from = { c, h, w }
  for _, d in ipairs { 2, 4, 8 } do
    local oh, ow = h // d, w // d
    local kh, kw = from[2] - (oh - 1) * (from[2] // oh), from[3] - (ow - 1) * (from[3] // ow)
    total = total + n * from[1] * kh * kw * oh * ow
    from = { n, oh, ow }
  end
  return total + n * from[2] * from[3] * width + width * width + width * spec.outputs
end

--- Arithmetic of one training step and of one sample, from the configuration
-- (standard networks; two flops for each multiply-add; a backward pass counts
-- twice a forward pass).
-- @tparam table config as `model.config`
-- @int batch samples in a step
-- @treturn table `train` flops of a step; `sample` flops of one sample of y once
-- x is conditioned; `condition` flops of conditioning one x
function M.flops(config, batch)
  local c, h, w = config.y[1], config.y[2], config.y[3]
  local flow, nets = 0, 0
  for level = 1, config.levels do
    c, h, w = c * 4, h // 2, w // 2
    local width, half = config.coupling.width, c // 2
    local inputs = config.x and c or half
    local step = h * w * (c * c + width * 9 * inputs + width * width + 9 * c * width)
    flow = flow + config.depth * step
    if config.x then
      local spec = { x = config.x, channels = config.cn.channels, width = config.cn.width }
      spec.outputs = 2 * c
      local actnorm = net_madds(spec)
      spec.outputs = c * c
      local invconv = net_madds(spec)
      spec.kind, spec.outputs = "coupling", { half, h, w }
      nets = nets + config.depth * (actnorm + invconv + net_madds(spec))
    end
    if level < config.levels then
      flow = flow + h * w * 9 * half * c
      c = half
    end
  end
  return { train = 6 * batch * (flow + nets), sample = 2 * flow, condition = 2 * nets }
end

--- Parameters of a model by the kind of layer that owns them.
-- @tparam Model model
-- @treturn table e.g. {actnorm = n, invconv = n, coupling = n, split = n, prior = n}
function M.parameters(model)
  local t = {}
  for _, p in ipairs(model:parameters()) do
    local kind = p.name:match("step%.%d+%.(%a+)") or p.name:match("%.(split)%.") or "prior"
    t[kind] = (t[kind] or 0) + p.value:count()
  end
  return t
end

return M
