-- Flow layers keep buffers from call to call and hand them out. Here they are used out of turn:
-- outputs as inputs, backward after another forward, one store for several. Every case must be
-- right or refused, never quietly wrong.
local core = require "cglow.core"
local threads = require "spec.support.threads"
local twins = require "spec.support.twins"

local flow = core.flow
local grads, same, start, twin = twins.grads, twins.same, twins.start, twins.twin

setup(threads.one)
teardown(threads.restore)

local C <const> = 4

-- name, how to make it, shape of its condition for n samples (nil: none).
local LAYERS = {
  { "squeeze", flow.squeeze },
  { "actnorm", function() return flow.actnorm(C, false) end },
  { "conditional actnorm", function() return flow.actnorm(C, true) end,
    function(n) return { n, 2 * C } end },
  { "invconv", function() return flow.invconv(C, false) end },
  { "conditional invconv", function() return flow.invconv(C, true) end,
    function(n) return { n, C * C } end },
  { "coupling", function() return flow.coupling(C, 0, 8) end },
  { "conditional coupling", function() return flow.coupling(C, 3, 8) end,
    function(n) return { n, 3, 4, 4 } end },
}

describe("Flow layers", function()
  before_each(function() core.seed(2) end)

  for _, row in ipairs(LAYERS) do
    local name, make, condition = row[1], row[2], row[3]

    local function pair()
      local layer = start(make())
      return layer, twin(make, layer)
    end
    local function cond(n) return condition and core.randn(condition(n)) end
    local function dz_for(z) return core.randn(z:size()) end

    describe(name, function()
      it("takes its own output as input", function()
        local layer, other = pair()
        local y, c = core.randn(2, C, 4, 4), cond(2)
        local function twice(l, keep)
          local z = keep(l:forward(y, c))
          return l:forward(z:reshape(2, C, 4, 4), c)
        end
        local z, ld = twice(layer, function(t) return t end)
        local z2, ld2 = twice(other, function(t) return t:clone() end)
        assert.is_true(z:equal(z2))
        assert.same(ld2, ld)
        local back = layer:inverse(layer:inverse(z, c):reshape(z:size()), c)
        local back2 = other:inverse(other:inverse(z2, c):clone():reshape(z:size()), c)
        assert.is_true(back:equal(back2))
      end)

      it("takes its own gradient as gradient, and its own output", function()
        local layer, other = pair()
        local y, c = core.randn(2, C, 4, 4), cond(2)
        local z = layer:forward(y, c)
        local z2 = other:forward(y, c)
        local function shaped(t) return t:reshape(z:size()) end
        local first = layer:backward(z, 1)
        local first2 = other:backward(z2:clone(), 1)
        assert.is_true(first:equal(first2))
        assert.is_true(layer:backward(shaped(first), 1):equal(other:backward(shaped(first2:clone()), 1)))
        same(grads(layer), grads(other))
      end)

      it("takes as input the gradient that it gave", function()
        local layer, other = pair()
        local y, c = core.randn(2, C, 4, 4), cond(2)
        local dz = dz_for(layer:forward(y, c))
        other:forward(y, c)
        local dy, dy2 = layer:backward(dz, 1), other:backward(dz, 1):clone()
        layer:forward(dy, c)
        other:forward(dy2, c)
        assert.is_true(layer:backward(dz, 1):equal(other:backward(dz, 1)))
        same(grads(layer), grads(other))
      end)

      it("gives the gradient of its last forward whatever inverse did since", function()
        local layer, other = pair()
        local y, c = core.randn(2, C, 4, 4), cond(2)
        local z = layer:forward(y, c)
        other:forward(y, c)
        local dz = dz_for(z)
        layer:inverse(dz_for(z), cond(2))
        layer:inverse(core.randn(4, table.unpack(z:size(), 2)), cond(4))
        if condition and name ~= "conditional actnorm" then
          layer:inverse_prepared(dz_for(z), layer:prepare(cond(2)))
        end
        if name == "conditional invconv" then layer:diagnose(cond(2)) end
        local dy, dc = layer:backward(dz, 0.5)
        local dy2, dc2 = other:backward(dz, 0.5)
        assert.is_true(dy:equal(dy2))
        if condition then assert.is_true(dc:equal(dc2)) end
        same(grads(layer), grads(other))
      end)

      it("refuses backward without forward, and gradients of another shape", function()
        local layer = start(make())
        local dz = core.randn(2, C, 4, 4)
        if name ~= "squeeze" then -- which needs nothing of forward's
          assert.is_false(pcall(layer.backward, layer, dz, 1))
        end
        local z = layer:forward(core.randn(2, C, 4, 4), cond(2))
        for _, wrong in ipairs { core.randn(2, C + 1, 4, 4), core.randn(1, C, 4, 6), core.randn(C) } do
          local ok, message = pcall(function() return layer:backward(wrong, 1) end)
          if name ~= "squeeze" or ok == false then
            assert.is_false(ok)
            assert.matches("expected, got", message, 1, true)
          end
        end
        layer:backward(dz_for(z), 1)
      end)

      it("keeps nothing for backward when told so, or with fewer conditions than samples", function()
        local layer = start(make())
        local y = core.randn(4, C, 4, 4)
        local z = layer:forward(y, cond(2), false)
        if condition or name == "coupling" then
          assert.is_false(pcall(function() layer:backward(dz_for(z), 1) end))
        end
        assert.are.equal(4, #select(2, layer:forward(y, cond(1))))
      end)

      it("follows every change of the batch", function()
        local layer = start(make())
        for _, n in ipairs { 1, 3, 2, 3 } do
          local other = twin(make, layer)
          local y, c = core.randn(n, C, 4, 4), cond(n)
          local z, ld = layer:forward(y, c)
          local z2, ld2 = other:forward(y, c)
          assert.is_true(z:equal(z2))
          assert.same(ld2, ld)
          for _, p in ipairs(layer:parameters()) do p:zero_grad() end
          local dz = dz_for(z)
          assert.is_true(layer:backward(dz, 1):equal(other:backward(dz, 1)))
          same(grads(layer), grads(other))
        end
      end)
    end)
  end

  it("split: gives the gradient of its last forward whatever sample and inverse did since", function()
    local function make() return flow.split(C) end
    local layer = start(make())
    local other = twin(make, layer)
    local y, half = core.randn(2, C, 4, 4), core.randn(2, C // 2, 4, 4)
    layer:forward(y)
    other:forward(y)
    layer:sample(core.randn(2, C // 2, 4, 4), half, 1)
    layer:inverse(half, half)
    assert.is_true(layer:backward(half, 1):equal(other:backward(half, 1)))
    same(grads(layer), grads(other))
  end)

  it("split and prior: take their own outputs as inputs", function()
    local layer = start(flow.split(C))
    local z1, z2 = layer:forward(core.randn(1, C, 4, 4))
    local want = core.cat({ z1, z2 }, 2)
    local y = layer:inverse(z1, z2)
    assert.is_true(y:equal(want))
    -- With one sample the halves of y are views of it.
    local swapped = layer:inverse(y:narrow(2, 3, 2), y:narrow(2, 1, 2))
    assert.is_true(swapped:equal(core.cat({ z2, z1 }, 2)))
    local prior = start(flow.prior(C, 2, 2, true))
    local z = prior:sample(core.randn(2, C, 2, 2), 1)
    local copy = z:clone()
    assert.is_true(prior:sample(z, 1):equal(prior:sample(copy, 1)))
  end)

  it("coupling: layers with one store compute again what another overwrote", function()
    local function make() return flow.coupling(C, 0, 8) end
    local a, b = start(make()), start(make())
    local a2, b2 = twin(make, a), twin(make, b)
    b:share_store(a)
    local y, small, dz = core.randn(3, C, 4, 4), core.randn(1, C, 2, 2), core.randn(3, C, 4, 4)
    a:forward(y)
    a2:forward(y)
    b:forward(small)
    b2:forward(small)
    assert.is_true(a:backward(dz, 1):equal(a2:backward(dz, 1)))
    assert.is_true(b:backward(small, 1):equal(b2:backward(small, 1)))
    a:own_store()
    a:forward(y)
    b:forward(y)
    for _, l in ipairs { a, a2 } do for _, p in ipairs(l:parameters()) do p:zero_grad() end end
    a2:forward(y)
    assert.is_true(a:backward(dz, 1):equal(a2:backward(dz, 1)))
    same(grads(a), grads(a2))
  end)
end)
