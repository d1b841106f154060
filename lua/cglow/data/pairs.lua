--- Any folder of image pairs.
--
--     DIR/x/NAME.png   and   DIR/y/NAME.png       two folders, or
--     DIR/NAME_x.png   and   DIR/NAME_y.png       two endings
--     DIR/train.txt, DIR/valid.txt                names, one in each line; optional
-- @module cglow.data.pairs
local answers = require "cglow.data.answers"
local image = require "cglow.image"
local options = require "cglow.util.options"
local files = require "cglow.data.files"
local labels = require "cglow.data.labels"
local partners = require "cglow.data.partners"
local source = require "cglow.data.source"

local CHANNELS = {type = "integer", one_of = {1, 3}}

local OPTIONS = source.options {
  split = {type = "string", default = "all", one_of = {"train", "valid", "test", "all"}},
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
  valid = {type = "string", path = true},
  test = {type = "string", path = true},
  test_share = {type = "number", min = 0, below = 1},
  ignore = {type = "integer|table"},
  partial = {type = "boolean", default = false},
  known = {type = "boolean", default = false},
  seed = {type = "integer", default = 0},
}

-- ---- which pairs -----------------------------------------------------------

local function path_of(dir, which) return (which:sub(1, 1) == "/" or dir == ".") and which or files.join(dir, which) end

-- Each gives name → path of the x's (or y's), the names in order, and the files that
-- are neither; nil and a message when the folder is at fault.
local function in_folder(dir, which)
  local folder = path_of(dir, which)
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

-- x, y (name → path), the names of the x's, and the form of their partners' names where it is another.
local function both_folders(dir, o)
  local x, names = in_folder(dir, o.x)
  if not x then return nil, names end
  local y, others = in_folder(dir, o.y)
  if not y then return nil, others end
  if path_of(dir, o.x) == path_of(dir, o.y) then names, others = partners.deal(names) end
  local partner, form = partners.match(names, others)
  if not partner then return nil, form end
  local found, taken, single = {}, {}, {}
  for name, other in pairs(partner) do found[name], taken[other] = y[other], true end
  for _, other in ipairs(others) do
    if not taken[other] then single[#single + 1] = other end
  end
  return x, found, names, form, single
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

local function single_of(y, x)
  local single = {}
  for name in pairs(y) do
    if not x[name] then single[#single + 1] = name end
  end
  files.sort(single)
  return single
end

-- What lies there without a partner: an error, or passed over and told.
local function about_single(dir, items, missing, single, form, o)
  if not o.partial then
    local ok, message = files.none_missing(("partners (%s) of images (%s)"):format(o.y, o.x), missing,
      #items + #missing)
    if not ok then return nil, message end
  end
  if o.known then return items end
  if o.partial then partners.tell(path_of(dir, o.x), path_of(dir, o.y), #items, form, missing, single)
  else files.passed_over(("images (%s) in %s have no partner (%s)"):format(o.y, dir, o.x), single) end
  return items
end

local function find_all(dir, o)
  local folders = files.is_folder(path_of(dir, o.x)) and files.is_folder(path_of(dir, o.y))
  local x, y, names, form, single = (folders and both_folders or both_endings)(dir, o)
  if not x then return nil, y end
  if #names == 0 then
    return nil, ("no pairs in %s (looked for images in %s/ and %s/, and for NAME_%s and NAME_%s)"):format(
      dir, path_of(dir, o.x), path_of(dir, o.y), o.x, o.y)
  end
  local items, missing = {}, {}
  for _, name in ipairs(names) do
    if y[name] then items[#items + 1] = {name = name, x = x[name], y = y[name]} else missing[#missing + 1] = name end
  end
  single = single or single_of(y, x)
  if #items == 0 and o.partial then
    return nil, ("no picture of %s has a partner in %s: names there are like %s, here like %s"):format(
      path_of(dir, o.x), path_of(dir, o.y), single[1] or "none", missing[1])
  end
  return about_single(dir, items, missing, single, form or {}, o)
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

-- Give the pairs that lists name to their parts.
local function by_lists(items, o, part_of)
  for _, part in ipairs {"valid", "test"} do
    local list, message = {}, nil
    if o[part] then list, message = listed(o[part], items) end
    if not list then return nil, message end
    for _, item in ipairs(list) do
      if part_of[item] == "valid" and part == "test" then
        return nil, ("%s and %s both name %s"):format(o.valid, o.test, item.name)
      end
      part_of[item] = part
    end
  end
  return true
end

-- Deal out shares of the others, by the order of `files.shuffled`.
local function by_shares(items, o, part_of)
  local names, by_name, dealt = {}, {}, 0
  for _, item in ipairs(items) do
    if not part_of[item] then names[#names + 1], by_name[item.name] = item.name, item end
  end
  local order, place = files.shuffled(names, o.seed), 0
  for _, part in ipairs {"valid", "test"} do
    local share = not o[part] and (part == "valid" and o.held_out or o.test_share) or 0
    for _ = 1, math.floor(share * #order + 0.5) do
      place, dealt = place + 1, dealt + 1
      part_of[by_name[order[place]]] = part
    end
  end
  return dealt
end

local function say_dealt(dir, items, part_of, o)
  local counts = {train = 0, valid = 0, test = 0}
  for _, item in ipairs(items) do counts[part_of[item] or "train"] = counts[part_of[item] or "train"] + 1 end
  files.notify_once(("%s of the %d pairs %d are taken for train, %d for valid%s, by their names"):format(
    o.partial and "there is no list of those to hold out:" or ("%s has no %s.txt:"):format(dir, o.split),
    #items, counts.train, counts.valid, counts.test > 0 and (", %d for test"):format(counts.test) or ""))
end

-- The pairs of a part: those that a list names are held out, or a share; all others are to learn from.
local function dealt(dir, items, o)
  local part_of, part = {}, {}
  if o.split == "test" and not (o.test or (o.test_share or 0) > 0) then
    return nil, "there is no part 'test': a list of names (test) or a share (test_share) makes one"
  end
  local ok, message = by_lists(items, o, part_of)
  if not ok then return nil, message end
  local by_names = by_shares(items, o, part_of)
  for _, item in ipairs(items) do
    if (part_of[item] or "train") == o.split then part[#part + 1] = item end
  end
  if #part == 0 and o.split == "train" and o.valid then
    return nil, ("%s names all pairs: none is left to learn from"):format(o.valid)
  end
  if #part == 0 then return nil, ("%d pairs are too few for a part '%s'"):format(#items, o.split) end
  if by_names > 0 and not o.known then say_dealt(dir, items, part_of, o) end
  return part
end

local function find_items(dir, o)
  if not files.is_folder(dir) then return nil, "there is no folder " .. dir end
  local items, message = find_all(dir, o)
  if not items or o.split == "all" then return items, message end
  local list = files.join(dir, o.split .. ".txt")
  if not (o.valid or o.test or o.partial) and files.is_file(list) then return listed(list, items) end
  return dealt(dir, items, o)
end

-- ---- samples ---------------------------------------------------------------

local function resized(t, size)
  return size and image.resize(t, size[1], size[2]) or t
end

-- Is y to have another shape than x, because the options say so?
local function differs_on_purpose(o)
  return o.size and o.y_size and o.size[1] * o.y_size[2] ~= o.size[2] * o.y_size[1]
end

local function read(item, o)
  local kind = answers[o.kind]
  local x, y, ok, message
  x, message = image.load(item.x, {channels = o.x_channels})
  if not x then return nil, message end
  y, message = kind.load(item.y, o)
  if not y then return nil, message end
  if not differs_on_purpose(o) then
    ok, message = labels.same_scene(item.x, x, item.y, y)
    if not ok then return nil, message end
  end
  local sample = {x = resized(x, o.size), name = item.name}
  sample.y, sample.valid = kind.make(y, o)
  return sample
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
  if o.ignore and o.kind ~= "labels" then error("data.pairs: option 'ignore' is for kind = \"labels\"", 3) end
  if type(o.ignore) == "table" then
    options.arg("data.pairs", 2, "ignore", o.ignore, {type = "table", length = 3, each = BYTE}, 1)
  end
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

local function shown_ignore(label)
  if not label then return "" end
  return " ignore " .. (type(label) == "table" and table.concat(label, ",") or label)
end

--- Any folder of image pairs.
-- @function pairs
-- @string dir
-- @tparam[opt] table opts
--
-- * `x` = "x", `y` = "y": names of the two folders (below dir, or absolute), or endings after an
--   underscore; in two folders a partner's name may have a word more, as in NAME_mask (`cglow.data.partners`)
-- * `partial` = false: pass over pictures without a partner (told once) instead of refusing; lists in DIR
--   are not looked for then
-- * `known` = false: do not tell which pictures are passed over, and how many pairs are dealt to each part
-- * `size`: height and width of x and y, an integer or {height, width}; by default as in the
--   files, which then must all be alike
-- * `y_size`: of y, when it is another; unless both sizes say otherwise, the files of a pair
--   must have sides in the same proportion, as two pictures of one scene have
-- * `kind` = what y is: "image": 8-bit values in [0, 1]; "mask": 0 or 1, by the mask's own values
--   (`cglow.data.labels`); "labels": whole numbers from 0 on (grey or palette), or colours by a
--   table, one-hot; "continuous": not to be dequantised
-- * `classes`: how many labels there are (for "labels")
-- * `colours`: {{red, green, blue},…} of the labels 0, 1, …, each from 0 to 255, for labels in colours
-- * `ignore`: the number, or {red, green, blue}, of pixels that have no label, such as 255 in VOC: samples have
--   `valid`, H×W, 0 where all of a pixel was such, and 1 elsewhere; y has the label of its surroundings there
-- * `x_channels`, `y_channels`: 1 or 3; by default as in the files (1 for a mask)
-- * `split` = "all", "train", "valid" or "test": by DIR/train.txt and the like where there are such lists,
--   else `held_out` = 0.2 of the pairs are "valid" and `test_share` = 0 of them "test", chosen by their names and
--   `seed` = 0; `valid`, `test`: paths of lists of the names to hold out, in place of these
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
    recipe = ("pairs 2 %s x %s %s y %s %s classes %s colours %s%s"):format(o.kind, shown(o.size), o.x_channels,
      shown(o.y_size), o.y_channels, o.classes, shown_colours(o), shown_ignore(o.ignore)),
    read = function(item) return read(item, o) end, reader = {"pairs", dir, o},
    seen = o.kind == "mask" and labels.watch(("pairs %s in %s"):format(o.split, dir), #items) or nil,
    info = {cell_width = answers[o.kind].cell_width},
  }
end
