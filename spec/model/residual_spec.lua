-- Flows of what the head leaves: p(y|x) is the density of y − ρ·(what the head says of x). A twin
-- of the same numbers, whose flow models y itself, says what that density is. Gradients are held
-- by the golden vectors, the determinant by spec/double.
local cglow = require "cglow"
local core = require "cglow.core"
local models = require "spec.support.models"
local scratch = require "spec.fixtures.scratch"

local RHO <const> = 0.5

-- A model, or its twin; y is the middle of x.
local function new(residual)
  return models.random({ x = { 2, 16, 24 }, y = { 3, 8, 16 }, levels = 2, depth = 1,
    encoder = { channels = { 4, 5, 6 } }, coupling = { width = 8 },
    head = { outputs = 3, loss = "squared_error", residual = residual } }, core.Rng(4))
end

local function batch(n, h, w)
  local rng = core.Rng(5)
  return rng:uniform(n, 2, h or 16, w or 24), rng:normal(n, 3, h and h // 2 or 8, w and 2 * w // 3 or 16)
end

describe("a flow of what the head leaves", function()
  local model, twin = new(RHO), new()

  it("has the density of y without what the head says", function()
    local x, y = batch(3)
    local left = y - model:head(x) * RHO
    local logp, latents = model:log_prob(x, y)
    local want, others = twin:log_prob(x, left)
    assert.is_true(want == logp)
    for l, z in ipairs(latents) do assert.is_true(others[l] == z) end
    assert.equal((twin:loss_and_grad(x, left)), (model:loss_and_grad(x, y)))
  end)

  it("adds what the head says to every sample, mean and mode, for any number of x and samples", function()
    local x = batch(2)
    local said = model:head(x) * RHO
    local function drawn(m) return m:sample(m:condition(x), { n = 4, pairs = true, rng = core.Rng(6) }) end
    local samples, others = drawn(model), drawn(twin)
    for i = 1, 8 do assert.is_true(samples[i] == others[i] + said[(i - 1) // 4 + 1], "sample " .. i) end
    assert.is_true(model:mode(x) == twin:mode(x) + said)
    local function mean(m) return m:predict(x, { samples = 6, rng = core.Rng(7) }) end
    -- a mean of sums in place of a sum of means
    assert.is_true((mean(model) - (mean(twin) + said)):abs():max() <= 1e-5 * said:abs():max())
  end)

  it("decodes what it encoded, and keeps a condition's head when the model has seen another x", function()
    local x, y = batch(2)
    local _, latents = model:log_prob(x, y)
    assert.is_true((model:decode(x, latents) - y):abs():max() < 1e-4) -- as the round trip of its twin
    local cond = model:condition(x)
    local before = model:sample(cond, { rng = core.Rng(8) })
    model:head(x * -2)
    assert.is_true(before == model:sample(cond, { rng = core.Rng(8) }))
  end)

  it("works at other sides than those of the training", function()
    local x, y = batch(1, 32, 48)
    local logp = model:log_prob(x, y)
    assert.is_true(logp == twin:log_prob(x, y - model:head(x) * RHO))
    assert.same({ 1, 3, 16, 32 }, model:predict(x, { samples = 2 }):size())
  end)

  it("teaches the head without a target, too", function()
    local x, y = batch(2)
    model:zero_grad()
    model:loss_and_grad(x, y)
    for _, p in ipairs(model:parameters()) do
      if p.name:find "^head" then assert.is_true(p.grad:abs():max() > 0, p.name) end
    end
  end)

  it("is kept in checkpoints", function()
    local folder = scratch.folder()
    finally(function() scratch.remove(folder) end)
    assert(model:save(folder .. "/a.safetensors"))
    local back = assert(cglow.load(folder .. "/a.safetensors"))
    assert.equal(RHO, back.config.head.residual)
    local x, y = batch(2)
    assert.is_true(model:log_prob(x, y) == back:log_prob(x, y))
  end)

  it("blames the head for numbers that are not finite", function()
    local sick = new(RHO)
    for _, p in ipairs(sick:parameters()) do if p.name == "head.bias" then p.value[1] = 0 / 0 end end
    local x, y = batch(1)
    local loss, message = sick:loss_and_grad(x, y)
    assert.is_nil(loss)
    assert.matches("first layer to blame is head$", message)
  end)

  it("is refused where the head does not say y", function()
    local function refused(head)
      return function()
        cglow.Model { x = { 1, 8, 8 }, y = { 2, 8, 8 }, levels = 1, depth = 1, encoder = { channels = { 2, 2 } },
          head = head }
      end
    end
    assert.error_matches(refused { outputs = 2, residual = 1 }, "residual' must be absent.*2 outputs by cross_entropy")
    assert.error_matches(refused { outputs = 1, loss = "squared_error", residual = 1 },
      "2 outputs by squared_error, got 1 with 1 outputs")
    assert.error_matches(refused { outputs = 2, loss = "squared_error", residual = 0 }, "residual")
  end)
end)
