-- Inverses in the double core; tolerances and their reasons are in
-- spec/support/roundtrip.lua.
local core = require "cglow.core"
assert(core.scalar == "double", "this spec is for the double core: LUA_CPATH='./build/double/?.so;;'")

require("spec.support.roundtrip").define()
