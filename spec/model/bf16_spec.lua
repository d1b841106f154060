-- Models whose networks multiply bfloat16: what is exact stays exact.
local cglow = require "cglow"
local core = require "cglow.core"
local bf16 = require "spec.support.bf16"
local scratch = require "spec.fixtures.scratch"

local EPS <const> = 2.0 ^ -23

local ENCODER = { x = { 3, 16, 16 }, y = { 3, 16, 16 }, levels = 2, depth = 2,
  encoder = { channels = { 16, 16, 24, 8 } }, coupling = { width = 40 } }
local PUBLISHED = { x = { 3, 16, 16 }, y = { 2, 16, 16 }, levels = 2, depth = 2, cn = { channels = 6, width = 9 },
  coupling = { width = 40 } }

local function with(config, fields)
  local all = {}
  for k, v in pairs(config) do all[k] = v end
  for k, v in pairs(fields) do all[k] = v end
  return all
end

-- A model with some life in every parameter.
local function random(config, precision)
  local rng = core.Rng(11)
  local model = cglow.Model(with(config, { precision = precision or "bf16", rng = rng }))
  for _, p in ipairs(model:parameters()) do
    local size = p.value:size()
    size[#size + 1] = rng
    if not p.name:find "invconv" then p.value:add(core.randn(table.unpack(size)) * 0.05) end
  end
  return model
end

local function batch(config, n)
  local rng = core.Rng(5)
  local function rand(s) return core.rand(n, s[1], s[2], s[3], rng) end
  return rand(config.x), rand(config.y)
end

local function clones(list)
  for i, t in ipairs(list) do list[i] = t:clone() end
  return list
end

local function first(t) return t:narrow(1, 1, 1) end
local function apart(a, b) return ((a - b):abs():max()) end

for name, config in pairs { ["with an encoder"] = ENCODER, ["as published"] = PUBLISHED } do
  describe("A model of bfloat16 products " .. name, function()
    it("finds the same bits for a sample alone and among others, whatever the threads", function()
      local threads = core.threads()
      local model, x, y = random(config), batch(config, 11)
      core.threads(1)
      local logp, latents = model:log_prob(x, y)
      latents = clones(latents)
      core.threads(3)
      local again = model:log_prob(x, y)
      core.threads(threads)
      assert.equal(0, apart(again, logp))
      local alone, own = model:log_prob(first(x), first(y))
      assert.equal(logp[1], alone[1])
      for l, z in ipairs(own) do assert.equal(0, apart(z, first(latents[l]))) end
      own = clones(own)
      assert.equal(0, apart(model:decode(first(x), own), first(model:decode(x, latents))))
    end)

    it("samples the same from x and from what was prepared of it", function()
      local model, x = random(config), batch(config, 2)
      local y = model:sample(x, { n = 3, rng = core.Rng(2) })
      local cond = model:condition(x)
      assert.equal(0, apart(model:sample(cond, { n = 3, rng = core.Rng(2) }), y))
      -- Decoding reads the condition itself, samples what was prepared.
      local logp, latents = model:log_prob(core.cat({ first(x), first(x), first(x) }, 1), y:narrow(1, 1, 3))
      assert.is_true(logp:isfinite())
      local back = model:decode(core.cat({ first(x), first(x), first(x) }, 1), clones(latents))
      assert.is_true(apart(back, y:narrow(1, 1, 3)) < 1e-5) -- what a spec below says of `decode`
    end)

    -- What its networks say is the same bits both ways, so the errors are those of affine maps,
    -- a 31st larger for half of the channels after each of 8 couplings: 1.3 times at most.
    -- In fp32 the networks magnify errors too, by nothing at best. Two is for the luck of a maximum.
    it("decodes as closely as in fp32", function()
      local deep, off = with(config, { depth = 4 }), {}
      for _, precision in ipairs { "fp32", "bf16" } do
        local model, x, y = random(deep, precision), batch(deep, 12)
        local _, latents = model:log_prob(x, y)
        off[precision] = apart(model:decode(x, clones(latents)), y)
      end
      assert.is_true(off.bf16 <= 2 * off.fp32)
      assert.is_true(off.fp32 < 1e-5)
    end)

    it("decodes as closely as it says", function()
      local model, x, y = random(config), batch(config, 3)
      local _, latents = model:log_prob(x, y)
      latents = clones(latents)
      local off, said = apart(model:decode(x, latents), y), (model:decode_error(x, latents):max())
      assert.is_true(off <= said)
      assert.is_true(off > said / 100) -- it says no more than it must
    end)

    it("has nearly the gradient of fp32, and learns", function()
      local x, y = batch(config, 4)
      local norms, dot, grads = {}, 0, {}
      for i, precision in ipairs { "fp32", "bf16" } do
        local model = random(config, precision)
        model.unstarted = nil
        model:zero_grad()
        assert(model:loss_and_grad(x, y))
        grads[i], norms[i] = {}, 0
        for k, p in ipairs(model:parameters()) do
          grads[i][k] = p.grad:clone()
          norms[i] = norms[i] + (p.grad * p.grad):sum()
        end
      end
      for k, g in ipairs(grads[1]) do dot = dot + (g * grads[2][k]):sum() end
      -- Each factor is off by 2^-9 at most: some percent after all layers, and random.
      assert.is_true(dot / math.sqrt(norms[1] * norms[2]) > 0.999)
      local model = random(config)
      local adam, before = cglow.optim.Adam(model:parameters(), { lr = 2e-3 }), nil
      local loss
      for _ = 1, 20 do
        model:zero_grad()
        loss = assert(model:loss_and_grad(x, y))
        before = before or loss
        assert(adam:step())
      end
      assert.is_true(loss < before - 0.1)
    end)

    it("keeps its precision in its file", function()
      local model, x, y = random(config), batch(config, 2)
      model.unstarted = nil
      local folder = scratch.folder()
      local path = folder .. "/model.safetensors"
      assert(model:save(path))
      local again = assert(cglow.load(path))
      assert.equal("bf16", again.config.precision)
      assert.matches("parameters, products of bfloat16\n", tostring(again))
      assert.equal(0, apart(again:log_prob(x, y), model:log_prob(x, y)))
      assert.equal("fp32", assert(cglow.load(path, { precision = "fp32" })).config.precision)
      scratch.remove(folder)
    end)
  end)
end

describe("A coupling of bfloat16 products", function()
  local function coupling(...)
    local layer = bf16.with("bf16", core.flow.coupling, ...)
    local rng = core.Rng(3)
    for _, p in ipairs(layer:parameters()) do
      local size = p.value:size()
      size[#size + 1] = rng
      p.value:add(core.randn(table.unpack(size)) * 0.1)
    end
    return layer
  end

  -- The coupling's network reads the same bits in both directions, so only y2 = z2/σ − t is rounded.
  it("inverts as closely as one of fp32", function()
    local layer, y = coupling(12, 0, 64, 1), core.randn(3, 12, 16, 16, core.Rng(1))
    local z = layer:forward(y, nil, false):clone()
    local back = layer:inverse(z):clone()
    -- y2 + t and its product with σ are rounded, and the inverse's two: 4 roundings of
    -- numbers not above 8 here, times e for the scale.
    assert.is_true(apart(back, y) <= 4 * 8 * EPS * 2.72)
  end)

  local HALF_A_STEP <const>, AWAY <const> = 2.0 ^ -11, 2.0 ^ -16

  -- (y1 − c)/32, for y1 anywhere in a step: uniform within ±2^-16, whose deviation is 2^-16/√3.
  it("moves what its network reads by less than 2^-16, as far up as down", function()
    local layer, y = coupling(12, 0, 64, 1), core.randn(3, 12, 32, 32, core.Rng(1))
    local z = layer:forward(y, nil, false):clone()
    local moved = z:narrow(2, 1, 6) - y:narrow(2, 1, 6)
    local count = #moved:reshape(-1)
    assert.is_true(moved:abs():max() <= AWAY + 4 * EPS) -- rounded below 8
    assert.is_true(moved:abs():max() > AWAY / 2)
    assert.is_true(math.abs((moved:mean())) < 4 * AWAY / math.sqrt(3 * count))
  end)

  -- One in 32 numbers that were drawn lies between steps. Its network reads the nearest both ways.
  it("comes back to what was drawn, but for what lies between steps", function()
    local layer, z = coupling(12, 0, 64, 1), core.randn(3, 12, 32, 32, core.Rng(2))
    local y = layer:inverse(z):clone()
    local again = layer:forward(y, nil, false)
    local off = (again - z):abs()
    assert.is_true(off:narrow(2, 1, 6):max() <= AWAY + 2.0 ^ -20 + 4 * EPS) -- 2^-20: what "the edge" leaves out
    assert.is_true(off:narrow(2, 7, 6):max() <= 4 * 8 * EPS * 2.72) -- as above: the same v
    assert.is_true(off:narrow(2, 1, 6):max() > AWAY / 2) -- there are such
    assert.is_true((y:narrow(2, 1, 6) - z:narrow(2, 1, 6)):abs():max() < HALF_A_STEP)
  end)

  it("takes numbers that are not finite through", function()
    local layer, y = coupling(4, 0, 8), core.zeros(1, 4, 4, 4)
    for _, bad in ipairs { math.huge, 0 / 0 } do
      y[1][1][1][1] = bad
      assert.is_false((layer:forward(y, nil, false):isfinite()))
      assert.is_false((layer:inverse(y):isfinite()))
    end
  end)

  it("finds the same bits from a condition and from what was prepared of it", function()
    for _, cond in ipairs { 3, 4 } do -- with 9·3 factors a pair is cut
      local layer, rng = coupling(8, cond, 48), core.Rng(4)
      local hx, z = core.randn(2, cond, 16, 16, rng), core.randn(2, 8, 16, 16, rng)
      local y = layer:inverse(z, hx):clone()
      assert.equal(0, apart(layer:inverse_prepared(z, layer:prepare(hx)), y))
      assert.equal(0, apart(first(y), layer:inverse(first(z), first(hx))))
      local many = layer:inverse(core.cat({ first(z), first(z) }, 1), first(hx))
      assert.equal(0, apart(first(many), first(y)))
    end
  end)
end)

describe("cglow.precision", function()
  after_each(function() cglow.precision "fp32" end)

  it("is what models take that do not say", function()
    local small = { y = { 1, 4, 4 }, levels = 1, depth = 1, coupling = { width = 4 } }
    assert.equal("fp32", cglow.Glow(small).config.precision)
    assert.equal("bf16", (cglow.precision "bf16"))
    assert.equal("bf16", cglow.Glow(small).config.precision)
    assert.equal("fp32", cglow.Glow(with(small, { precision = "fp32" })).config.precision)
    assert.equal("bf16", (cglow.precision()))
  end)

  it("does not change what an old file means", function()
    local folder = scratch.folder()
    local path = folder .. "/old.safetensors"
    assert(cglow.Glow { y = { 1, 4, 4 }, levels = 1, depth = 1, coupling = { width = 4 } }:save(path))
    cglow.precision "bf16"
    assert.equal("fp32", assert(cglow.load(path)).config.precision)
    local net = cglow.feedforward.Segmenter { x = { 1, 8, 8 }, classes = 2, channels = 2, depth = 1,
      precision = "fp32" }
    assert(net:save(path))
    assert.equal("fp32", assert(cglow.feedforward.load(path)).config.precision)
    scratch.remove(folder)
  end)

  it("comes back after a model that could not be made", function()
    assert.has_error(function()
      cglow.Model(with(PUBLISHED, { precision = "bf16", cn = { make = function() error "no network" end } }))
    end)
    assert.equal("fp32", (cglow.precision()))
  end)

  it("is nobody else's while a model with a network of the user's is made", function()
    local function make(body)
      return coroutine.create(function()
        return cglow.Model(with(PUBLISHED, { precision = "bf16", cn = { make = body } }))
      end)
    end
    local inside, own
    local waiting = make(function(spec)
      inside = cglow.precision()
      own = cglow.Glow { y = { 1, 4, 4 }, levels = 1, depth = 1, coupling = { width = 4 } }
      coroutine.yield()
      return cglow.nn.Linear { in_features = spec.x[1] * spec.x[2] * spec.x[3], out_features = spec.outputs }
    end)
    assert(coroutine.resume(waiting))
    assert.equal("bf16", inside)
    assert.equal("fp32", own.config.precision)
    assert.equal("fp32", (cglow.precision()))
    local failing = make(function() error "no network" end) -- dead, with nothing closed
    assert.is_false(coroutine.resume(failing))
    assert.equal("fp32", (cglow.precision()))
    cglow.precision "bf16"
    assert.equal("bf16", (cglow.precision()))
  end)

  it("names what it expects", function()
    assert.has_error(function() cglow.precision "fp16" end,
      "bad argument #1 to 'cglow.precision': name must be one of 'fp32', 'bf16', got 'fp16'")
    assert.has_error(function() cglow.precision(16) end,
      "bad argument #1 to 'cglow.precision': name must be one of 'fp32', 'bf16', got 16")
  end)
end)
