-- The double core against the oracle's float64 numbers: 1e-9 for all of them.
-- Both sides round at 1e-16; conditions of W up to 10 a step and sums of a few
-- hundred terms leave four digits to spare.
local core = require "cglow.core"
assert(core.scalar == "double", "this spec is for the double core: LUA_CPATH='./build/double/?.so;;'")

require("spec.support.golden").define { logp = 1e-9, grad = 1e-9, latent = 1e-9, decode = 1e-9 }
