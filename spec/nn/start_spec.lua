-- How layers are born: so that a network that is written and trained learns.
local cglow = require "cglow"
local core = require "cglow.core"
local nn = cglow.nn

-- Layers of 64,000 weights at least, so that a sample's variance is within 4 of its own
-- standard deviations, √(2/64000), of what it was drawn with.
local SLACK <const> = 4 * math.sqrt(2 / 64000)
local LAYERS <const> = {
  { "Conv2d", function(o)
    return nn.Conv2d { in_channels = 64, out_channels = 128, kernel = { 3, 5 }, init = o.init, rng = o.rng }
  end, inputs = 64 * 15, outputs = 128 * 15 },
  { "RConv", function(o)
    return nn.RConv { in_channels = 64, out_channels = 64, from = { 16, 16 }, to = { 4, 4 }, init = o.init,
      rng = o.rng }
  end, inputs = 64 * 16, outputs = 64 * 16 },
  { "Linear", function(o) return nn.Linear { in_features = 200, out_features = 400, init = o.init, rng = o.rng } end,
    inputs = 200, outputs = 400 },
}

describe("A layer's weights", function()
  for _, layer in ipairs(LAYERS) do
    local name, make = layer[1], layer[2]
    it("have the variance that suits what follows: " .. name, function()
      for _, case in ipairs { { nil, 2 / layer.inputs }, { "he", 2 / layer.inputs },
        { "xavier", 2 / (layer.inputs + layer.outputs) } } do
        local params = make({ init = case[1], rng = core.Rng(1) }):parameters()
        local w = params[1].value
        assert.is_true(math.abs(w:var() / case[2] - 1) < SLACK)
        assert.is_true(math.abs(w:mean()) < 4 * math.sqrt(case[2] / w:count()))
        assert.is_true(params[2].value == core.zeros(params[2].value:count()))
      end
      assert.equal(0, make({ init = "zero" }):parameters()[1].value:norm())
    end)

    it("are repeated by a seed, and draw from nothing else than they should: " .. name, function()
      cglow.seed(3)
      local a = make {}:parameters()[1].value
      cglow.seed(3)
      assert.is_true(make {}:parameters()[1].value == a)
      assert.is_false(make {}:parameters()[1].value == a)
      local state = core.rng():state()
      make { rng = core.Rng(3) }
      make { init = "zero" }
      assert.equal(state, core.rng():state())
    end)
  end
end)

-- Steps of Adam on the mean squared distance of net(x) from y; the last distance.
local function fit(net, x, y, steps)
  local adam = cglow.optim.Adam(net:parameters "", { lr = 0.01 })
  local loss
  for _ = 1, steps do
    core.zero_grad(net:parameters "")
    local d = net:forward(x):clone():add(y, -1)
    loss = d:norm() ^ 2 / d:count()
    net:backward(d:mul(2 / d:count()), false)
    assert(adam:step())
  end
  return loss
end

describe("A network that is written and trained", function()
  it("learns exclusive or", function()
    cglow.seed(1)
    local net = nn.Sequential { nn.Linear { in_features = 2, out_features = 16 }, nn.ReLU(),
      nn.Linear { in_features = 16, out_features = 1 } }
    local x, y = core.tensor { { 0, 0 }, { 0, 1 }, { 1, 0 }, { 1, 1 } }, core.tensor { { 0 }, { 1 }, { 1 }, { 0 } }
    assert.is_true(fit(net, x, y, 500) < 1e-3) -- the best that is linear has 0.25
  end)

  it("moves every parameter, through many layers", function()
    cglow.seed(2)
    local layers = {}
    for _ = 1, 8 do
      layers[#layers + 1] = nn.Conv2d { in_channels = 4, out_channels = 4, padding = 1 }
      layers[#layers + 1] = nn.ReLU()
    end
    layers[#layers + 1] = nn.Linear { in_features = 4 * 8 * 8, out_features = 3 }
    local net = nn.Sequential(layers)
    local before = {}
    for i, p in ipairs(net:parameters "") do before[i] = p.value:clone() end
    fit(net, core.rand(4, 4, 8, 8), core.rand(4, 3), 3)
    for i, p in ipairs(net:parameters "") do assert.is_false(p.value == before[i], p.name) end
  end)

  it("may be a coupling: every parameter moves", function()
    cglow.seed(3)
    for _, cond in ipairs { 0, 3 } do
      local layer = cglow.flow.coupling(4, cond, 8)
      local y, hx = core.rand(2, 4, 6, 6), cond > 0 and core.rand(2, cond, 6, 6) or nil
      local adam = cglow.optim.Adam(layer:parameters(), { lr = 0.01 })
      local before = {}
      for i, p in ipairs(layer:parameters()) do before[i] = p.value:clone() end
      for _ = 1, 3 do
        core.zero_grad(layer:parameters())
        layer:backward(layer:forward(y, hx):clone(), -1)
        assert(adam:step())
      end
      for i, p in ipairs(layer:parameters()) do assert.is_false(p.value == before[i], p.name) end
    end
  end)
end)

describe("A coupling", function()
  local function bytes(layer)
    local list = {}
    for i, p in ipairs(layer:parameters()) do list[i] = core.file.crc32c(p.value) end
    return table.concat(list, " ")
  end

  it("is started by the generator that it is given, or not at all", function()
    local a = bytes(cglow.flow.coupling(4, 2, 5, 0, false, core.Rng(1)))
    local state = core.rng():state()
    assert.equal(a, bytes(cglow.flow.coupling(4, 2, 5, 0, false, core.Rng(1))))
    for _, p in ipairs(cglow.flow.coupling(4, 2, 5, 0, false, false):parameters()) do
      assert.equal(0, p.value:norm())
    end
    assert.equal(state, core.rng():state())
    cglow.seed(1)
    assert.equal(a, bytes(cglow.flow.coupling(4, 2, 5)))
  end)
end)

describe("A model", function()
  it("starts by its own generator alone", function()
    local state = core.rng():state()
    for _, o in ipairs { { init = "live" }, { init = "paper" }, { encoder = { channels = { 4, 4, 4 } },
      condition = { actnorm = true, invconv = true }, head = { outputs = 2 } } } do
      o.x, o.y, o.levels, o.depth, o.coupling, o.rng = { 1, 16, 16 }, { 1, 16, 16 }, 2, 1, { width = 4 }, core.Rng(2)
      cglow.Model(o)
      assert.equal(state, core.rng():state())
    end
  end)
end)
