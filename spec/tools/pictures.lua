--- Compares the image reader with two others on folders of test pictures.
--
--     lua5.4 spec/tools/pictures.lua DIR ...
--
-- Run by hand on what other projects test their readers with: the source
-- packages of libpng (contrib/pngsuite), libjpeg-turbo (testimages) and Pillow
-- (Tests/images). Each PNG and JPEG below the folders is read by cglow, by
-- ImageMagick (`convert`, 16 bits a sample) and, where its samples have 8 bits, by
-- Pillow (python3-pil, whose PNG reader is its own). All three turn pictures as
-- their Exif orientation says. A picture is wrong when it differs from both of them.
-- Listed are the wrong ones, those that another reads and cglow refuses, with the
-- reason, and those that none reads. The exit status is 1 when any is wrong.
package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
package.cpath = "./lua/?.so;" .. package.cpath
local image = require "cglow.image"

-- Samples that may differ in the last of 8 bits: the two JPEG libraries need not
-- round colour conversion alike. PNG has no such freedom.
local TOLERANCE <const> = {PNG = 0, JPEG = 2 * 257}

local PILLOW <const> = [[
import sys
from PIL import Image, ImageOps
i = Image.open(sys.argv[1]); i.load(); i = ImageOps.exif_transpose(i)
if i.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"): sys.exit(3)
i = i.convert("RGBA")
sys.stdout.buffer.write(b"%d %d\n" % i.size + i.tobytes())
]]

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

local function output(command)
  local pipe = assert(io.popen(command .. " 2>/dev/null"))
  local text = pipe:read "a"
  return pipe:close() and #text > 0 and text or nil
end

-- Each gives width, height and a function from index (from 0) to a sample of 16 bits.
local function by_magick(path)
  local size = output(("convert %s -auto-orient -format '%%w %%h' info:"):format(quote(path .. "[0]")))
  local how = "-auto-orient -set colorspace sRGB -depth 16 -endian MSB RGBA:-" -- gAMA is not applied
  local bytes = size and output(("convert %s %s"):format(quote(path .. "[0]"), how))
  if not bytes then return nil end
  local width, height = size:match "^(%d+) (%d+)"
  return tonumber(width), tonumber(height), function(i) return (string.unpack(">I2", bytes, 2 * i + 1)) end
end

local function by_pillow(path)
  local text = output(("python3 -c %s %s"):format(quote(PILLOW), quote(path)))
  if not text then return nil end
  local width, height, at = text:match "^(%d+) (%d+)\n()"
  return tonumber(width), tonumber(height), function(i) return text:byte(at + i) * 257 end
end

local READERS <const> = {ImageMagick = by_magick, Pillow = by_pillow}

-- The largest difference, and how many samples differ by more than may be.
local function compare(t, sample, may)
  local numbers, plane = t:totable(), t:size(2) * t:size(3)
  local most, count = 0, 0
  for p = 0, plane - 1 do
    local shown = sample(4 * p + 3) > 0 or numbers[3 * plane + p + 1] > 0
    for c = 0, 3 do
      -- a reader may drop the colour of what is wholly transparent
      local d = (shown or c == 3) and math.abs(numbers[c * plane + p + 1] * 65535 - sample(4 * p + c)) or 0
      most = math.max(most, d)
      if d > may + 0.5 then count = count + 1 end
    end
  end
  return most, count
end

local counts = {}
local function count(what) counts[what] = (counts[what] or 0) + 1 end

-- nil when this reader gives the same picture, else what is different.
local function difference(name, path, t, may)
  local width, height, sample = READERS[name](path)
  if not width then return nil end
  if t:size(3) ~= width or t:size(2) ~= height then return ("%dx%d by %s"):format(width, height, name) end
  local most, n = compare(t, sample, may)
  return n > 0 and ("%d samples from %s, by %.0f of 65535"):format(n, name, most) or false
end

local function check_read(path, t)
  local info, equal, others = image.info(path), 0, {}
  for _, name in ipairs {"ImageMagick", "Pillow"} do
    local differs = nil
    if name == "ImageMagick" or info.max == 255 then differs = difference(name, path, t, TOLERANCE[info.format]) end
    if differs == false then equal = equal + 1 end
    others[#others + 1] = differs or nil
  end
  if equal > 0 then return count(#others == 0 and "equal" or "equal to one of the two") end
  if #others == 0 then
    print("ALONE    " .. path)
    return count "read by cglow alone"
  end
  print(("WRONG    %s: %s"):format(path, table.concat(others, "; ")))
  count "wrong"
end

local function check(path)
  count "files"
  local t, message = image.load(path, {channels = 4})
  if t then return check_read(path, t) end
  local others = {}
  for name, read in pairs(READERS) do others[#others + 1] = read(path) and name end
  table.sort(others)
  print(("%s  %s%s"):format(#others == 0 and "UNREAD " or "REFUSED", message,
    #others == 0 and "" or (" (%s reads it)"):format(table.concat(others, ", "))))
  count(#others == 0 and "refused by all" or "refused")
end

for _, dir in ipairs(arg) do
  local list = assert(io.popen("find " .. quote(dir) .. " -type f | LC_ALL=C sort"))
  for path in list:lines() do
    local file <close> = assert(io.open(path, "rb"))
    local head = file:read(3) or ""
    if head == "\x89PN" or head == "\xff\xd8\xff" then check(path) end
  end
  list:close()
end
for _, what in ipairs {"files", "equal", "equal to one of the two", "refused", "refused by all", "read by cglow alone",
  "wrong"} do
  print(("%5d %s"):format(counts[what] or 0, what))
end
os.exit(not counts.wrong)
