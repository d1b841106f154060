-- Faults of training: numbers that are not finite, singular matrices, scales
-- that vanish or overflow, batches of one sample or of one number. A step is
-- refused as a whole, with the name of what is not finite, or survived.
local cglow = require "cglow"
local core = require "cglow.core"
local nn = require "cglow.nn"

local NAN, INF <const> = 0 / 0, math.huge

local function small(opts)
  cglow.seed(7)
  local o = { x = { 1, 8, 8 }, y = { 1, 8, 8 }, levels = 2, depth = 2, cn = { channels = 2, width = 4 },
    coupling = { width = 4 } }
  for key, value in pairs(opts or {}) do o[key] = value end
  return cglow.Model(o)
end

local function batch(n)
  return core.randn(n or 2, 1, 8, 8), core.randn(n or 2, 1, 8, 8)
end

local function parameter(model, name)
  for _, p in ipairs(model:parameters()) do
    if p.name == name then return p end
  end
  error("no parameter " .. name)
end

-- All numbers of all parameters' values or gradients, as bytes: NaN equals NaN.
local function bytes(model, field)
  local parts = {}
  for i, p in ipairs(model:parameters()) do parts[i] = core.file.crc32c(p[field]) end
  return table.concat(parts, " ")
end

local function moments(opt)
  local m, v, steps = opt.core:moments()
  local parts = { steps }
  for _, list in ipairs { m, v } do
    for _, t in ipairs(list) do parts[#parts + 1] = core.file.crc32c(t) end
  end
  return table.concat(parts, " ")
end

-- loss_and_grad refuses, names this, and changes no gradient: neither those that
-- are zero by construction nor those that somebody has looked at.
local function refused(model, x, y, says)
  model:zero_grad()
  local had = {}
  for i, p in ipairs(model:parameters()) do had[i] = p.has_grad end
  for _ = 1, 2 do
    local loss, message = model:loss_and_grad(x, y)
    assert.is_nil(loss)
    assert.are.equal(says, message)
  end
  for i, p in ipairs(model:parameters()) do
    assert.are.equal(had[i], p.has_grad)
    p.grad:fill(0.5)
  end
  local before = bytes(model, "grad")
  assert.is_nil(model:loss_and_grad(x, y))
  assert.are.equal(before, bytes(model, "grad"))
end

describe("A model", function()
  local threads
  setup(function()
    threads = core.threads()
    core.threads(1)
  end)
  teardown(function() core.threads(threads) end)

  for label, value in pairs { NaN = NAN, ["+inf"] = INF, ["-inf"] = -INF } do
    it(("refuses %s in x and in y"):format(label), function()
      local model = small()
      local x, y = batch()
      x:set(1, 1, 3, 3, value)
      refused(model, x, y, "x is not finite")
      x = batch()
      y:set(2, 1, 8, 8, value)
      refused(model, x, y, "y is not finite")
      assert.is_number(model:loss_and_grad(batch()))
    end)
  end

  local blame = "loss is not finite; the first layer to blame is "

  -- A weight, and the layer that its NaN shows in first.
  for name, layer in pairs {
    ["level.1.step.1.actnorm.cn.fc3.bias"] = "level.1.step.1.actnorm.cn",
    ["level.1.step.2.invconv.cn.conv1.bias"] = "level.1.step.2.invconv.cn",
    ["level.1.step.1.coupling.cn.conv2.bias"] = "level.1.step.1.coupling.cn",
    ["level.1.step.2.coupling.net.conv1.weight"] = "level.1.step.2.coupling",
    ["level.2.step.1.coupling.net.conv3.logs"] = "level.2.step.1.coupling",
    ["level.1.split.conv.weight"] = "level.1.split",
  } do
    for _, recompute in ipairs { false, true } do
      it(("names %s for a NaN in %s%s"):format(layer, name, recompute and ", recomputing" or ""), function()
        local model = small { recompute = recompute }
        local x, y = batch()
        local p = parameter(model, name)
        local kept = p.value:clone()
        p.value:reshape(-1):set(1, NAN)
        refused(model, x, y, blame .. layer)
        p.value:copy(kept)
        assert.is_number(model:loss_and_grad(x, y))
      end)
    end
  end

  it("names a learned prior", function()
    local model = small { learned_prior = true }
    parameter(model, "prior.logs").value:fill(-INF)
    local x, y = batch()
    refused(model, x, y, blame .. "prior")
  end)

  it("names a singular W, of one sample in the batch or of all", function()
    local model = small()
    local x, y = batch()
    local bias = parameter(model, "level.1.step.2.invconv.cn.fc3.bias")
    bias.value:zero()
    refused(model, x, y, blame .. "level.1.step.2.invconv")
  end)

  it("names the layer whose scale overflows", function()
    -- tanh bounds the standard layers' scales; an unconditional actnorm has none.
    local model = cglow.Glow { y = { 1, 8, 8 }, levels = 1, depth = 2, coupling = { width = 4 } }
    local logs = parameter(model, "level.1.step.2.actnorm.logs")
    local y = core.randn(2, 1, 8, 8)
    logs.value:fill(200) -- e^200 is beyond single precision; double holds it
    if core.scalar == "float" then
      refused(model, nil, y, blame .. "level.1.step.2.actnorm")
    end
    logs.value:fill(800)
    local loss, message = model:loss_and_grad(nil, y)
    assert.is_nil(loss)
    assert.are.equal(blame .. "level.1.step.2.actnorm", message)
    logs.value:zero()
    assert.is_number(model:loss_and_grad(nil, y))
  end)

  it("survives a scale of 0, which loses y but no finite number", function()
    local model = cglow.Glow { y = { 1, 8, 8 }, levels = 1, depth = 2, coupling = { width = 4 } }
    parameter(model, "level.1.step.2.actnorm.logs").value:fill(-200) -- e^-200 is 0 in single precision
    local loss = model:loss_and_grad(nil, core.randn(2, 1, 8, 8))
    assert.is_true(loss == loss and loss < INF)
  end)

  it("survives constant batches, batches of one, and both", function()
    for _, n in ipairs { 1, 2, 5 } do
      for _, value in ipairs { 0, 1, -3 } do
        local model = small()
        local opt = cglow.optim.Adam(model:parameters(), { lr = 1e-3 })
        for _ = 1, 3 do
          model:zero_grad()
          assert.is_number(model:loss_and_grad(core.full(n, 1, 8, 8, value), core.full(n, 1, 8, 8, value)))
          assert.is_true(opt:step())
        end
        for _, p in ipairs(model:parameters()) do assert.is_true(p.value:isfinite()) end
      end
    end
  end)

  it("follows batches that change in size from step to step", function()
    local model = small()
    local opt = cglow.optim.Adam(model:parameters(), { lr = 1e-3 })
    for _, n in ipairs { 3, 1, 4, 1, 40, 2 } do -- 40: past the pending gradients' 32
      model:zero_grad()
      assert.is_number(model:loss_and_grad(batch(n)))
      assert.is_true(opt:step())
    end
  end)

  it("does not decode or sample through a singular W, and says where", function()
    local model = small()
    local x, y = batch()
    local _, latents = model:log_prob(x, y)
    parameter(model, "level.2.step.1.invconv.cn.fc3.bias").value:zero()
    assert.has_error(function() model:condition(x) end,
      "Model:condition: level.2.step.1.invconv: invconv: W of sample 1 is singular or not finite, it has no inverse")
    assert.is_false(pcall(model.decode, model, x, latents))
    assert.is_false(pcall(model.sample, model, x))
  end)

  it("gives up climbing with a message when a loss or gradient is not finite", function()
    local model = small()
    local x = batch()
    parameter(model, "level.1.step.1.actnorm.cn.fc3.bias").value:fill(NAN)
    local y, message = model:maximize(x, { steps = 2 })
    assert.is_nil(y)
    assert.are.equal(blame .. "level.1.step.1.actnorm.cn", message)
    y, message = small():maximize(x, { steps = 2, start = core.full(2, 1, 8, 8, INF) })
    assert.is_nil(y)
    assert.are.equal("y is not finite", message)
  end)

  it("keeps its density while it refuses", function()
    local model = small()
    local x, y = batch()
    local before = model:log_prob(x, y)
    model:loss_and_grad(core.full(2, 1, 8, 8, NAN), y)
    model:loss_and_grad(x, core.full(2, 1, 8, 8, INF))
    assert.is_true(model:log_prob(x, y):equal(before))
    assert.is_false(model:log_prob(x, core.full(2, 1, 8, 8, NAN)):isfinite())
  end)
end)

describe("An optimizer", function()
  local OPTIMIZERS = {
    Adam = {}, SGD = { momentum = 0.9 },
    ["Adam that clips"] = { clip_value = 0.1 }, ["Adam that clips the norm"] = { clip_norm = 1 },
    ["SGD that clips both"] = { clip_value = 0.1, clip_norm = 1 },
  }

  local function trained(kind, options)
    local model = small()
    local opt = cglow.optim[kind:match "^%u%l*%u?%u?"](model:parameters(), options)
    model:zero_grad()
    assert(model:loss_and_grad(batch()))
    assert(opt:step())
    model:zero_grad()
    assert(model:loss_and_grad(batch()))
    return model, opt
  end

  for kind, options in pairs(OPTIMIZERS) do
    for label, value in pairs { NaN = NAN, ["+inf"] = INF, ["-inf"] = -INF } do
      it(("%s: refuses a step for one %s and changes nothing"):format(kind, label), function()
        local model, opt = trained(kind, options)
        local name = "level.2.step.1.coupling.net.conv2.weight"
        parameter(model, name).grad:reshape(-1):set(16, value)
        local values, grads, state = bytes(model, "value"), bytes(model, "grad"), moments(opt)
        local ok, message = opt:step()
        assert.is_nil(ok)
        assert.are.equal(
          ("the gradient of '%s' is not finite, or too large to square: no step was taken"):format(name), message)
        assert.are.equal(values, bytes(model, "value"))
        assert.are.equal(grads, bytes(model, "grad"))
        assert.are.equal(state, moments(opt))
        -- And goes on as if nothing had been.
        parameter(model, name).grad:reshape(-1):set(16, 0)
        assert.is_truthy(opt:step())
      end)
    end

    -- The weight gradient of a linear layer waits as an outer product.
    it(("%s: refuses a pending gradient that is not finite"):format(kind), function()
      local model, opt = trained(kind, options)
      local values, state = bytes(model, "value"), moments(opt)
      local part = model.levels[1].steps[1].actnorm
      model:zero_grad()
      part.cn:forward(core.randn(2, 1, 8, 8))
      part.cn:backward(core.full(2, 8, INF))
      local ok, message = opt:step()
      assert.is_nil(ok)
      assert.matches("level.1.step.1.actnorm.cn.", message, 1, true)
      assert.are.equal(values, bytes(model, "value"))
      assert.are.equal(state, moments(opt))
    end)
  end

  -- Its factors are judged once for all pieces that the optimizer works in.
  it("refuses a pending gradient that is infinite in its last row only, far from the first piece", function()
    local net = nn.Linear { in_features = 300, out_features = 300 }
    local weight = net:parameters()[1]
    local opt = cglow.optim.Adam({ weight }, { lr = 0.1 })
    local old, dout = weight.value:clone(), core.zeros(1, 300)
    dout:set(1, 300, INF)
    net:forward(core.ones(1, 300))
    net:backward(dout)
    local ok, message = opt:step()
    assert.is_nil(ok)
    assert.matches("is not finite, or too large to square", message, 1, true)
    assert.is_true(weight.value:equal(old))
    dout:set(1, 300, 1)
    weight:zero_grad()
    net:forward(core.ones(1, 300))
    net:backward(dout)
    assert.is_truthy(opt:step())
  end)

  it("Adam: refuses a gradient whose square overflows, which would freeze its parameter for ever", function()
    local p = core.Param(core.zeros(3), "p")
    local opt = cglow.optim.Adam({ p }, { lr = 0.1 })
    local huge = core.scalar == "float" and 1e25 or 1e200
    p.grad:set(2, huge)
    local ok, message = opt:step()
    assert.is_nil(ok)
    assert.matches("'p' is not finite, or too large to square", message, 1, true)
    assert.is_true(p.value:equal(core.zeros(3)))
    -- Clipped it is small enough.
    for _, clip in ipairs { { clip_value = 1 }, { clip_norm = 1 } } do
      local clipping = cglow.optim.Adam({ p }, { lr = 0.1, table.unpack(clip) })
      clipping.clip_value, clipping.clip_norm = clip.clip_value, clip.clip_norm
      assert.is_truthy(clipping:step())
      assert.is_true(p.value:isfinite())
      local m, v = clipping.core:moments()
      assert.is_true(m[1]:isfinite() and v[1]:isfinite())
    end
  end)

  -- Rows in pairs, alone, in parts; of more numbers than the optimizer's pieces hold.
  for _, cols in ipairs { 7, 1500, 4096, 5001 } do
    it(("takes the same step with a pending gradient of rows of %d as with a dense one"):format(cols), function()
      local rows = 140000 // cols
      local function stepped(dense)
        core.seed(5)
        local weight = core.randn(rows, cols)
        local net = nn.Linear { in_features = cols, out_features = rows }
        local p = net:parameters()[1]
        p.value:copy(weight)
        local opt = cglow.optim.Adam({ { params = { p }, scale = 0.3 } }, { lr = 0.1 })
        for i = 1, 2 do
          core.zero_grad { p }
          net:forward(core.randn(3, cols))
          net:backward(core.randn(3, rows))
          if dense and i == 2 then assert.is_true(p.grad:isfinite()) end
          assert.is_truthy(opt:step())
        end
        return p.value
      end
      assert.is_true(stepped(false):equal(stepped(true)))
    end)
  end

  -- Layers look at the gradients that they form, and the optimizer does not again.
  local HUGE = core.scalar == "float" and 1e25 or 1e200

  -- `run(scale)` forms gradients in proportion to scale, of one sign.
  local function judges_what_layers_form(params, run)
    for _, p in ipairs(params) do
      local opt = cglow.optim.Adam({ p }, { lr = 0.1 })
      local function step(...)
        for _, scale in ipairs { ... } do run(scale) end
        return opt:step()
      end
      local old = p.value:clone()
      core.zero_grad(params)
      assert.is_nil(step(HUGE), p.name)
      assert.is_nil(step(1), p.name .. ", more added")
      core.zero_grad(params)
      assert.is_nil(step(1, HUGE), p.name .. ", added to another")
      core.zero_grad(params)
      assert.is_nil(step(NAN), p.name)
      assert.is_true(p.value:equal(old))
      core.zero_grad(params)
      assert.is_truthy(step(1), p.name)
      p.value:copy(old)
      -- What Lua holds it may change afterwards.
      core.zero_grad(params)
      local grad = p.grad
      run(1)
      local first = grad:reshape(-1)[1]
      grad:reshape(-1):set(1, INF)
      assert.is_nil(opt:step())
      grad:reshape(-1):set(1, first)
      assert.is_truthy(opt:step())
      p.value:copy(old)
    end
  end

  -- A coupling whose gradients are zero but for hidden channels i and k; conv1's but
  -- for the last channel that it reads.
  local function narrow_coupling(i, k)
    local layer = core.flow.coupling(8, 6, 40)
    local weights = {}
    for _, p in ipairs(layer:parameters()) do weights[p.name:match "(conv%d)%.weight" or ""] = p end
    weights.conv1.value[i]:fill(0.01)
    weights.conv2.value[k][i]:fill(1)
    for o = 1, 8 do weights.conv3.value[o][k]:fill(0.01) end
    return layer, { weights.conv1, weights.conv2, weights.conv3 }
  end

  for _, at in ipairs { { 1, 33 }, { 40, 1 }, { 32, 40 } } do
    for _, size in ipairs { 4, 5, 16 } do
      it(("refuses a coupling's gradient for hidden channels %d and %d at %d×%d"):format(at[1], at[2], size, size),
        function()
          local layer, weights = narrow_coupling(at[1], at[2])
          local y, hx = core.ones(2, 8, size, size), core.zeros(2, 6, size, size)
          for n = 1, 2 do y[n]:narrow(1, 1, 3):fill(0) end
          judges_what_layers_form(weights, function(scale)
            layer:forward(y, hx, true)
            layer:backward(core.full(y:size(), scale), { 0, 0 })
          end)
        end)
    end
  end

  for _, n in ipairs { 1, 4 } do
    it(("refuses gradients of convolutions that are run as one, %d samples"):format(n), function()
      local first, second = core.net.conv2d(1, 3, 2, 2, 2, 2, 0, 0, true), core.net.conv2d(3, 5, 2, 2, 2, 2, 0, 0, true)
      local net = core.net.sequential({ first, core.net.relu(), second }, { "a", "b", "c" })
      for _, p in ipairs(net:parameters()) do p.value:fill(1) end
      local x = core.ones(n, 1, 32, 32)
      judges_what_layers_form(net:parameters(), function(scale)
        net:forward(x)
        net:backward(core.full(n, 5, 8, 8, scale))
      end)
    end)
  end

  it("refuses hyper-parameters that are not numbers any more", function()
    local p = core.Param(core.zeros(3), "p")
    local opt = cglow.optim.Adam { p }
    p.grad:fill(1)
    opt.lr = NAN
    assert.is_false(pcall(opt.step, opt))
    opt.lr = "fast"
    assert.is_false(pcall(opt.step, opt))
    assert.is_true(p.value:equal(core.zeros(3)))
  end)

  it("takes over a state as a whole or not at all", function()
    local model, opt = trained("Adam", {})
    local state = moments(opt)
    local tensors, steps = opt:state()
    local copy = {}
    for name, t in pairs(tensors) do copy[name] = core.ones(t:size()) end
    local one = next(copy)
    for label, change in pairs { missing = false, number = 3, shape = core.ones(1, 2, 3, 4),
      ["NaN"] = core.full(copy[one]:size(), NAN) } do
      local bad = {}
      for name, t in pairs(copy) do bad[name] = t end
      bad[one] = change or nil
      local ok, message = opt:set_state(bad, 5)
      assert.is_nil(ok, label)
      assert.matches(one, message, 1, true)
      assert.are.equal(state, moments(opt))
    end
    assert.is_false(pcall(opt.set_state, opt, copy, -1))
    assert.are.equal(state, moments(opt))
    assert.is_true(opt:set_state(copy, steps))
    assert.is_true(#model:parameters() > 0)
  end)
end)

describe("A checkpoint", function()
  local function written(config, tensors)
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    assert(cglow.save_tensors(path, tensors or { a = core.zeros(4) }, { config = config }))
    return path
  end

  -- Each would take between 4 GB and more than there is.
  for label, config in pairs {
    ["deep"] = [[{"x":[3,64,64],"y":[3,64,64],"levels":3,"depth":1000}]],
    ["wide"] = [[{"x":[3,64,64],"y":[3,64,64],"levels":1,"depth":1,"coupling":{"width":30000}}]],
    ["of long rows"] = [[{"x":[3,20000,20000],"y":[3,8,8],"levels":1,"depth":1}]],
    ["with a learned prior"] = [[{"y":[1,65536,65536],"levels":1,"depth":1,"learned_prior":true}]],
  } do
    it("of a few numbers cannot ask for a model that is " .. label, function()
      local before = core.stats().bytes
      local model, message = cglow.load(written(config))
      assert.is_nil(model)
      assert.matches("is more than the %d+ numbers that are left", message)
      assert.is_true(core.stats().bytes - before < 32e6) -- 2^20 numbers of slack, in double
      -- The limit is the file's alone.
      assert.is_userdata(core.Param(core.zeros(100)))
    end)
  end

  it("of a few numbers cannot ask for a feed-forward network either", function()
    local network, message = require("cglow.feedforward").load(written(
      [[{"kind":"Residual","x":[3,8,8],"y":[3,8,8],"channels":4096,"depth":64}]]))
    assert.is_nil(network)
    assert.matches("is more than the %d+ numbers that are left", message)
  end)

  it("is read without starts: nothing is drawn for what the file holds, steps are scaled all the same", function()
    local model, path = small { init = "live" }, os.tmpname()
    finally(function() os.remove(path) end)
    assert(model:save(path))
    cglow.seed(7)
    local drawn = cglow.rand(3)
    cglow.seed(7)
    local loaded = assert(cglow.load(path))
    assert.is_true(cglow.rand(3) == drawn)
    for i, p in ipairs(loaded:parameters()) do
      assert.equal(model:parameters()[i].step_scale, p.step_scale, p.name)
    end
    -- and the next model is started again
    assert.is_true(small { init = "live" }:parameters()[1].value:abs():max() > 0)
  end)

  it("of a model is read within its own numbers", function()
    local model, path = small { learned_prior = true }, os.tmpname()
    finally(function() os.remove(path) end)
    assert(model:save(path))
    local x, y = batch()
    assert.is_true(assert(cglow.load(path)):log_prob(x, y):equal((model:log_prob(x, y))))
  end)
end)
