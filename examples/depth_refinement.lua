#!/usr/bin/env lua5.4
--- Depth refinement: a noisy depth map with holes to a clean one.
-- The task itself is in lua/cglow/tasks/depth_refinement.lua.
local here = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = ("%s/../lua/?.lua;%s/../lua/?/init.lua;%s"):format(here, here, package.path)
package.cpath = ("%s/../lua/?.so;%s"):format(here, package.cpath)

require "cglow" -- says so where this is not Lua 5.4
require("cglow.cli").main(require "cglow.tasks.depth_refinement", arg)
