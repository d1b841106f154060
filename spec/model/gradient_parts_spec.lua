-- Whoever is told that the backward pass is done with a part of the gradients may send them
-- away: none of them changes any more, and the sum is that of a pass in which nobody asked.
local cglow = require "cglow"
local core = require "cglow.core"

local function model(o)
  o.x, o.y, o.levels, o.depth, o.coupling = { 3, 16, 16 }, { 3, 16, 16 }, 2, 2, { width = 8 }
  o.rng = core.Rng(1)
  return cglow.Model(o)
end

local MODELS <const> = {
  published = function() return model { cn = { channels = 4, width = 8 }, learned_prior = true } end,
  ["with an encoder"] = function() return model { encoder = { channels = { 4, 5, 6, 7 } } } end,
  ["with an encoder and a head"] = function()
    return model { encoder = { channels = { 4, 5, 6 } }, head = { outputs = 2 },
      condition = { actnorm = true, injector = true } }
  end,
  ["with an encoder of the user's own"] = function()
    return model { encoder = { make = function(spec) return core.net.unet(spec.x[1], { 3, 4, 5 }, 2) end } }
  end,
}

local function numbers(t) return string.pack(("f"):rep(t:count()), table.unpack(t:reshape(-1):totable())) end
local function bits(p) return numbers(p:gradient()) end

describe("The parts of gradients of a model", function()
  local threads = core.threads()
  after_each(function() core.threads(threads) end)

  for what, make in pairs(MODELS) do
    it(what .. " are complete when they are said to be", function()
      local rng = core.Rng(2)
      local x, y = rng:uniform(2, 3, 16, 16), rng:uniform(2, 3, 16, 16)
      local one, other = make(), make()
      core.threads(1) -- more would be told of in larger shares
      local head = one.config.head and cglow.ones(2, 16, 16) or nil
      assert(one:loss_and_grad(x, y, { head = head }))

      local parts, counted = other:gradient_parts(), {}
      for _, part in ipairs(parts) do
        for _, p in ipairs(part) do
          assert.is_nil(counted[p])
          counted[p] = true
        end
      end
      for _, p in ipairs(other:parameters()) do assert.is_true(counted[p], p.name) end

      local kept, at = {}, 0
      assert(other:loss_and_grad(x, y, { head = head, done = function(part)
        assert.is_true(part > at and part < #parts)
        for k = at + 1, part do
          for _, p in ipairs(parts[k]) do kept[p] = bits(p) end
        end
        at = part
      end }))
      local wanted, known = one:parameters(), 0
      for i, p in ipairs(other:parameters()) do
        assert.equal(bits(wanted[i]), bits(p), p.name)
        if kept[p] then
          known = known + 1
          assert.equal(kept[p], bits(p), p.name)
        end
      end
      assert.equal(#wanted, known) -- nothing is left for the end
    end)
  end
end)

describe("A backward pass in stages", function()
  it("of a U-Net gives the same bits as in one go, and no stage may be left out", function()
    local function passed(stages)
      local net, rng = core.net.unet(3, { 4, 6, 8 }, 1), core.Rng(7)
      for _, p in ipairs(net:parameters()) do p.value:copy(rng:normal(table.unpack(p.value:size()))) end
      local x = rng:normal(2, 3, 8, 8)
      local made = net:forward(x, true)
      local grads = { pooled = rng:normal(2, 8) }
      for s = 0, 2 do grads[s] = rng:normal(table.unpack(made[s]:size())) end
      local dx
      if not stages then
        dx = net:backward(grads, true)
      else
        for stage = 1, (net:stages()) do dx = net:backward(grads, true, stage) end
      end
      local list = { numbers(dx) }
      for _, p in ipairs(net:parameters()) do list[#list + 1] = bits(p) end
      return list, net, grads
    end
    local list, net, grads = passed(true)
    assert.same(passed(false), list)
    assert.same({ 5, 3 }, { net:stages() })
    net:backward(grads, false, 1)
    net:backward(grads, false, 2)
    assert.has_error(function() net:backward(grads, false, 4) end,
      "bad argument #3 to 'backward' (stage 3 expected to follow, got 4)")
    net:forward(core.zeros(2, 3, 8, 8)) -- another pass: what the stages had is gone
    assert.has_error(function() net:backward(grads, false, 3) end,
      "bad argument #3 to 'backward' (stage 1 expected to follow, got 3)")
  end)
end)
