#!/usr/bin/env lua5.4
--- A task of one's own: colours for a grey photograph.
--
-- What is particular to the task is below; train, evaluate, predict, sample and
-- all their options come with cglow.cli. Try `own_task.lua train --steps 500`.
local here = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = ("%s/../lua/?.lua;%s/../lua/?/init.lua;%s"):format(here, here, package.path)
package.cpath = ("%s/../lua/?.so;%s"):format(here, package.cpath)

local cglow = require "cglow"
local image, metrics = cglow.image, cglow.metrics

local function score()
  local sum, count = 0, 0
  return {
    add = function(_, answer, truth) sum, count = sum + metrics.psnr(answer, truth), count + 1 end,
    result = function() return {psnr = sum / count} end,
  }
end

local function read_grey(path, size)
  local photo, message = image.load(path, {channels = 1})
  return photo and {x = image.resize(photo, size, size), name = path, photo = photo}, message
end

require("cglow.cli").main(cglow.task.define {
  name = "colouring",
  title = "Colouring: c-Glow learns the colours of photographs.",
  predicts = "Write a coloured picture for each grey photograph.",
  samples = "binary_segmentation", -- its photographs, when there is no --data
  sizes = {32, 64}, size = 32,
  x = function(size) return {1, size, size} end,
  y = function(size) return {3, size, size} end,
  -- x and y from one folder of photographs, x grey
  data = function(dir, o)
    return cglow.data.pairs(dir, {x = "rgb", y = "rgb", x_channels = 1, y_channels = 3, size = o.size, split = o.split})
  end,
  decide = function(y) return y:clamp(0, 1) end,
  score = score,
  rate = function(answer, truth) return metrics.psnr(answer, truth) end,
  show_input = function(sample) return sample.x end,
  show = function(y) return y:clamp(0, 1) end,
  baselines = function()
    return {{name = "grey", predict = function(sample) return image.rgb(sample.x) end}}
  end,
  read_input = read_grey,
  predict_file = function(predict, path, size)
    local input, message = read_grey(path, size)
    if not input then return nil, message end
    return image.resize(predict(input.x), input.photo:size(2), input.photo:size(3)):clamp(0, 1)
  end,
}, arg)
