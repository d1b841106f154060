--- The model that comes along, and the program's commands without a run.
local cglow = require "cglow"
local command_line = require "spec.support.command_line"
local image = require "cglow.image"
local lfs = require "lfs"
local metrics = require "cglow.metrics"
local path = require "cglow.util.path"
local toy = require "spec.support.toy"

describe("the pretrained model", function()
  local folder, remove, run
  before_each(function()
    folder, remove = toy.folder()
    run = command_line.runner(folder)
  end)
  after_each(function() remove() end)

  local PHOTO <const> = "data/binary_segmentation/rgb/valid001.jpg"

  local function cglow_command(arguments) return run("lua/cglow/cli/program.lua", arguments) end

  it("is small, and what cglow.open opens unless it is told otherwise", function()
    assert.equal(path.pretrained(), assert(cglow.open()).path)
    assert.is_true(lfs.attributes(assert(path.pretrained()), "size") < 2e6)
  end)

  -- Every second one of the held-out pictures, in their own size, by one pass: at the model's size and by
  -- ten samples all 64 have 0.94 (data/README.md); the mean mask has 0.54.
  it("gives the masks of held-out pictures", function()
    local model, sum, count = assert(cglow.open(nil, {centre = true, mirror = false})), 0, 0
    for i = 1, 64, 2 do
      local name = ("data/binary_segmentation/%%s/valid%03d.jpg"):format(i)
      local said = assert(model:predict(name:format "rgb"))
      local truth = assert(image.load(name:format "figure_ground", {channels = 1}))[1]:gt(0.5)
      sum, count = sum + metrics.confusion(2):add(said.answer + 1, truth + 1):mean_iou(), count + 1
    end
    assert.is_true(sum / count > 0.8, ("class-mean IoU %.3f"):format(sum / count))
  end)

  it("answers where no run is named, and that is said", function()
    local code, out, err = cglow_command(("predict %s --out %s/p"):format(PHOTO, folder))
    assert.equal(0, code, err)
    assert.matches("no --run or --checkpoint: the pretrained model answers", err, 1, true)
    assert.matches("valid001.png", out)
    assert.same({1, 80, 80}, assert(image.load(folder .. "/p/valid001.png")):size())
    code, out, err = cglow_command "predict --help"
    assert.equal(0, code)
    assert.equal("", err)
    assert.matches("Usage: cglow predict [OPTION", out, 1, true)
  end)

  it("scores a picture and its mask beside held-out ones, which ship with it", function()
    local code, out, err = cglow_command(("score %s --y %s"):format(PHOTO, PHOTO:gsub("rgb", "figure_ground")))
    assert.equal(0, code, err)
    assert.is_nil(err:find("scoring", 1, true))
    assert.matches("valid001.jpg +%-?[%d.]+ +%-?[%d.]+ +[%d.]+ +%-?[%d.]+", out)
  end)
end)
