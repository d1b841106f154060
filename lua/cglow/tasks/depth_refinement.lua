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
-- zero and by their logarithm far from it. Samples are averaged as asinh(d/12 cm), so
-- that where they are in doubt about a rim the mean lies between its two sides. (Of
-- 20 samples on 35 held-out crops: PSNR 47.40 dB; averaged in steps of 4 mm 47.14, of 4 m
-- 44.38.)
-- @module cglow.tasks.depth_refinement
local baselines = require "cglow.tasks.baselines"
local core = require "cglow.core"
local depth = require "cglow.data.depth"
local image = require "cglow.image"
local files = require "cglow.data.files"
local seven_scenes = require "cglow.data.seven_scenes"
local shared = require "cglow.tasks.shared"
local source_of = require "cglow.image.source"
local view_of = require "cglow.tasks.view"
local vision = require "cglow.image.vision"

local RANGE <const> = 4 -- metres that 1 stands for, unless the run says otherwise
local STEP <const> = 0.004 -- metres, of the corrections near zero
local MEAN_STEP <const> = 0.12 -- metres, of the corrections of which a mean is taken
local BLUR <const> = 8 -- pixels

-- What numbers stand for: `range` in metres, `unit` of files in metres (nil: millimetres),
-- `step` as a share of the range.
local function scale_of(values)
  local range = values.range or RANGE
  return {range = range, unit = values.unit, step = STEP / range, mean_step = MEAN_STEP / range}
end

local function squash(d, step)
  local a = d:abs() / step
  return (a + (a * a + 1):sqrt()):log() * d:sign()
end

local function unsquash(y, step)
  local most = math.log(2 / step) -- what asinh gives for the whole range
  local e = y:clamp(-most, most):exp()
  return (e - core.ones(e:size()) / e) * (step / 2)
end

-- The mean of corrections, M×1×H×W.
local function mean_of(samples, scale)
  local list = squash(unsquash(samples, scale.step), scale.mean_step)
  local mean = list:reshape(#list, -1):mean(1):reshape(1, list:size(3), list:size(4))
  return squash(unsquash(mean, scale.mean_step), scale.step)
end

-- {filled depth, where there is a reading} and the detail.
local function with_detail(x, scale)
  local filled, h, w = x:narrow(1, 1, 1), x:size(2), x:size(3)
  local blurred = image.resize(image.resize(filled, h // BLUR, w // BLUR), h, w)
  return core.cat({x, squash(filled - blurred, scale.step)}, 1)
end

local function correction(scale)
  return function(sample)
    local y = squash(sample.y - sample.x:narrow(1, 1, 1), scale.step)
    return {x = with_detail(sample.x, scale), y = y, valid = sample.valid, name = sample.name}
  end
end

local function clean_of(y, sample, scale) return (sample.x:narrow(1, 1, 1) + unsquash(y, scale.step)):clamp(0, 1) end

-- A depth map as a surface lit from one corner: noise of millimetres and steps of
-- metres both show, where shades of depth would show the steps alone.
local function relief(map, scale)
  local h, w = map:size(2) - 1, map:size(3) - 1
  local slope = squash(image.crop(map, 2, 2, h, w) - image.crop(map, 1, 1, h, w), scale.step)
  return (image.pad(slope, {bottom = 1, right = 1, mode = "edge"}) / 6 + 0.5):clamp(0, 1)
end

-- Black where there was no reading.
local function show_raw(sample, scale) return relief(sample.x:narrow(1, 1, 1), scale) * sample.x:narrow(1, 2, 1) end

-- Where there is a reference: PSNR of each image, averaged (the peak is the range),
-- and the mean distance from the reference, which a few pixels at a rim do not rule.
local function score(scale)
  local mean, distance, pixels = shared.psnr_score(true), 0, 0
  return {
    add = function(_, answer, truth, sample)
      mean:add(answer, truth, sample)
      distance = distance + ((answer - truth):abs()[1] * sample.valid):sum()
      pixels = pixels + sample.valid:sum()
    end,
    result = function()
      local result = mean:result()
      result.error_mm = distance / pixels * scale.range * 1000
      return result
    end,
  }
end

-- A depth map as the model wants it, `x`, and in metres with 1 where a reading lies beyond
-- the range, which no model of that range can say anything about.
local function read_depth(source, scale)
  local metres, message = depth.load(source, scale.unit)
  if not metres then return nil, message end
  local share = metres / scale.range
  local beyond = share:gt(1 + 1e-6)
  share:mul(-beyond + 1)
  local known = share:gt(0)
  if known:sum() == 0 then return nil, source.name .. ": no pixel has a reading within the range" end
  local filled = vision.fill_median(share, known)
  local function map(t) return t:reshape(1, t:size(1), t:size(2)) end
  return {x = core.stack {filled, known}, metres = map(metres), beyond = map(beyond), name = source.name}
end

-- The middle of a depth map.
local function middle_of(what, size, scale)
  local given, message = read_depth(source_of.of(what), scale)
  if not given then return nil, message end
  local x
  x, message = shared.crop_middle(given.x, size, given.name)
  return x, x and given.name or message
end

local function read_input(what, size, scale)
  local x, name = middle_of(what, size, scale)
  if not x then return nil, name end
  return {x = with_detail(x, scale), name = name}
end

-- A raw depth map and its reference, whose holes take their surroundings' median.
local function pair(raw, clean, size, scale)
  local x, name = middle_of(raw, size, scale)
  if not x then return nil, name end
  local y, message = middle_of(clean, size, scale)
  if not y then return nil, message end
  return correction(scale) {x = x, y = y:narrow(1, 1, 1), name = name}
end

-- Refined within the range; beyond it the readings stay as they are, and are counted.
local function finish(refined, picture, scale)
  local metres, count = refined * scale.range, picture.beyond:sum() // 1 | 0
  if count > 0 then
    metres = metres * (-picture.beyond + 1) + picture.metres * picture.beyond
    files.notify(("%s: %d of %d pixels lie beyond the %g m that the model covers; they keep their reading"):format(
      picture.name, count, picture.beyond:count(), scale.range))
  end
  return metres, metres / (depth.unit(scale.unit) * 65535), {bits = 16}
end

local function load_data(dir, o, scale)
  local data, message = seven_scenes(dir, {
    split = o.split, size = o.size, range = scale.range, unit = scale.unit, holes = "mask", seed = o.seed,
  })
  return data and data:map(correction(scale), {recipe = ("correction %g"):format(scale.step)}), message
end

-- The functions that a task needs, which know the scale.
local function functions_of(scale)
  local function decide(y, sample) return clean_of(y, sample, scale) end
  return {
    decide = decide, mean = function(samples) return mean_of(samples, scale) end,
    data = function(dir, o) return load_data(dir, o, scale) end,
    score = function() return score(scale) end,
    show_input = function(sample) return show_raw(sample, scale) end,
    show = function(y, sample) return relief(decide(y, sample), scale) end,
    show_answer = function(map) return relief(map, scale) end,
    read_input = function(what, size) return read_input(what, size, scale) end,
    pair = function(raw, clean, size) return pair(raw, clean, size, scale) end,
    read = function(source) return read_depth(source, scale) end,
    map = function(f, picture, view)
      return view_of.apply(view, picture.x, function(t, place) return f(with_detail(t, scale), place) end)
    end,
    finish = function(refined, picture) return finish(refined, picture, scale) end,
  }
end

local task_with -- forward: a task can be made anew with other values

function task_with(values)
  local scale = scale_of(values)
  local task = functions_of(scale)
  task.name = "depth_refinement"
  task.title = "Depth refinement: c-Glow learns to correct a Kinect's depth maps."
  task.predicts = "Write a refined depth map (16-bit PNG) for each raw one, in its unit."
  task.sizes, task.size = {32, 96}, 96
  task.defaults = {["cn.channels"] = 8, ["cn.width"] = 32}
  task.recipe = {["augment.mirror"] = true, ["head.weight"] = 0.3}
  task.y = 1
  task.notes = ("where there is a reference: psnr: dB for a peak of %g m, averaged over the crops; error_mm: mean "
    .. "distance"):format(scale.range) .. shared.psnr_note
  task.pictured = {as = "relief", note = "Pictures show depth as a surface lit from one corner, so that millimetres "
    .. "and metres both show; black: no reading."}
  task.rate = function(answer, truth, sample) return shared.psnr(answer, truth, sample.valid) or 0 end
  task.baselines = function() return {{name = "holes filled by medians", predict = baselines.zero()}} end
  task.tiled = true
  task.options = {
    {name = "range", argname = "M", kind = "number", description = "Metres that the model covers (4)."},
    {name = "unit", argname = "M", kind = "number", description = "Metres that 1 in a depth file is (0.001)."},
  }
  task.configure = task_with
  return require("cglow.tasks.define").define(task)
end

return task_with {}
