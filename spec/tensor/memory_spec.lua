-- Memory of large tensors is garbage that Lua's collector would let grow to as much again
-- as what is needed. Tensors pace it: what there is at most is little more than what is
-- needed at once.
local cglow = require "cglow"
local core = require "cglow.core"

local MB <const> = 2 ^ 20
local SLACK <const> = 8 * MB -- csrc/lua/tensor.c: garbage that is always allowed

local function used() return collectgarbage "count" * 1024 end

local function needed()
  collectgarbage()
  collectgarbage()
  return used()
end

-- The most memory that Lua has while f runs, which calls what it is given from time to time.
local function most_of(f)
  local most = 0
  f(function() most = math.max(most, used()) end)
  return most
end

describe("Memory", function()
  before_each(function() collectgarbage() end)

  it("of temporaries is collected in time", function()
    local held = core.zeros(25 << 20) -- 100 MB, which garbage would be let grow to
    local base = needed()
    local most = most_of(function(look)
      for i = 1, 200 do
        local t = core.zeros(1 << 20) -- 4 MB, or 8 in double
        t[1] = i
        look()
      end
    end)
    assert.are.equal(25 << 20, held:count())
    local one = (1 << 20) * (core.scalar == "double" and 8 or 4)
    assert.is_true(most <= 1.1 * base + SLACK + 2 * one, ("%d MB over %d MB"):format((most - base) // MB, base // MB))
  end)

  it("is not collected while the collector is stopped", function()
    collectgarbage "stop"
    local base = used()
    for _ = 1, 20 do core.zeros(1 << 20) end
    local grown = used() - base
    collectgarbage "restart"
    assert.is_true(grown >= 20 * (1 << 22), ("%d MB"):format(grown // MB))
  end)

  -- A tenth more than what a step needs, and the slack; then what a prediction of 10 samples
  -- needs itself. Without pacing, and with a result kept by each of the inverses, it was 3
  -- times the step's at 64x64.
  it("of a training with validations stays by that of its steps, of predictions by that of one", function()
    core.seed(1)
    local model = cglow.Model { x = { 3, 32, 32 }, y = { 3, 32, 32 }, levels = 3, depth = 2,
      cn = { channels = 64, width = 128 }, coupling = { width = 128 } }
    local adam = cglow.optim.Adam(model:parameters(), { lr = 1e-4 })
    local x, y = core.rand(2, 3, 32, 32), core.rand(2, 3, 32, 32)
    local function step()
      model:zero_grad()
      assert(model:loss_and_grad(x, y))
      assert(adam:step())
    end
    step()
    step()
    local of_step = needed()
    local one = model:predict(core.rand(1, 3, 32, 32))
    assert.is_userdata(one)
    local of_prediction = needed() - of_step
    local most = most_of(function(look)
      for _ = 1, 3 do
        step()
        look()
        for _ = 1, 4 do
          model:predict(core.rand(1, 3, 32, 32))
          look()
        end
        model:log_prob(x, y)
        look()
      end
    end)
    local limit = 1.1 * (of_step + of_prediction) + SLACK + 8 * MB -- what is made between two looks at it
    assert.is_true(most <= limit, ("%d MB; a step needs %d MB, a prediction %.1f MB more"):format(most // MB,
      of_step // MB, of_prediction / MB))
    assert.is_true(of_prediction < 0.2 * of_step, ("%.1f MB kept by a prediction, %d MB by a step"):format(
      of_prediction / MB, of_step // MB))
  end)
end)
