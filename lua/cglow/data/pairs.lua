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
  held_out = {type = "number", default = 0.2, above = 0, below = 1},
  seed = {type = "integer", default = 0},
}

-- ---- which pairs -----------------------------------------------------------

-- name → path of the x's (or y's), and the names in order; nil when there is no such layout.
local function in_folder(dir, which)
  local folder = files.join(dir, which)
  if not files.is_folder(folder) then return nil end
  local paths, names = {}, {}
  for _, file in ipairs(files.images(folder)) do
    local name = files.stem(file)
    paths[name], names[#names + 1] = files.join(folder, file), name
  end
  return paths, names
end

local function by_ending(dir, which)
  local paths, names, ending = {}, {}, "_" .. which
  for _, file in ipairs(files.images(dir) or {}) do
    local stem = files.stem(file)
    if #stem > #ending and stem:sub(-#ending) == ending then
      local name = stem:sub(1, -#ending - 1)
      paths[name], names[#names + 1] = files.join(dir, file), name
    end
  end
  return paths, names
end

local function find_all(dir, o)
  local x, names = in_folder(dir, o.x)
  local y = in_folder(dir, o.y)
  local folders = x and y
  if not folders then
    x, names = by_ending(dir, o.x)
    y = by_ending(dir, o.y)
  end
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
  return ok and items, message
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

local function find_items(dir, o)
  if not files.is_folder(dir) then return nil, "there is no folder " .. dir end
  local items, message = find_all(dir, o)
  if not items or o.split == "all" then return items, message end
  local list = files.join(dir, o.split .. ".txt")
  if files.is_file(list) then return listed(list, items) end
  local part = dealt(items, o)
  if #part == 0 then return nil, ("%d pairs are too few for a part '%s'"):format(#items, o.split) end
  return part
end

-- ---- samples ---------------------------------------------------------------

local function resized(t, size)
  return size and image.resize(t, size[1], size[2]) or t
end

-- Each gives y of a file: function(path, o) → tensor, or nil and a message.
local read_y = {}

function read_y.continuous(path, o)
  local t, message = image.load(path, {channels = o.y_channels})
  return t and resized(t, o.y_size), message
end

function read_y.image(path, o)
  local t, message = read_y.continuous(path, o)
  return t and (t * 255):round() / 255, message
end

function read_y.mask(path, o)
  local t, message = image.load(path, {channels = 1})
  if not t then return nil, message end
  local mask = resized(t, o.y_size):gt(0.5)
  return o.y_channels == 3 and core.cat({mask, mask, mask}, 1) or mask
end

function read_y.labels(path, o)
  local t, message = image.load(path, {channels = 1, raw = true})
  if not t then return nil, message end
  if t:max() >= o.classes then
    return nil, ("%s: label %d where %d classes go from 0 to %d"):format(path, t:max() // 1, o.classes, o.classes - 1)
  end
  return metrics.one_hot(metrics.argmax(resized(metrics.one_hot(t[1] + 1, o.classes), o.y_size)), o.classes)
end

local function read(item, o)
  local x, y, message
  x, message = image.load(item.x, {channels = o.x_channels})
  if not x then return nil, message end
  y, message = read_y[o.kind](item.y, o)
  if not y then return nil, message end
  return {x = resized(x, o.size), y = y, name = item.name}
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

local CELL_WIDTH = {image = 1 / 256, mask = 1, labels = 1}

--- Any folder of image pairs.
-- @function pairs
-- @string dir
-- @tparam[opt] table opts
--
-- * `x` = "x", `y` = "y": names of the two folders, or endings after an underscore
-- * `size`: height and width of x and y, an integer or {height, width}; by default as in the
--   files, which then must all be alike
-- * `y_size`: of y, when it is another
-- * `kind` = what y is: "image": 8-bit values in [0, 1]; "mask": 0 or 1, cut at one half;
--   "labels": whole numbers from 0 on (grey or palette), one-hot; "continuous": not to be dequantised
-- * `classes`: how many labels there are (for "labels")
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
  if (o.kind == "labels") ~= (o.classes ~= nil) then
    error("data.pairs: option 'classes' is required for kind = \"labels\", and only for it", 2)
  end
  o.size = sides("size", o.size)
  o.y_size = sides("y_size", o.y_size) or o.size
  local items, message = find_items(dir, o)
  if not items then return nil, "pairs: " .. message end
  local function shown(size) return size and table.concat(size, "x") or "own" end
  return source.dataset {
    name = ("pairs %s"):format(o.split), items = items, paths = {"x", "y"}, cache = o.cache,
    recipe = ("pairs 1 %s x %s %s y %s %s classes %s"):format(o.kind, shown(o.size), o.x_channels, shown(o.y_size),
      o.y_channels, o.classes),
    read = function(item) return read(item, o) end, info = {cell_width = CELL_WIDTH[o.kind]},
  }
end
