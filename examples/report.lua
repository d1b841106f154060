#!/usr/bin/env lua5.4
--- A report of a training run, or of several to compare, as one HTML page.
local here = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = ("%s/../lua/?.lua;%s/../lua/?/init.lua;%s"):format(here, here, package.path)
package.cpath = ("%s/../lua/?.so;%s"):format(here, package.cpath)

require("cglow.cli.report").main(arg)
