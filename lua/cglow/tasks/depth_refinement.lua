--- Depth refinement: a Kinect's noisy depth map with holes to a clean one.
-- 7-Scenes with --data, the clean reference fused from neighbouring frames;
-- without, the embedded samples in the same layout.
--
-- x is the depth with holes filled by medians, where there was a reading, and the
-- detail: how far each pixel is from a blurred copy. y is the correction to the
-- depth, so that the flow need not copy x to y: zero is the trivial answer.
--
-- Most corrections are of a few millimetres, but at the rim of objects some are of
-- a metre. So detail and correction are given as asinh(d/4 mm): in steps of 4 mm near
-- zero and by their logarithm far from it. A mean of samples there is robust, too.
-- @module cglow.tasks.depth_refinement
local baselines = require "cglow.tasks.baselines"
local core = require "cglow.core"
local depth = require "cglow.data.depth"
local image = require "cglow.image"
local metrics = require "cglow.metrics"
local seven_scenes = require "cglow.data.seven_scenes"
local shared = require "cglow.tasks.shared"
local tiles = require "cglow.image.tiling"
local vision = require "cglow.image.vision"

local RANGE <const> = 4 -- metres that 1 stands for
local UNIT <const> = 0.004 / RANGE
local BLUR <const> = 8 -- pixels
local MOST <const> = math.log(2 / UNIT) -- what asinh gives for the whole range

local function squash(d)
  local a = d:abs() / UNIT
  return (a + (a * a + 1):sqrt()):log() * d:sign()
end

local function unsquash(y)
  local e = y:clamp(-MOST, MOST):exp()
  return (e - core.ones(e:size()) / e) * (UNIT / 2)
end

-- {filled depth, where there is a reading} and the detail.
local function with_detail(x)
  local filled, h, w = x:narrow(1, 1, 1), x:size(2), x:size(3)
  local blurred = image.resize(image.resize(filled, h // BLUR, w // BLUR), h, w)
  return core.cat({x, squash(filled - blurred)}, 1)
end

local function correction(sample)
  local filled = sample.x:narrow(1, 1, 1)
  return {x = with_detail(sample.x), y = squash(sample.y - filled), valid = sample.valid, name = sample.name}
end

local function clean_of(y, sample) return (sample.x:narrow(1, 1, 1) + unsquash(y)):clamp(0, 1) end

-- A depth map as a surface lit from one corner: noise of millimetres and steps of
-- metres both show, where shades of depth would show the steps alone.
local function relief(map)
  local h, w = map:size(2) - 1, map:size(3) - 1
  local slope = squash(image.crop(map, 2, 2, h, w) - image.crop(map, 1, 1, h, w))
  return (image.pad(slope, {bottom = 1, right = 1, mode = "edge"}) / 6 + 0.5):clamp(0, 1)
end

-- Black where there was no reading.
local function show_raw(sample) return relief(sample.x:narrow(1, 1, 1)) * sample.x:narrow(1, 2, 1) end

local function where_known(sample) return {mask = sample.valid} end

-- Where there is a reference: PSNR of each image, averaged (the peak is the range),
-- and the mean distance from the reference, which a few pixels at a rim do not rule.
local function score()
  local psnr, distance, pixels = shared.psnr_score(where_known), 0, 0
  return {
    add = function(_, answer, truth, sample)
      psnr:add(answer, truth, sample)
      distance = distance + ((answer - truth):abs()[1] * sample.valid):sum()
      pixels = pixels + sample.valid:sum()
    end,
    result = function()
      local result = psnr:result()
      result.error_mm = distance / pixels * RANGE * 1000
      return result
    end,
  }
end

-- A depth map of millimetres as the model wants it.
local function read_depth(path)
  local metres, message = depth.load(path)
  if not metres then return nil, message end
  local share = metres / RANGE
  share:mul(share:lt(1 + 1e-6))
  local known = share:gt(0)
  if known:sum() == 0 then return nil, path .. ": no pixel has a reading within the range" end
  local filled = vision.fill_median(share, known)
  return core.stack {filled, known}
end

local function read_input(path, size)
  local x, message = read_depth(path)
  if not x then return nil, message end
  x, message = shared.crop_middle(x, size, path)
  if not x then return nil, message end
  return {x = with_detail(x), name = path}
end

return require("cglow.tasks.define").define {
  name = "depth_refinement",
  title = "Depth refinement: c-Glow learns to correct a Kinect's depth maps.",
  predicts = "Write a refined depth map (16-bit PNG, mm) for each raw one.",
  sizes = {32, 96}, size = 96, defaults = {["cn.channels"] = 8, ["cn.width"] = 32},
  recipe = {["augment.mirror"] = true},
  head = {outputs = 1, loss = "squared_error", target = function(sample) return sample.y end, decide = clean_of},
  x = function(size) return {3, size, size} end,
  y = function(size) return {1, size, size} end,
  data = function(dir, o)
    local data, message = seven_scenes(dir, {
      split = o.split, size = o.size, range = RANGE, holes = "mask", seed = o.seed,
    })
    return data and data:map(correction, {recipe = ("correction %g"):format(UNIT)}), message
  end,
  decide = clean_of,
  score = score,
  notes = "where there is a reference: psnr: dB for a peak of 4 m, averaged over the crops; error_mm: mean distance",
  rate = function(answer, truth, sample) return metrics.psnr(answer, truth, where_known(sample)) end,
  show_input = show_raw,
  show = function(y, sample) return relief(clean_of(y, sample)) end,
  show_answer = relief,
  baselines = function() return {{name = "holes filled by medians", predict = baselines.zero()}} end,
  tiled = true,
  read_input = read_input,
  save = {bits = 16},
  predict_file = function(predict, path, size)
    local x, message = read_depth(path)
    if not x then return nil, message end
    local refined = tiles.apply(x, {size = size}, function(t)
      return clean_of(predict(with_detail(t)), {x = t})
    end)
    return refined * (RANGE * 1000 / 65535)
  end,
}
