--- Any folder of image pairs.
--
--     DIR/x/NAME.png   and   DIR/y/NAME.png       two folders, or
--     DIR/NAME_x.png   and   DIR/NAME_y.png       two endings
--     DIR/train.txt, DIR/valid.txt                names, one in each line; optional
-- @module cglow.data.pairs
local core = require "cglow.core"
local image = require "cglow.image"
local metrics = require "cglow.metrics"
local options = require "cglow.util.options"
local files = require "cglow.data.files"
local labels = require "cglow.data.labels"
local source = require "cglow.data.source"

local CHANNELS = {type = "integer", one_of = {1, 3}}

local OPTIONS = source.options {
  split = {type = "string", default = "all", one_of = {"train", "valid", "all"}},
  x = {type = "string", default = "x", path = true},
  y = {type = "string", default = "y", path = true},
  size = {type = "integer|table"},
  y_size = {type = "integer|table"},
  x_channels = CHANNELS,
  y_channels = CHANNELS,
  kind = {type = "string", default = "image", one_of = {"image", "mask", "labels", "continuous"}},
  classes = {type = "integer", min = 2, max = 256},
  colours = {type = "table"},
  held_out = {type = "number", default = 0.2, above = 0, below = 1},
  seed = {type = "integer", default = 0},
}

-- ---- which pairs -----------------------------------------------------------

-- Each gives name → path of the x's (or y's), the names in order, and the files that
-- are neither; nil and a message when the folder is at fault.
local function in_folder(dir, which)
  local folder = files.join(dir, which)
  local list, message = files.images(folder)
  if not list then return nil, message end
  local paths, names = {}, {}
  for _, file in ipairs(list) do
    local name = files.stem(file)
    paths[name], names[#names + 1] = files.join(folder, file), name
  end
  return paths, names
end

local function by_ending(dir, list, which)
  local paths, names, ending = {}, {}, "_" .. which
  for _, file in ipairs(list) do
    local stem = files.stem(file)
    if #stem > #ending and stem:sub(-#ending) == ending then
      local name = stem:sub(1, -#ending - 1)
      paths[name], names[#names + 1] = files.join(dir, file), name
    end
  end
  return paths, names
end

-- x, y (name → path) and the names of the x's.
local function both_folders(dir, o)
  local x, names = in_folder(dir, o.x)
  if not x then return nil, names end
  local y, message = in_folder(dir, o.y)
  if not y then return nil, message end
  return x, y, names
end

local function both_endings(dir, o)
  local list, message = files.images(dir)
  if not list then return nil, message end
  local x, names = by_ending(dir, list, o.x)
  local y, others = by_ending(dir, list, o.y), {}
  local known = {}
  for _, paths in ipairs {x, y} do
    for _, path in pairs(paths) do known[path] = true end
  end
  for _, file in ipairs(list) do
    if not known[files.join(dir, file)] then others[#others + 1] = file end
  end
  if #names > 0 then
    files.passed_over(("pictures in %s end in neither _%s nor _%s"):format(dir, o.x, o.y), others)
  end
  return x, y, names
end

local function say_single(y, x, dir, o)
  local single = {}
  for name in pairs(y) do
    if not x[name] then single[#single + 1] = name end
  end
  files.sort(single)
  files.passed_over(("images (%s) in %s have no partner (%s)"):format(o.y, dir, o.x), single)
end

local function find_all(dir, o)
  local folders = files.is_folder(files.join(dir, o.x)) and files.is_folder(files.join(dir, o.y))
  local x, y, names = (folders and both_folders or both_endings)(dir, o)
  if not x then return nil, y end
  if #names == 0 then
    return nil, ("no pairs in %s (looked for images in %s/ and %s/, and for NAME_%s and NAME_%s)"):format(
      dir, files.join(dir, o.x), files.join(dir, o.y), o.x, o.y)
  end
  local items, missing = {}, {}
  for i, name in ipairs(names) do
    if not y[name] then missing[#missing + 1] = name end
    items[i] = {name = name, x = x[name], y = y[name]}
  end
  local ok, message = files.none_missing(("partners (%s) of images (%s)"):format(o.y, o.x), missing, #names)
  if not ok then return nil, message end
  say_single(y, x, dir, o)
  return items
end

local function listed(path, items)
  local names, message = files.read_names(path)
  if not names then return nil, message end
  local by_name, found, missing = {}, {}, {}
  for _, item in ipairs(items) do by_name[item.name] = item end
  for _, name in ipairs(names) do
    local item = by_name[name] or by_name[files.stem(name)]
    found[#found + 1] = item
    if not item then missing[#missing + 1] = name end
  end
  local ok
  ok, message = files.none_missing(("pairs of %s"):format(path), missing, #names)
  return ok and found, message
end

-- The held-out share by the order of `files.shuffled`, kept in the order of names.
local function dealt(items, o)
  local names, held = {}, {}
  for i, item in ipairs(items) do names[i] = item.name end
  local order = files.shuffled(names, o.seed)
  for i = 1, math.floor(o.held_out * #order + 0.5) do held[order[i]] = true end
  local part = {}
  for _, item in ipairs(items) do
    if (held[item.name] or false) == (o.split == "valid") then part[#part + 1] = item end
  end
  return part
end

local function say_dealt(dir, items, o)
  local valid = math.floor(o.held_out * #items + 0.5)
  files.notify_once(("%s has no %s.txt: of its %d pairs %d are taken for train, %d for valid, by their names"):format(
    dir, o.split, #items, #items - valid, valid))
end

local function find_items(dir, o)
  if not files.is_folder(dir) then return nil, "there is no folder " .. dir end
  local items, message = find_all(dir, o)
  if not items or o.split == "all" then return items, message end
  local list = files.join(dir, o.split .. ".txt")
  if files.is_file(list) then return listed(list, items) end
  local part = dealt(items, o)
  if #part == 0 then return nil, ("%d pairs are too few for a part '%s'"):format(#items, o.split) end
  say_dealt(dir, items, o)
  return part
end

-- ---- samples ---------------------------------------------------------------

local function resized(t, size)
  return size and image.resize(t, size[1], size[2]) or t
end

-- Each gives y of a file as it is there, and y as the model wants it:
-- function(path, o) → tensor, or nil and a message; function(tensor, o) → tensor.
local kinds = {}

local function load_picture(path, o) return image.load(path, {channels = o.y_channels}) end

kinds.continuous = {load = load_picture, make = function(t, o) return resized(t, o.y_size) end}

kinds.image = {load = load_picture, make = function(t, o) return (resized(t, o.y_size) * 255):round() / 255 end}

kinds.mask = {
  load = labels.mask,
  make = function(t, o)
    local mask = resized(t, o.y_size):gt(0.5)
    return o.y_channels == 3 and core.cat({mask, mask, mask}, 1) or mask
  end,
}

kinds.labels = {
  load = function(path, o)
    local map, message = labels.map(path, o.classes, o.colours)
    return map and metrics.one_hot(map + 1, o.classes), message
  end,
  make = function(t, o)
    return o.y_size and metrics.one_hot(metrics.argmax(resized(t, o.y_size)), o.classes) or t
  end,
}

-- Is y to have another shape than x, because the options say so?
local function differs_on_purpose(o)
  return o.size and o.y_size and o.size[1] * o.y_size[2] ~= o.size[2] * o.y_size[1]
end

local function read(item, o)
  local kind = kinds[o.kind]
  local x, y, ok, message
  x, message = image.load(item.x, {channels = o.x_channels})
  if not x then return nil, message end
  y, message = kind.load(item.y, o)
  if not y then return nil, message end
  if not differs_on_purpose(o) then
    ok, message = labels.same_scene(item.x, x, item.y, y)
    if not ok then return nil, message end
  end
  return {x = resized(x, o.size), y = kind.make(y, o), name = item.name}
end

-- `read`; of masks with an eye on whether any of them has a foreground.
local function reader(dir, count, o)
  if o.kind ~= "mask" then return function(item) return read(item, o) end end
  local watch = labels.watch(("pairs %s in %s"):format(o.split, dir), count)
  return function(item, i)
    local sample, message = read(item, o)
    if sample then watch(i, sample.y) end
    return sample, message
  end
end

local function sides(name, size)
  if size == nil then return nil end
  local list = type(size) == "table" and size or {size, size}
  for i = 1, 2 do
    if math.type(list[i]) ~= "integer" or list[i] < 1 or list[i] > 4096 or #list ~= 2 then
      error(("data.pairs: option '%s' must be an integer or {height, width}, from 1 to 4096"):format(name), 3)
    end
  end
  return list
end

local BYTE = {type = "integer", min = 0, max = 255}

-- The number of labels, from the option or from the table of colours.
local function check_labels(o)
  if o.kind ~= "labels" and (o.classes or o.colours) or o.kind == "labels" and not (o.classes or o.colours) then
    error("data.pairs: option 'classes' (or 'colours') is required for kind = \"labels\", and only for it", 3)
  end
  for i, colour in ipairs(o.colours or {}) do
    options.arg("data.pairs", 2, ("colours[%d]"):format(i), colour, {type = "table", length = 3, each = BYTE}, 1)
  end
  if o.colours and (#o.colours < 2 or o.classes and o.classes ~= #o.colours) then
    error(("data.pairs: option 'colours' must be a colour for each class, got %d"):format(#o.colours), 3)
  end
  return o.classes or o.colours and #o.colours
end

local function shown_colours(o)
  if not o.colours then return "none" end
  local list = {}
  for i, c in ipairs(o.colours) do list[i] = ("%02x%02x%02x"):format(c[1], c[2], c[3]) end
  return table.concat(list, " ")
end

local CELL_WIDTH = {image = 1 / 256, mask = 1, labels = 1}

--- Any folder of image pairs.
-- @function pairs
-- @string dir
-- @tparam[opt] table opts
--
-- * `x` = "x", `y` = "y": names of the two folders, or endings after an underscore
-- * `size`: height and width of x and y, an integer or {height, width}; by default as in the
--   files, which then must all be alike
-- * `y_size`: of y, when it is another; unless both sizes say otherwise, the files of a pair
--   must have sides in the same proportion, as two pictures of one scene have
-- * `kind` = what y is: "image": 8-bit values in [0, 1]; "mask": 0 or 1, by the mask's own values
--   (`cglow.data.labels`); "labels": whole numbers from 0 on (grey or palette), or colours by a
--   table, one-hot; "continuous": not to be dequantised
-- * `classes`: how many labels there are (for "labels")
-- * `colours`: {{red, green, blue},…} of the labels 0, 1, …, each from 0 to 255, for labels in colours
-- * `x_channels`, `y_channels`: 1 or 3; by default as in the files (1 for a mask)
-- * `split` = "all", "train" or "valid": by DIR/train.txt and DIR/valid.txt where there are such lists,
--   else `held_out` = 0.2 of the pairs are "valid", chosen by their names and `seed` = 0
-- * `cache` = "memory", "disk" or "none"
-- @treturn[1] Dataset
-- @treturn[2] nil when something is missing
-- @treturn[2] string message
return function(dir, opts)
  options.arg("data.pairs", 1, "dir", dir, {type = "string", path = true})
  local o = options.check("data.pairs", opts, OPTIONS)
  o.classes = check_labels(o)
  o.size = sides("size", o.size)
  o.y_size = sides("y_size", o.y_size) or o.size
  local items, message = find_items(dir, o)
  if not items then return nil, "pairs: " .. message end
  local function shown(size) return size and table.concat(size, "x") or "own" end
  return source.dataset {
    name = ("pairs %s"):format(o.split), items = items, paths = {"x", "y"}, cache = o.cache,
    recipe = ("pairs 2 %s x %s %s y %s %s classes %s colours %s"):format(o.kind, shown(o.size), o.x_channels,
      shown(o.y_size), o.y_channels, o.classes, shown_colours(o)),
    read = reader(dir, #items, o), info = {cell_width = CELL_WIDTH[o.kind]},
  }
end
