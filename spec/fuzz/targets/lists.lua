--- Lists of names, poses, cameras and super-pixels, each read by the data set that
-- such a file belongs to. The first byte says which, as in the names of `readers`;
-- the rest is the file.
local core = require "cglow.core"
local data = require "cglow.data"
local depth = require "cglow.data.depth"
local image = require "cglow.image"
local lfs = require "lfs"
local check = require "spec.fuzz.targets.check"

-- Loaded when first used otherwise, which would look like an input's hunger for memory.
for _, name in ipairs {"horses", "lfw", "celeba", "pairs", "bsds", "seven_scenes"} do assert(data[name]) end

local WIDTH <const>, HEIGHT <const> = 3, 2 -- of every image here

local function folders_above(path)
  for at in path:gmatch("()/") do
    if at > 1 then lfs.mkdir(path:sub(1, at - 1)) end
  end
end

-- What a data set must have beside the list; all of it is read where a sample is.
local FILES <const> = {
  "horses/rgb/a.png", "horses/figure_ground/a.png", "horses/rgb/b.jpg", "horses/figure_ground/b.jpg",
  "lfw/lfw_funneled/A/A_0001.jpg", "lfw/labels/A_0001.png",
  "superpixels/lfw_funneled/A/A_0001.jpg", "superpixels/labels/A_0001.png",
  "celeba/a.jpg", "celeba/b.jpg", "pairs/x/a.png", "pairs/y/a.png",
  "bsds/images/val/1.jpg", "bsds/images/val/2.jpg",
  "scenes/seq-01/frame-000000.depth.png", "scenes/seq-01/frame-000000.clean.png",
}

local function make(folder)
  local black = core.zeros(1, HEIGHT, WIDTH)
  for _, name in ipairs(FILES) do
    folders_above(folder .. "/" .. name)
    assert(image.save(folder .. "/" .. name, black))
  end
  check.write(folder .. "/scenes/seq-01/frame-000000.pose.txt", "")
  folders_above(folder .. "/superpixels/parts_lfw_funneled_superpixels_mat/A/x")
  check.write(folder .. "/superpixels/parts_train.txt", "A 1")
end

-- Letter → where the file goes, and what reads it: an object, or nil and a message.
local readers = {
  h = {"horses/train.txt", function(dir) return data.horses(dir .. "/horses", {cache = "none"}) end},
  l = {"lfw/parts_train.txt", function(dir) return data.lfw(dir .. "/lfw", {cache = "none"}) end},
  c = {"celeba/list_eval_partition.txt", function(dir) return data.celeba(dir .. "/celeba", {cache = "none"}) end},
  v = {"celeba/list_eval_partition.csv", function(dir) return data.celeba(dir .. "/celeba", {cache = "none"}) end},
  p = {"pairs/train.txt", function(dir) return data.pairs(dir .. "/pairs", {split = "train", cache = "none"}) end},
  b = {"bsds/foe_test.txt", function(dir) return data.bsds(dir .. "/bsds", {split = "test", cache = "none"}) end},
  s = {"scenes/TrainSplit.txt", function(dir) return data.seven_scenes(dir .. "/scenes", {cache = "none"}) end},
  k = {"camera.txt", function(dir) return depth.read_camera(dir .. "/camera.txt") end},
  m = {"pose.txt", function(dir) return depth.read_pose(dir .. "/pose.txt") end},
  d = {"superpixels/parts_lfw_funneled_superpixels_mat/A/A_0001.dat", function(dir)
    local set = assert(data.lfw(dir .. "/superpixels", {superpixels = true, size = 2, cache = "none"}))
    return set:get(1)
  end},
}

local function check_numbers(numbers)
  for _, v in ipairs(numbers) do assert(v - v == 0) end
end

local made

local function run(bytes, folder)
  if made ~= folder then
    make(folder)
    made = folder
  end
  local reader = readers[bytes:sub(1, 1)]
  if not reader then return nil, "no such reader" end
  local path = check.write(folder .. "/" .. reader[1], bytes:sub(2))
  local got, message = reader[2](folder)
  os.remove(path)
  if not got then return check.reason(message) end
  if got.size then assert(got:size() >= 1) else check_numbers(got) end
  return true
end

-- A name of one letter becomes a row, an item and two or three paths.
return {run = run, anyway = 1 << 20, each = 2000}
