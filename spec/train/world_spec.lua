-- A trainer's world as one process sees it: what is refused, a world of one, and gradients
-- that another engine makes those of several processes.
local core = require "cglow.core"
local toy = require "spec.support.toy"
local train = require "cglow.train"

-- A trainer on the toy problem; options replace others.
local function trainer(options)
  local o = {model = toy.model(), train = toy.data(7), steps = 6, batch = 2, seed = 5, progress = "quiet",
    optimizer = {lr = 1e-3}}
  for name, value in pairs(options) do o[name] = value end
  return train.Trainer(o)
end

local function weights(t) return core.checksum(t.model:parameters()) end

describe("A trainer's world", function()
  local threads
  setup(function()
    threads = core.threads()
    core.threads(1)
  end)
  teardown(function() core.threads(threads) end)

  it("must be a module like cglow.mpi", function()
    assert.error_matches(function() trainer {world = {}} end, "option 'world'.*rank")
    assert.error_matches(function() trainer {world = "cglow.mpi"} end, "option 'world' must be a table, got")
    assert.error_matches(function() trainer {world = {}, reduce = print} end, "'world' and 'reduce' exclude each other")
  end)

  it("of one rank changes nothing", function()
    local function unused() error "not to be called in a world of one" end
    local one = {rank = function() return 0 end, size = function() return 1 end}
    for _, name in ipairs {"sum", "gather", "broadcast", "igather", "iallreduce", "progress", "barrier"} do
      one[name] = unused
    end
    local with, without = trainer {world = one}, trainer {}
    assert.equal("done", with:run().reason)
    without:run()
    assert.equal(weights(without), weights(with))
  end)

  it("may be another engine's: reduce is called between gradient and step", function()
    local calls = 0
    local t = trainer {
      reduce = function(self, loss, why)
        calls = calls + 1
        assert.is_nil(why)
        if calls == 3 then return nil, "another process refused" end
        for _, p in ipairs(self.model:parameters()) do p.grad:mul(0) end
        return loss
      end,
    }
    local before = weights(t)
    local outcome = t:run()
    assert.same({"done", 6}, {outcome.reason, calls})
    assert.equal(before, weights(t)) -- gradients of 0, and one step refused
    assert.equal(1, t:state().policy.refused)
  end)
end)
