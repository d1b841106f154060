--- Pairs: whatever belongs to a picture, learned from a folder of pictures and one of their partners.
--
--     cglow pairs train --x photos --y masks
--
-- What the partners are, masks, maps of labels or pictures, is seen from the files unless it is said.
-- @module cglow.tasks.pairs
local files = require "cglow.data.files"
local kind_of = require "cglow.data.kind_of"
local pairs_of = require "cglow.data.pairs"

local WORDS <const> = {mask = "masks", labels = "maps of labels", image = "pictures"}

local AUGMENT <const> = {
  mask = {
    ["augment.mirror"] = true, ["augment.shift"] = 0.06, ["augment.zoom"] = 0.1, ["augment.stretch"] = 0.05,
    ["augment.gain"] = 0.1, ["augment.tint"] = 0.05,
  },
  labels = {["augment.mirror"] = true, ["augment.shift"] = 0.03, ["augment.zoom"] = 0.05, ["augment.gain"] = 0.1},
  image = {["augment.mirror"] = true},
}

local OPTIONS <const> = {
  {name = "x", argname = "DIR", kind = "folder", of = "data", description = "Folder of pictures."},
  {name = "y", argname = "DIR", kind = "folder", of = "data",
    description = "Folder of what belongs to them: the same names, or NAME_mask and the like."},
  {name = "kind", argname = "KIND", kind = "word", of = "train", choices = {"mask", "labels", "image"},
    description = "What that is: mask, labels or image (as the files look)."},
  {name = "classes", argname = "N", kind = "integer", of = "train", description = "Number of labels (counted)."},
  {name = "valid", argname = "FILE", kind = "file", of = "data",
    description = "List of names to hold out (a fifth, by their names)."},
  {name = "test", argname = "FILE", kind = "word", of = "train",
    description = "List of names, or a share as in 0.1, for --split test (none)."},
  {name = "ignore", argname = "N", kind = "word", of = "train",
    description = "Number, or rrggbb, of pixels without label, as VOC's 255."},
  {name = "colours", kind = "string"}, {name = "grey", kind = "boolean"}, -- what was seen in the files
}

local WHAT <const> = {x = "pictures", y = "what belongs to the pictures"}

local function must_have(values)
  for _, name in ipairs {"x", "y"} do
    local folder = values[name]
    if not folder then return nil, ("--%s: a folder of %s must be named"):format(name, WHAT[name]) end
    if not files.is_folder(folder) then return nil, ("--%s: there is no folder %s"):format(name, folder) end
  end
  return true
end

-- The set of two folders, wherever they are.
local function set_of(options)
  local set, message = pairs_of(".", options)
  return set, message and message:gsub("^pairs: ", "")
end

-- A number, or six digits of a colour; nil when it is neither.
local function ignored(text)
  if not text then return nil end
  local r, g, b = text:match "^#?(%x%x)(%x%x)(%x%x)$"
  if r then return {tonumber(r, 16), tonumber(g, 16), tonumber(b, 16)} end
  local n = math.tointeger(tonumber(text))
  return n and n >= 0 and n <= 65535 and n or nil
end

local function share_of(text)
  local share = tonumber(text)
  return share and share > 0 and share < 1 and share or nil
end

local function check_words(values)
  if values.ignore and not ignored(values.ignore) then
    return nil, ("--ignore: a number from 0 to 65535, or a colour as six hexadecimal digits, expected, got '%s'")
      :format(values.ignore)
  end
  if values.ignore and values.kind and values.kind ~= "labels" then
    return nil, ("--ignore is for maps of labels, not for %s"):format(WORDS[values.kind])
  end
  if type(ignored(values.ignore)) == "table" and values.classes and not values.colours then
    return nil, "--classes: which colours the labels have must be counted where --ignore is one"
  end
  if values.classes and (values.classes < 2 or values.classes > 256) then
    return nil, ("--classes: an integer from 2 to 256 expected, got %d"):format(values.classes)
  end
  if values.test and not share_of(values.test) and not files.is_file(values.test) then
    return nil, ("--test: a share between 0 and 1 or a list of names expected, and there is no file %s"):format(
      values.test)
  end
  return true
end

local function options_of(values, split, size, known)
  return {
    known = known,
    x = values.x, y = values.y, split = split, size = size, kind = values.kind, partial = true, valid = values.valid,
    x_channels = 3, y_channels = values.kind == "image" and (values.grey and 1 or 3) or nil,
    classes = values.kind == "labels" and values.classes or nil,
    colours = values.kind == "labels" and values.colours and kind_of.colours(values.colours) or nil,
    ignore = values.kind == "labels" and ignored(values.ignore) or nil,
    test_share = share_of(values.test), test = not share_of(values.test) and values.test or nil,
  }
end

local function load_data(values, o)
  local ok, message = must_have(o)
  if not ok then return nil, message end
  if o.split == "test" and not o.test then
    return nil, "there is no part for tests: train with --test, or name folders of their own with --x and --y"
  end
  local merged = {x = o.x, y = o.y, valid = o.valid, test = o.test}
  for _, name in ipairs {"kind", "classes", "colours", "grey", "ignore"} do merged[name] = values[name] end
  return set_of(options_of(merged, o.split, o.size, o.known))
end

-- The files of the partners.
local function partners_of(values)
  local all, message = set_of({x = values.x, y = values.y, partial = true, kind = "continuous"})
  if not all then return nil, message end
  local list = {}
  for i = 2, #all.files, 2 do list[#list + 1] = all.files[i] end
  return list
end

local function count_labels(values, paths, skip_damaged)
  if values.classes then return true end
  local message
  if skip_damaged then paths, message = kind_of.readable(paths, true) end
  if not paths then return nil, message end
  if #paths > 500 then files.notify_once(("looking for the labels of %d files"):format(#paths)) end
  local count, colours = kind_of.labels(paths, ignored(values.ignore))
  if not count then return nil, colours end
  values.classes, values.colours = count, colours
  local shown = colours and #colours > 70 and colours:sub(1, 69) .. " …" or colours -- ten of them
  files.notify_once(("%s: %d labels, %s"):format(values.y, count,
    shown and "by their colours: " .. shown or ("from 0 to %d"):format(count - 1)))
  return true
end

-- What was not said, from the files.
local function settle(values, skip_damaged)
  local settled = {}
  for name, value in pairs(values) do settled[name] = value end
  local ok, message = must_have(settled)
  if ok then ok, message = check_words(settled) end
  if not ok then return nil, message end
  if settled.ignore then settled.kind = settled.kind or "labels" end
  if settled.kind and (settled.kind ~= "labels" or settled.classes) then return settled end
  local paths
  paths, message = partners_of(settled)
  if not paths then return nil, message end
  if not settled.kind then
    local kind, looked = kind_of.guess(paths, skip_damaged)
    if not kind then return nil, looked end
    settled.kind, settled.grey = kind, kind == "image" and kind_of.grey(paths) or nil
    files.notify_once(("%s: taken for %s, by a look at %d of %d files (--kind says otherwise)"):format(settled.y,
      WORDS[kind], looked, #paths))
  end
  if settled.kind == "labels" then ok, message = count_labels(settled, paths, skip_damaged) end
  return ok and settled, message
end

local PREDICTS <const> = {
  mask = "Write a mask for each picture, in its own size.",
  labels = "Write a map of labels for each picture, in its own size.",
  image = "Write the picture that belongs to each picture, in its size.",
}

local task_with -- forward: the task is made anew once it is known what the partners are

function task_with(values)
  local kind = values.kind or "image"
  local colours = values.colours and kind_of.colours(values.colours)
  return require("cglow.tasks.define").define {
    name = "pairs",
    title = "Pairs: c-Glow learns what belongs to a picture, from two folders.",
    predicts = values.kind and PREDICTS[kind] or "Write what belongs to each picture, in its own size.",
    kind = kind, classes = kind == "labels" and (values.classes or 2) or nil,
    colours = kind == "labels" and colours or nil, ignore = ignored(values.ignore),
    y = kind == "image" and (values.grey and 1 or 3) or nil,
    size = 64, samples = false, recipe = AUGMENT[kind],
    data = function(_, o) return load_data(values, o) end,
    options = OPTIONS, settle = settle, configure = task_with,
  }
end

return task_with {}
