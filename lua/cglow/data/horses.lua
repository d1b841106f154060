--- Weizmann horses: photos and figure/ground masks, as published.
--
--     DIR/rgb/horse001.jpg            photos
--     DIR/figure_ground/horse001.jpg  masks, of another size than the photo
--     DIR/train.txt …                 lists of file names; optional
-- @module cglow.data.horses
local core = require "cglow.core"
local image = require "cglow.image"
local options = require "cglow.util.options"
local files = require "cglow.data.files"
local labels = require "cglow.data.labels"
local source = require "cglow.data.source"

local OPTIONS = source.options {
  split = {type = "string", default = "train", one_of = {"train", "valid", "test", "all"}},
  size = {type = "integer", default = 32, min = 1, max = 4096},
}

-- Without lists: 200 to learn from as in the paper, half of the rest each for the
-- other two, in an order that looks random and never changes.
local LEARN <const> = 200

local function without_lists(root, names, split)
  local order = files.shuffled(names)
  local learn = math.min(LEARN, (#order * 3 + 3) // 4)
  local middle = learn + (#order - learn) // 2
  local first = {train = 1, valid = learn + 1, test = middle + 1}
  local last = {train = learn, valid = middle, test = #order}
  local part = table.move(order, first[split], last[split], 1, {})
  files.sort(part)
  files.notify_once(("%s has no train.txt, valid.txt and test.txt: of its %d photos %d are taken for train, "
    .. "%d for valid, %d for test, by their names"):format(root, #order, learn, middle - learn, #order - middle))
  return part
end

local function names_of(root, split)
  if split == "all" then return files.images(files.join(root, "rgb")) end
  local path = files.join(root, split .. ".txt")
  if files.is_file(path) then return files.read_names(path) end
  local lists = {}
  for _, name in ipairs {"train", "valid", "test"} do
    if files.is_file(files.join(root, name .. ".txt")) then lists[#lists + 1] = name .. ".txt" end
  end
  if #lists > 0 then return nil, ("horses: there is no %s (but %s)"):format(path, table.concat(lists, ", ")) end
  local names, message = files.images(files.join(root, "rgb"))
  return names and without_lists(root, names, split), message
end

local function find_pairs(root, names)
  local found, missing, find = {}, {}, files.finder()
  for i, name in ipairs(names) do
    local photo, twice = find(files.join(root, "rgb"), name)
    if twice then return nil, "horses: " .. twice end
    local mask
    mask, twice = find(files.join(root, "figure_ground"), name)
    if twice then return nil, "horses: " .. twice end
    if not photo then missing[#missing + 1] = files.join(root, "rgb", name) end
    if not mask then missing[#missing + 1] = files.join(root, "figure_ground", name) end
    found[i] = {name = files.stem(name), photo = photo, mask = mask}
  end
  local ok, message = files.none_missing("photos and masks", missing, 2 * #names)
  if not ok then return nil, "horses: " .. message end
  return found
end

-- The mask is resized first and then cut at one half, so a pixel is horse when
-- more than half of its area is.
local function read(pair, size)
  local photo, mask, ok, message
  photo, message = image.load(pair.photo, {channels = 3})
  if not photo then return nil, message end
  mask, message = labels.mask(pair.mask)
  if not mask then return nil, message end
  ok, message = labels.same_scene(pair.photo, photo, pair.mask, mask)
  if not ok then return nil, message end
  if photo:max() < 8 / 255 and not pair.told then
    pair.told = true
    files.notify(("%s is black; it is used as it is"):format(pair.photo))
  end
  local inside = image.resize(mask, size, size):gt(0.5)
  return {x = image.resize(photo, size, size), y = core.cat({inside, inside, inside}, 1), name = pair.name}
end

--- Weizmann horses, or any set in their layout. A mask's own values say what is
-- horse (`cglow.data.labels`): 0 and 255 of the published ones, but 0 and 1, a
-- palette or two colours, too.
-- @function horses
-- @string dir folder with `rgb` and `figure_ground`, or the one above it
-- @tparam[opt] table opts
--
-- * `split` = "train", "valid", "test" or "all": "train" reads the names in train.txt. In a
--   folder without lists, 200 photos are "train" and the others half "valid", half "test"
-- * `size` = 32: height and width of x and y; photo and mask are averaged down separately
-- * `cache` = "memory", "disk" or "none": where decoded and resized samples are kept
-- @treturn[1] Dataset x: 3×size×size, y: the mask in 3 equal channels, 0 or 1
-- @treturn[2] nil when something is missing
-- @treturn[2] string message that says what, and where it was looked for
return function(dir, opts)
  options.arg("data.horses", 1, "dir", dir, {type = "string", path = true})
  local o = options.check("data.horses", opts, OPTIONS)
  local root, message = files.root("horses", dir, {"rgb", "figure_ground"}, {"weizmann_horse_db"})
  if not root then return nil, message end
  local names, pairs_found
  names, message = names_of(root, o.split)
  if not names then return nil, message end
  pairs_found, message = find_pairs(root, names)
  if not pairs_found then return nil, message end
  return source.dataset {
    name = "horses " .. o.split, items = pairs_found, paths = {"photo", "mask"}, cache = o.cache,
    recipe = "horses 2 size " .. o.size, reader = {"horses", dir, o},
    read = function(pair) return read(pair, o.size) end,
    seen = labels.watch(("horses %s in %s"):format(o.split, root), #pairs_found),
    info = {cell_width = 1, classes = {"background", "horse"}},
  }
end
