-- Inverses in the float core; tolerances and their reasons are in
-- spec/support/roundtrip.lua.
local core = require "cglow.core"
assert(core.scalar == "float", "this spec is for the float core")

require("spec.support.roundtrip").define()
