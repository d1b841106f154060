#!/usr/bin/env lua5.4
--- Multi-class segmentation: a photograph to a map of its parts.
-- The task itself is in lua/cglow/tasks/multiclass_segmentation.lua.
local here = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = ("%s/../lua/?.lua;%s/../lua/?/init.lua;%s"):format(here, here, package.path)
package.cpath = ("%s/../lua/?.so;%s"):format(here, package.cpath)

require "cglow" -- says so where this is not Lua 5.4
require("cglow.cli").main(require "cglow.tasks.multiclass_segmentation", arg)
