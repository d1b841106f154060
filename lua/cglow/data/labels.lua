--- What the numbers of a mask's and of a label map's file mean.
--
-- The rules, which data/README.md gives for readers of it:
--
-- A **mask** says by its own values what is foreground. Two values of which one is
-- 0: the other one, be it 1, 38 or 255. A palette: every colour but number 0. Two
-- colours of which one is black: the other one. Values around 0 and around the
-- largest that the file can hold, as JPEG and smooth edges leave them: shares of the
-- foreground, which are resized first and then cut at one half. All else (three
-- values as in a trimap, grey pictures, several colours) is an error that says what
-- was seen.
--
-- A **label map** has whole numbers from 0 on: grey values or palette indices, or
-- colours by a table. Never in a JPEG, which keeps none of them.
-- @module cglow.data.labels
local core = require "cglow.core"
local source = require "cglow.image.source"
local files = require "cglow.data.files"

local M = {}

local FEW <const> = 8     -- values that smooth edges of a large mask do not stay below
local SMALL <const> = 16  -- below one sixteenth of the largest value are numbers of classes, not edges
local CHROMA <const> = 32 -- by which JPEG's red, green and blue of a grey may differ
local SHOWN <const> = 6   -- values or colours that a message names

local function listed(values, show)
  local words = {}
  for i = 1, math.min(#values, SHOWN) do words[i] = show and show(values[i]) or ("%d"):format(values[i]) end
  return table.concat(words, ", ") .. (#values > SHOWN and ", …" or "")
end

local function values_of(t, most) return core.vision.values(t, most) end

-- ---- masks in grey ---------------------------------------------------------

-- The value from which on two-valued numbers are foreground; nil when that is not clear, as with
-- 127 and 255, which may be "unknown" and "in".
local function cut_of_two(low, high, peak)
  if low == 0 then return high end
  return low <= peak / 4 and high >= peak * 3 / 4 and high or nil
end

local function is_smooth(t, values, peak, lossy)
  local quarter = t:gt(peak / 4):mul(t:lt(peak * 3 / 4))
  if t:max() <= peak / 2 or quarter:mean() > 0.5 then return false end
  if lossy or not values or #values > FEW then return true end
  for _, v in ipairs(values) do
    if v > 0 and v < peak / SMALL then return false end
  end
  return #values > 3
end

-- Shares of foreground in [0, 1], or nil.
local function by_values(t, peak, lossy)
  local values = values_of(t, 256)
  if values and #values == 1 then
    local v = values[1]
    if v == 0 or v == 1 or v == peak then return t:gt(0) end
    return nil
  end
  if values and #values == 2 and not (lossy and values[2] <= peak / 2) then
    local cut = cut_of_two(values[1], values[2], peak)
    return cut and t:gt(cut - 0.5)
  end
  return is_smooth(t, values, peak, lossy) and t / peak or nil
end

local function unclear(path, seen)
  return nil, ("%s: not clearly a mask: %s; a mask has 0 and one other value, or values around 0 and the largest")
    :format(path, seen)
end

local function grey_mask(path, t, peak, lossy)
  local mask = by_values(t, peak, lossy)
  if mask then return mask end
  local values = values_of(t, 64)
  return unclear(path, values and ("its values are %s (of %d)"):format(listed(values), peak)
    or ("its values go from %d to %d (of %d) through all greys"):format(t:min() // 1, t:max() // 1, peak))
end

-- Floating-point masks hold 0 and 1, with anything between them at smooth edges.
local function floating_mask(path)
  local t, message = source.load(path, {channels = 1})
  if not t then return nil, message end
  if t:min() >= 0 and t:max() <= 1 then
    local inside = t:gt(0):mul(t:lt(1)):sum()
    if inside == 0 or is_smooth(t, nil, 1, true) then return t end
  end
  return nil, ("%s: not clearly a mask: its floating-point numbers go from %g to %g; a mask has 0 and 1"):format(
    path, t:min(), t:max())
end

-- ---- masks in colours ------------------------------------------------------

-- Red, green and blue of 8 bits as one number.
local function packed(t) return t[1] * 65536 + t[2] * 256 + t[3] end

local function hex(colour) return ("#%06x"):format(colour) end

local function is_grey(t, tolerance)
  return (t[1] - t[2]):abs():max() <= tolerance and (t[2] - t[3]):abs():max() <= tolerance
end

local function colour_mask(path, t, lossy)
  if lossy then return unclear(path, ("it is a %s in colours"):format(lossy)) end
  local colours = values_of(packed(t), 256)
  if not colours then return unclear(path, "it has more than 256 colours") end
  if #colours == 2 and colours[1] == 0 then return packed(t):gt(0):reshape(1, t:size(2), t:size(3)) end
  return unclear(path, ("its colours are %s"):format(listed(colours, hex)))
end

-- Colour 0 is the background, unless the palette is grey and holds a picture.
local function palette_mask(path)
  local index, shown, message
  index, message = source.load(path, {raw = true})
  if not index then return nil, message end
  shown, message = source.load(path, {channels = 3})
  if not shown then return nil, message end
  local grey = (shown:narrow(1, 1, 1) * 255):round()
  if not is_grey(shown, 0) then return index:gt(0) end
  local values, background = values_of(grey, 256), index:eq(0)
  local brightest = background:sum() > 0 and (grey * background):max() or 0
  if brightest > values[1] then
    return unclear(path, ("colour 0 of its palette is %s, and it has %s"):format(
      hex(brightest // 1 * 0x10101), hex(values[1] * 0x10101)))
  end
  if #values > 2 and values[#values] > 127 then return grey_mask(path, grey, 255, false) end
  return index:gt(0)
end

local function hides_in_alpha(path, info)
  if info.palette or info.channels % 2 == 1 then return false end
  local t = source.load(path, {channels = 4, raw = true})
  if not t or t[4]:min() == t[4]:max() then return false end
  for c = 1, 3 do
    if t[c]:min() ~= t[c]:max() then return false end
  end
  return true
end

--- A mask.
-- @tparam string|table path or a source (`cglow.image.source`)
-- @treturn[1] Tensor 1×H×W, shares of foreground in [0, 1]; 0 or 1 but at smooth edges
-- @treturn[2] nil when it cannot be read, or is not clearly a mask
-- @treturn[2] string message that says what was seen
function M.mask(path)
  path = source.of(path)
  local info, message = source.info(path)
  if not info then return nil, message end
  if info.palette then return palette_mask(path) end
  if info.floating then return floating_mask(path) end
  if hides_in_alpha(path, info) then return unclear(path, "its colours are all one and only its alpha differs") end
  local t
  t, message = source.load(path, {raw = true})
  if not t then return nil, message end
  local lossy = info.lossy and info.format
  if #t == 1 then return grey_mask(path, t, info.max, lossy) end
  if is_grey(t, lossy and CHROMA or 0) then return grey_mask(path, t:narrow(1, 1, 1):clone(), info.max, lossy) end
  if info.max ~= 255 then return unclear(path, "it has colours of 16 bits") end
  return colour_mask(path, t, lossy)
end

-- ---- label maps --------------------------------------------------------------

local function by_table(path, t, colours, ignore)
  local all, labels, known = packed(t), core.zeros(t:size(2), t:size(3)), core.zeros(t:size(2), t:size(3))
  if ignore then
    local here = all:eq(ignore[1] * 65536 + ignore[2] * 256 + ignore[3])
    labels:add(here, M.IGNORED)
    known:add(here)
  end
  for i, c in ipairs(colours) do
    local here = all:eq(c[1] * 65536 + c[2] * 256 + c[3])
    labels:add(here, i - 1)
    known:add(here)
  end
  if known:min() > 0 then return labels end
  local strange = values_of(((all + 1) * known:eq(0)), 256)
  if not strange then return nil, path .. ": more than 256 colours that are not in the table" end
  if strange[1] == 0 then table.remove(strange, 1) end
  return nil, ("%s: colours that are not in the table: %s"):format(path,
    listed(strange, function(v) return hex(v - 1) end))
end

local function colours_in(path, t)
  local colours = values_of(packed(t), 256)
  return nil, ("%s: labels in colours (%s); which class each of them is must be said by a table of colours"):format(
    path, colours and listed(colours, hex) or "more than 256")
end

--- The numbers of a file that may hold labels: whole ones, without loss.
-- @string path
-- @tparam table info what `image.info` says of it
-- @treturn[1] Tensor C×H×W
-- @treturn[2] nil
-- @treturn[2] string message
function M.open(path, info)
  path = source.of(path)
  if info.lossy then
    return nil, ("%s: %s does not keep labels; PNG does"):format(path,
      info.format == "JPEG" and "a JPEG" or ("a %s with loss"):format(info.format))
  end
  local t, message = source.load(path, {raw = not info.floating})
  if not t then return nil, message end
  if info.floating and (t:min() < 0 or t:max() > 65535 or (t - t:round()):abs():max() > 0) then
    return nil, ("%s: labels are whole numbers from 0 on, its floating-point numbers are others"):format(path)
  end
  return t
end

--- What stands in a map for pixels that have no label.
M.IGNORED = -1

--- A label map.
-- @tparam string|table path or a source
-- @tparam integer classes how many labels there are
-- @tparam ?table colours {{red, green, blue},…} of the labels 0, 1, …, each from 0 to 255
-- @tparam ?integer|table ignore the number, or with a table the colour, of pixels that have no label
-- @treturn[1] Tensor H×W of 0 … classes − 1, and `IGNORED`
-- @treturn[2] nil
-- @treturn[2] string message
function M.map(path, classes, colours, ignore)
  path = source.of(path)
  local info, message = source.info(path)
  if not info then return nil, message end
  local t
  t, message = M.open(path, info)
  if not t then return nil, message end
  if colours then
    if info.floating then return nil, path .. ": floating-point numbers are no colours of a table" end
    t, message = source.load(path, {channels = 3})
    if not t then return nil, message end
    return by_table(path, (t * 255):round(), colours, ignore)
  end
  if #t == 3 and not is_grey(t, 0) then
    if info.max ~= 255 then return nil, path .. ": labels in colours of 16 bits" end
    return colours_in(path, t)
  end
  local map = t[1]
  if ignore then
    local here = map:eq(ignore)
    map = map * here:eq(0) + here * M.IGNORED
  end
  if map:max() >= classes then
    return nil, ("%s: label %d where %d classes go from 0 to %d"):format(path, map:max() // 1, classes, classes - 1)
  end
  return map
end

-- ---- two files of one scene ----------------------------------------------------

-- Sides that were rounded when a picture was made smaller differ by up to a pixel.
local SLACK <const> = 0.02

--- Do two pictures have the shape of one scene? They may differ in size.
-- @string one path of the first
-- @tparam Tensor a its picture, …×H×W
-- @string other path of the second
-- @tparam Tensor b
-- @treturn boolean true, or nil and a message that names both
function M.same_scene(one, a, other, b)
  local h, w = a:size(a:dim() - 1), a:size(a:dim())
  local h2, w2 = b:size(b:dim() - 1), b:size(b:dim())
  if math.abs(math.log(h * w2 / (w * h2))) <= SLACK + 1 / math.min(h, w, h2, w2) then return true end
  local turned = math.abs(math.log(h * h2 / (w * w2))) <= SLACK + 1 / math.min(h, w, h2, w2)
  return nil, ("%s is %dx%d (rows x columns) and %s is %dx%d: they do not show the same%s"):format(
    one, h, w, other, h2, w2, turned and "; one of them lies on its side" or "")
end

-- ---- sets without any foreground --------------------------------------------

local ENOUGH <const> = 64 -- masks after which one with a foreground was to be expected

--- A watch over the masks of a part: it says once when none of them has a
-- foreground, or none a background.
-- @string what the part, for the message
-- @tparam integer count of its masks
-- @treturn function(i, sample) to be called with each sample that is read, whose y is a mask
function M.watch(what, count)
  local seen, read, empty, full = {}, 0, 0, 0
  local enough = math.min(ENOUGH, count)
  return function(i, sample)
    local mask = sample.y
    if seen[i] or read >= enough then return end
    seen[i], read = true, read + 1
    empty, full = empty + (mask:max() <= 0.5 and 1 or 0), full + (mask:min() > 0.5 and 1 or 0)
    if read < enough or (empty < read and full < read) then return end
    files.notify(("%s: %s%d masks are %s"):format(what, read < count and "the first " or "all ", read,
      empty == read and "empty: nothing in them is foreground" or "full: nothing in them is background"))
  end
end

return M
