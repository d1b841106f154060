-- Weight decay, steps by the mean of several gradients, and averages of parameters.
local core = require "cglow.core"
local nn = require "cglow.nn"
local optim = require "cglow.optim"

-- Single precision: a few roundings of 2^-24 in each of a handful of steps.
local CLOSE <const> = 1e-5

local function parameter(name, ...)
  return core.Param(core.Rng(#name):normal(...), name)
end

local function set_gradient(p, seed, factor)
  p.grad:copy(core.Rng(seed):normal(table.unpack(p.value:size())))
  if factor then p.grad:mul(factor) end
end

local function largest_difference(a, b)
  local most = 0
  for i, v in ipairs(a:totable()) do most = math.max(most, math.abs(v - b[i])) end
  return most
end

describe("Adam's weight decay", function()
  -- Loshchilov & Hutter 2019, algorithm 2, one number at a time.
  local function reference(values, gradients, o)
    local m, v, p = {}, {}, table.move(values, 1, #values, 1, {})
    for t, g in ipairs(gradients) do
      for i = 1, #p do
        m[i] = 0.9 * (m[i] or 0) + 0.1 * g[i]
        v[i] = 0.999 * (v[i] or 0) + 0.001 * g[i] ^ 2
        local step = m[i] / (1 - 0.9 ^ t) / (math.sqrt(v[i] / (1 - 0.999 ^ t)) + 1e-8)
        p[i] = p[i] - o.lr * step - o.lr * o.decay * p[i]
      end
    end
    return p
  end

  local function train(p, groups, o)
    local adam, values, gradients = optim.Adam(groups, o), p.value:totable(), {}
    for t = 1, 4 do
      set_gradient(p, t)
      gradients[t] = p.grad:totable()
      assert(adam:step())
    end
    return values, gradients
  end

  it("is decoupled from the gradient", function()
    local p = parameter("weight", 5, 7)
    local values, gradients = train(p, {p}, {lr = 0.05, weight_decay = 0.3})
    assert.is_true(largest_difference(p.value, reference(values, gradients, {lr = 0.05, decay = 0.3})) < CLOSE)
  end)

  it("leaves biases and scales alone, which have one dimension", function()
    local p = parameter("bias", 9)
    local values, gradients = train(p, {p}, {lr = 0.05, weight_decay = 0.3})
    assert.is_true(largest_difference(p.value, reference(values, gradients, {lr = 0.05, decay = 0})) < CLOSE)
  end)

  it("is multiplied by a group's decay and the group's step size", function()
    local p = parameter("weight", 5, 7)
    local values, gradients = train(p, {{params = {p}, scale = 0.5, decay = 0.25}}, {lr = 0.05, weight_decay = 0.4})
    assert.is_true(largest_difference(p.value, reference(values, gradients, {lr = 0.025, decay = 0.1})) < CLOSE)
  end)

  it("is part of a step that is left due, too", function()
    local function run(look)
      core.seed(2)
      local net = nn.Sequential {"fc", nn.Linear {in_features = 40, out_features = 30}}
      local params = net:parameters()
      for i, p in ipairs(params) do
        p.name = "p" .. i
        p.value:copy(core.randn(table.unpack(p.value:size())))
      end
      local adam = optim.Adam(params, {lr = 0.1, weight_decay = 0.5})
      for _ = 1, 3 do
        core.zero_grad(params)
        net:forward(core.randn(2, 40))
        net:backward(core.randn(2, 30))
        assert(adam:step())
        if look then assert(params[1].value:isfinite()) end -- settles it
      end
      return params[1].value
    end
    assert.is_true(run(true) == run(false))
  end)
end)

describe("A step by the mean of several gradients", function()
  -- The gradients are of magnitude 1: some are clipped and some are not.
  for _, kind in ipairs {"Adam", "SGD"} do
    for name, o in pairs {plain = {}, ["clip_value"] = {clip_value = 0.5}, ["clip_norm"] = {clip_norm = 0.5},
      both = {clip_value = 0.5, clip_norm = 0.5}} do
      it(("is that of the mean gradient: %s, %s"):format(kind, name), function()
        local once, summed = parameter("weight", 6, 6), parameter("weight", 6, 6)
        o.lr = 0.1
        local a, b = optim[kind]({once}, o), optim[kind]({summed}, o)
        for t = 1, 3 do
          set_gradient(once, t)
          set_gradient(summed, t, 4)
          assert.equal(a:step(), b:step(4)) -- by a power of two: the same bits
        end
        assert.is_true(once.value == summed.value)
      end)
    end
  end
end)

describe("Clipping by the global norm", function()
  local function step(threads)
    local before = core.threads()
    core.threads(threads)
    local params = {parameter("a", 300, 400), parameter("b", 7), parameter("c", 90, 11)}
    for i, p in ipairs(params) do set_gradient(p, i) end
    local sgd = optim.SGD(params, {lr = 1, clip_norm = 2})
    local norm = sgd:step()
    core.threads(before)
    return norm, params
  end

  it("scales all gradients so that their norm is the limit", function()
    local before = {}
    for i, p in ipairs {parameter("a", 300, 400), parameter("b", 7), parameter("c", 90, 11)} do
      before[i] = p.value:clone()
    end
    local norm, params = step(1)
    local squares, moved = 0, 0
    for i, p in ipairs(params) do
      squares = squares + (p.grad * p.grad):sum()
      local d = p.value - before[i]
      moved = moved + (d * d):sum()
    end
    assert.is_true(math.abs(norm / math.sqrt(squares) - 1) < CLOSE)
    -- 121,000 differences of numbers near 1 from their own neighbours: 2^-24 each against 2/350
    assert.is_true(math.abs(math.sqrt(moved) / 2 - 1) < 1e-3)
  end)

  it("does not depend on the number of threads", function()
    local norm1, one = step(1)
    local norm3, three = step(3)
    assert.equal(norm1, norm3)
    for i, p in ipairs(one) do assert.is_true(p.value == three[i].value) end
  end)
end)

describe("An average of parameters", function()
  it("forgets exponentially, and sooner in its first updates", function()
    local p = parameter("weight", 3, 5)
    local average = optim.Average({p}, {decay = 0.25})
    local expected = p.value:totable()
    for n = 1, 6 do
      p.value:copy(core.Rng(n):normal(3, 5))
      average:update()
      local keep = math.min(0.25, (1 + n) / (10 + n))
      for i, v in ipairs(p.value:totable()) do expected[i] = keep * expected[i] + (1 - keep) * v end
    end
    local means, updates = average:state()
    assert.equal(6, updates)
    assert.is_true(largest_difference(means.weight, expected) < CLOSE)
  end)

  it("changes places with the parameters and back, bit for bit, whatever the threads", function()
    local threads = core.threads()
    finally(function() core.threads(threads) end)
    local seen = {}
    for _, count in ipairs {1, 3} do
      core.threads(count)
      local p, q = parameter("weight", 200, 300), parameter("b", 3)
      local average = optim.Average {p, q}
      p.value:copy(core.Rng(7):normal(200, 300))
      average:update()
      local own = p.value:clone()
      average:swap()
      assert.is_false(p.value == own)
      assert.is_true(average:state().weight == own)
      seen[count] = p.value:clone()
      average:swap()
      assert.is_true(p.value == own)
      assert.is_true(average:state().weight == seen[count])
    end
    assert.is_true(seen[1] == seen[3])
  end)

  it("takes a step that is due into account", function()
    local function run(look)
      core.seed(2)
      local net = nn.Sequential {"fc", nn.Linear {in_features = 40, out_features = 30}}
      local params = net:parameters()
      for i, p in ipairs(params) do p.name = "p" .. i end
      local adam, average = optim.Adam(params, {lr = 0.1}), optim.Average(params)
      net:forward(core.randn(2, 40))
      net:backward(core.randn(2, 30))
      assert(adam:step())
      if look then assert(params[1].value:isfinite()) end
      average:update()
      return average:state().p1
    end
    assert.is_true(run(true) == run(false))
  end)

  it("refuses a state that does not fit", function()
    local average = optim.Average {parameter("weight", 2, 3)}
    local function message(tensors) return select(2, average:set_state(tensors, 1)) end
    assert.matches("average state lacks 'weight'", message {})
    assert.matches("'weight' is no tensor but 1", message {weight = 1})
    assert.matches("'weight' has shape 3x2, expected 2x3", message {weight = core.zeros(3, 2)})
    assert.matches("'weight' is not finite", message {weight = core.full(2, 3, 0 / 0)})
    assert.is_true(average:set_state({weight = core.ones(2, 3)}, 9))
    assert.equal(9, select(2, average:state()))
  end)
end)

describe("The core's optimizer", function()
  it("does not depend on the lists of moments that it hands out", function()
    local fc = nn.Linear { in_features = 300, out_features = 300 }
    local opt = optim.Adam(fc:parameters(), { lr = 1e-2 })
    local m, v = opt.core:moments()
    m[1], m[2], v[1], v[2] = nil, nil, nil, nil
    collectgarbage()
    collectgarbage()
    local rubbish = {}
    for i = 1, 20 do rubbish[i] = core.full(300, 300, 1e30) end
    fc:backward(fc:forward(core.randn(2, 300)))
    assert.is_true(opt:step())
    assert.is_true(fc:parameters()[1].value:isfinite())
    assert.are.equal(20, #rubbish)
  end)
end)
