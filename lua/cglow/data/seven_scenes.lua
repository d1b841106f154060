--- 7-Scenes: Kinect depth frames and clean references.
--
--     DIR/SCENE/seq-01/frame-000000.depth.png    640×480, 16 bits, millimetres
--     DIR/SCENE/seq-01/frame-000000.pose.txt     camera to world
--     DIR/SCENE/TrainSplit.txt, TestSplit.txt    "sequence1" in each line; optional
--     DIR/SCENE/camera-intrinsics.txt            3×3; optional, else the published 585, 320, 240
--     DIR/SCENE/seq-01/frame-000000.clean.png    the reference, where one is known; optional
--
-- 7-Scenes has no clean depth: each frame's neighbours are moved into its view by
-- their poses and fused (`cglow.vision.fuse`), once, and kept in the user's cache.
-- @module cglow.data.seven_scenes
local core = require "cglow.core"
local options = require "cglow.util.options"
local vision = require "cglow.image.vision"
local depth = require "cglow.data.depth"
local files = require "cglow.data.files"
local reference = require "cglow.data.reference"
local source = require "cglow.data.source"
local transform = require "cglow.data.transform"

local OPTIONS = source.options {
  split = {type = "string", default = "train", one_of = {"train", "valid", "test"}},
  size = {type = "integer", default = 96, min = 1, max = 4096},
  frames = {type = "integer", min = 1},
  range = {type = "number", default = 4, above = 0, max = 6.5535},
  unit = {type = "number", above = 0, max = 1},
  radius = {type = "integer", default = 15, min = 1, max = 200},
  valid = {type = "number", default = 0.95, min = 0, max = 1},
  holes = {type = "string", default = "zero", one_of = {"zero", "median", "mask"}},
  references = {type = "string", path = true},
  seed = {type = "integer", default = 0},
}

local CAMERA <const> = {585, 585, 320, 240}
local LEARN <const> = 200 -- training frames, as in the paper

-- ---- what there is ---------------------------------------------------------

local function find_scenes(dir)
  if not files.is_folder(dir) then return nil, "there is no folder " .. dir end
  local scenes = {}
  if #files.list(dir, "^seq%-%d+$") > 0 then return {dir} end
  for _, name in ipairs(files.list(dir, "^[^.]")) do
    local sequences = files.list(files.join(dir, name), "^seq%-%d+$")
    if sequences and #sequences > 0 then scenes[#scenes + 1] = files.join(dir, name) end
  end
  if #scenes == 0 then return nil, ("no seq-01 … in %s or in a folder of it"):format(dir) end
  return scenes
end

local function find_frames(dir)
  local names, message = files.list(dir, "^frame%-%d+%.depth%.png$")
  if not names then return nil, message end
  local frames, missing = {}, {}
  for i, name in ipairs(names) do
    local digits = name:match("%d+")
    local path = files.join(dir, "frame-" .. digits)
    local clean = path .. ".clean.png"
    frames[i] = {
      name = "frame-" .. digits, number = tonumber(digits), place = i, depth = path .. ".depth.png",
      pose = path .. ".pose.txt", clean = files.is_file(clean) and clean or nil,
    }
    if not files.is_file(frames[i].pose) then missing[#missing + 1] = frames[i].pose end
  end
  if #frames == 0 then return nil, ("no frame-XXXXXX.depth.png in %s"):format(dir) end
  local ok
  ok, message = files.none_missing("poses", missing, #frames)
  return ok and frames, message
end

local function find_camera(scene)
  local path = files.join(scene, "camera-intrinsics.txt")
  if not files.is_file(path) then
    files.notify_once(("%s has no camera-intrinsics.txt: the published 585, 585, 320, 240 are taken"):format(scene))
    return CAMERA
  end
  return depth.read_camera(path)
end

-- The sequences that a split file names; nil when there is no such file.
local function split_file(scene, name)
  local path = files.join(scene, name)
  if not files.is_file(path) then return nil end
  local rows, message = files.read_names(path)
  if not rows then return nil, message end
  local numbers = {}
  for _, row in ipairs(rows) do
    local number = row:match("^sequence(%d+)$")
    if not number then return nil, ("%s: 'sequence1' or the like expected, got '%s'"):format(path, row) end
    numbers[tonumber(number)] = true
  end
  return numbers
end

-- ---- splits ----------------------------------------------------------------

-- Shares of a sequence in time for each part, with a gap of `radius` frames
-- between two parts, so that no reference is made of another part's frames.
local TRAIN_AND_VALID = {train = {0, 0.9}, valid = {0.9, 1}}
local ALL_THREE = {train = {0, 0.7}, valid = {0.7, 0.8}, test = {0.8, 1}}
local WHOLE = {test = {0, 1}}

local function take_part(frames, shares, gap, items)
  if not shares then return end
  local first = math.floor(shares[1] * #frames) + 1
  local last = math.floor(shares[2] * #frames)
  if shares[1] > 0 then first = first + gap end
  table.move(frames, first, last, #items + 1, items)
end

-- Which shares of a sequence go to which part.
local function shares_of(number, train, test)
  if not train and not test then return ALL_THREE end
  if test and test[number] then return WHOLE end
  return (not train or train[number]) and TRAIN_AND_VALID or {}
end

local function add_sequence(items, scene, folder, camera, o, shares)
  local frames, message = find_frames(files.join(scene, folder))
  if not frames then return nil, message end
  local name = scene:match("([^/]*)/*$") .. "-" .. folder
  local fuser = reference.new({name = name, camera = camera, frames = frames, unit = o.unit}, o.radius, o.references)
  local fused = false
  for _, frame in ipairs(frames) do
    frame.fuser, frame.name = fuser, name .. "-" .. frame.name
    fused = fused or not frame.clean
  end
  take_part(frames, shares[o.split], fused and o.radius or 0, items)
  return true
end

local function add_scene(items, scene, o)
  local camera, message = find_camera(scene)
  if not camera then return nil, message end
  local train, test
  train, message = split_file(scene, "TrainSplit.txt")
  if message then return nil, message end
  test, message = split_file(scene, "TestSplit.txt")
  if message then return nil, message end
  for _, folder in ipairs(files.list(scene, "^seq%-%d+$")) do
    local shares = shares_of(tonumber(folder:match("%d+")), train, test)
    if shares[o.split] then
      local ok
      ok, message = add_sequence(items, scene, folder, camera, o, shares)
      if not ok then return nil, message end
    end
  end
  return true
end

-- n of the items, evenly spaced.
local function thin_out(items, n)
  if not n or n >= #items then return items end
  local kept = {}
  for i = 1, n do kept[i] = items[math.floor((i - 0.5) * #items / n) + 1] end
  return kept
end

local function find_items(dir, o)
  local scenes, message = find_scenes(dir)
  if not scenes then return nil, message end
  local items = {}
  for _, scene in ipairs(scenes) do
    local ok
    ok, message = add_scene(items, scene, o)
    if not ok then return nil, message end
  end
  if #items == 0 then return nil, ("no frames for the part '%s' in %s"):format(o.split, dir) end
  return thin_out(items, o.frames or o.split == "train" and LEARN or nil)
end

-- ---- samples ---------------------------------------------------------------

-- Metres as a share of the range; what is out of it is not known (0).
local function normalised(metres, range)
  local t = metres / range
  return t:mul(t:lt(1 + 1e-6))
end

local function read(item, range, unit)
  local raw, clean, message
  raw, message = depth.load(item.depth, unit)
  if not raw then return nil, message end
  if item.clean then clean, message = depth.load(item.clean, unit) else clean, message = item.fuser:get(item.place) end
  if not clean then return nil, message end
  if raw:size(1) ~= clean:size(1) or raw:size(2) ~= clean:size(2) then
    return nil, ("%s: the reference has another size"):format(item.depth)
  end
  local x, y = normalised(raw, range), normalised(clean, range)
  return {x = x:reshape(1, x:size(1), x:size(2)), y = y:reshape(1, y:size(1), y:size(2)), valid = y:gt(0),
          name = item.name}
end

local function filled(t, known)
  local n = known:sum()
  if n == 0 or n == known:count() then return t end
  return vision.fill_median(t, known)
end

-- The density is of all of y, so pixels without a reference take their
-- surroundings' median; `valid` still tells them apart.
local function fill_holes(holes)
  return function(sample)
    if sample.valid:sum() == 0 then return nil, sample.name .. ": no pixel has a reference", true end
    local result = {x = sample.x, y = filled(sample.y, sample.valid), valid = sample.valid, name = sample.name}
    if holes ~= "zero" then
      local known = sample.x[1]:gt(0)
      result.x = filled(sample.x, known)
      if holes == "mask" then result.x = core.cat({result.x, known:reshape(sample.x:size())}, 1) end
    end
    return result
  end
end

--- 7-Scenes for depth refinement, or any set in its layout.
--
-- Depths are shares of `range`: 1 is 4 m; readings beyond it count as none.
-- "train" gives random crops, the other two one crop of each frame that is drawn
-- from a generator seeded with seed + i. With TrainSplit.txt and TestSplit.txt,
-- "test" is the test sequences, "valid" the last tenth in time of each training
-- sequence; without them each sequence is cut in time, 70 % "train", 10 %
-- "valid", 20 % "test". Parts are `radius` frames apart where references are fused.
-- @function seven_scenes
-- @string dir a scene's folder (with seq-01 …), or one with several scenes
-- @tparam[opt] table opts
--
-- * `split` = "train", "valid" or "test"
-- * `size` = 96: height and width of the crops
-- * `frames`: how many, evenly spaced; by default 200 of "train", all of the others
-- * `range` = 4: metres that 1 stands for; `unit` = 0.001: metres that 1 in a file stands for,
--   which must be said for files of 8 bits
-- * `radius` = 15: frames before and after that a reference is fused from
-- * `valid` = 0.95: share of a crop's pixels that should have a reference (up to 20 crops
--   are drawn for it)
-- * `holes` = "zero": what x has where there is no reading: 0, or "median": the median of the
--   surroundings, or "mask": that, and a second channel, 1 where there is a reading
-- * `references`: folder for fused references, by default in `cglow.data.cache_dir()`
-- * `seed` = 0: of the crops of "valid" and "test"
-- * `cache` = "memory", "disk" or "none": of whole frames
-- @treturn[1] Dataset x: 1×size×size (2 with "mask"); y: 1×size×size, clean; `valid`:
-- size×size, 1 where there is a reference; random for "train"
-- @treturn[2] nil when something is missing
-- @treturn[2] string message
return function(dir, opts)
  options.arg("data.seven_scenes", 1, "dir", dir, {type = "string", path = true})
  local o = options.check("data.seven_scenes", opts, OPTIONS)
  local items, message = find_items(dir, o)
  if not items then return nil, "seven_scenes: " .. message end
  local frames = source.dataset {
    name = "seven_scenes " .. o.split, items = items, paths = {"depth", "pose", "clean"}, cache = o.cache,
    recipe = ("seven_scenes 2 range %.17g radius %d unit %.17g"):format(o.range, o.radius, depth.unit(o.unit)),
    read = function(item) return read(item, o.range, o.unit) end, reader = {"seven_scenes", dir, o},
    info = {peak = 1, range = o.range},
  }
  local crops = frames:map(transform.random_crop {height = o.size, width = o.size, valid = o.valid})
    :map(fill_holes(o.holes), {recipe = "holes " .. o.holes})
  return o.split == "train" and crops or crops:seeded(o.seed):cache()
end
