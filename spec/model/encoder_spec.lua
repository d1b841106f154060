-- Models whose layers share one encoder of x: how they start, other sizes, checkpoints,
-- heads, networks of one's own. Their mathematics is held by the golden vectors and by
-- spec/double.
local cglow = require "cglow"
local core = require "cglow.core"
local model_file = require "cglow.model.file"
local models = require "spec.support.models"
local nn = require "cglow.nn"
local scratch = require "spec.fixtures.scratch"

local SMALL = { x = { 2, 16, 16 }, y = { 1, 16, 16 }, levels = 2, depth = 2, encoder = { channels = { 4, 5, 6 } },
  coupling = { width = 8 }, head = { outputs = 2 } }

local function with(changes)
  local opts = {}
  for k, v in pairs(SMALL) do opts[k] = v end
  for k, v in pairs(changes or {}) do opts[k] = v or nil end
  return opts
end

local function new(changes, seed)
  local opts = with(changes)
  opts.rng = core.Rng(seed or 1)
  return cglow.Model(opts)
end

local function batch(n, seed)
  local rng = core.Rng(seed or 2)
  return rng:uniform(n, 2, 16, 16), rng:normal(n, 1, 16, 16), (rng:uniform(n, 16, 16) * 2):floor() + 1
end

-- Copies of all values by name.
local function values(model)
  local t = {}
  for _, p in ipairs(model:parameters()) do t[p.name] = p.value:clone() end
  return t
end

describe("a new model with an encoder", function()
  it("is the identity but for rotations: its latents have y's norm and its loss is that of N(0, 1)", function()
    local model = new()
    local x, y = batch(3)
    local logp, latents = model:log_prob(x, y)
    local sum = 0
    for _, z in ipairs(latents) do sum = sum + (z * z):sum() end
    local want = -0.5 * (y * y):sum() - 0.5 * math.log(2 * math.pi) * y:count()
    -- float sums of 768 squares; rotations are made in float
    assert.near((y * y):sum(), sum, 1e-4 * sum)
    assert.near(want, logp:sum(), 1e-4 * math.abs(want))
  end)

  it("lets its actnorms start from the first batch of training, and only from that", function()
    local model = new()
    local x, y = batch(4)
    y:mul(3):add(5)
    model:log_prob(x, y) -- is no training
    assert.is_true(values(model)["level.1.step.1.actnorm.logs"] == core.zeros(4))
    model:loss_and_grad(x, y)
    local started = values(model)
    local first = model.layers[2]
    assert.equal("actnorm", first.kind)
    local z = first.flow:forward((core.flow.squeeze():forward(y))):clone()
    for c = 1, 4 do
      local channel = z:narrow(2, c, 1):clone()
      local mean = channel:mean()
      assert.near(0, mean, 1e-5) -- float sums of 256 numbers of size 1
      assert.near(1, (channel * channel):mean() - mean * mean, 1e-4)
    end
    local last = started["level.2.step.2.actnorm.logs"]
    assert.is_true(last:abs():min() > 0)
    model:loss_and_grad(x, y * 7)
    for name, value in pairs(values(model)) do assert.is_true(value == started[name], name) end
  end)

  it("does not start from a guess of y, nor where it is only diagnosed", function()
    local model, twin = new(), new()
    local x, y = batch(2)
    y:mul(3):add(5)
    local before = values(model)
    assert(model:maximize(x, { steps = 2 }))
    assert.same({}, model:diagnose(x, y).faulty)
    for name, value in pairs(values(model)) do assert.is_true(value == before[name], name) end
    assert.equal((twin:loss_and_grad(x, y)), (model:loss_and_grad(x, y))) -- both start from this one
    assert.is_true(values(model)["level.1.step.1.actnorm.logs"] ~= before["level.1.step.1.actnorm.logs"])
  end)

  it("starts the same for the same seed and batch, and moves every parameter", function()
    local moved = {}
    local function train(watch)
      local model = new()
      local x, y, classes = batch(4)
      local adam = cglow.optim.Adam(model:parameters(), { lr = 1e-3 })
      for _ = 1, 4 do
        local before = watch and values(model)
        model:zero_grad()
        assert(model:loss_and_grad(x, y, { head = classes }))
        assert(adam:step())
        for name, value in pairs(watch and values(model) or {}) do
          moved[name] = moved[name] or value ~= before[name]
        end
      end
      return values(model)
    end
    local a, b = train(true), train()
    for name, value in pairs(a) do
      assert.is_true(value == b[name], name)
      assert.is_true(moved[name], name .. " never moved")
    end
  end)

  it("allocates no tensor in a step once it has made one", function()
    local model = new()
    local x, y, classes = batch(2)
    local adam = cglow.optim.Adam(model:parameters(), { lr = 1e-3 })
    local function step()
      model:zero_grad()
      assert(model:loss_and_grad(x, y, { head = classes }))
      assert(adam:step())
    end
    step()
    step()
    local before = cglow.stats().tensors
    for _ = 1, 3 do step() end
    assert.equal(before, cglow.stats().tensors)
  end)
end)

describe("another size than that of training", function()
  local model
  setup(function() model = models.random(SMALL, core.Rng(5)) end)

  it("trains, is inverted, sampled and predicted", function()
    local rng = core.Rng(6)
    for _, size in ipairs { { 8, 24 }, { 32, 16 }, { 4, 4 } } do
      local h, w = size[1], size[2]
      local x, y = rng:uniform(2, 2, h, w), rng:normal(2, 1, h, w)
      local logp, latents = model:log_prob(x, y)
      assert.same({ 2, 8, h // 4, w // 4 }, latents[2]:size())
      assert.is_true(logp:isfinite())
      -- float: four steps, whose 1x1 are near rotations and whose scales lie within e
      assert.is_true((model:decode(x, latents) - y):abs():max() < 1e-3)
      assert.near(-logp:mean() / (h * w * math.log(2)), model:loss_and_grad(x, y), 1e-4)
      assert.same({ 6, 1, h, w }, model:sample(x, { n = 3 }):size())
      assert.same({ 2, 1, h, w }, model:predict(x, { samples = 2 }):size())
      assert.same({ 2, 2, h, w }, model:head(x):size())
    end
  end)

  it("changes nothing far from its edges: the network is convolutional", function()
    local rng = core.Rng(7)
    -- What the widest paths see on either side: 2 scales of blocks each way, and the flow's convolutions.
    local far, side = 96, 16
    local x = rng:uniform(1, 2, side + 2 * far, side + 2 * far)
    local same = x:narrow(3, 5, side + 2 * far - 8):narrow(4, 5, side + 2 * far - 8):clone()
    local big = model:head(x):narrow(3, far + 1, side):narrow(4, far + 1, side)
    local cut = model:head(same):narrow(3, far - 3, side):narrow(4, far - 3, side)
    assert.is_true((big - cut):abs():max() <= 1e-4 * big:abs():max())
  end)

  it("is refused where scales or levels do not divide it", function()
    local x, y = core.zeros(1, 2, 10, 8), core.zeros(1, 1, 10, 8)
    for name, f in pairs {
      log_prob = function() model:log_prob(x, y) end,
      predict = function() model:predict(x) end,
      head = function() model:head(x) end,
    } do
      assert.error_matches(f, "Model:" .. name .. ": x must have sides that are multiples of 4", 1, true)
    end
    assert.error_matches(function() model:log_prob(core.zeros(1, 2, 8, 8), core.zeros(1, 1, 16, 16)) end,
      "y must be a tensor of shape Nx1x8x8, got a tensor of shape 1x1x16x16", 1, true)
  end)

  it("keeps y in x's middle where y is smaller", function()
    local inner = models.random({ x = { 1, 16, 16 }, y = { 1, 8, 8 }, levels = 1, depth = 1,
      encoder = { channels = { 2, 3 } } }, core.Rng(8))
    local x = core.Rng(9):uniform(2, 1, 32, 16)
    assert.same({ 2, 1, 16, 8 }, inner:predict(x):size())
  end)
end)

describe("a checkpoint of a model with an encoder", function()
  local folder
  setup(function() folder = scratch.folder() end)
  teardown(function() scratch.remove(folder) end)

  it("brings back what it does, and how it was made", function()
    local path = folder .. "/a.safetensors"
    local model = models.random(SMALL, core.Rng(10))
    assert(model:save(path))
    local back = assert(cglow.load(path))
    assert.same(model.config, back.config)
    local x, y, classes = batch(3)
    assert.is_true(model:log_prob(x, y) == back:log_prob(x, y))
    assert.equal(model:loss_and_grad(x, y, { head = classes }), back:loss_and_grad(x, y, { head = classes }))
    assert.is_true(model:head(x) == back:head(x))
    assert.is_true(model:predict(x, { rng = core.Rng(1) }) == back:predict(x, { rng = core.Rng(1) }))
  end)

  it("remembers that actnorms have not started", function()
    local path = folder .. "/b.safetensors"
    local model = new()
    assert(model:save(path))
    local back = assert(cglow.load(path))
    local filled, tensors, _, metadata = new({}, 3), model_file.read(path, "a model") -- as --init-from does
    assert(model_file.fill(filled, tensors, metadata))
    local x, y = batch(3)
    local loss = model:loss_and_grad(x, y)
    assert.equal(loss, (back:loss_and_grad(x, y)))
    assert.equal(loss, (filled:loss_and_grad(x, y)))
    for name, value in pairs(values(back)) do assert.is_true(value == values(model)[name], name) end
    assert(model:save(path))
    back = assert(cglow.load(path))
    local started = values(back)
    back:loss_and_grad(x, y * 2)
    for name, value in pairs(values(back)) do assert.is_true(value == started[name], name) end
  end)
end)

describe("a head", function()
  it("counts in the gradients by its weight and in the loss not at all", function()
    local x, y, classes = batch(3)
    local function gradients(opts)
      local model = models.random(SMALL, core.Rng(11))
      local loss = model:loss_and_grad(x, y, opts)
      local t = {}
      for _, p in ipairs(model:parameters()) do t[p.name] = p.grad:clone() end
      return loss, t
    end
    local alone, without = gradients()
    local loss, one = gradients { head = classes, head_weight = 1 }
    local _, two = gradients { head = classes, head_weight = 2 }
    local zero, none = gradients { head = classes, head_weight = 0 }
    assert.equal(alone, loss)
    assert.equal(alone, zero)
    for name in pairs(one) do
      local step = one[name] - without[name]
      local limit = 1e-5 * math.max(two[name]:abs():max(), 1e-3) -- float sums of thousands of numbers
      assert.is_true((two[name] - without[name] - step * 2):abs():max() <= limit, name)
      assert.is_true((none[name] - without[name]):abs():max() <= limit, name)
      if name:find("^head") then assert.is_true(step:abs():max() > 0, name) end
    end
  end)

  it("leaves everything else as it is, bit for bit, whether its features are made or not", function()
    local x, y, classes = batch(3)
    local model = models.random(SMALL, core.Rng(13))
    local logp = model:log_prob(x, y)
    local loss = model:loss_and_grad(x, y, { head = classes })
    assert.equal(loss, (model:loss_and_grad(x, y)))
    assert.is_true(logp == model:log_prob(x, y))
    local said = model:head(x)
    model:log_prob(x, y)
    assert.is_true(said == model:head(x))
    -- A step without a target leaves what only the head reads alone.
    model:zero_grad()
    model:loss_and_grad(x, y)
    for _, p in ipairs(model:parameters()) do
      local alone = p.name:find "^head" or p.name:find "^encoder%.merge%.1%." or p.name:find "^encoder%.up%.1%."
      assert.equal(alone and true or false, p.grad:abs():max() == 0, p.name)
    end
  end)

  it("is absent without being asked for", function()
    local model = new { head = false }
    for _, p in ipairs(model:parameters()) do assert.is_nil(p.name:find "^head") end
    assert.error_matches(function() model:head(core.zeros(1, 2, 16, 16)) end, "made without a head")
  end)
end)

describe("an encoder of one's own", function()
  -- Halves x with a strided convolution in C for each level, in Lua.
  local function own(spec)
    local net = { stages = {} }
    for l = 1, spec.levels do
      net.stages[l] = nn.Sequential {
        "conv", nn.Conv2d { in_channels = l == 1 and spec.x[1] or 3, out_channels = 3, stride = 2, padding = 1 },
        nn.ReLU(),
      }
      for _, p in ipairs(net.stages[l]:parameters()) do spec.rng:fill_normal(p.value):mul(0.3) end
    end
    function net.forward(_, x)
      local list = {}
      for l, stage in ipairs(net.stages) do list[l] = stage:forward(l == 1 and x or list[l - 1]) end
      return list
    end
    function net.backward(_, grads)
      local d
      for l = #net.stages, 1, -1 do d = net.stages[l]:backward(d and grads[l] + d or grads[l]) end
    end
    function net.parameters(_, prefix)
      local all = {}
      for l, stage in ipairs(net.stages) do
        for _, p in ipairs(stage:parameters(prefix and prefix .. l .. ".")) do all[#all + 1] = p end
      end
      return all
    end
    return net
  end

  it("takes the place of the standard one, with gradients for all", function()
    local rng = core.Rng(12)
    local model = cglow.Model { x = { 2, 16, 16 }, y = { 1, 16, 16 }, levels = 2, depth = 1, coupling = { width = 8 },
      rng = rng, encoder = { make = function(spec)
        spec.rng = rng
        return own(spec)
      end } }
    local x, y = batch(2)
    for _, p in ipairs(model:parameters()) do rng:fill_normal(p.value):mul(0.2) end
    model:loss_and_grad(x, y)
    local seen = 0
    for _, p in ipairs(model:parameters()) do
      if p.name:find "^encoder%.%d%.conv" then
        seen = seen + 1
        assert.is_true(p.grad:abs():max() > 0, p.name)
      end
    end
    assert.equal(4, seen)
    assert.matches("features", tostring(model))
  end)
end)
