-- Prints the instructions in use, then likelihoods, gradients and samples of small
-- models, for spec/robust/instructions_spec.lua to compare.
local cglow = require "cglow"
local core = require "cglow.core"

cglow.precision(arg[1])
print(core.system.machine().instructions)
-- More factors than are rounded at a time: of hidden layers, and of patches.
local wide, many = { side = 16, y = 3, depth = 2, width = 300 }, { side = 64, y = 6, depth = 1, width = 44, levels = 3 }
for _, o in ipairs { wide, { side = 32, y = 3, depth = 2, width = 44 }, many } do
  local side = o.side
  local rng = cglow.Rng(side)
  local model = cglow.Model { x = { 3, side, side }, y = { o.y, side, side }, levels = o.levels or 2, depth = o.depth,
    cn = { channels = 10, width = 21 }, coupling = { width = o.width }, init = "live", rng = rng }
  for _, p in ipairs(model:parameters()) do
    local size = p.value:size()
    size[#size + 1] = rng
    p.value:add(cglow.randn(table.unpack(size)) * 0.02)
  end
  local x, y = cglow.rand(3, 3, side, side, rng), cglow.rand(3, o.y, side, side, rng)
  for _, v in ipairs(model:log_prob(x, y):totable()) do print(v / y:count() * 3) end
  model:zero_grad()
  local _, dy = model:loss_and_grad(x, y)
  print(dy:abs():sum())
  for _, p in ipairs(model:parameters()) do print(p.grad:abs():sum()) end
  cglow.seed(side)
  print(model:predict(x, { samples = 2 }):abs():mean())
end
