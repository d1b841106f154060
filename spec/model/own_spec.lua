-- The examples of examples/own.md: they run, and what they make fits into models.
local cglow = require "cglow"
local toy = require "spec.support.toy"

local LUA = arg[-1] or "lua5.4"

local function load_example(name) return assert(loadfile("examples/" .. name .. ".lua"))(name) end

local HERE = require "lfs".currentdir()

-- What an example prints, run in a folder, and its exit code.
local function run(script, arguments, folder)
  -- one thread: the results are the same, and other work on the machine slows it less
  local command = ("cd '%s' && OMP_NUM_THREADS=1 %s '%s/examples/%s.lua' %s 2>&1"):format(
    folder or ".", LUA, HERE, script, arguments or "")
  local pipe <close> = assert(io.popen(command))
  local output = pipe:read "a"
  local ok, _, code = pipe:close()
  return output, ok and 0 or code
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
      local output, code = run(name)
      assert.equal(0, code, output)
      local bits = tonumber(output:match "([%d.]+) bits per dimension after 40 steps\n$")
      assert.is_true(bits > 0 and bits < 3)
    end)
  end

  it("own_dataset learns from folders of pairs and paints a sheet", function()
    local folder, remove = toy.folder()
    finally(remove)
    local output, code = run("own_dataset", "", folder)
    assert.equal(0, code, output)
    assert.matches("cglow.Dataset pairs train: 200 samples, x 3x32x32, y 1x32x32", output, 1, true)
    -- an untrained model starts above 2 bits; a hundred steps take it to 0.7
    assert.is_true(tonumber(output:match "([%d.]+) bits per dimension on the held%-out pairs") < 1.5)
    assert.same({3, 4 * 98 + 9 + 2, 3 * 98 + 2}, assert(cglow.image.load(folder .. "/own_dataset.png")):size())
  end)

  it("own_dataset says what is missing", function()
    local output, code = run("own_dataset", "/nowhere a b mask")
    assert.equal(1, code)
    assert.matches("there is no folder /nowhere", output)
  end)

  it("own_task has under 60 lines and all the commands of a task", function()
    local folder, remove = toy.folder()
    finally(remove)
    local lines = 0
    for _ in io.lines "examples/own_task.lua" do lines = lines + 1 end
    assert.is_true(lines < 60)
    local small = "--config depth=1 --config levels=1 --config encoder.channels=4,4 "
      .. "--config coupling.width=8"
    for _, arguments in ipairs {
      "train --steps 4 --run run --config valid_images=2 " .. small,
      "evaluate --run run --limit 2 --samples 2",
      ("predict --run run --samples 2 '%s/data/binary_segmentation/rgb/valid001.jpg'"):format(HERE),
      "sample --run run --images 2 --count 2",
    } do
      local output, code = run("own_task", arguments, folder)
      assert.equal(0, code, output)
    end
    local coloured = assert(cglow.image.load(folder .. "/predictions/valid001.png"))
    assert.same(assert(cglow.image.load "data/binary_segmentation/rgb/valid001.jpg"):size(), coloured:size())
  end)
end)
