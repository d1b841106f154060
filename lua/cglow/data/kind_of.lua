--- What pictures are that nobody has said anything about: masks, maps of labels, or pictures.
-- @module cglow.data.kind_of
local core = require "cglow.core"
local image = require "cglow.image"
local labels = require "cglow.data.labels"

local M = {}

local LOOKED <const> = 32 -- files, spread over the folder
local FEW <const> = 64    -- colours that maps of labels have together at the most

-- Evenly spread members of a list.
local function some(list, count)
  local n, picked = math.min(#list, count), {}
  for i = 1, n do picked[i] = list[1 + (i - 1) * #list // n] end
  return picked
end

local function hex(colour) return ("%06x"):format(colour) end

-- Add a file's colours to the set `seen`; false when there are too many, nil and a message when it
-- cannot be read. `grey` says of each whether it is one.
local function add_colours(path, seen)
  local t, message = image.load(path, {channels = 3})
  if not t then return nil, message end
  t = (t * 255):round()
  local colours = core.vision.values(t[1] * 65536 + t[2] * 256 + t[3], 256)
  for _, colour in ipairs(colours or {}) do seen[colour // 1 | 0] = true end
  return colours ~= nil
end

local function sorted(seen)
  local list = {}
  for value in pairs(seen) do list[#list + 1] = value end
  table.sort(list)
  return list
end

-- Foreground values of a mask file with two values, or with a palette; several of them in a folder
-- are labels.
local function add_foregrounds(path, seen)
  local info, t = image.info(path), image.load(path, {raw = true})
  local values = t and #t == 1 and core.vision.values(t, info.palette and 256 or 3) or {}
  if #values ~= 2 and not (info and info.palette) then return end
  for _, v in ipairs(values) do
    if v ~= 0 and values[1] == 0 then seen[v // 1 | 0] = true end
  end
end

-- Is a file with many values black and white but for its edges? A dark picture may pass for a mask.
local function is_smooth(path)
  local t = image.load(path, {channels = 1})
  if not t or core.vision.values((t * 255):round(), 8) then return t ~= nil end
  return t:gt(0.1):mul(t:lt(0.9)):mean() < 0.3
end

local function all_masks(paths)
  local foregrounds = {}
  for _, path in ipairs(paths) do
    if not (labels.mask(path) and is_smooth(path)) then return false end
    add_foregrounds(path, foregrounds)
  end
  for _, v in ipairs {255, 65535} do -- which mean "in" as 1 does
    foregrounds[1], foregrounds[v] = foregrounds[1] or foregrounds[v], nil
  end
  return #sorted(foregrounds) <= 1
end

local function all_labels(paths)
  local seen = {}
  for _, path in ipairs(paths) do
    local info = image.info(path)
    if not info or info.lossy or info.floating or info.max > 255 or not add_colours(path, seen) then return false end
  end
  return #sorted(seen) <= FEW
end

--- Those of some files that can be read: all of them, unless damaged ones are to be passed over.
-- @tparam {string,...} paths
-- @tparam ?boolean skip_damaged pass over them
-- @treturn[1] {string,...}
-- @treturn[2] nil when one cannot be read, or none
-- @treturn[2] string message
function M.readable(paths, skip_damaged)
  local list, damaged = {}, nil
  for _, path in ipairs(paths) do
    local t, message = image.load(path)
    if t then list[#list + 1] = path
    elseif not skip_damaged then return nil, message end
    damaged = damaged or message
  end
  if #list == 0 then return nil, damaged end
  return list
end

--- What the pictures are, by a look at some of them.
-- @tparam {string,...} paths
-- @tparam ?boolean skip_damaged pass over those that cannot be read
-- @treturn[1] string "mask", "labels" or "image"
-- @treturn[1] int how many were looked at
-- @treturn[2] nil when one cannot be read
-- @treturn[2] string message
function M.guess(paths, skip_damaged)
  local looked, message = M.readable(some(paths, LOOKED), skip_damaged)
  if not looked then return nil, message end
  if all_masks(looked) then return "mask", #looked end
  return all_labels(looked) and "labels" or "image", #looked
end

--- Have the pictures no colours? By a look at some of them.
-- @tparam {string,...} paths
-- @treturn boolean
function M.grey(paths)
  for _, path in ipairs(some(paths, LOOKED)) do
    local info = image.info(path)
    if not info or info.palette or info.channels > 2 then return false end
  end
  return true
end

-- The largest label of a file with whole numbers; nil and true for one in colours.
local function largest(path)
  local info, message = image.info(path)
  if not info then return nil, false, message end
  local t
  t, message = labels.open(path, info)
  if not t then return nil, false, message end
  return #t == 1 and t:max() // 1 | 0 or nil, #t ~= 1
end

local function by_colours(paths, ignore)
  local seen = {}
  for _, path in ipairs(paths) do
    local few, message = add_colours(path, seen)
    if few == nil then return nil, message end
    if not few or #sorted(seen) > 256 then return nil, path .. ": more than 256 colours are no labels" end
  end
  if ignore then seen[ignore[1] << 16 | ignore[2] << 8 | ignore[3]] = nil end
  local list = sorted(seen)
  for i, colour in ipairs(list) do list[i] = hex(colour) end
  return #list, table.concat(list, " ")
end

--- How many labels there are in maps, all of which are looked at.
-- @tparam {string,...} paths
-- @tparam ?integer|table ignore the number, or the colour, of pixels that have none
-- @treturn[1] int
-- @treturn[1] ?string where the numbers in the files are no labels from 0 on: the colours of the
-- labels, as in "000000 ff0000"
-- @treturn[2] nil
-- @treturn[2] string message
function M.labels(paths, ignore)
  local values, top = {}, 0
  if type(ignore) == "table" then return by_colours(paths, ignore) end
  for _, path in ipairs(paths) do
    local most, colours, message = largest(path)
    if message then return nil, message end
    if colours and ignore then
      return nil, ("%s has colours: there a colour is ignored, as six hexadecimal digits, not %d"):format(path, ignore)
    end
    if colours then return by_colours(paths) end
    for _, v in ipairs(core.vision.values((image.load(path, {raw = true})), 256) or {}) do values[v] = true end
    if not ignore then top = math.max(top, most) end
  end
  if ignore then
    values[ignore + 0.0] = nil
    for v in pairs(values) do top = math.max(top, v // 1 | 0) end
  end
  local count = #sorted(values)
  if count < 2 then return nil, ("the maps hold one value alone: %s"):format(table.concat(sorted(values), ", ")) end
  if top + 1 > 2 * count and not ignore then return by_colours(paths) end -- as 0, 127 and 255
  return top + 1
end

--- Colours as numbers.
-- @string text as `labels` gives it
-- @treturn {{int,...},...} {red, green, blue} of each label; nil when the text is something else
function M.colours(text)
  local list = {}
  for word in text:gmatch "%S+" do
    local r, g, b = word:match "^(%x%x)(%x%x)(%x%x)$"
    if not r then return nil end
    list[#list + 1] = {tonumber(r, 16), tonumber(g, 16), tonumber(b, 16)}
  end
  return #list >= 2 and #list <= 256 and list or nil
end

return M
