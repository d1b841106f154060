#!/usr/bin/env lua5.4
--- A feed-forward network for one of the tasks, to hold c-Glow's figures against.
local here = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = ("%s/../lua/?.lua;%s/../lua/?/init.lua;%s"):format(here, here, package.path)
package.cpath = ("%s/../lua/?.so;%s"):format(here, package.cpath)

require("cglow.cli.baseline").main(arg)
