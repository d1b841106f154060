#!/usr/bin/env lua5.4
--- A task of one's own: colours for a grey photograph.
--
-- What is particular to the task is below; train, evaluate, predict, sample and
-- all their options come with cglow.cli. Try `own_task.lua train --steps 500`.
local here = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = ("%s/../lua/?.lua;%s/../lua/?/init.lua;%s"):format(here, here, package.path)
package.cpath = ("%s/../lua/?.so;%s"):format(here, package.cpath)

local cglow = require "cglow"

require("cglow.cli").main(cglow.task.define {
  name = "colouring",
  title = "Colouring: c-Glow learns the colours of photographs.",
  predicts = "Write a coloured picture for each grey photograph.",
  samples = "binary_segmentation", -- its photographs, when there is no --data
  size = 32,
  x = 1, -- grey; y is a picture in colours unless something else is said
  -- x and y from one folder of photographs, x grey
  data = function(dir, o)
    return cglow.data.pairs(dir, {x = "rgb", y = "rgb", x_channels = 1, y_channels = 3, size = o.size, split = o.split})
  end,
  baselines = function()
    return {{name = "grey", predict = function(sample) return cglow.image.rgb(sample.x) end}}
  end,
}, arg)
