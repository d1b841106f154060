-- The float core's fast kernels against plain loops: the product's sources
-- built with CGLOW_REFERENCE. Tolerances and their reasons are in
-- spec/support/kernels.lua.
local core = require "cglow.core"
assert(core.scalar == "float" and core.reference, "this spec is for the float core with core.reference")

require("spec.support.kernels").define()
