-- What a finalizer changes while a function of the core works: any allocation may run
-- one. The function takes what was there before or what is there after, whole.
local core = require "cglow.core"
local image = require "cglow.image"
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
