-- What the commands of a task do with a trained model: evaluate, predict, sample.
local command_line = require "spec.support.command_line"
local core = require "cglow.core"
local image = require "cglow.image"
local json = require "cglow.util.json"
local lfs = require "lfs"

local TOY <const> = command_line.TOY
local lines_of = command_line.lines_of

describe("a trained model", function()
  local folder, run, train = command_line.each(before_each, after_each)

  before_each(function() assert.equal(0, (train())) end)

  it("evaluates it beside the baselines", function()
    local code, out = run(TOY, ("evaluate --run '%s/run'"):format(folder))
    assert.equal(0, code)
    assert.matches("5 held-out images", out, 1, true)
    assert.matches("\nnothing +0%.", out)
    assert.matches("\nc%-Glow +", out)
    assert.equal("file", lfs.attributes(folder .. "/run/evaluation.png", "mode"))
  end)

  it("evaluates it for programs", function()
    local code, out = run(TOY, ("evaluate --json --limit 2 --samples 4 --run '%s/run'"):format(folder))
    assert.equal(0, code)
    local result = json.decode(out)
    assert.equal(2, result.images)
    assert.equal(4, result.samples)
    local metrics = result.results[2].metrics
    assert.equal("c-Glow", result.results[2].name)
    for _, name in ipairs {"iou", "bits_per_dim", "diversity", "best_sample"} do
      assert.equal("number", type(metrics[name]), name)
    end
  end)

  it("predicts files in their own size", function()
    image.save(folder .. "/photo.jpg", core.Rng(1):uniform(3, 20, 31))
    local code, out = run(TOY, ("predict --run '%s/run' --out '%s/p' '%s/photo.jpg'"):format(folder, folder, folder))
    assert.equal(0, code)
    assert.matches(folder .. "/p/photo.png", out, 1, true)
    local mask = assert(image.load(folder .. "/p/photo.png"))
    assert.same({1, 20, 31}, mask:size())
  end)

  it("answers a damaged photo with a message", function()
    local file <close> = io.open(folder .. "/bad.png", "w")
    file:write "no image"
    file:close()
    local code, _, err = run(TOY, ("predict --run '%s/run' --out '%s/p' '%s/bad.png'"):format(folder, folder, folder))
    assert.equal(1, code)
    assert.equal(1, #lines_of(err))
    assert.matches("bad.png", err, 1, true)
  end)

  it("draws samples of held-out images, and of files", function()
    assert.equal(0, (run(TOY, ("sample --quiet --run '%s/run' --count 3 --images 2"):format(folder))))
    -- input, 3 samples and their spread of 8 pixels, 12 times as large, with gaps of 2
    assert.equal(2 + 5 * (8 * 12 + 2), assert(image.load(folder .. "/run/samples.png")):size(3))
    image.save(folder .. "/photo.png", core.zeros(3, 9, 9))
    assert.equal(0, (run(TOY, ("sample --quiet --run '%s/run' --sheet '%s/s.png' '%s/photo.png'"):format(
      folder, folder, folder))))
    assert.equal("file", lfs.attributes(folder .. "/s.png", "mode"))
  end)

  it("says how it predicts, and predicts as it is told", function()
    local function evaluate(options)
      local code, out, err = run(TOY, ("evaluate --json --run '%s/run' %s"):format(folder, options))
      assert.equal("", err)
      assert.equal(0, code)
      return json.decode(out)
    end
    assert.equal("mean of 3 samples", evaluate("").prediction) -- the toy's setting is odd
    local cool = evaluate "--samples 4 --temperature 0.5"
    assert.equal("mean of 4 samples in pairs at temperature 0.5", cool.prediction)
    local centre = evaluate "--centre"
    assert.equal("one pass at the centre of the latents", centre.prediction)
    -- nothing is random but the noise of a discrete y in its likelihood
    assert.equal(centre.results[2].metrics.iou, evaluate("--centre --seed 7").results[2].metrics.iou)
    local both = evaluate "--mirror yes --samples 2"
    assert.equal("mean of 2 samples in pairs, and of the mirror image", both.prediction)
    assert.equal(4, both.samples)
    local _, _, err = run(TOY, ("evaluate --run '%s/run' --centre --samples 3"):format(folder))
    assert.matches("--centre: one pass at the centre has no --samples", err, 1, true)
  end)

  it("compares ways to predict, with their time", function()
    local code, out = run(TOY, ("evaluate --json --compare --run '%s/run'"):format(folder))
    assert.equal(0, code)
    local results = json.decode(out).results
    assert.equal(9, #results)
    for _, row in ipairs(results) do assert.is_true(row.metrics.seconds > 0 and row.metrics.iou > 0, row.name) end
    local _, _, err = run(TOY, ("evaluate --compare --mirror no --run '%s/run'"):format(folder))
    assert.matches("--mirror is not for --compare", err, 1, true)
  end)

  it("works from a checkpoint alone", function()
    assert.equal(0, (run(TOY, ("evaluate --quiet --checkpoint '%s/run/best.safetensors' --sheet '%s/e.png'"):format(
      folder, folder))))
  end)

  it("gives the same answer for the same seed", function()
    local function evaluate(seed)
      return (select(2, run(TOY, ("evaluate --json --run '%s/run' --seed %d"):format(folder, seed))))
    end
    assert.equal(evaluate(3), evaluate(3))
    assert.is_not.equal(evaluate(3), evaluate(4))
  end)
end)
