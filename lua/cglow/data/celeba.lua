--- Aligned CelebA faces, their centre hidden.
--
--     DIR/000001.jpg …               photos of 178×218
--     DIR/list_eval_partition.txt    "000001.jpg 0" in each line: 0 train, 1 valid, 2 test;
--                                    optional, also one folder up or in ../Eval; or .csv, with
--                                    a comma and a line of titles
-- @module cglow.data.celeba
local image = require "cglow.image"
local options = require "cglow.util.options"
local files = require "cglow.data.files"
local source = require "cglow.data.source"
local transform = require "cglow.data.transform"

local OPTIONS = source.options {
  split = {type = "string", default = "train", one_of = {"train", "valid", "test"}},
  size = {type = "integer", default = 64, min = 2, max = 4096},
  crop = {type = "integer", min = 1, max = 4096},
  held_out = {type = "integer", min = 1},
  seed = {type = "integer", default = 0},
}

local FOLDER <const> = "img_align_celeba"
local LISTS <const> = {"list_eval_partition.txt", "list_eval_partition.csv"}
local PART = {["0"] = "train", ["1"] = "valid", ["2"] = "test"}

local CROP <const> = 108 -- of the aligned photos, and of no others
local WIDTH <const>, HEIGHT <const> = 178, 218

local function find_partition(root)
  for _, place in ipairs {"", "..", "../Eval"} do
    for _, list in ipairs(LISTS) do
      local path = files.join(root, place, list)
      if files.is_file(path) then return path end
    end
  end
end

local function say_partial(path, listed, found, count)
  if found == listed and found == count then return end
  local strangers = count > found and ("; %d photos here are in no list and are passed over"):format(count - found)
  files.notify_once(("%s lists %d photos, of which %d are here%s"):format(path, listed, found, strangers or ""))
end

-- Photos of a part that are there; a part of the download is as good as all of it.
-- Copies of the set have their photos as PNG, too, so names are those without extensions.
local function from_partition(path, split, names)
  local rows, message = files.read_list(path, 2, {commas = path:find "%.csv$" ~= nil, titles = "image_id"})
  if not rows then return nil, message end
  local there, part, found, seen = {}, {}, 0, {}
  for _, name in ipairs(names) do there[files.stem(name)] = name end
  for _, row in ipairs(rows) do
    if not PART[row[2]] then return nil, ("%s: part '%s' of %s is none of 0, 1, 2"):format(path, row[2], row[1]) end
    local name = there[files.stem(row[1])]
    if name and seen[name] then return nil, ("%s: %s is listed twice"):format(path, row[1]) end
    seen[name or ""] = true
    found = found + (name and 1 or 0)
    if name and PART[row[2]] == split then part[#part + 1] = name end
  end
  say_partial(path, #rows, found, #names)
  return part
end

-- The paper holds 2,000 out; of a small part of the set a fifth has to do. A
-- quarter as many again are for validation.
local function from_seed(root, names, o)
  local order = files.shuffled(names, o.seed)
  local test = o.held_out or math.min(2000, #order // 5)
  local valid = test // 4
  if test + valid >= #order then
    return nil, ("celeba: %d photos are too few to hold %d out"):format(#order, test + valid)
  end
  files.notify_once(("%s: %s; of its %d photos %d are taken for train, %d for valid, %d for test, by their names")
    :format(root, o.held_out and "no list is used" or "no " .. LISTS[1] .. " or .csv was found", #order,
      #order - test - valid, valid, test))
  local first = {test = 1, valid = test + 1, train = test + valid + 1}
  local last = {test = test, valid = test + valid, train = #order}
  local part = table.move(order, first[o.split], last[o.split], 1, {})
  files.sort(part)
  return part
end

local function names_of(dir, root, o)
  local names, message = files.images(root)
  if not names then return nil, "celeba: " .. message end
  if #names == 0 then
    return nil, ("celeba: no photo in %s (looked there and for %s)"):format(dir, files.join(dir, FOLDER))
  end
  local partition = not o.held_out and find_partition(root)
  if not partition then return from_seed(root, names, o) end
  return from_partition(partition, o.split, names)
end

local function centre_crop(photo, side, path)
  local height, width = photo:size(2), photo:size(3)
  if height < side or width < side then
    return nil, ("%s: %dx%d, too small for a crop of %d"):format(path, height, width, side)
  end
  return image.crop(photo, (height - side) // 2 + 1, (width - side) // 2 + 1, side, side)
end

-- Where the face is, is known of the aligned photos alone.
local function check_aligned(photo, path, crop)
  local height, width = photo:size(2), photo:size(3)
  if crop or (height == HEIGHT and width == WIDTH) then return true end
  return nil, ("%s is %dx%d (rows x columns), not %dx%d as the aligned photos are: which middle part shows the face "
    .. "must be said by 'crop'"):format(path, height, width, HEIGHT, WIDTH)
end

local function read(item, o)
  local photo, face, ok, message
  photo, message = image.load(item.photo, {channels = 3})
  if not photo then return nil, message end
  ok, message = check_aligned(photo, item.photo, o.crop)
  if not ok then return nil, message end
  face, message = centre_crop(photo, o.crop or CROP, item.photo)
  if not face then return nil, message end
  return {x = image.resize(face, o.size, o.size), name = item.name}
end

--- Aligned CelebA faces for inpainting, or any set in their layout.
--
-- The middle 108×108 of each photo, which is the face in the aligned photos, is
-- averaged down to 64×64, as in the DCGAN code that the literature on inpainting
-- builds on (Radford et al. 2016, Yeh et al. 2017); then its middle 32×32 is
-- hidden. y is rounded to the 256 levels of a file.
-- @function celeba
-- @string dir folder with the photos, or the one above `img_align_celeba`
-- @tparam[opt] table opts
--
-- * `split` = "train", "valid" or "test", by list_eval_partition.txt or .csv; without it (or with
--   `held_out`), `held_out` photos are "test" (2000, or a fifth of fewer than 10,000), a quarter
--   as many "valid", the rest "train", in an order that depends on the file names and `seed`
-- * `size` = 64: height and width of x; y has half of it
-- * `crop`: side of the middle part that is used; 108 for photos of 178×218, required for others
-- * `seed` = 0
-- * `cache` = "memory", "disk" or "none"
-- @treturn[1] Dataset x: 3×size×size, 0 in the hidden block; y: the block, in [0, 1];
-- `valid`: size×size, 0 in the block
-- @treturn[2] nil when something is missing
-- @treturn[2] string message
return function(dir, opts)
  options.arg("data.celeba", 1, "dir", dir, {type = "string", path = true})
  local o = options.check("data.celeba", opts, OPTIONS)
  if o.size % 2 ~= 0 then error(("data.celeba: option 'size' must be even, got %d"):format(o.size), 2) end
  local inner = files.join(dir, FOLDER)
  local root = files.is_folder(inner) and inner or dir
  local names, message = names_of(dir, root, o)
  if not names then return nil, message end
  if #names == 0 then return nil, ("celeba: no photo of the part '%s' in %s"):format(o.split, root) end
  local items = {}
  for i, name in ipairs(names) do items[i] = {name = files.stem(name), photo = files.join(root, name)} end
  local ds = source.dataset {
    name = "celeba " .. o.split, items = items, paths = {"photo"}, cache = o.cache,
    recipe = ("celeba 2 size %d crop %d"):format(o.size, o.crop or CROP),
    read = function(item) return read(item, o) end, reader = {"celeba", dir, o},
    info = {cell_width = 1 / 256},
  }
  return ds:map(transform.hide_centre {height = o.size // 2, width = o.size // 2}):map(transform.quantise())
end
