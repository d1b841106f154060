-- Prints the instructions in use, then likelihoods, gradients and samples of small
-- models, for spec/robust/instructions_spec.lua to compare.
local cglow = require "cglow"
local core = require "cglow.core"

cglow.precision(arg[1])
print(core.system.machine().instructions)
for _, side in ipairs { 16, 32 } do
  local rng = cglow.Rng(side)
  local model = cglow.Model { x = { 3, side, side }, y = { 3, side, side }, levels = 2, depth = 2,
    cn = { channels = 10, width = 21 }, coupling = { width = side == 16 and 300 or 44 }, init = "live", rng = rng }
  for _, p in ipairs(model:parameters()) do
    local size = p.value:size()
    size[#size + 1] = rng
    p.value:add(cglow.randn(table.unpack(size)) * 0.02)
  end
  local x, y = cglow.rand(3, 3, side, side, rng), cglow.rand(3, 3, side, side, rng)
  for _, v in ipairs(model:log_prob(x, y):totable()) do print(v / y:count() * 3) end
  model:zero_grad()
  local _, dy = model:loss_and_grad(x, y)
  print(dy:abs():sum())
  for _, p in ipairs(model:parameters()) do print(p.grad:abs():sum()) end
  cglow.seed(side)
  print(model:predict(x, { samples = 2 }):abs():mean())
end
