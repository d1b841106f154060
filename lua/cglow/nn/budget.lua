--- Layers made within a budget of numbers: a few bytes of a file's configuration must
-- not take gigabytes.
--
-- A budget goes by hand from whoever reads the file to whoever makes the layers, so it
-- holds for these alone: not for what a user's function, another coroutine or a
-- finalizer makes meanwhile. Where one is expected, nil stands for any number.
-- @module cglow.nn.budget
local core = require "cglow.core"
local nn = require "cglow.nn"

local M = {}

local Budget = {}
Budget.__index = Budget

--- A budget.
-- @int n so many numbers in all
-- @treturn Budget
function M.of(n) return setmetatable({ left = n }, Budget) end

--- Take the numbers of a tensor off a budget.
-- @tparam ?Budget budget
-- @param ... the tensor's sizes
-- @raise when they are more than are left
function M.take(budget, ...)
  if not budget then return end
  local count = 1.0 -- no product of sizes overflows
  for _, size in ipairs { ... } do count = count * size end
  if count > budget.left then
    error(("a parameter of shape %s is more than the %d numbers that are left"):format(
      table.concat({ ... }, "x"), budget.left), 0)
  end
  budget.left = budget.left - math.tointeger(count)
end

-- Whoever makes a layer within a budget starts it by rules of its own, or fills it from a file.
local function blank(opts)
  opts.init = "zero"
  return opts
end

--- `nn.Conv2d`, not started, with a square kernel.
-- @tparam ?Budget budget
-- @tparam table opts
-- @treturn Net
function M.conv2d(budget, opts)
  local kernel = opts.kernel or 3
  M.take(budget, opts.out_channels, opts.in_channels, kernel, kernel)
  M.take(budget, opts.out_channels)
  return nn.Conv2d(blank(opts))
end

--- A U-Net (csrc/nn/unet.h).
-- @tparam ?Budget budget
-- @int inputs channels of x
-- @tparam {int,...} channels at 1, 1/2, 1/4 … of x's sides
-- @int finest the first of these scales that it makes features of
-- @treturn UNet
function M.unet(budget, inputs, channels, finest)
  local function conv(from, to)
    M.take(budget, to, from, 3, 3)
    M.take(budget, to)
  end
  conv(inputs, channels[1])
  for s, c in ipairs(channels) do
    if s > 1 then conv(channels[s - 1], c) end
    local up = s >= finest and s < #channels
    for _ = 1, up and 4 or 2 do conv(c, c) end
    if up then conv(channels[s + 1] + c, c) end
  end
  return core.net.unet(inputs, channels, finest)
end

--- `nn.RConv`, not started.
-- @tparam ?Budget budget
-- @tparam table opts
-- @treturn Net
function M.rconv(budget, opts)
  local kernel = {}
  for i = 1, 2 do
    local from, to = opts.from[i], opts.to[i]
    kernel[i] = from - (to - 1) * (from // to)
  end
  M.take(budget, opts.out_channels, opts.in_channels, kernel[1], kernel[2])
  M.take(budget, opts.out_channels)
  return nn.RConv(blank(opts))
end

--- `nn.Linear`, not started.
-- @tparam ?Budget budget
-- @tparam table opts
-- @treturn Net
function M.linear(budget, opts)
  M.take(budget, opts.out_features, opts.in_features)
  M.take(budget, opts.out_features)
  return nn.Linear(blank(opts))
end

return M
