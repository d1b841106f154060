--- Denoising: a photograph with Gaussian noise to the noise in it, and so to the
-- clean photograph.
-- BSDS500 with --data, σ = 25/255; without, the embedded samples in the same layout.
-- y is the noise divided by σ, so that the flow need not first learn its scale.
-- @module cglow.tasks.denoising
local baselines = require "cglow.tasks.baselines"
local bsds = require "cglow.data.bsds"
local photo = require "cglow.tasks.photo"

local SIGMA <const> = 25 / 255

local function in_sigmas(sample) return {x = sample.x, y = sample.y / SIGMA, name = sample.name} end

-- The answer is the photograph without the noise.
local function clean_of(y, sample) return (sample.x - y * SIGMA):clamp(0, 1) end

return require("cglow.tasks.define").define {
  name = "denoising",
  title = "Denoising: c-Glow learns the noise in photographs (σ = 25/255).",
  predicts = "Write a clean photograph for each noisy one, of any size.",
  size = 128, sample_size = 64,
  recipe = {["augment.mirror"] = true, ["augment.transpose"] = true, ["head.weight"] = 0.3},
  data = function(dir, o)
    local data, message = bsds(dir, {split = o.split, size = o.size, sigma = SIGMA})
    return data and data:map(in_sigmas, {recipe = "in sigmas"}), message
  end,
  decide = clean_of,
  baselines = function() return {{name = "noisy photograph itself", predict = baselines.zero()}} end,
  tiled = true,
  finish = function(clean, picture) return clean, photo.like(clean, picture) end,
}
