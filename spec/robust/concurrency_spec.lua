-- Coroutines share one Lua state, so one set of buffers: what each of them does
-- between two yields must not disturb the others. Threads with a state each are
-- spec/memory/threads_runner.c's.
local cglow = require "cglow"
local core = require "cglow.core"
local threads = require "spec.support.threads"

local function tiny(seed)
  cglow.seed(seed)
  return cglow.Model { x = { 1, 8, 8 }, y = { 1, 8, 8 }, levels = 2, depth = 1, cn = { channels = 2, width = 4 },
    coupling = { width = 4 } }
end

-- A training run with generators of its own; yields after every call that keeps
-- something for the next.
local function run(seed, pause)
  local model, rng = tiny(seed), core.Rng(seed)
  local opt = cglow.optim.Adam(model:parameters(), { lr = 1e-2 })
  local losses = {}
  for step = 1, 4 do
    local n = 1 + (step + seed) % 3
    local x, y = rng:normal(n, 1, 8, 8), rng:normal(n, 1, 8, 8)
    pause()
    model:zero_grad()
    pause()
    losses[step] = assert(model:loss_and_grad(x, y))
    pause()
    assert(opt:step())
    pause()
  end
  local cond = model:condition(rng:normal(2, 1, 8, 8))
  pause()
  losses[#losses + 1] = model:sample(cond, { n = 2, rng = rng }):sum()
  return losses
end

local function together(seeds)
  local routines, results, left = {}, {}, #seeds
  for i, seed in ipairs(seeds) do
    routines[i] = coroutine.wrap(function() results[i] = run(seed, coroutine.yield) left = left - 1 end)
  end
  while left > 0 do
    for i in ipairs(seeds) do
      if not results[i] then routines[i]() end
    end
  end
  return results
end

describe("Coroutines", function()
  setup(threads.one)
  teardown(threads.restore)

  it("that train models by turns get what each gets alone", function()
    local alone = {}
    for i = 1, 3 do alone[i] = run(i, function() end) end
    assert.same(alone, together { 1, 2, 3 })
  end)

  it("may pass a model, a layer and an optimizer on to each other", function()
    local model, other = tiny(4), tiny(4)
    local x, y = core.randn(2, 1, 8, 8), core.randn(2, 1, 8, 8)
    local function in_coroutine(f) return coroutine.wrap(f)() end
    local loss = in_coroutine(function() return (model:loss_and_grad(x, y)) end)
    assert.are.equal((other:loss_and_grad(x, y)), loss)
    local opt = in_coroutine(function() return cglow.optim.Adam(model:parameters(), { lr = 1e-2 }) end)
    assert.is_true(opt:step())
    assert.is_true(cglow.optim.Adam(other:parameters(), { lr = 1e-2 }):step())
    collectgarbage()
    assert.are.equal((other:loss_and_grad(x, y)), (in_coroutine(function() return (model:loss_and_grad(x, y)) end)))
  end)

  it("may be dropped or closed in the middle of a step", function()
    local model, other = tiny(5), tiny(5)
    local x, y = core.randn(2, 1, 8, 8), core.randn(2, 1, 8, 8)
    local thread = coroutine.create(function()
      model:condition(x)
      local actnorm = model.levels[1].steps[1].actnorm
      actnorm.cn:forward(x)
      coroutine.yield()
    end)
    coroutine.resume(thread)
    assert.is_true(coroutine.close(thread))
    thread = nil
    collectgarbage()
    assert.is_nil(thread)
    assert.are.equal((other:loss_and_grad(x, y)), (model:loss_and_grad(x, y)))
  end)

  it("may not yield out of the core, and are told so", function()
    local t = core.ones(3)
    local thread = coroutine.create(function() return t:map(function(v) return coroutine.yield(v) end) end)
    local ok, message = coroutine.resume(thread)
    assert.is_false(ok)
    assert.matches("attempt to yield across a C-call boundary", message, 1, true)
    assert.is_true(t:equal(core.ones(3)))
  end)

  it("raise errors out of the core that leave it usable", function()
    local model, other = tiny(6), tiny(6)
    local x, y = core.randn(2, 1, 8, 8), core.randn(2, 1, 8, 8)
    for _ = 1, 3 do
      local thread = coroutine.create(function() model:loss_and_grad(core.zeros(1), y) end)
      assert.is_false((coroutine.resume(thread)))
    end
    assert.are.equal((other:loss_and_grad(x, y)), (model:loss_and_grad(x, y)))
  end)
end)
