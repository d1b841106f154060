-- The float core against the oracle's float64 numbers. 2e-5 on log p and 1e-3
-- on gradients are what the library promises. The oracle's own float32 run is
-- within 2e-6, 2e-4 and 2e-5 (spec/oracle/draw.py) of its float64 run; latents
-- and decoded y get ten times that, for another order of summation.
local core = require "cglow.core"
assert(core.scalar == "float", "this spec is for the float core")

require("spec.support.golden").define { logp = 2e-5, grad = 1e-3, latent = 2e-4, decode = 2e-4 }
