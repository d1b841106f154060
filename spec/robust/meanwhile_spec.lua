-- What a finalizer changes while a function of the core works: any allocation may run
-- one. The function takes what was there before or what is there after, whole.
local core = require "cglow.core"
local image = require "cglow.image"
local nn = require "cglow.nn"
local safetensors = require "cglow.util.safetensors"
local scratch = require "spec.fixtures.scratch"

-- Run f; change() runs from a finalizer at one of its allocations, if the collector
-- comes in between. Returns whether it did, and what f returned, as pcall does.
local function meanwhile(change, f)
  local armed, ran = true, false
  setmetatable({}, { __gc = function()
    if armed then
      ran = true
      change()
    end
  end })
  collectgarbage "stop"
  collectgarbage("incremental", 1, 1000, 8) -- a whole cycle at the next allocation
  collectgarbage "restart"
  local result = table.pack(pcall(f))
  armed = false
  collectgarbage("incremental", 200, 100, 13) -- as Lua begins
  return ran, table.unpack(result, 1, result.n)
end

-- As often as it takes for the collector to come in between, at most 50 times.
local function until_it_came(prepare)
  for _ = 1, 50 do
    local change, f, check = prepare()
    local ran, ok, result = meanwhile(change, f)
    if ran then
      check(ok, result)
      return
    end
  end
  error "the collector never came in between"
end

describe("A finalizer in between", function()
  for _, name in ipairs { "cat", "stack" } do
    it(("cannot exchange what %s joins"):format(name), function()
      until_it_came(function()
        local list = { core.full(100000, 1), core.full(100000, 2), core.full(100000, 3) }
        local other = core.ones(10000000)
        return function() list[3] = other end, function() return core[name](list) end, function(ok, joined)
          assert.is_true(ok)
          assert.are.equal(300000, joined:count())
          assert.are.equal(3, joined:reshape(-1)[300000])
        end
      end)
    end)

    it(("cannot shorten the list that %s joins"):format(name), function()
      until_it_came(function()
        local list = { core.full(100000, 1), core.full(100000, 2) }
        return function() list[2] = nil end, function() return core[name](list) end, function(ok, joined)
          assert.is_true(ok)
          assert.are.equal(300000, joined:sum())
        end
      end)
    end)
  end

  for name, arguments in pairs { fill_median = { 2 }, fill_diffusion = { 1e-5, 100 } } do
    it(("cannot take the last valid pixel from %s"):format(name), function()
      local side = 256
      until_it_came(function()
        side = side + 16 -- more scratch than the last time, so that it is allocated
        local picture, valid = core.randn(1, side, side), core.ones(side, side)
        valid[3]:fill(0)
        return function() valid:zero() end, function()
          return core.vision[name](picture, valid, table.unpack(arguments))
        end, function(ok, message)
          assert.is_false(ok)
          assert.matches("no pixel is valid", message, 1, true)
        end
      end)
    end)
  end

  it("cannot close the threads whose result is taken", function()
    local readers = assert(core.readers(1, 4, "return function(i) return i end"))
    readers:ask(1)
    local start = core.system.clock()
    while not readers:ready(1) do assert.is_true(core.system.clock() - start < 60) end
    local closed = false
    collectgarbage "stop"
    setmetatable({}, { __gc = function()
      closed = true
      readers:close()
    end })
    collectgarbage("incremental", 1, 1000, 40) -- a whole cycle at the next allocation
    collectgarbage "restart"
    local value = readers:take(1)
    collectgarbage("incremental", 200, 100, 13)
    assert.is_true(closed)
    assert.is_nil(value)
  end)

  it("cannot slip a NaN into a picture that is written", function()
    until_it_came(function()
      local picture = core.rand(3, 512, 512)
      return function() picture:fill(0 / 0) end, function() return image.encode(picture, "png") end,
        function(ok, message)
          assert.is_false(ok)
          assert.matches("NaN", message, 1, true)
        end
    end)
  end)

  it("cannot lead a count of values astray", function()
    until_it_came(function()
      local picture = core.zeros(64, 64)
      return function() picture:fill(2 ^ 40) end, function() return core.vision.values(picture, 3) end,
        function(ok, message)
          assert.is_false(ok)
          assert.matches("whole numbers from 0 to", message, 1, true)
        end
    end)
  end)

  -- Two networks that share a layer: the gradient that a finalizer computes with one of them,
  -- just where the other makes room for its own, is there afterwards, whole.
  for name, layer in pairs {
    ["of an outer product"] = function() return nn.Linear { in_features = 64, out_features = 64 } end,
    ["of a convolution"] = function() return nn.Conv2d { in_channels = 1, out_channels = 64, kernel = 8 } end,
  } do
    it("does not lose the gradient " .. name, function()
      local x, other_x, d = core.randn(2, 1, 8, 8), core.randn(2, 1, 8, 8)
      until_it_came(function()
        local shared = layer()
        local one, two = nn.Sequential { shared }, nn.Sequential { shared }
        d = core.ones(one:forward(x):size())
        two:forward(other_x)
        local weight = shared:parameters()[1]
        return function() two:backward(d) end, function() one:backward(d, false) end, function(ok, message)
          assert.is_false(ok)
          assert.matches("a finalizer has run a layer", message, 1, true)
          local got = weight:gradient()
          core.zero_grad(shared:parameters())
          two:backward(d)
          assert.is_true(got:equal(weight:gradient()))
        end
      end)
    end)
  end

  it("cannot make backward read what a refused forward left", function()
    until_it_came(function()
      local features, other = core.flow.features(4, "a", 8), core.flow.features(4, "a", 8)
      local u = core.randn(2, 4, 16, 16)
      features:forward(core.randn(1, 4, 16, 16), 8, 8)
      return function() other:forward(u, 8, 8) end, function() features:forward(u, 16, 16) end, function(ok, message)
        assert.is_false(ok)
        assert.matches("a finalizer has run a layer", message, 1, true)
        assert.error_matches(function() features:backward(core.zeros(8, 2, 16, 16)) end, "call forward")
      end
    end)
  end)

  it("leaves one view of a gradient for all who look", function()
    until_it_came(function()
      local params, got, seen = {}, {}, {}
      for i = 1, 300 do
        params[i] = core.Param(core.zeros(10))
        got[i] = params[i].grad:sum() -- memory for it is there; the view goes
      end
      collectgarbage()
      return function()
        for i, p in ipairs(params) do seen[i] = p.grad end
      end, function()
        for i, p in ipairs(params) do got[i] = p.grad end
      end, function(ok)
        assert.is_true(ok)
        for i, grad in ipairs(got) do assert.is_true(rawequal(seen[i], grad)) end
      end
    end)
  end)

  -- A new file gets the lowest descriptor that is free: the one that was just closed.
  it("cannot have a closed file's bytes written to another one", function()
    local folder = scratch.folder()
    until_it_came(function()
      local writer, other = assert(core.file.create(folder .. "/a")), nil
      return function()
        writer:close()
        other = assert(core.file.create(folder .. "/b"))
      end, function() -- a number becomes a string, and that is all that is allocated
        for _ = 1, 5000 do writer:write(math.random()) end
      end, function(ok, message)
        assert(other:commit())
        assert.equal(0, assert(core.file.open(folder .. "/b")):size())
        assert.is_false(ok)
        assert.matches("this one is closed", message, 1, true)
      end
    end)
    scratch.remove(folder)
  end)

  -- A collection takes its time, and the file is written piece by piece: the finalizer
  -- may run before, between and after, and every file must load.
  it("cannot make save_tensors write a file that does not load", function()
    local folder = scratch.folder()
    local path, runs, on = folder .. "/a", 0, true
    local tensors = {}
    for i = 1, 50 do tensors["t" .. i] = core.ones(8) end
    local function arm()
      setmetatable({}, { __gc = function()
        if not on then return end
        runs = runs + 1
        for i = 1, 50 do tensors["t" .. i] = core.full({ 8 + runs % 2 }, runs) end
        for _, t in pairs(tensors) do t:add(1) end
        arm()
      end })
    end
    arm()
    collectgarbage("generational", 1, 10)
    for _ = 1, 100 do
      assert(safetensors.save(path, tensors))
      assert(safetensors.load(path))
    end
    on = false
    collectgarbage("incremental", 200, 100, 13)
    assert.is_true(runs > 0)
    scratch.remove(folder)
  end)
end)

it("Tensor:map takes the numbers as they are before the first call", function()
  local t = core.ones(4)
  assert.are.same({ 2, 2, 2, 2 }, t:map(function(v)
    t:fill(9)
    return 2 * v
  end):totable())
end)

it("a flow layer does not write where it reads", function()
  local layer, cond, z = core.flow.invconv(2, true), core.randn(1, 4), core.ones(1, 2, 1, 1)
  local prepared = layer:prepare(cond)
  local part = prepared:reshape(-1):narrow(1, 1, 2):reshape(1, 2, 1, 1)
  assert.error_matches(function() layer:inverse_prepared(z, prepared, part) end, "shares no memory with the condition")
  layer:forward(z, cond)
  assert.error_matches(function() layer:backward(z, 1, cond) end, "shares no memory with dz or the condition")
end)
