#!/usr/bin/env lua5.4
--- Makes data/pretrained: a small model of the embedded pictures, which `cglow predict photo.jpg` uses
-- when no run is named. data/README.md states its figures.
--
--     make && lua5.4 data/make_pretrained.lua [RUN [OUT]]
--
-- It trains into the folder RUN (build/pretrained), or goes on with the run that is there, and writes to OUT
-- (data/pretrained). Ten minutes of an idle core. It depends on nothing but the pictures in data/,
-- so their licences are all that there is.
package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
package.cpath = "./lua/?.so;" .. package.cpath
require "cglow" -- first: it says which Lua it needs
local core = require "cglow.core"
local identity = require "cglow.tasks.identity"
local json = require "cglow.util.json"
local known = require "cglow.tasks.known"
local lfs = require "lfs"
local Model = require "cglow.model"
local runfolder = require "cglow.run.folder"
local task = known.find "binary_segmentation"

local RUN, OUT = arg[1] or "build/pretrained", arg[2] or "data/pretrained"
local TRAIN = "train --size 64 --seed 1 --steps 4000 --config encoder.channels=16,24,32,48 "
  .. "--config coupling.width=32 --config depth=4 --config valid_every=500 --config valid_images=0 "
  .. "--config metric=iou --config higher=true"

local program = ("%s lua/cglow/cli/program.lua "):format(arg[-1] or "lua5.4")
local folder = runfolder.at(RUN)
local goes_on = folder:newest() and "train --resume" or TRAIN -- at once when it is done
assert(os.execute(program .. "binary-segmentation " .. goes_on .. " --run " .. RUN))

local model, _, metadata = assert(Model.load(assert(folder:model())))
local settings = assert(folder:read_config()).settings
assert(runfolder.make_directory(OUT))
assert(model:save(OUT .. "/garments.safetensors", {metadata = {
  task = identity.text(task, settings), cell_width = metadata.cell_width, validation = metadata.validation,
  about = "Masks of garments on photographs, learned from the embedded pictures of cglow (data/README.md).",
}}))

-- The scores of the held-out pictures, for `cglow score` to compare with.
local run = RUN .. "/held-out"
assert(runfolder.make_directory(run))
assert(core.file.write(run .. "/config.json", json.encode {task = task.name, settings = settings}))
os.remove(run .. "/best.safetensors")
assert(lfs.link(OUT .. "/garments.safetensors", run .. "/best.safetensors"))
assert(os.execute(program .. ("score --run %s --limit 1 --quiet"):format(run)))
assert(os.rename(run .. "/scores.json", OUT .. "/scores.json"))
