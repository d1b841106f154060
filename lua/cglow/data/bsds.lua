--- BSDS500 photos with Gaussian noise.
--
--     DIR/images/{train,test,val}/NAME.jpg     481×321 or 321×481
--     DIR/foe_test.txt                         names of the test photos; optional
-- @module cglow.data.bsds
local image = require "cglow.image"
local options = require "cglow.util.options"
local files = require "cglow.data.files"
local source = require "cglow.data.source"
local transform = require "cglow.data.transform"

local OPTIONS = source.options {
  split = {type = "string", default = "train", one_of = {"train", "valid", "test"}},
  size = {type = "integer", default = 128, min = 1, max = 4096},
  shrink = {type = "integer", default = 2, min = 1, max = 16},
  sigma = {type = "number", default = 25 / 255, min = 0},
  seed = {type = "integer", default = 0},
  flip = {type = "boolean", default = true},
}

local BELOW <const> = {"BSDS500", "data", "BSDS500/data", "BSR/BSDS500/data"}

-- The 68 test photos of Roth & Black, "Fields of Experts" (IJCV 2009), all of
-- them in BSDS500's val.
local ROTH_BLACK <const> = [[
101085 101087 102061 103070 105025 106024 108005 108070 108082 109053 119082 12084 123074 126007 130026 134035
14037 143090 145086 147091 148026 148089 157055 159008 160068 16077 163085 167062 167083 170057 175032 175043
182053 189080 19021 196073 197017 208001 210088 21077 216081 219090 220075 223061 227092 229036 236037 24077
241004 241048 253027 253055 260058 271035 285079 291000 295087 296007 296059 299086 300091 302008 304034 304074
306005 3096 33039 351093]]

-- Set of the stems of the test photos.
local function test_names(root)
  local is_test, path = {}, files.join(root, "foe_test.txt")
  if files.is_file(path) then
    local names, message = files.read_names(path)
    if not names then return nil, message end
    for _, name in ipairs(names) do is_test[files.stem(name)] = true end
  else
    for name in ROTH_BLACK:gmatch("%d+") do is_test[name] = true end
  end
  return is_test
end

local function photos_in(root, folder, wanted, items)
  local names, message = files.images(files.join(root, "images", folder))
  if not names then return nil, message end
  for _, name in ipairs(names) do
    if wanted(files.stem(name)) then
      items[#items + 1] = {name = files.stem(name), photo = files.join(root, "images", folder, name)}
    end
  end
  return items
end

-- What each part is; all of it must be there but for "valid", which is what is left.
local function find_items(root, split)
  if split == "train" then
    local function any() return true end
    local items, message = photos_in(root, "train", any, {})
    if items then items, message = photos_in(root, "test", any, items) end
    return items, message
  end
  local is_test, message = test_names(root)
  if not is_test then return nil, message end
  local items
  items, message = photos_in(root, "val", function(name) return (is_test[name] or false) == (split == "test") end, {})
  if not items then return nil, message end
  local all = 0
  for _ in pairs(is_test) do all = all + 1 end
  if split == "test" and #items < all then
    return nil, ("%d of the %d test photos of Roth & Black are missing in %s/images/val; split = \"valid\" takes the "
      .. "other photos there"):format(all - #items, all, root)
  end
  return items
end

-- Shrunk by averaging blocks; a last row or column that fills no block is left out.
local function read(item, shrink)
  local photo, message = image.load(item.photo, {channels = 3})
  if not photo then return nil, message end
  local height, width = photo:size(2) // shrink, photo:size(3) // shrink
  if height == 0 or width == 0 then return nil, ("%s: too small to shrink by %d"):format(item.photo, shrink) end
  local whole = image.crop(photo, 1, 1, height * shrink, width * shrink)
  return {clean = image.resize(whole, height, width), name = item.name}
end

--- BSDS500 for denoising, or any set in its layout.
--
-- "train" is BSDS500's train and test, 400 photos; "test" the 68 of Roth & Black
-- in val; "valid" the others in val. A photo is halved (averaging 2×2) and cut to
-- size×size: the same as cutting 2·size and halving. For "train" the place, the
-- mirroring and the noise are random; for the other two it is the middle, and the
-- noise of photo i comes from a generator seeded with seed + i.
-- @function bsds
-- @string dir folder with `images`, or one above it
-- @tparam[opt] table opts
--
-- * `split` = "train", "valid" or "test"
-- * `size` = 128: height and width
-- * `shrink` = 2: how many pixels of a photo make one, each way
-- * `sigma` = 25/255: standard deviation of the noise, which is neither clipped nor rounded
-- * `seed` = 0: of the noise of "valid" and "test"
-- * `flip` = true: mirror half of the training photos
-- * `cache` = "memory", "disk" or "none": of the shrunk photos
-- @treturn[1] Dataset x: 3×size×size, noisy; y: the noise, noisy − clean; `clean`; random for "train"
-- @treturn[2] nil when something is missing
-- @treturn[2] string message
return function(dir, opts)
  options.arg("data.bsds", 1, "dir", dir, {type = "string", path = true})
  local o = options.check("data.bsds", opts, OPTIONS)
  local root, message = files.root("bsds", dir, {"images"}, BELOW)
  if not root then return nil, message end
  local items
  items, message = find_items(root, o.split)
  if not items then return nil, "bsds: " .. message end
  if #items == 0 then return nil, ("bsds: no photo of the part '%s' in %s/images"):format(o.split, root) end
  local photos = source.dataset {
    name = "bsds " .. o.split, items = items, paths = {"photo"}, cache = o.cache, recipe = "bsds 1 shrink " .. o.shrink,
    read = function(item) return read(item, o.shrink) end, reader = {"bsds", dir, o},
    info = {peak = 1, sigma = o.sigma},
  }
  local side, noise = {height = o.size, width = o.size}, transform.gaussian_noise {sigma = o.sigma}
  if o.split ~= "train" then return photos:map(transform.centre_crop(side)):map(noise):seeded(o.seed):cache() end
  local crops = photos:map(transform.random_crop(side))
  if o.flip then crops = crops:map(transform.random_flip()) end
  return crops:map(noise)
end
