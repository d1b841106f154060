-- What a training takes of the memory, counted before.
local command_line = require "spec.support.command_line"
local json = require "cglow.util.json"
local lfs = require "lfs"
local memory = require "cglow.train.memory"

local PROGRAM <const> = "lua/cglow/cli/program.lua"

describe("train --dry-run", function()
  local folder, run = command_line.each(before_each, after_each)

  it("refuses what the machine cannot hold, without taking it", function()
    local huge = "binary-segmentation train --dry-run --size 2048 --config batch=512 --config encoder.channels=4,4,4 "
      .. "--config levels=2 --config coupling.width=8 --config depth=1 "
    local code, out, err = run(PROGRAM, ("%s --json --run '%s/run'"):format(huge, folder))
    assert.equal("", err)
    assert.equal(1, code)
    local cost = json.decode(out)
    assert.is_false(cost.fits)
    assert.is_true(cost.bytes > cost.machine_bytes)
    assert.is_nil(cost.seconds)
    assert.is_nil(lfs.attributes(folder .. "/run"))
    code, out, err = run(PROGRAM, huge)
    assert.equal(1, code)
    assert.matches("memory      %S+ GB: step", out)
    assert.matches("^this training needs %S+ %S+, and the machine has [^\n]*%(%-%-size%)[^\n]*\n$", err)
  end)

  it("and train make no model whose parameters the machine cannot hold", function()
    for _, option in ipairs {"--dry-run", "--quiet"} do
      local code, _, err = run(PROGRAM, ("binary-segmentation train %s --config coupling.width=4000000 --run '%s/run'")
        :format(option, folder))
      assert.equal(2, code)
      assert.matches("the parameters alone need more memory than the machine's", err, 1, true)
    end
  end)
end)

describe("the count of a training's memory", function()
  local function counted(changes)
    local o = {
      make = function(size) -- y is x's middle, as in inpainting
        return {x = {3, size, size}, y = {3, size // 2, size // 2}, levels = 2, depth = 1,
          encoder = {channels = {4, 4, 4}}, coupling = {width = 8}, head = {outputs = 3, loss = "squared_error"}}
      end,
      size = 64, parameters = 10000, batch = 8, ema = true, samples = 10, at_once = 1, kept = 100,
      draw = function(model, x, n) model:sample(x, {n = n}) end,
    }
    for name, value in pairs(changes) do o[name] = value end
    return memory.count(o)
  end

  it("grows with samples, pixels and parameters as they do", function()
    counted {} -- buffers that all models share are counted with the first
    local one, more, larger = counted {}, counted {batch = 16}, counted {size = 128}
    local grown = more.step - one.step
    assert.is_true(grown > 0)
    -- four times the pixels are three more batches of eight: the slopes are of one and the same trial
    assert.is_true(math.abs((larger.step - one.step) / grown - 3) < 1e-3)
    assert.equal(100 * (3 * 64 * 64 + 3 * 32 * 32) * 4, one.data)
    assert.equal(4 * one.data, larger.data)
    assert.is_true(one.validation > 0)
    -- a value, a gradient, two moments and an average, of four bytes each
    assert.is_true(math.abs(counted({parameters = 15000}).step - one.step - 20 * 5000) < 1e-3 * grown)
  end)
end)
