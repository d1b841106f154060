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

local function find_label(root, name)
  for _, folder in ipairs(LABEL_FOLDERS) do
    local path = files.find_image(files.join(root, folder), name)
    if path then return path end
  end
end

-- Numbers are padded to four digits in some of the published lists only.
local function name_of(row, list)
  local number = row[2]:match("^%d%d?%d?%d?$")
  if not number then return nil, ("%s: '%s' is no number of a photo"):format(list, row[2]) end
  return ("%s_%04d"):format(row[1], tonumber(number))
end

local function find_item(root, person, name)
  local superpixels = files.join(root, SUPERPIXELS, person, name .. ".dat")
  return {
    name = name, photo = files.find_image(files.join(root, "lfw_funneled", person), name),
    label = find_label(root, name), superpixels = files.is_file(superpixels) and superpixels or nil,
  }
end

local function find_items(root, list)
  local rows, message = files.read_list(list, 2)
  if not rows then return nil, message end
  local items, missing = {}, {}
  for i, row in ipairs(rows) do
    local name
    name, message = name_of(row, list)
    if not name then return nil, message end
    items[i] = find_item(root, row[1], name)
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

-- One plane for each class, from colours or from palette indices.
local function planes_of(path)
  local t, message = image.load(path, {raw = true})
  if not t then return nil, message end
  if #t == 3 then return core.stack {t[3]:gt(127), t[2]:gt(127), t[1]:gt(127)} end
  return metrics.one_hot(t[1] + 1, CLASSES)
end

-- y: each class's share of a pixel's area decides, the largest one wins.
local function read_label(path, size)
  local planes, message = planes_of(path)
  if not planes then return nil, message end
  local per_pixel = planes:sum(1)
  if per_pixel:min() ~= 1 or per_pixel:max() ~= 1 then
    return nil, path .. ": labels must be red, green and blue, or palette indices from 0 to 2"
  end
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

-- Of the photo in full size, then the label at each pixel's centre.
local function superpixels_of(item, photo, o)
  local height, width = photo:size(2), photo:size(3)
  local labels, message
  if item.superpixels then
    labels, message = read_matrix(item.superpixels, height, width)
    if not labels then return nil, message end
  else
    labels = vision.slic(photo, {segments = o.segments})
  end
  return image.resize(labels, o.size, o.size, {method = "nearest"})
end

local function read(item, o)
  local photo, message = image.load(item.photo, {channels = 3})
  if not photo then return nil, message end
  local y, superpixels
  y, message = read_label(item.label, o.size)
  if not y then return nil, message end
  if o.superpixels then
    superpixels, message = superpixels_of(item, photo, o)
    if not superpixels then return nil, message end
  end
  return {x = image.resize(photo, o.size, o.size), y = y, name = item.name, superpixels = superpixels}
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
  return source.dataset {
    name = "lfw " .. o.split, items = items, paths = {"photo", "label", "superpixels"}, cache = o.cache,
    recipe = ("lfw 1 size %d superpixels %s segments %d"):format(o.size, o.superpixels, o.segments),
    read = function(item) return read(item, o) end,
    info = {cell_width = 1, classes = {"background", "face", "hair"}},
  }
end
