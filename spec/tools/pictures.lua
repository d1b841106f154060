--- Compares the image reader with two others on folders of test pictures.
--
--     lua5.4 spec/tools/pictures.lua DIR ...
--
-- Run by hand on what other projects test their readers with: the source
-- packages of libpng (contrib/pngsuite), libjpeg-turbo (testimages) and Pillow
-- (Tests/images). Each picture below the folders, of any format that cglow knows, is read
-- by cglow, by ImageMagick (`convert`, 16 bits a sample) and by Pillow (python3-pil; its
-- PNG reader is its own, and it gives no colours of 16 bits) or, for PAM and PFM, by a few
-- lines of numpy. All turn pictures as their Exif orientation says. A picture is wrong when
-- it differs from all that read it. Listed are the wrong ones, those that another reads and
-- cglow refuses, with the reason, and those that none reads. The exit status is 1 when any
-- is wrong.
package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
package.cpath = "./lua/?.so;" .. package.cpath
local image = require "cglow.image"

-- Samples that may differ in the last of 8 bits: where there is loss, two libraries need
-- not round colour conversion alike. Else there is no such freedom, but for a TIFF's palette:
-- ImageMagick takes colours that were multiplied by 256 as they stand.
local LOSS <const>, PALETTE <const> = 2 * 257, 256

local PILLOW <const> = [==[
import re, sys
import numpy as np
from PIL import Image, ImageOps

def netpbm(data):
    if data[:2] == b"P7":
        end = data.index(b"ENDHDR\n") + 7
        d = dict(l.split(None, 1) for l in data[3:end].split(b"\n") if b" " in l)
        shape = [int(d[k]) for k in (b"HEIGHT", b"WIDTH", b"DEPTH")]
        top = int(d[b"MAXVAL"])
        a = np.frombuffer(data, ">u2" if top > 255 else "u1", shape[0] * shape[1] * shape[2], end).reshape(shape)
        return a / top
    m = re.match(rb"P([Ff])\s(\d+)\s(\d+)\s(\S+)\s", data)
    c = 3 if m[1] == b"F" else 1
    a = np.frombuffer(data, "<f4" if float(m[4]) < 0 else ">f4", int(m[2]) * int(m[3]) * c, m.end())
    return a.reshape(int(m[3]), int(m[2]), c)[::-1]

def pillow(path, top):
    i = Image.open(path); i.load()  # which turns TIFF
    if i.format != "TIFF": i = ImageOps.exif_transpose(i)
    if i.mode == "F": return np.asarray(i)[..., None]
    if i.mode == "I" or i.mode.startswith("I;16"): return np.asarray(i)[..., None] / 65535
    if top > 255: sys.exit(3)
    if i.mode == "CMYK": i = i.convert("RGB")
    if i.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "La"): sys.exit(3)
    return np.asarray(i.convert("RGBA")) / 255

data = open(sys.argv[1], "rb").read()
a = netpbm(data) if data[:2] in (b"P7", b"Pf", b"PF") else pillow(sys.argv[1], int(sys.argv[2]))
c = a.shape[2]
if c < 3: a = np.concatenate([a[..., :1]] * 3 + [a[..., 1:]], 2)
if a.shape[2] == 3: a = np.concatenate([a, np.ones(a.shape[:2] + (1,))], 2)
sys.stdout.buffer.write(b"%d %d\n" % (a.shape[1], a.shape[0]) + a.astype("<f4").tobytes())
]==]

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

local function by_pillow(path, max)
  local python = os.getenv "PYTHON" or "/usr/bin/python3"
  local text = output(("%s -c %s %s %d"):format(python, quote(PILLOW), quote(path), max))
  if not text then return nil end
  local width, height, at = text:match "^(%d+) (%d+)\n()"
  return tonumber(width), tonumber(height), function(i) return (string.unpack("<f", text, at + 4 * i)) * 65535 end
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
local function difference(name, path, t, may, max)
  local width, height, sample = READERS[name](path, max)
  if not width then return nil end
  if t:size(3) ~= width or t:size(2) ~= height then return ("%dx%d by %s"):format(width, height, name) end
  local most, n = compare(t, sample, may)
  return n > 0 and ("%d samples from %s, by %.0f of 65535"):format(n, name, most) or false
end

local function check_read(path, t)
  local info, equal, others = image.info(path), 0, {}
  for _, name in ipairs {"ImageMagick", "Pillow"} do
    local differs = nil
    if name == "Pillow" or not info.floating then -- ImageMagick clips what is over 1
      local may = info.lossy and LOSS or info.palette and info.format == "TIFF" and PALETTE or 0
      differs = difference(name, path, t, may, info.max)
    end
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
  for name, read in pairs(READERS) do others[#others + 1] = read(path, 255) and name end
  table.sort(others)
  print(("%s  %s%s"):format(#others == 0 and "UNREAD " or "REFUSED", message,
    #others == 0 and "" or (" (%s reads it)"):format(table.concat(others, ", "))))
  count(#others == 0 and "refused by all" or "refused")
end

local SIGNATURES <const> = {
  "^\x89PN", "^\xff\xd8\xff", "^P[1-6][%s#]", "^P7\n", "^P[Ff]%s", "^II[*+]\0", "^MM\0[*+]", "^RIFF....WEBP",
}

for _, dir in ipairs(arg) do
  local list = assert(io.popen("find " .. quote(dir) .. " -type f | LC_ALL=C sort"))
  for path in list:lines() do
    local file <close> = assert(io.open(path, "rb"))
    local head = file:read(12) or ""
    for _, signature in ipairs(SIGNATURES) do
      if head:find(signature) then
        check(path)
        break
      end
    end
  end
  list:close()
end
for _, what in ipairs {"files", "equal", "equal to one of the two", "refused", "refused by all", "read by cglow alone",
  "wrong"} do
  print(("%5d %s"):format(counts[what] or 0, what))
end
os.exit(not counts.wrong)
