-- What a small file may ask for when it is loaded: no more memory than its own numbers.
local cglow = require "cglow"
local core = require "cglow.core"
local small = require "spec.support.small"

local batch = small.batch

describe("A checkpoint", function()
  local function written(config, tensors)
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    assert(cglow.save_tensors(path, tensors or { a = core.zeros(4) }, { config = config }))
    return path
  end

  -- Each would take between 4 GB and more than there is.
  for label, config in pairs {
    ["deep"] = [[{"x":[3,64,64],"y":[3,64,64],"levels":3,"depth":1000}]],
    ["wide"] = [[{"x":[3,64,64],"y":[3,64,64],"levels":1,"depth":1,"coupling":{"width":30000}}]],
    ["of long rows"] = [[{"x":[3,20000,20000],"y":[3,8,8],"levels":1,"depth":1}]],
    ["with a learned prior"] = [[{"y":[1,65536,65536],"levels":1,"depth":1,"learned_prior":true}]],
  } do
    it("of a few numbers cannot ask for a model that is " .. label, function()
      local before = core.stats().bytes
      local model, message = cglow.load(written(config))
      assert.is_nil(model)
      assert.matches("is more than the %d+ numbers that are left", message)
      assert.is_true(core.stats().bytes - before < 32e6) -- 2^20 numbers of slack, in double
      -- The limit is the file's alone.
      assert.is_userdata(core.Param(core.zeros(100)))
    end)
  end

  it("of a few numbers cannot ask for a feed-forward network either", function()
    local network, message = require("cglow.feedforward").load(written(
      [[{"kind":"Residual","x":[3,8,8],"y":[3,8,8],"channels":4096,"depth":64}]]))
    assert.is_nil(network)
    assert.matches("is more than the %d+ numbers that are left", message)
  end)

  it("is read without starts: nothing is drawn for what the file holds, steps are scaled all the same", function()
    local model, path = small.model { init = "live" }, os.tmpname()
    finally(function() os.remove(path) end)
    assert(model:save(path))
    cglow.seed(7)
    local drawn = cglow.rand(3)
    cglow.seed(7)
    local loaded = assert(cglow.load(path))
    assert.is_true(cglow.rand(3) == drawn)
    for i, p in ipairs(loaded:parameters()) do
      assert.equal(model:parameters()[i].step_scale, p.step_scale, p.name)
    end
    -- and the next model is started again
    assert.is_true(small.model { init = "live" }:parameters()[1].value:abs():max() > 0)
  end)

  it("of a model is read within its own numbers", function()
    local model, path = small.model { learned_prior = true }, os.tmpname()
    finally(function() os.remove(path) end)
    assert(model:save(path))
    local x, y = batch()
    assert.is_true(assert(cglow.load(path)):log_prob(x, y):equal((model:log_prob(x, y))))
  end)
end)
