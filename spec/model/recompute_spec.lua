-- recompute = true: the same bits with less memory.
local cglow = require "cglow"
local core = require "cglow.core"

describe("recompute", function()
  local function gradients(recompute, with)
    cglow.seed(3)
    -- Large enough for squares of pixels in level 1 (coupling.h), too small in level 2.
    local opts = {
      x = { 3, 32, 16 }, y = { 3, 32, 16 }, levels = 2, depth = 3, coupling = { width = 16 }, recompute = recompute,
    }
    for key, value in pairs(with) do opts[key] = value end
    local model = cglow.Model(opts)
    local rng = core.Rng(4)
    for _, p in ipairs(model:parameters()) do p.value:add(rng:normal(p.value:size()), 0.02) end
    local x, y = rng:uniform(3, 3, 32, 16), rng:uniform(3, 3, 32, 16)
    model:zero_grad()
    local loss, dy = model:loss_and_grad(x, y)
    return model, loss, dy:clone()
  end

  for what, with in pairs {
    ["networks of each layer"] = { cn = { channels = 4, width = 8 } },
    ["an encoder"] = { encoder = { channels = { 4, 5, 6 } } },
  } do
    it("changes no bit of loss or gradients with " .. what, function()
      local plain, loss, dy = gradients(false, with)
      local lean, lean_loss, lean_dy = gradients(true, with)
      assert.equal(loss, lean_loss)
      assert.is_true(dy == lean_dy)
      local other = lean:parameters()
      for i, p in ipairs(plain:parameters()) do assert.is_true(p.grad == other[i].grad, p.name) end
    end)
  end
end)
