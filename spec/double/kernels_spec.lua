-- The double core's fast kernels against plain loops; tolerances and their
-- reasons are in spec/support/kernels.lua.
local core = require "cglow.core"
assert(core.scalar == "double", "this spec is for the double core: LUA_CPATH='./build/double/?.so;;'")

require("spec.support.kernels").define()
