-- Gradients that several processes share, without the processes: the factors and sums of
-- two or three "ranks" are carried from one to the other by hand.
local core = require "cglow.core"
local cglow = require "cglow"

local function layer(rows, cols, seed)
  local net = core.net.linear(cols, rows)
  local rng = core.Rng(seed)
  for _, p in ipairs(net:parameters()) do rng:fill_normal(p.value) end
  return net, net:parameters()
end

local function run(net, x, dout)
  net:forward(x)
  net:backward(dout)
end

local function gradient(params) return params[1].grad:totable() end

local function normal(rng, ...) return rng:fill_normal(core.empty(...)) end

describe("factors of shared gradients", function()
  -- n samples on each of so many ranks; above 32 together they become a matrix.
  for _, case in ipairs {{1, 1}, {1, 4}, {2, 3}, {3, 11}, {16, 2}, {8, 5}, {40, 1}} do
    local n, ranks = table.unpack(case)
    it(("of %d samples on %d ranks give the gradient of all samples"):format(n, ranks), function()
      local rng = core.Rng(9)
      local x, dout = normal(rng, n * ranks, 7), normal(rng, n * ranks, 5)
      local whole, want = layer(5, 7, 1)
      run(whole, x, dout)
      local factors, params = {}, {}
      for r = 1, ranks do
        local net
        net, params[r] = layer(5, 7, 1)
        factors[r] = core.gradient_factors({params[r][1]}, n, ranks)
        if r % 2 == 0 then factors[r]:lie_in(core.zeros(n * 12), core.zeros(ranks, n * 12)) end
        if n > 32 then -- too many for the layer to keep: that is seen, not sent
          run(net, x, dout)
          assert.error_matches(function() factors[r]:pack(1) end, "'weight' is no outer product")
          return
        end
        factors[r]:begin()
        run(net, x:narrow(1, (r - 1) * n + 1, n), dout:narrow(1, (r - 1) * n + 1, n))
        factors[r]:pack(1)
      end
      for r = 1, ranks do
        local _, all = factors[r]:tensors()
        for k = 1, ranks do all:narrow(1, k, 1):copy(factors[k]:tensors():reshape(1, n * 12)) end
        factors[r]:unpack()
        local got, expected = gradient(params[r]), gradient(want)
        for i = 1, 35 do
          -- n·ranks products of numbers below 5, added up in another order
          assert.near(expected[i], got[i], 25 * n * ranks * 2.0 ^ -23)
        end
        assert.same(gradient(params[1]), got) -- on all ranks the same bits
      end
    end)
  end

  it("are zeros where no gradient is", function()
    local _, params = layer(2, 3, 1)
    local f = core.gradient_factors({params[1]}, 2, 1)
    f:begin()
    f:pack(1)
    local own, all = f:tensors()
    assert.equal(0.0, own:abs():max())
    all:copy(own:reshape(1, 10))
    f:unpack()
    assert.equal(0.0, params[1].grad:abs():max())
  end)

  it("are kept although Lua has seen the gradient", function()
    local net, params = layer(2, 3, 1)
    local f = core.gradient_factors({params[1]}, 1, 1)
    assert.truthy(params[1].grad)
    f:begin()
    run(net, core.ones(1, 3), core.ones(1, 2))
    f:pack(0.5)
    assert.same({0.5, 0.5, 1.0, 1.0, 1.0}, (f:tensors()):totable())
    assert.same({1.0, 1.0, 1.0, 1.0, 1.0, 1.0}, gradient(params))
  end)
end)

describe("flat gradients", function()
  it("are where the parameters' gradients are", function()
    local net, params = layer(2, 3, 1)
    assert.truthy(params[2].grad:fill(7)) -- what is there already moves along
    local flat = core.gradient_flat(params)
    local t = flat:tensor()
    assert.equal(7.0, params[2].grad[2])
    run(net, core.ones(1, 3), core.full(1, 2, 3))
    flat:complete()
    local numbers = t:totable()
    assert.same({3.0, 3.0, 3.0, 3.0, 3.0, 3.0}, table.move(numbers, 1, 6, 1, {}))
    assert.same({10.0, 10.0}, table.move(numbers, 17, 18, 1, {}))
    t:mul(2)
    assert.equal(6.0, params[1].grad[1][1])
    assert.equal(20.0, params[2].grad[1])
  end)

  it("move to another tensor with what they hold", function()
    local net, params = layer(2, 3, 1)
    local flat = core.gradient_flat(params)
    run(net, core.ones(1, 3), core.full(1, 2, 3))
    local held, t = params[2].grad, core.zeros(2, flat:tensor():count())[2]
    flat:lie_in(t)
    flat:complete()
    assert.equal(t, flat:tensor())
    assert.same({3.0, 3.0}, table.move(t:totable(), 17, 18, 1, {}))
    t:mul(2)
    assert.equal(6.0, params[2].grad[1])
    assert.equal(3.0, held[1]) -- who holds a look asks for it anew
    run(net, core.ones(1, 3), core.full(1, 2, 3))
    assert.equal(9.0, t[17])
  end)

  -- A 3×3 convolution notes what is the largest in its gradient; others do not.
  it("tell what their sum does not exceed, so that it need not be looked through", function()
    local conv = core.net.conv2d(2, 3, 3, 3, 1, 1, 1, 1, true)
    local weight, bias = table.unpack(conv:parameters "")
    local flat = core.gradient_flat {weight, bias}
    local t, adam = flat:tensor(), cglow.optim.Adam({weight, bias}, {lr = 1})
    local function run_once(scale)
      core.zero_grad {weight, bias}
      conv:forward(core.ones(1, 2, 5, 5))
      conv:backward(core.full(1, 3, 5, 5, scale))
      flat:complete()
    end
    local bound = t:count() - 16 + 1
    run_once(1)
    assert.equal(25.0, t[bound])
    assert.equal(math.huge, t[bound + 1])
    t:mul(2) -- as if another process had the same
    flat:arrive()
    assert.equal(50.0, t[bound])
    assert(adam:step())
    -- What is not finite on another process is seen, in whichever of them it is.
    for _, at in ipairs {1, 65} do
      run_once(1)
      t[at] = 0 / 0
      t[bound] = 0 / 0
      flat:arrive()
      local ok, why = adam:step()
      assert.is_nil(ok)
      assert.truthy(why:find("is not finite", 1, true))
    end
    run_once(1)
    flat:arrive()
    weight.grad:fill(0 / 0) -- what Lua has written counts, whatever was found before
    assert.is_nil((adam:step()))
  end)

  it("hold zeros for gradients that count as zero", function()
    local net, params = layer(2, 3, 1)
    local flat = core.gradient_flat(params)
    run(net, core.ones(1, 3), core.ones(1, 2))
    flat:complete()
    core.zero_grad(params)
    flat:complete()
    assert.equal(0.0, flat:tensor():abs():max())
  end)

  it("train a model to the same bits", function()
    local function train(prepare)
      core.seed(3)
      local model = cglow.Model {
        x = {3, 8, 8}, y = {3, 8, 8}, levels = 1, depth = 2, cn = {channels = 4, width = 8}, coupling = {width = 8}}
      prepare(model)
      local adam = cglow.optim.Adam(model:parameters(), {lr = 1e-3, clip_norm = 1})
      local x, y = core.rand(2, 3, 8, 8), core.rand(2, 3, 8, 8)
      for _ = 1, 3 do
        model:zero_grad()
        assert(model:loss_and_grad(x, y))
        assert(adam:step())
      end
      local sums = {}
      for i, p in ipairs(model:parameters()) do sums[i] = p.value:totable() end
      return sums
    end
    local flat
    assert.same(train(function() end), train(function(model) flat = core.gradient_flat(model:parameters()) end))
    assert.truthy(flat)
  end)
end)
