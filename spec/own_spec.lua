-- The examples of examples/own.md: they run, and what they make fits into models.
local cglow = require "cglow"

local LUA = arg[-1] or "lua5.4"

local function load_example(name) return assert(loadfile("examples/" .. name .. ".lua"))(name) end

local function run(script, arguments)
  local pipe <close> = assert(io.popen(("%s examples/%s.lua %s 2>&1"):format(LUA, script, arguments or "")))
  local output = pipe:read "a"
  local ok, _, code = pipe:close()
  assert(ok, output)
  return output, code
end

local function small_model(cn)
  return cglow.Model {x = {3, 16, 16}, y = {1, 8, 8}, levels = 2, depth = 1, cn = cn or {channels = 2, width = 3},
    coupling = {width = 4}, rng = cglow.Rng(1)}
end

local function batch() return cglow.rand(2, 3, 16, 16, cglow.Rng(2)), cglow.rand(2, 1, 8, 8, cglow.Rng(3)) end

-- Largest difference of decode(log_prob(y)) from y.
local function round_trip(model, x, y)
  local _, latents = model:log_prob(x, y)
  return (model:decode(x, latents) - y):abs():max()
end

local function train(model, x, y, steps)
  local adam = cglow.optim.Adam(model:parameters(), {lr = 1e-2})
  local first, last
  for _ = 1, steps do
    model:zero_grad()
    last = assert(model:loss_and_grad(x, y))
    first = first or last
    assert(adam:step())
  end
  return first, last
end

describe("own_network", function()
  local own = load_example "own_network"

  it("is a conditioning network of every actnorm and 1x1 of a model", function()
    local x, y = batch()
    local model = small_model {make = own.make}
    local first, last = train(model, x, y, 15)
    assert.is_true(last < first - 0.5) -- measured: from 1.83 to 0.76
    assert.is_true(round_trip(model, x, y) < 1e-4)
    for _, p in ipairs(model:parameters()) do
      if p.name:find "block" then assert.is_true(p.value:isfinite()) end
    end
    assert.equal("level.1.step.1.actnorm.cn.block.conv1.weight", model:parameters()[3].name)
  end)

  it("makes the layers depend on x", function()
    local x, y = batch()
    local model = small_model {make = own.make}
    train(model, x, y, 5)
    local out = model.levels[1].steps[1].invconv.cn:forward(x)
    assert.is_true((out[1] - out[2]):abs():max() > 0)
  end)
end)

describe("own_flow_layer", function()
  local SinhArcsinh = load_example "own_flow_layer"

  it("takes the place of an actnorm", function()
    local x, y = batch()
    local model = small_model()
    local layer = SinhArcsinh.new(4)
    model:replace {level = 1, step = 1, part = "actnorm", flow = layer}
    local first, last = train(model, x, y, 15)
    assert.is_true(last < first - 0.5) -- measured: from 1.71 to 0.38
    assert.is_true(layer.tail.value:abs():max() > 0)
    assert.is_true(round_trip(model, x, y) < 1e-4)
  end)

  it("draws many samples for each condition", function()
    local x = batch()
    local model = small_model()
    model:replace {level = 2, step = 1, part = "actnorm", flow = SinhArcsinh.new(8)}
    local one = model:sample(x, {n = 1, rng = cglow.Rng(7), temperature = 0})
    local three = model:sample(x, {n = 3, rng = cglow.Rng(8), temperature = 0})
    for n = 1, 2 do
      for k = 1, 3 do assert.is_true((three[(n - 1) * 3 + k] - one[n]):abs():max() < 1e-5) end -- rounding only
    end
  end)
end)

describe("the examples as programs", function()
  for _, name in ipairs {"own_network", "own_flow_layer"} do
    it(name .. " trains and says how well", function()
      local bits = tonumber(run(name):match "([%d.]+) bits per dimension after 40 steps\n$")
      assert.is_true(bits > 0 and bits < 3)
    end)
  end
end)
