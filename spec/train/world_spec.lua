-- A trainer's world as one process sees it: what is refused, a world of one, and gradients
-- that another engine makes those of several processes.
local core = require "cglow.core"
local threads = require "spec.support.threads"
local toy = require "spec.support.toy"

local function trainer(options) return toy.trainer(options, {valid = false, steps = 6, optimizer = {lr = 1e-3}}) end

local function weights(t) return core.checksum(t.model:parameters()) end

describe("A trainer's world", function()
  setup(threads.one)
  teardown(threads.restore)

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
