-- The number of threads changes no bit: every layer, and a model's loss,
-- gradients, samples and training.
local core = require "cglow.core"
local cglow = require "cglow"
local layers = require "spec.support.layers"
local models = require "spec.support.models"
local nn = require "cglow.nn"

-- Numbers of threads to compare. With 17 all tiles of a coupling make one wave, with fewer three.
local THREADS = { 1, 2, 3, 5, 17 }

describe("bit for bit the same on any number of threads:", function()
  local threads = core.threads()
  teardown(function() core.threads(threads) end)

  -- run() returns tensors and numbers; the same every time but for the threads.
  local function same(run)
    local first
    for _, n in ipairs(THREADS) do
      core.threads(n)
      local got = run()
      first = first or got
      assert.equal(#first, #got)
      for i, v in ipairs(got) do
        local equal = type(v) == "number" and v == first[i] or type(v) == "userdata" and v:equal(first[i])
        assert.is_true(equal, ("result %d on %d threads is not that on 1"):format(i, n))
      end
    end
  end

  local function add_gradients(list, params)
    for _, p in ipairs(params) do list[#list + 1] = p.grad:clone() end
    return list
  end

  for _, case in ipairs(layers.nets) do
    it(case[1], function()
      same(function()
        local net, x = layers.net(case, core.Rng(51))
        local y = net:forward(x):clone()
        return add_gradients({ y, net:backward(y):clone() }, net:parameters())
      end)
    end)
  end

  local wide = {
    { "conv2d on 16 channels", function()
      return nn.Conv2d { in_channels = 16, out_channels = 16, padding = 1 }
    end, { 3, 16, 37, 41 } },
    { "conv2d from 72 to 40 channels", function()
      return nn.Conv2d { in_channels = 72, out_channels = 40, padding = 1 }
    end, { 3, 72, 19, 30 } },
    { "conv2d from 40 to 72 channels, few pixels", function()
      return nn.Conv2d { in_channels = 40, out_channels = 72, padding = 1 }
    end, { 2, 40, 9, 8 } },
    { "conv2d with stride 2", function()
      return nn.Conv2d { in_channels = 40, out_channels = 24, stride = 2, padding = 1 }
    end, { 2, 40, 24, 22 } },
    { "conv2d to two channels", function()
      return nn.Conv2d { in_channels = 40, out_channels = 2, padding = 1 }
    end, { 2, 40, 24, 22 } },
    { "conv2d to eight pixels", function()
      return nn.Conv2d { in_channels = 40, out_channels = 70, stride = 2, padding = 1 }
    end, { 2, 40, 4, 4 } },
    { "conv2d with stride 2 of many pictures", function()
      return nn.Conv2d { in_channels = 1, out_channels = 1, stride = 2, padding = 1 }
    end, { 32, 1, 128, 128 } },
    { "conv2d to one channel of many pictures", function()
      return nn.Conv2d { in_channels = 8, out_channels = 1, kernel = 5, padding = 2 }
    end, { 32, 8, 96, 96 } },
    { "conv2d from one channel to many, of a large picture", function()
      return nn.Conv2d { in_channels = 1, out_channels = 16, kernel = 7, padding = 3 }
    end, { 4, 1, 256, 256 } },
    { "linear on 1000 features", function()
      return nn.Linear { in_features = 1000, out_features = 77 }
    end, { 4, 1000 } },
  }
  for _, case in ipairs(wide) do
    it(case[1], function()
      same(function()
        local net, x = layers.net(case, core.Rng(52))
        local y = net:forward(x):clone()
        return add_gradients({ y, net:backward(y):clone() }, net:parameters())
      end)
    end)
  end

  local flows = table.move(layers.flows, 1, #layers.flows, 1, {})
  flows[#flows + 1] = { "coupling as in the paper's models",
    function() return core.flow.coupling(12, 6, 256) end, { 2, 12, 16, 16 }, { 2, 6, 16, 16 } }
  flows[#flows + 1] = { "coupling of 33 tiles",
    function() return core.flow.coupling(4, 1, 3) end, { 2, 4, 66, 64 }, { 2, 1, 66, 64 } }
  flows[#flows + 1] = { "coupling with features as in models with an encoder",
    function() return core.flow.coupling(12, 0, 64, 1, true) end, { 2, 12, 16, 16 }, { 64, 2, 16, 16 } }
  flows[#flows + 1] = { "conditional invconv of 48 channels",
    function() return core.flow.invconv(48, true) end, { 2, 48, 40, 40 }, { 2, 48 * 48 } }
  for _, case in ipairs(flows) do
    it(case[1], function()
      same(function()
        local layer, y, cond = layers.flow(case, core.Rng(53))
        local z, logdet = layer:forward(y, cond)
        local list = table.move(logdet, 1, #logdet, 2, { z:clone() })
        local dy, dcond = layer:backward(z, 0.3)
        list[#list + 1] = dy:clone()
        list[#list + 1] = dcond and dcond:clone()
        list[#list + 1] = layer:inverse(z:clone(), cond):clone()
        return add_gradients(list, layer:parameters())
      end)
    end)
  end

  it("split", function()
    same(function()
      local rng = core.Rng(54)
      local split = layers.randomise(core.flow.split(12), rng)
      local z1, z2, logp = split:forward(rng:normal(3, 12, 13, 17))
      local list = table.move(logp, 1, #logp, 3, { z1:clone(), z2:clone() })
      list[#list + 1] = split:backward(z1:clone(), 0.3):clone()
      list[#list + 1] = split:sample(z1:clone(), z2:clone(), 0.7):clone()
      return add_gradients(list, split:parameters())
    end)
  end)

  local config = { x = { 3, 16, 24 }, y = { 3, 16, 16 }, levels = 2, depth = 2, coupling = { width = 40 } }

  local function check_model(how)
    same(function()
      local rng = core.Rng(55)
      local model = models.random(how, rng)
      local x, y = models.batch(model, 3, rng)
      local loss, dy = model:loss_and_grad(x, y)
      local list = add_gradients({ loss, dy:clone() }, model:parameters())
      local logp, latents = model:log_prob(x, y)
      list[#list + 1] = logp
      table.move(latents, 1, #latents, #list + 1, list)
      list[#list + 1] = model:sample(model:condition(x), { n = 4, rng = core.Rng(1) })
      list[#list + 1] = model:predict(x, { samples = 3, rng = core.Rng(2) })
      list[#list + 1] = model:decode(x, latents)
      return list
    end)
  end

  it("a model's loss, gradients, latents, samples and prediction", function() check_model(config) end)

  it("those of a model with an encoder", function()
    check_model { x = { 3, 32, 48 }, y = { 3, 16, 32 }, levels = 2, depth = 2, coupling = { width = 40 },
      encoder = { channels = { 16, 20, 17 } } }
  end)

  it("the parameters after steps of Adam with clipping", function()
    same(function()
      local rng = core.Rng(56)
      local model = models.random(config, rng)
      local adam = cglow.optim.Adam(model:parameters(), { lr = 1e-3, clip_value = 0.25, clip_norm = 1 })
      local list = {}
      for _ = 1, 5 do
        local x, y = models.batch(model, 2, rng)
        model:zero_grad()
        list[#list + 1] = model:loss_and_grad(x, y)
        list[#list + 1] = adam:step()
      end
      for _, p in ipairs(model:parameters()) do list[#list + 1] = p.value:clone() end
      return list
    end)
  end)
end)
