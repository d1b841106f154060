--- Denoising: a photograph with Gaussian noise to the noise in it, and so to the
-- clean photograph.
-- BSDS500 with --data, σ = 25/255; without, the embedded samples in the same layout.
-- y is the noise divided by σ, so that the flow need not first learn its scale.
-- @module cglow.tasks.denoising
local baselines = require "cglow.tasks.baselines"
local bsds = require "cglow.data.bsds"
local photo = require "cglow.tasks.photo"
local shared = require "cglow.tasks.shared"

local SIGMA <const> = 25 / 255

local function in_sigmas(sample) return {x = sample.x, y = sample.y / SIGMA, name = sample.name} end

-- The answer is the photograph without the noise.
local function clean_of(y, sample) return (sample.x - y * SIGMA):clamp(0, 1) end

local function sigma_of(text)
  local n = tonumber(text)
  if n and n > 0 and n <= 255 then return n end
  return nil, ("--sigma expects a number above 0 and up to 255, got '%s'"):format(text)
end

-- A photograph with another noise, σ' = `args.noise`/255, is shown to the model with its contrast
-- changed by σ/σ', so that it sees the noise that it knows. (After a short training on BSDS500 that
-- gives 0.5 dB at σ' = 50 and nothing at 15, on 6 held-out photographs.)
local function read(source, args)
  local picture, message = shared.read(source, 3)
  if not picture then return nil, message end
  picture.contrast = args.noise and SIGMA * 255 / args.noise or 1
  picture.x = (picture.colour - 0.5) * picture.contrast + 0.5
  return picture
end

-- The clean photograph, in its own contrast.
local function values(y, sample)
  local contrast = sample.picture.contrast
  return ((sample.x - y * SIGMA - 0.5) / contrast + 0.5):clamp(0, 1)
end

local task -- forward: pairs are read as its pictures are

-- A noisy photograph and the clean one: the middle of both.
local function pair(noisy, clean, size)
  local sample, message = shared.input(task, noisy, size)
  if not sample then return nil, message end
  local other
  other, message = shared.input(task, clean, size)
  if not other then return nil, message end
  return {x = sample.x, y = (sample.x - other.x) / SIGMA, name = sample.name}
end

task = require("cglow.tasks.define").define {
  name = "denoising",
  title = "Denoising: c-Glow learns the noise in photographs (σ = 25/255).",
  predicts = "Write a clean photograph for each noisy one, of any size.",
  size = 128, sample_size = 64,
  recipe = {["augment.mirror"] = true, ["augment.transpose"] = true, ["head.weight"] = 1},
  data = function(dir, o)
    local data, message = bsds(dir, {split = o.split, size = o.size, sigma = SIGMA})
    return data and data:map(in_sigmas, {recipe = "in sigmas"}), message
  end,
  decide = clean_of,
  baselines = function() return {{name = "noisy photograph itself", predict = baselines.zero()}} end,
  tiled = true, pair = pair,
  read = read, values = values,
  predict_options = function(command)
    command:option("--sigma"):argname "S":target "noise":convert(sigma_of)
      :description "The photographs' noise, of 255, if it is not that of the training (25)."
  end,
  finish = function(clean, picture) return clean, photo.like(clean, picture) end,
}

return task
