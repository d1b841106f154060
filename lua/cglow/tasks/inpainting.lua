--- Inpainting: a photograph with its centre hidden to what was there.
-- Aligned CelebA with --data: the middle 108×108 (the face) at 64×64, its centre
-- 32×32 hidden. Without, the embedded samples in the same layout.
--
-- In x the hidden centre is filled by diffusion from its rim, and y is what the
-- photograph has on top of that: zero is the trivial answer.
-- @module cglow.tasks.inpainting
local baselines = require "cglow.tasks.baselines"
local celeba = require "cglow.data.celeba"
local core = require "cglow.core"
local image = require "cglow.image"
local labels = require "cglow.data.labels"
local photo = require "cglow.tasks.photo"
local shared = require "cglow.tasks.shared"
local source_of = require "cglow.image.source"
local vision = require "cglow.image.vision"

-- The middle half of x each way.
local function centre_of(x)
  local h, w = x:size(2) // 2, x:size(3) // 2
  return image.crop(x, h // 2 + 1, w // 2 + 1, h, w)
end

local function with_centre(x, block)
  return image.paste(x:clone(), block, block:size(2) // 2 + 1, block:size(3) // 2 + 1)
end

-- Nothing of the centre is looked at, nor of what is not known (H×W, 0) beside it.
local function diffused(x, known)
  local h, w = x:size(2), x:size(3)
  local hidden = with_centre(x, core.zeros(3, h // 2, w // 2))
  local valid = with_centre(core.ones(1, h, w), core.zeros(1, h // 2, w // 2))
  if known then valid[1]:mul(known) end
  return (vision.fill_diffusion(hidden, valid[1]))
end

local function on_diffusion(sample)
  local x = diffused(sample.x)
  return {x = x, y = sample.y - centre_of(x), valid = sample.valid, name = sample.name}
end

-- The hidden block itself.
local function block_of(y, sample) return (centre_of(sample.x) + y):clamp(0, 1) end

local function mean_colour()
  local block = baselines.mean_colour()
  return function(sample) return block(sample) - centre_of(sample.x) end
end

-- What the head says is so many times what the photograph has on top of the diffusion, which
-- is of magnitude 1/4.
local HEAD_SCALE <const> = 4

-- The block is a quarter of the picture and the rest is right, so over the whole picture the
-- squared error is a quarter of the block's.
local WHOLE_DB <const> = 10 * math.log(4, 10)

local function score()
  local block = shared.image_score()
  return {
    add = block.add,
    result = function()
      local result = block.result()
      result.psnr_whole = result.psnr + WHOLE_DB
      return result
    end,
  }
end

local MOST_PIXELS <const> = 65535 -- of a side

-- A rectangle of --hole, rows and columns from 1, as a list.
local function rectangle(text)
  local numbers = {text:match "^(%d+),(%d+),(%d+),(%d+)$"}
  for i, digits in ipairs(numbers) do
    local n = math.tointeger(tonumber(digits))
    numbers[i] = n and n >= 1 and n <= MOST_PIXELS and n or nil
  end
  if #numbers == 4 then return numbers end
  return nil, ("--hole expects TOP,LEFT,HEIGHT,WIDTH, each from 1 on, got '%s'"):format(text)
end

local function cut_out(given, place)
  local h, w = given.colour:size(2), given.colour:size(3)
  local top, left, height, width = table.unpack(place)
  if top + height - 1 > h or left + width - 1 > w then
    return nil, ("%s: the hole %s lies outside of its %d rows of %d pixels"):format(given.name,
      table.concat(place, ","), h, w)
  end
  return image.paste(core.zeros(1, h, w), core.ones(1, height, width), top, left)[1]
end

local function read_mask(given, mask)
  local shares, message = labels.mask(mask)
  if not shares then return nil, message end
  if shares:size(2) ~= given.colour:size(2) or shares:size(3) ~= given.colour:size(3) then
    return nil, ("%s and its mask %s differ in size"):format(given.name, mask)
  end
  return shares[1]:gt(0.5)
end

-- Where a photograph has its hole: in the rectangle `hole` of the options, the foreground of their
-- file `mask`, or where its alpha is below one half. H×W of 0 and 1; nil and a message.
local function place_of(given, args)
  if args.hole and args.mask then return nil, "--hole and --mask both say where the hole is: name one of them" end
  if args.hole then return cut_out(given, args.hole) end
  if args.mask then return read_mask(given, args.mask) end
  return given.alpha and given.alpha[1]:lt(0.5) or core.zeros(given.colour:size(2), given.colour:size(3))
end

local function hole_of(given, args)
  local hole, message = place_of(given, args)
  if not hole then return nil, message end
  if hole:sum() == 0 then
    return nil, ("%s has no hole: make it transparent there, or say where with --hole or --mask (white = hole)"):format(
      given.name)
  end
  if hole:min() > 0 then return nil, ("%s is all hole: nothing is left to go on from"):format(given.name) end
  return hole
end

local function read(source, args)
  local given, message = photo.read(source)
  if not given then return nil, message end
  given.hole, message = hole_of(given, args)
  if not given.hole then return nil, message end
  return given
end

-- First and last row and column of the hole.
local function bounds(hole)
  local rows, columns = hole:max(2), hole:max(1)
  local function ends(t)
    local first, last
    for i = 1, #t do
      if t[i] > 0 then first, last = first or i, i end
    end
    return first, last
  end
  local top, bottom = ends(rows)
  local left, right = ends(columns)
  return top, bottom, left, right
end

-- What is known of a window, in another size: means over the known pixels alone, and 1
-- where there was one. No colour under the hole has any part in it.
local function shrunk(t, known, size)
  local weight = image.resize(known, size, size)
  local seen, sum = weight:gt(1e-3), image.resize(t * core.cat({known, known, known}, 1), size, size)
  weight:mul(seen):add(-seen + 1)
  for c = 1, 3 do sum[c] = sum[c] / weight[1] * seen[1] end
  return sum, seen[1]
end

-- The square window around a hole whose middle half holds it, as the model wants
-- it; what lies outside of the photograph continues its rim, where that is known.
local function window(colour, hole, size)
  local top, bottom, left, right = bounds(hole)
  local half = math.max(bottom - top + 1, right - left + 1)
  half = half + half % 2
  local side = 2 * half
  local row, column = (top + bottom + 1) // 2 - half, (left + right + 1) // 2 - half
  local function cut(t)
    local padded = image.pad(t, {top = side, bottom = side, left = side, right = side, mode = "edge"})
    return image.crop(padded, row + side, column + side, side, side)
  end
  local known = (-hole + 1):reshape(1, hole:size(1), hole:size(2))
  local x, seen = shrunk(cut(colour), cut(known), size)
  return diffused(x, seen), {row = row + half // 2, column = column + half // 2, side = half}
end

-- The middle square of a photograph, all of it seen.
local function square(what, size)
  local source = source_of.of(what)
  local t, message = source_of.load(source, {channels = 3})
  if not t then return nil, message end
  local side = math.min(t:size(2), t:size(3))
  local top, left = (t:size(2) - side) // 2 + 1, (t:size(3) - side) // 2 + 1
  return image.resize(image.crop(t, top, left, side, side), size, size), source.name
end

local function read_input(what, size)
  local t, name = square(what, size)
  if not t then return nil, name end
  return {x = diffused(t), name = name}
end

local function pair(what, _, size)
  local t, name = square(what, size)
  if not t then return nil, name end
  return on_diffusion {x = t, y = centre_of(t), name = name}
end

-- What the model says of the window around the hole, where that lies; 0 elsewhere.
local function map(f, picture, view)
  local h, w = picture.colour:size(2), picture.colour:size(3)
  local x, place = window(picture.colour, picture.hole, view.size)
  local block, margin = image.resize(f(x), place.side, place.side), place.side
  local canvas = core.zeros(#block, h + 2 * margin, w + 2 * margin)
  image.paste(canvas, block, place.row + margin, place.column + margin)
  return image.crop(canvas, margin + 1, margin + 1, h, w)
end

local function finish(values, picture)
  local colour, hole, alpha = picture.colour:clone(), picture.hole, picture.alpha and picture.alpha:clone()
  for c = 1, 3 do colour[c] = colour[c] * (-hole + 1) + values[c] * hole end
  if alpha then alpha[1] = alpha[1] * (-hole + 1) + hole end -- what was filled is seen
  return colour, photo.like(colour, {grey = picture.grey, alpha = alpha, bits = picture.bits})
end

return require("cglow.tasks.define").define {
  name = "inpainting",
  title = "Inpainting: c-Glow learns what the hidden centre of a photograph shows.",
  predicts = "Fill the hole of each photograph: transparent, --hole, or white in --mask.",
  sizes = {64}, size = 64,
  -- Here a flow of y itself learns faster than one of what the head leaves: after 1,500 steps NLL 2.928 and 21.82 dB
  -- on 64 held-out faces, the other 2.968 and 21.77.
  recipe = {["augment.mirror"] = true, ["head.weight"] = 1, ["head.residual"] = false},
  head = {
    outputs = 3, loss = "squared_error", scale = HEAD_SCALE,
    target = function(sample) return sample.y * HEAD_SCALE end,
    decide = function(said, sample) return block_of(said / HEAD_SCALE, sample) end,
  },
  y = function(size) return {3, size // 2, size // 2} end,
  data = function(dir, o)
    local data, message = celeba(dir, {split = o.split, size = o.size, seed = o.seed, crop = o.crop, cache = "none"})
    return data and data:map(on_diffusion, {recipe = "on diffusion"}):cache(), message
  end,
  decide = block_of,
  score = score,
  notes = "psnr, ssim: of the hidden block, psnr_whole: of the picture around it as well; dB for a peak of 1"
    .. shared.psnr_note,
  show_input = function(sample) return with_centre(sample.x, centre_of(sample.x) * 0) end,
  show = function(y, sample) return with_centre(sample.x, block_of(y, sample)) end,
  show_answer = function(block, sample) return with_centre(sample.x, block) end,
  baselines = function()
    return {
      {name = "mean colour", predict = mean_colour()},
      {name = "diffusion", predict = baselines.zero()},
    }
  end,
  options = {{
    name = "crop", argname = "N", kind = "integer", description = "Side of the middle part that shows the face (108).",
  }},
  predict_options = function(command)
    command:option("--hole"):argname "T,L,H,W":convert(rectangle):description "The hole: top, left, height, width."
    command:option("--mask"):argname "FILE":description "Mask of the hole, white, as large as the photograph."
  end,
  read_input = read_input, read = read, map = map, finish = finish, pair = pair, alone = true,
}
