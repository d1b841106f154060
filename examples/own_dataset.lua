#!/usr/bin/env lua5.4
--- A data set of one's own: any folder of image pairs, without code.
--
--     own_dataset.lua DIR X Y [KIND]     e.g. own_dataset.lua photos_and_masks rgb figure_ground mask
--
-- DIR/X and DIR/Y are folders whose files have the same names; KIND is image, mask
-- or continuous. Without arguments the embedded garments serve. A small model
-- learns from the pairs for a few steps and paints a contact sheet.
local here = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = ("%s/../lua/?.lua;%s/../lua/?/init.lua;%s"):format(here, here, package.path)
package.cpath = ("%s/../lua/?.so;%s"):format(here, package.cpath)

local cglow = require "cglow"
local number = require("cglow.run.format").number

local function pairs_of(split)
  local dir, x, y, kind = table.unpack(arg)
  if not dir then
    dir, x, y, kind = assert(cglow.data.sample_dir "binary_segmentation"), "rgb", "figure_ground", "mask"
  end
  return assert(cglow.data.pairs(dir, {x = x, y = y, kind = kind, size = 32, x_channels = 3, split = split}))
end

local train, valid = pairs_of "train", pairs_of "valid"
print(train)
print(valid)

cglow.seed(1)
local model = cglow.Model {
  x = train[1].x:size(), y = train[1].y:size(), levels = 2, depth = 2, cn = {channels = 8, width = 16},
  coupling = {width = 32},
}
local outcome = cglow.train.Trainer {
  model = model, train = train:dequantise(), valid = valid:dequantise(), steps = 100,
  cell_width = train.info.cell_width or 1, optimizer = {lr = 1e-3, clip_value = 0.25},
}:run()
print(number("%.3f", outcome.valid and outcome.valid.nll) .. " bits per dimension on the held-out pairs")

local x, y = valid:batch {1, 2, 3, 4}
local predicted = model:predict(x)
local cells = {}
for n = 1, 4 do
  for _, t in ipairs {x[n], y[n], predicted[n]:clamp(0, 1)} do cells[#cells + 1] = t end
end
local sheet = cglow.image.grid(cells, {captions = {"x", "y", "mean"}, scale = 3})
assert(cglow.image.save("own_dataset.png", sheet))
print "wrote own_dataset.png"
