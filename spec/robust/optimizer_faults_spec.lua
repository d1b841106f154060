-- An optimizer's faults: gradients, hyper-parameters and states that are not finite or do not
-- fit are refused as a whole.
local cglow = require "cglow"
local core = require "cglow.core"
local nn = require "cglow.nn"
local small = require "spec.support.small"

local batch, bytes, parameter = small.batch, small.bytes, small.parameter
local NAN, INF <const> = 0 / 0, math.huge

local function moments(opt)
  local m, v, steps = opt.core:moments()
  local parts = { steps }
  for _, list in ipairs { m, v } do
    for _, t in ipairs(list) do parts[#parts + 1] = core.file.crc32c(t) end
  end
  return table.concat(parts, " ")
end

describe("An optimizer", function()
  local OPTIMIZERS = {
    Adam = {}, SGD = { momentum = 0.9 },
    ["Adam that clips"] = { clip_value = 0.1 }, ["Adam that clips the norm"] = { clip_norm = 1 },
    ["SGD that clips both"] = { clip_value = 0.1, clip_norm = 1 },
  }

  local function trained(kind, options)
    local model = small.model()
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
        -- A gradient that is finite again is taken.
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

  -- The factors of a pending gradient are judged once for all pieces that the optimizer works in.
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
    for _, p in ipairs(layer:parameters()) do
      p.value:fill(0) -- layers are born started
      weights[p.name:match "(conv%d)%.weight" or ""] = p
    end
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
