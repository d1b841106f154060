--- LFW part labels: faces, and at each pixel background, face or hair.
--
--     DIR/lfw_funneled/NAME/NAME_0001.jpg                photos
--     DIR/parts_lfw_funneled_gt_images/NAME_0001.ppm     labels as published: red hair,
--                                                        green face, blue background
--     DIR/labels/NAME_0001.png                           or as palette PNG, index 0
--                                                        background, 1 face, 2 hair
--     DIR/parts_lfw_funneled_superpixels_mat/NAME/NAME_0001.dat   published super-pixels; optional
--     DIR/parts_train.txt, parts_validation.txt, parts_test.txt   "NAME NUMBER" in each line
-- @module cglow.data.lfw
local core = require "cglow.core"
local image = require "cglow.image"
local metrics = require "cglow.metrics"
local options = require "cglow.util.options"
local vision = require "cglow.image.vision"
local files = require "cglow.data.files"
local labels = require "cglow.data.labels"
local source = require "cglow.data.source"

local CLASSES <const> = 3
local LABEL_FOLDERS <const> = {"parts_lfw_funneled_gt_images", "labels"}
local SUPERPIXELS <const> = "parts_lfw_funneled_superpixels_mat"

local OPTIONS = source.options {
  split = {type = "string", default = "train", one_of = {"train", "valid", "test"}},
  size = {type = "integer", default = 32, min = 1, max = 4096},
  superpixels = {type = "boolean", default = false},
  segments = {type = "integer", default = 250, min = 1, max = 1 << 20},
}

local LIST = {train = "parts_train.txt", valid = "parts_validation.txt", test = "parts_test.txt"}

local function find_label(find, root, name)
  for _, folder in ipairs(LABEL_FOLDERS) do
    local path, twice = find(files.join(root, folder), name)
    if path or twice then return path, twice end
  end
end

-- Numbers are padded to four digits in some of the published lists only.
local function name_of(row, list)
  local number = row[2]:match("^%d%d?%d?%d?$")
  if not number then return nil, ("%s: '%s' is no number of a photo"):format(list, row[2]) end
  return ("%s_%04d"):format(row[1], tonumber(number))
end

local function find_item(find, root, person, name)
  local superpixels = files.join(root, SUPERPIXELS, person, name .. ".dat")
  local photo, twice = find(files.join(root, "lfw_funneled", person), name)
  local label, label_twice = find_label(find, root, name)
  if twice or label_twice then return nil, twice or label_twice end
  return {
    name = name, photo = photo, label = label, superpixels = files.is_file(superpixels) and superpixels or nil,
  }
end

local function find_items(root, list)
  local rows, message = files.read_list(list, 2)
  if not rows then return nil, message end
  local items, missing, find = {}, {}, files.finder()
  for i, row in ipairs(rows) do
    local name
    name, message = name_of(row, list)
    if not name then return nil, message end
    items[i], message = find_item(find, root, row[1], name)
    if not items[i] then return nil, message end
    if not items[i].photo then missing[#missing + 1] = files.join(root, "lfw_funneled", row[1], name .. ".jpg") end
    if not items[i].label then
      missing[#missing + 1] = ("%s/{%s}/%s.{ppm,png}"):format(root, table.concat(LABEL_FOLDERS, ","), name)
    end
  end
  local ok
  ok, message = files.none_missing("photos and labels", missing, 2 * #rows)
  if not ok then return nil, message end
  return items
end

-- Red is hair, green is face, blue is background in the published pictures; in some
-- copies the colours are not quite full.
local function planes_of(path)
  local info, message = image.info(path)
  if not info then return nil, message end
  if info.palette or info.channels <= 2 then
    local map
    map, message = labels.map(path, CLASSES)
    return map and metrics.one_hot(map + 1, CLASSES), message
  end
  local t
  t, message = image.load(path)
  return t and core.stack {t[3]:gt(0.5), t[2]:gt(0.5), t[1]:gt(0.5)}, message
end

-- y: each class's share of a pixel's area decides, the largest one wins.
local function read_label(path, photo_path, photo, size)
  local planes, message = planes_of(path)
  if not planes then return nil, message end
  local per_pixel = planes:sum(1)
  if per_pixel:min() ~= 1 or per_pixel:max() ~= 1 then
    return nil, path .. ": labels must be red, green and blue, or palette indices from 0 to 2"
  end
  local ok
  ok, message = labels.same_scene(photo_path, photo, path, planes)
  if not ok then return nil, message end
  return metrics.one_hot(metrics.argmax(image.resize(planes, size, size)), CLASSES)
end

-- A text of height×width integers.
local function read_matrix(path, height, width)
  local text, message = files.read_whole(path)
  if not text then return nil, message end
  local numbers = {}
  for word in text:gmatch("%S+") do
    local n = tonumber(word)
    if not n or n < 0 or n > 1 << 20 or n % 1 ~= 0 then return nil, path .. ": an integer from 0 on expected" end
    numbers[#numbers + 1] = n
  end
  if #numbers ~= height * width then
    return nil, ("%s: %d numbers for a photo of %dx%d"):format(path, #numbers, height, width)
  end
  return core.tensor(numbers):reshape(height, width)
end

-- Super-pixels of the photo in full size, and of these the label at each pixel's centre.
local function superpixels_of(item, photo, o)
  local height, width = photo:size(2), photo:size(3)
  local regions, message
  if item.superpixels then
    regions, message = read_matrix(item.superpixels, height, width)
    if not regions then return nil, message end
  else
    regions = vision.slic(photo, {segments = o.segments})
  end
  return image.resize(regions, o.size, o.size, {method = "nearest"})
end

local function read(item, o)
  local photo, message = image.load(item.photo, {channels = 3})
  if not photo then return nil, message end
  local y, superpixels
  y, message = read_label(item.label, item.photo, photo, o.size)
  if not y then return nil, message end
  if o.superpixels then
    superpixels, message = superpixels_of(item, photo, o)
    if not superpixels then return nil, message end
  end
  return {x = image.resize(photo, o.size, o.size), y = y, name = item.name, superpixels = superpixels}
end

-- A set without any is told by the task's own notes beside its metrics.
local function say_without_superpixels(root, items, split)
  local without = 0
  for _, item in ipairs(items) do without = without + (item.superpixels and 0 or 1) end
  if without == 0 or without == #items then return end
  files.notify_once(("lfw %s in %s: SLIC's super-pixels are taken for %d of %d photos, which have none published")
    :format(split, root, without, #items))
end

--- LFW part labels, or any set in their layout.
-- @function lfw
-- @string dir folder with `lfw_funneled` and the lists
-- @tparam[opt] table opts
--
-- * `split` = "train", "valid" or "test": parts_train.txt, parts_validation.txt, parts_test.txt
-- * `size` = 32: height and width
-- * `superpixels` = false: give each sample `superpixels`, size×size: the published ones
--   where there is a .dat file, else SLIC's, made on the photo in full size
-- * `segments` = 250: how many super-pixels SLIC is asked for
-- * `cache` = "memory", "disk" or "none"
-- @treturn[1] Dataset x: 3×size×size; y: one-hot, 3×size×size (background, face, hair)
-- @treturn[2] nil when something is missing
-- @treturn[2] string message
return function(dir, opts)
  options.arg("data.lfw", 1, "dir", dir, {type = "string", path = true})
  local o = options.check("data.lfw", opts, OPTIONS)
  local list = LIST[o.split]
  local root, message = files.root("lfw", dir, {"lfw_funneled", list}, {"lfw_parts"})
  if not root then return nil, message end
  local items
  items, message = find_items(root, files.join(root, list))
  if not items then return nil, "lfw: " .. message end
  if o.superpixels then say_without_superpixels(root, items, o.split) end
  return source.dataset {
    name = "lfw " .. o.split, items = items, paths = {"photo", "label", "superpixels"}, cache = o.cache,
    recipe = ("lfw 2 size %d superpixels %s segments %d"):format(o.size, o.superpixels, o.segments),
    read = function(item) return read(item, o) end, reader = {"lfw", dir, o},
    info = {cell_width = 1, classes = {"background", "face", "hair"}},
  }
end
