-- Specs of a core against the golden vectors of spec/oracle: the same examples
-- for the float and the double core, which differ in the tolerances.
local busted = require "busted"
local core = require "cglow.core"
local cglow = require "cglow"
local assert = require "luassert"
local lfs = require "lfs"
local numeric = require "spec.support.numeric"

local describe, it, setup, teardown = busted.describe, busted.it, busted.setup, busted.teardown

local M = {}

local FOLDER = "spec/golden/"

--- Names of the golden files, sorted.
function M.names()
  local names = {}
  for file in lfs.dir(FOLDER) do
    names[#names + 1] = file:match("^(.*)%.safetensors$")
  end
  table.sort(names)
  return names
end

-- The gradient with respect to x is no part of the model's interface: it is
-- summed here from the networks that read x, each given what the flow left as
-- gradient of its output.
local function gradient_x(model, x)
  if model.encoder then return model.encoder.net:backward(model.encoder.grads, true) end
  local sum = x:clone():fill(0)
  for i, layer in ipairs(model.layers) do
    if layer.cn then
      local dcond = model.condition_grads[i]:clone()
      layer.cn:forward(x)
      sum:add(layer.cn:backward(dcond))
    end
  end
  return sum
end

local function numbered(tensors, prefix)
  local list = {}
  while tensors[prefix .. #list + 1] do list[#list + 1] = tensors[prefix .. #list + 1] end
  return list
end

--- Define the examples. tol: `logp` (relative), `grad`, `latent`, `decode`
-- (largest difference over the tensor's largest number).
function M.define(tol)
  for _, name in ipairs(M.names()) do
    describe("golden " .. name, function()
      local model, t, x, y
      local threads = core.threads()
      teardown(function() core.threads(threads) end)
      setup(function()
        core.threads(1) -- the quickest for layers this small
        model, t = assert(cglow.load(FOLDER .. name .. ".safetensors"))
        x, y = t["input.x"], t["input.y"]
      end)

      local function close(what, got, want, limit)
        local e = numeric.relative_to_max(got, want)
        assert.is_true(e <= limit, ("%s: off by %.2e of its largest number"):format(what, e))
      end

      it("has every parameter under the oracle's name", function()
        local seen = {}
        for _, p in ipairs(model:parameters()) do
          seen[p.name] = true
          assert.is_truthy(t["grad." .. p.name], p.name)
        end
        for key in pairs(t) do
          local of = key:match("^grad%.(.+)$")
          if of and of ~= "x" and of ~= "y" then assert.is_true(seen[of], of) end
        end
      end)

      it("agrees on log p of each sample and on the latents", function()
        local logp, latents = model:log_prob(x, y)
        for n, want in ipairs(t["output.logp"]:totable()) do
          assert.is_true(math.abs(logp[n] - want) <= tol.logp * math.abs(want),
            ("sample %d: %.9g, not %.9g"):format(n, logp[n], want))
        end
        assert.equal(#numbered(t, "latent."), #latents)
        for l, z in ipairs(latents) do close("latent " .. l, z, t["latent." .. l], tol.latent) end
      end)

      it("agrees on the loss and on every gradient", function()
        model:zero_grad()
        local loss, dy, head_loss = model:loss_and_grad(x, y, { head = t["input.head"] })
        local want = t["output.loss"][1]
        assert.is_true(math.abs(loss - want) <= tol.logp * math.abs(want))
        if head_loss then
          local w = t["output.head_loss"][1]
          assert.is_true(math.abs(head_loss - w) <= tol.logp * math.abs(w))
        end
        close("dy", dy, t["grad.y"], tol.grad)
        for _, p in ipairs(model:parameters()) do close(p.name, p.grad, t["grad." .. p.name], tol.grad) end
        close("dx", gradient_x(model, x), t["grad.x"], tol.grad)
      end)

      it("decodes the oracle's latents", function()
        close("y", model:decode(x, numbered(t, "latent.")), y, tol.decode)
        close("drawn y", model:decode(x, numbered(t, "decode.zs.")), t["decode.y"], tol.decode)
      end)
    end)
  end
end

return M
