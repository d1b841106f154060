-- Layers and models that are used while they run: by finalizers, by layers in Lua, by
-- other coroutines. A use is refused with a clear error, or as right, bit for bit, as that
-- of a twin which nobody disturbs.
local besieged = require "spec.support.besieged"
local cglow = require "cglow"
local core = require "cglow.core"
local nn = require "cglow.nn"

local CHANNELS <const>, SIDE <const> = 4, 8

local function sum_of(t) return core.file.crc32c(t:clone()) end

-- ---- one call of the core ----------------------------------------------------------

-- Each kind: make() gives a function that runs it on a batch of n, forward and backward
-- if it has that, and returns checksums of all that came out, and of the gradients.
local KINDS <const> = {}

local function gradients(object)
  local sums = {}
  for i, p in ipairs(object:parameters()) do sums[i] = sum_of(p:gradient()) end
  return sums
end

local function started(object)
  for _, p in ipairs(object:parameters()) do core.rng():fill_normal(p.value):mul(0.2) end
  return object
end

local function flow(make, cond_shape)
  return function()
    local layer = started(make())
    return function(n)
      local rng = core.Rng(n)
      local y, dz = rng:normal(n, CHANNELS, SIDE, SIDE), rng:normal(n, CHANNELS, SIDE, SIDE)
      local cond = cond_shape and rng:normal(n, table.unpack(cond_shape))
      core.zero_grad(layer:parameters())
      local z, logdet = layer:forward(y, cond)
      local sums = { sum_of(z), table.unpack(logdet) }
      local dy, dcond = layer:backward(dz, 0.5)
      sums[#sums + 1], sums[#sums + 2] = sum_of(dy), dcond and sum_of(dcond) or 0
      sums[#sums + 1] = sum_of(layer:inverse(dz, cond))
      return sums, gradients(layer)
    end
  end
end

KINDS.actnorm = flow(function() return core.flow.actnorm(CHANNELS, false) end)
KINDS["conditional actnorm"] = flow(function() return core.flow.actnorm(CHANNELS, true) end, { 2 * CHANNELS })
KINDS.invconv = flow(function() return core.flow.invconv(CHANNELS, false) end)
KINDS["conditional invconv"] = flow(function() return core.flow.invconv(CHANNELS, true) end, { CHANNELS * CHANNELS })
KINDS.coupling = flow(function() return core.flow.coupling(CHANNELS, 3, 8) end, { 3, SIDE, SIDE })

function KINDS.split()
  local layer = started(core.flow.split(CHANNELS))
  return function(n)
    local rng = core.Rng(n)
    core.zero_grad(layer:parameters())
    local z1, z2, logp = layer:forward(rng:normal(n, CHANNELS, SIDE, SIDE))
    local sums = { sum_of(z1), sum_of(z2), table.unpack(logp) }
    sums[#sums + 1] = sum_of(layer:backward(rng:normal(n, CHANNELS // 2, SIDE, SIDE), 1))
    return sums, gradients(layer)
  end
end

function KINDS.prior()
  local layer = started(core.flow.prior(CHANNELS, SIDE, SIDE, true))
  return function(n)
    core.zero_grad(layer:parameters())
    local sums = table.move(layer:log_prob(core.Rng(n):normal(n, CHANNELS, SIDE, SIDE)), 1, n, 1, {})
    sums[#sums + 1] = sum_of(layer:backward(1))
    return sums, gradients(layer)
  end
end

local function network()
  return started(nn.Sequential { nn.Conv2d { in_channels = CHANNELS, out_channels = 3, padding = 1 }, nn.ReLU(),
    nn.Linear { in_features = 3 * SIDE * SIDE, out_features = 5 } })
end

function KINDS.network()
  local net = network()
  return function(n)
    local rng = core.Rng(n)
    core.zero_grad(net:parameters())
    local sums = { sum_of(net:forward(rng:normal(n, CHANNELS, SIDE, SIDE))) }
    sums[2] = sum_of(net:backward(rng:normal(n, 5)))
    return sums, gradients(net)
  end
end

KINDS["network group"] = function()
  local a, b = network(), network()
  local group = core.net.group { a, b }
  return function(n)
    local rng, sums = core.Rng(n), {}
    for _, net in ipairs { a, b } do core.zero_grad(net:parameters()) end
    for i, out in ipairs(group:forward(rng:normal(n, CHANNELS, SIDE, SIDE))) do sums[i] = sum_of(out) end
    group:backward { rng:normal(n, 5), rng:normal(n, 5) }
    return sums, { gradients(a), gradients(b) }
  end
end

KINDS["U-Net"] = function()
  local net = started(core.net.unet(CHANNELS, { 3, 5 }, 2))
  return function(n)
    local rng, sums = core.Rng(n), {}
    core.zero_grad(net:parameters())
    local u = net:forward(rng:normal(n, CHANNELS, SIDE, SIDE))
    for _, key in ipairs { 1, "pooled" } do sums[#sums + 1] = sum_of(u[key]) end
    local grads = { rng:normal(n, 5, SIDE // 2, SIDE // 2), pooled = rng:normal(n, 5) }
    sums[#sums + 1] = sum_of(net:backward(grads, true))
    -- Each allocation has finalizers run a whole U-Net: of the gradients the first and the last.
    local params = net:parameters()
    return sums, { sum_of(params[1]:gradient()), sum_of(params[#params]:gradient()) }
  end
end

function KINDS.features()
  local layer = started(core.flow.features(CHANNELS, "a", 6, "b", 2))
  return function(n)
    local rng = core.Rng(n)
    core.zero_grad(layer:parameters())
    local sums = { sum_of(layer:forward(rng:normal(n, CHANNELS, SIDE, SIDE), SIDE // 2, SIDE // 2)) }
    sums[2] = sum_of(layer:backward(rng:normal(8, n, SIDE // 2, SIDE // 2)))
    return sums, gradients(layer)
  end
end

describe("A finalizer that computes, in a call of the core:", function()
  for name, make in pairs(KINDS) do
    local function built()
      core.seed(5)
      return make()
    end

    -- Sums of outputs and of gradients, of a twin that nobody disturbs.
    local function wanted()
      local twin, want = built(), {}
      for n = 1, 4 do want[n] = table.pack(twin(n)) end
      return want
    end

    -- Sizes change, so that memory is allocated, but not each time.
    local function size_of(i) return 1 + i // 4 % 4 end

    local function is_refusal(message)
      assert.matches("a finalizer has run a layer or an optimizer meanwhile", message, 1, true)
    end

    it(name .. ", with another object of this kind, which shares the workspace", function()
      local run, other, want, right = built(), built(), wanted(), 0
      local came = besieged(function() other(1 + core.rng():integer(0, 3)) end, function()
        for i = 1, 48 do
          local got = table.pack(pcall(run, size_of(i)))
          if got[1] then
            right = right + 1
            assert.are.same(want[size_of(i)], table.pack(table.unpack(got, 2, 3)))
          else
            is_refusal(got[2])
          end
        end
      end)
      assert.is_true(came > 0 and right > 0)
    end)

    it(name .. ", with the object itself and the same numbers", function()
      local run, want, n, right, within = built(), wanted(), 1, 0, 0
      local came = besieged(function()
        within = within + 1
        run(n)
      end, function()
        for i = 1, 48 do
          n, within = size_of(i), 0
          local ok, sums, grads = pcall(run, n)
          if ok then
            right = right + 1
            assert.are.same(want[n][1], sums)
            -- a run between a call that clears gradients and one that adds to them adds its own
            if within == 0 then assert.are.same(want[n][2], grads) end
          elseif not sums:find "^.*backward: call forward" then
            is_refusal(sums)
          end
        end
      end)
      assert.is_true(came > 0 and right > 0)
    end)
  end
end)

-- ---- a whole model -------------------------------------------------------------------

local function build_model()
  core.seed(1)
  local model = cglow.Model { x = { 3, 8, 8 }, y = { 3, 8, 8 }, levels = 2, depth = 2,
    cn = { channels = 4, width = 8 }, coupling = { width = 8 } }
  for _, p in ipairs(model:parameters()) do
    if p.name:find "fc3.weight" or p.name:find "conv3" then core.rng():fill_normal(p.value):mul(0.2) end
  end
  return model
end

local function batch(seed)
  local rng = core.Rng(seed)
  return rng:uniform(2, 3, 8, 8), rng:uniform(2, 3, 8, 8)
end

-- Every use of a model that runs its layers or changes them.
local function uses(model)
  local x, y = batch(9)
  local _, latents = model:log_prob(x, y)
  return {
    log_prob = function() model:log_prob(x, y) end,
    loss_and_grad = function() model:loss_and_grad(x, y) end,
    decode = function() model:decode(x, latents) end,
    decode_error = function() model:decode_error(x, latents) end,
    condition = function() model:condition(x) end,
    sample = function() model:sample(x) end,
    predict = function() model:predict(x, { samples = 2 }) end,
    mode = function() model:mode(x) end,
    maximize = function() model:maximize(x, { steps = 1 }) end,
    diagnose = function() model:diagnose(x, y) end,
    zero_grad = function() model:zero_grad() end,
    replace = function()
      model:replace { level = 1, step = 1, part = "actnorm", flow = core.flow.actnorm(12, true) }
    end,
  }
end

-- A flow layer in Lua that changes nothing but calls hook() on its way.
local function layer_with(hook)
  return {
    forward = function(_, y)
      hook()
      local logdet = {}
      for n = 1, y:size(1) do logdet[n] = 0.0 end
      return y, logdet
    end,
    inverse = function(_, z) return z end,
    backward = function(_, dz) return dz, core.zeros(dz:size(1), 2 * dz:size(2)) end,
    parameters = function() return {} end,
  }
end

describe("A model in use", function()
  it("refuses every use by one of its layers, and works again afterwards", function()
    local model = build_model()
    local all, x, y = uses(model), batch(3)
    local hook = function() end
    model:replace { level = 2, step = 1, part = "actnorm", flow = layer_with(function() hook() end) }
    local loss = model:loss_and_grad(x, y)
    for name, use in pairs(all) do
      hook = use
      local ok, message = pcall(model.loss_and_grad, model, x, y)
      assert.is_false(ok, name)
      assert.matches("Model:%w[%w_]*: the model is in use by Model:loss_and_grad", message, nil, name)
    end
    hook = function() end
    assert.are.equal(loss, (model:loss_and_grad(x, y)))
  end)

  it("is right, bit for bit, though finalizers want to use it", function()
    local model, twin = build_model(), build_model()
    local list, x, y = {}, batch(3)
    -- Those that leave parameters and gradients alone, as they may come before the lock is taken.
    local all = uses(model)
    for _, name in ipairs { "log_prob", "decode", "decode_error", "condition", "sample", "predict", "mode" } do
      list[#list + 1] = all[name]
    end
    local k = 0
    local want_loss = twin:loss_and_grad(x, y)
    local want_gradients, want_logp = gradients(twin), sum_of((twin:log_prob(x, y)))
    local want_sample = sum_of(twin:sample(x, { n = 2, rng = core.Rng(7) }))
    -- While no use of ours runs, a finalizer's is none of the model's business.
    local ours = false
    local came = besieged(function()
      k = k + 1
      if ours then list[k % #list + 1]() end
    end, function()
      for _ = 1, 8 do
        model:zero_grad()
        ours = true
        local loss = model:loss_and_grad(x, y)
        ours = false
        assert.are.equal(want_loss, loss)
        assert.are.same(want_gradients, gradients(model))
        ours = true
        local logp = model:log_prob(x, y)
        local ys = model:sample(x, { n = 2, rng = core.Rng(7) })
        ours = false
        assert.are.equal(want_logp, sum_of(logp))
        assert.are.equal(want_sample, sum_of(ys))
      end
    end)
    assert.is_true(came > 0)
  end)

  it("belongs to the coroutine that uses it until that ends, fails or is gone", function()
    local model = build_model()
    local x, y = batch(3)
    local loss = model:loss_and_grad(x, y)
    local hook
    model:replace { level = 1, step = 2, part = "actnorm", flow = layer_with(function() hook() end) }
    local function use() return model:log_prob(x, y) end
    local refused = "Model:log_prob: the model is in use by Model:log_prob"
    hook = function() if coroutine.isyieldable() then coroutine.yield() end end

    local co = coroutine.create(use)
    assert.is_true(coroutine.resume(co))
    assert.error_matches(use, refused, 1, true)
    assert.is_true(coroutine.resume(co)) -- to its end
    use()

    co = coroutine.create(use)
    assert.is_true(coroutine.resume(co))
    hook = function() end
    co = nil -- luacheck: ignore
    collectgarbage()
    use()

    hook = function() error "mine" end
    co = coroutine.create(use)
    assert.is_false(coroutine.resume(co)) -- dead by an error, with nothing closed
    hook = function() end
    use()
    assert.is_number(loss)
  end)

  it("refuses a flow layer that stands in two places", function()
    local model = build_model()
    for _, part in ipairs { "actnorm", "invconv", "coupling" } do
      assert.has_error(function()
        model:replace { level = 1, step = 2, part = part, flow = model.levels[1].steps[1][part].flow }
      end, ("Model:replace: level.1.step.1.%s and level.1.step.2.%s are one flow layer; each place wants its own")
        :format(part, part))
    end
    local x, y = batch(3)
    assert.are.equal((build_model():loss_and_grad(x, y)), (model:loss_and_grad(x, y)))
  end)

  it("refuses a condition that is not of its present parameters and layers", function()
    local model = build_model()
    local x, y = batch(3)
    local stale = "Model:sample: cond was made before the model's parameters or layers changed: call condition(x) again"
    local adam = cglow.optim.Adam(model:parameters(), { lr = 1e-3 })
    for name, change in pairs {
      step = function()
        model:loss_and_grad(x, y)
        assert(adam:step())
      end,
      write = function() model:parameters()[7].value:mul(1.5) end,
      replace = function() uses(model).replace() end,
    } do
      local cond = model:condition(x)
      model:sample(cond)
      model:sample(cond, { n = 2 })
      change()
      assert.error_matches(function() model:sample(cond) end, stale, 1, true, name)
      model:sample(model:condition(x))
    end
  end)
end)
