-- Every task from its embedded samples to a prediction, as a user runs it.
local command_line = require "spec.support.command_line"
local image = require "cglow.image"
local json = require "cglow.util.json"
local lfs = require "lfs"

local SCRIPTS <const> = command_line.tasks()
local lines_of = command_line.lines_of

describe("every task", function()
  local folder, run = command_line.each(before_each, after_each)

  local few = "--config depth=1 --config coupling.width=4 --config batch=2 --config valid_images=2 "
    .. "--config samples=2 --steps 2 "
  local tiny = {
    encoder = few .. "--config encoder.channels=4,4,4,4,4",
    paper = few .. "--recipe paper --config cn.channels=2 --config cn.width=4",
  }

  for i = 1, 2 * #SCRIPTS do
    local name, recipe = SCRIPTS[(i + 1) // 2], i % 2 == 1 and "encoder" or "paper"
    it(("%s trains, evaluates and samples on its embedded samples: %s"):format(name, recipe), function()
      local script, where = "examples/" .. name .. ".lua", ("--run '%s/run'"):format(folder)
      local code, _, err = run(script, ("train --quiet %s %s"):format(where, tiny[recipe]))
      assert.equal("", err)
      assert.equal(0, code)
      local out
      code, out = run(script, ("evaluate --json --limit 2 %s"):format(where))
      assert.equal(0, code)
      local results = json.decode(out).results
      assert.is_true(#results >= 2)
      local head
      for _, row in ipairs(results) do
        assert.is_not_nil(next(row.metrics), row.name)
        head = head or row.name == "its encoder's head"
      end
      assert.equal(recipe == "encoder", head)
      assert.equal(0, (run(script, ("sample --quiet --count 2 --images 2 %s"):format(where))))
      assert.equal("file", lfs.attributes(folder .. "/run/samples.png", "mode"))
    end)
  end

  it("evaluates larger pictures: whole with an encoder, else by tiles where that makes sense", function()
    local script, where = "examples/denoising.lua", ("--run '%s/run'"):format(folder)
    local function refused(size, why)
      local code, _, err = run(script, ("evaluate --size %d %s"):format(size, where))
      assert.equal(2, code)
      assert.matches(why, err, 1, true)
    end
    for _, recipe in ipairs {"encoder", "paper"} do
      os.execute(("rm -rf '%s/run'"):format(folder))
      assert.equal(0, (run(script, ("train --quiet --size 16 %s %s"):format(where, tiny[recipe]))))
      local size = recipe == "encoder" and 48 or 40
      local code, out, err = run(script, ("evaluate --limit 2 --size %d %s"):format(size, where))
      assert.equal("", err)
      assert.equal(0, code)
      assert.matches("noisy photograph itself +%d+%.", out)
      assert.matches("\nc%-Glow +%d+%.", out)
      assert.matches("dB for a peak of 1", out, 1, true)
      assert.equal(recipe == "encoder", out:find "bits_per_dim" ~= nil) -- tiles have no likelihood
      if recipe == "encoder" then refused(40, "have sides that are multiples of 16, not 40")
      else
        -- input, truth and prediction of 40 pixels, 3 times as large, with gaps of 2
        assert.equal(2 + 3 * (3 * 40 + 2), assert(image.load(folder .. "/run/evaluation.png")):size(3))
        refused(8, "the model's pictures are of 16x16, not 8x8")
      end
    end
  end)

  it("answers a size that its photographs do not have with one line", function()
    local code, _, err = run("examples/denoising.lua", ("train --size 128 --run '%s/run'"):format(folder))
    assert.equal(2, code)
    assert.matches("too small for a crop of 128x128", err)
    assert.equal(1, #lines_of(err))
  end)
end)
