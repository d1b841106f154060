--- Denoising: a photograph with Gaussian noise to the noise in it, and so to the
-- clean photograph.
-- BSDS500 with --data, σ = 25/255; without, the embedded samples in the same layout.
-- y is the noise divided by σ, so that the flow need not first learn its scale.
-- @module cglow.tasks.denoising
local baselines = require "cglow.tasks.baselines"
local bsds = require "cglow.data.bsds"
local image = require "cglow.image"
local photo = require "cglow.tasks.photo"
local shared = require "cglow.tasks.shared"
local tiles = require "cglow.image.tiling"

local SIGMA <const> = 25 / 255

local function in_sigmas(sample) return {x = sample.x, y = sample.y / SIGMA, name = sample.name} end

-- The answer is the photograph without the noise.
local function clean_of(y, sample) return (sample.x - y * SIGMA):clamp(0, 1) end

local function read_photo(path, size)
  local t, message = image.load(path, {channels = 3})
  if not t then return nil, message end
  local x
  x, message = shared.crop_middle(t, size, path)
  if not x then return nil, message end
  return {x = x, name = path}
end

return require("cglow.tasks.define").define {
  name = "denoising",
  title = "Denoising: c-Glow learns the noise in photographs (σ = 25/255).",
  predicts = "Write a clean photograph for each noisy one, of any size.",
  sizes = {32, 64, 128}, size = 128, sample_size = 64,
  x = shared.three_channels, y = shared.three_channels,
  recipe = {["augment.mirror"] = true, ["augment.transpose"] = true, ["head.weight"] = 0.3},
  head = {outputs = 3, loss = "squared_error", target = function(sample) return sample.y end, decide = clean_of},
  data = function(dir, o)
    local data, message = bsds(dir, {split = o.split, size = o.size, sigma = SIGMA})
    return data and data:map(in_sigmas, {recipe = "in sigmas"}), message
  end,
  decide = clean_of,
  score = function() return shared.psnr_score() end,
  notes = "psnr: dB for a peak of 1, averaged over the images" .. shared.psnr_note,
  rate = function(answer, truth) return shared.psnr(answer, truth) end,
  show_input = function(sample) return sample.x end,
  show = clean_of,
  show_answer = function(clean) return clean end,
  baselines = function() return {{name = "noisy photograph itself", predict = baselines.zero()}} end,
  tiled = true,
  read_input = read_photo,
  predict_file = function(predict, path, size)
    local given, message = photo.read(path)
    if not given then return nil, message end
    return photo.like(tiles.apply(given.colour, {size = size}, function(x)
      return clean_of(predict(x), {x = x})
    end), given)
  end,
}
