-- Finalizers that change, in the middle of a call of the core, what it works with, and compute
-- nothing: a call of theirs fails, or exchanges memory. The call is refused, or as right, bit for
-- bit, as that of a twin which nobody disturbs.
local besieged = require "spec.support.besieged"
local core = require "cglow.core"
local nn = require "cglow.nn"
local started = require("spec.support.twins").start

local CHANNELS <const>, SIDE <const> = 4, 8

local function sum_of(t) return core.file.crc32c(t:clone()) end

local function network()
  return started(nn.Sequential { nn.Conv2d { in_channels = CHANNELS, out_channels = 3, padding = 1 }, nn.ReLU(),
    nn.Linear { in_features = 3 * SIDE * SIDE, out_features = 5 } })
end

describe("A finalizer that computes nothing, in a call of the core:", function()
  -- What run(n) gives while finalizers call `change`: what the twin gives, or a refusal. Sizes grow, so that memory
  -- is allocated, but not each time.
  local function holds(run, twin, change)
    local given, refused = {}, 0
    local function size_of(i) return 1 + i // 4 end
    local came = besieged(change, function()
      for i = 1, 96 do
        local ok, sum = pcall(run, size_of(i))
        if ok then given[i] = sum else refused = refused + 1 end
        if not ok then assert.matches("a finalizer has ", sum, 1, true) end
      end
    end)
    for i, sum in pairs(given) do assert.equal(twin(size_of(i)), sum) end
    assert.is_true(came > 0 and refused > 0 and next(given) ~= nil)
  end

  local function input(n) return core.Rng(n):normal(n, CHANNELS, SIDE, SIDE) end

  local function seeded(make)
    core.seed(5)
    return make()
  end

  it("network, planned for what it cannot take", function()
    local net, other = seeded(network), seeded(network)
    local wrong = core.zeros(1, CHANNELS + 2, 1, 1)
    holds(function(n) return sum_of(net:forward(input(n))) end, function(n) return sum_of(other:forward(input(n))) end,
      function() net:forward(wrong) end)
  end)

  it("network group, planned for what one of it cannot take", function()
    local function pair() return { seeded(network), seeded(network) } end
    local nets, others = pair(), pair()
    local group, twin, wrong = core.net.group(nets), core.net.group(others), core.zeros(1, CHANNELS + 2, 1, 1)
    local function sums(of) return function(n) return sum_of(of:forward(input(n))[2]) end end
    holds(sums(group), sums(twin), function() nets[2]:forward(wrong) end)
  end)

  it("coupling, whose store is another one meanwhile", function()
    local function make() return started(core.flow.coupling(CHANNELS, 0, 8)) end
    local layer, twin, stranger, calls, at = seeded(make), seeded(make), seeded(make), 0, 0
    local function run(of)
      return function(n)
        of:own_store()
        calls, at = 0, at % 8 + 1
        of:forward(input(n))
        return sum_of((of:backward(input(n), 0.5)))
      end
    end
    stranger:forward(input(64))
    holds(run(layer), run(twin), function()
      calls = calls + 1
      if calls == at then layer:share_store(stranger) end
    end)
  end)
end)
