--- Images: files, geometry and contact sheets.
--
-- An image is a tensor of C×H×W numbers, 1 (grey) or 3 (red, green, blue)
-- channels, in [0, 1]. Rows and columns count from 1 at the top left.
-- Files that are read: PNG of every kind; JPEG, grey, colour and CMYK, sequential and
-- progressive; TIFF (1 to 16 bits, 32-bit floating point; grey, RGB, palette, YCbCr and
-- CMYK; strips, tiles, any compression that libtiff has) and WebP, where the core was
-- built with libtiff and libwebp; PNM (P1 to P6), PAM and PFM. Depths of up to 16 bits
-- are exact. Of a file with several pictures (pages, frames) the first is read, which is
-- told once through `cglow.data.notify`; previews that lie beside a TIFF's pages are none.
--
-- Pictures come as every viewer shows them: turned as the Exif orientation of a
-- file says (all eight), so that a photograph, its mask and what is made of
-- them lie on each other. `as_stored = true` gives the file's own rows and columns.
--
-- Reading is strict. A truncated or damaged file is an error, never a picture
-- that is grey from some row on: a wrong checksum of pixels, palette or
-- transparency, missing or surplus pixel data, and every warning of the JPEG
-- library that touches a pixel count as damage. What touches none does not: faults
-- in texts, profiles and other chunks that are passed over, a palette or
-- transparency where the format has no use for it, bytes between JPEG's segments,
-- padding before its end. Sound files of kinds that are not read (JPEG of 12 bits or with
-- arithmetic coding, GIF, HEIC) are refused by their kind. Gamma and colour profiles
-- are not applied: the numbers are those in the file, and CMYK becomes RGB as light that
-- its inks let through. Floating-point files hold any numbers, which come as they are; one
-- that is not finite is an error unless `raw` is asked for. A file that
-- declares more pixels than its bytes can hold is refused before memory is taken
-- for them, and so is one of more than 65535 pixels a side or 2^27 in all.
-- @module cglow.image
local lower = require("cglow.util.bytes").lower
local core = require "cglow.core"
local notice = require "cglow.util.notice"
local options = require "cglow.util.options"
local read_file = require "cglow.util.read_file"
local sheet = require "cglow.image.sheet"

local codec <const> = core.image
local ENOMEM <const> = core.file.ENOMEM

local LARGEST <const> = 1 << 31 -- bytes of a file; 2^27 pixels of 16 bytes at the most
local M = {}

local READ = {
  channels = {type = "integer", one_of = {1, 2, 3, 4}}, raw = {type = "boolean"}, as_stored = {type = "boolean"},
}
local WRITE = {
  bits = {type = "integer", one_of = {8, 16}}, quality = {type = "integer", min = 1, max = 100},
  raw = {type = "boolean"}, palette = {type = "table"},
}
local COLOUR <const> = {type = "table", length = 3, each = {type = "integer", min = 0, max = 255}}
local RESIZE = {method = {type = "string", one_of = {"area", "nearest", "bilinear"}}}
local BORDER = {type = "integer", min = 0, max = 65535, default = 0}
local PAD = {
  top = BORDER, bottom = BORDER, left = BORDER, right = BORDER,
  mode = {type = "string", one_of = {"constant", "edge", "reflect"}}, value = {type = "number"},
}
local FORMATS = {png = "png", jpg = "jpeg", jpeg = "jpeg", ppm = "ppm", pgm = "pgm", pfm = "pfm"}
local FORMAT = {type = "string", one_of = {"png", "jpeg", "jpg", "ppm", "pgm", "pfm"}}

--- Calls a function of the core; an error about its argument n is told as one
-- about argument n + shift of the public function `name`. To be called by that
-- function itself, not as a tail call.
local function call(name, shift, f, ...)
  local result = table.pack(pcall(f, ...))
  if result[1] then return table.unpack(result, 2, result.n) end
  local arg, why = tostring(result[2]):match("bad argument #(%d+) to .-(%b())$")
  error(why and ("bad argument #%d to '%s' %s"):format(arg + shift, name, why) or result[2], 3)
end

--- The system would take a path with a NUL for what comes before it.
local function check_path(name, path)
  options.arg(name, 1, "path", path, "string", 1)
  if path:find("\0", 1, true) then
    error(("bad argument #1 to '%s': path must be without NUL, got %q"):format(name, path), 3)
  end
end

-- Files --------------------------------------------------------------------

--- The formats that this build reads: "PNG", "JPEG", "PNM", "PAM", "PFM", and "TIFF" and
-- "WebP" where the libraries for them were there when it was made.
-- @treturn {string,...}
function M.formats() return {table.unpack(codec.formats)} end

local told_of_pages = false

-- The first of several pictures is read: said of the first such file alone, as a data
-- set may hold thousands.
local function tell_pages(name, pages)
  if pages < 2 or told_of_pages then return end
  told_of_pages = true
  notice.notify(("%s holds %d pictures: the first is read, of this file and of others like it"):format(name, pages))
end

--- Turns the bytes of an image file into an image.
-- @string bytes a whole file of any format that is read
-- @tparam[opt] table opts `channels`, `raw` and `as_stored`, as for `load`
-- @treturn tensor C×H×W, or nil, message and error number
function M.decode(bytes, opts)
  options.arg("decode", 1, "bytes", bytes, "string")
  local o = options.check("decode", opts, READ)
  local t, message, code = codec.decode(bytes, o.channels, o.raw, o.as_stored)
  if not t then return nil, message, code end
  tell_pages("a file in memory", message)
  return t
end

--- Reads an image file; its contents, not its name, tell the format.
--
-- Options: `channels` = 1 to 4 converts (colour to grey by the luma of
-- ITU-R BT.601; the last of 2 or 4 channels is alpha, 1 where the file has none);
-- by default an image has the file's colour channels, 1 or 3, and alpha is left
-- out, never blended; colours that a TIFF holds times alpha are divided by it.
-- `raw = true` gives the file's own samples instead of [0, 1]: millimetres of a depth
-- map, 0…255, or the indices of a palette. Black is 0 also where a file says it the
-- other way round (PBM, fax).
-- `as_stored = true` passes over the orientation.
-- @string path
-- @tparam[opt] table opts
-- @treturn tensor C×H×W, or nil, message and error number, like io.open
-- @usage local depth = image.load("frame.depth.png", {raw = true})
function M.load(path, opts)
  check_path("load", path)
  local o = options.check("load", opts, READ)
  local bytes, message, code = read_file(path, LARGEST)
  if not bytes then return nil, message, code end
  local ok, t
  ok, t, message, code = pcall(codec.decode, bytes, o.channels, o.raw, o.as_stored)
  if not ok and t ~= "not enough memory" then error(t, 0) end
  if not ok then t, message, code = nil, t, ENOMEM end -- a small file may hold a picture of gigabytes
  if not t then return nil, path .. ": " .. message, code end
  tell_pages(path, message)
  return t
end

--- What an image file is, without its pixels.
-- @string path
-- @treturn[1] table `format` (as in `formats`); `width` and `height` as shown;
-- `channels` (1 grey, 2 grey and alpha, 3 colour, 4 colour and alpha); `max` (the
-- sample that stands for 1: 255, 65535, …); `floating` (are samples numbers as they
-- are? `max` is 1); `palette` (are samples indices?); `lossy` (are they only near to
-- what was saved?); `orientation` (Exif's, 1 = as stored); `pages` (pictures in the
-- file; the first is read)
-- @treturn[2] nil
-- @treturn[2] string message
-- @treturn[2] integer error number
function M.info(path)
  check_path("info", path)
  local bytes, message, code = read_file(path, LARGEST)
  if not bytes then return nil, message, code end
  local info
  info, message, code = codec.describe(bytes)
  if not info then return nil, path .. ": " .. message, code end
  return info
end

local function check_writing(name, format, o)
  for _, option in ipairs(format == "pfm" and {"bits", "raw"} or {}) do
    if o[option] then error(("%s: option '%s' is not for pfm, which holds the numbers"):format(name, option), 3) end
  end
  if o.quality and format ~= "jpeg" then
    error(("%s: option 'quality' is for jpeg, not %s"):format(name, format), 3)
  end
  if o.palette and (format ~= "png" or not o.raw) then
    error(("%s: option 'palette' is for raw samples in png"):format(name), 3)
  end
  if o.bits == 16 and format == "jpeg" then
    error(("%s: option 'bits' must be 8 for jpeg, got 16"):format(name), 3)
  end
end

-- {{red, green, blue},…} as bytes; nil when there is none.
local function packed_palette(name, palette)
  if not palette then return nil end
  if #palette < 1 or #palette > 256 then
    error(("%s: option 'palette' must have 1 to 256 colours, got %d"):format(name, #palette), 3)
  end
  local bytes = {}
  for i, colour in ipairs(palette) do
    options.arg(name, 3, ("palette[%d]"):format(i), colour, COLOUR, 1)
    bytes[i] = string.char(colour[1], colour[2], colour[3])
  end
  return table.concat(bytes)
end

--- Turns an image into the bytes of a file.
-- @tparam tensor t C×H×W or H×W, without NaN; numbers outside [0, 1] are clamped
-- @string format "png" (1 to 4 channels), "jpeg" (1 or 3), "ppm" (3), "pgm" (1), or "pfm"
-- (1 or 3), which holds the numbers as they are
-- @tparam[opt] table opts `bits` = 8, `quality` = 95, `raw` and `palette`, as for `save`
-- @treturn string the bytes, or nil, message and error number
function M.encode(t, format, opts)
  format = FORMATS[options.arg("encode", 2, "format", format, FORMAT)]
  local o = options.check("encode", opts, WRITE)
  check_writing("encode", format, o)
  local bytes, message, code =
    call("encode", 0, codec.encode, t, format, o.bits, o.quality, o.raw, packed_palette("encode", o.palette))
  return bytes, message, code
end

--- Writes an image file: .png, .jpg, .jpeg, .ppm, .pgm, or .pfm for numbers of any
-- size (depth in metres, probabilities), as the path ends. The path holds the old file
-- or the new one at any moment.
--
-- Options: `bits` = 8 or 16 a sample (default 8; 16 for PNG, PPM and PGM);
-- `quality` = 1 to 100 for JPEG (default 95); `raw = true` when the numbers are
-- samples already, 0 to 255 or 65535, as `load` with `raw` gives them; `palette` =
-- {{red, green, blue},…}, each from 0 to 255, the colours of raw samples 0, 1, … (PNG). Numbers
-- are clamped to the range and rounded to the nearest sample.
-- @string path
-- @tparam tensor t C×H×W or H×W, without NaN
-- @tparam[opt] table opts
-- @treturn boolean true, or nil, message and error number, like io.open
function M.save(path, t, opts)
  check_path("save", path)
  local o = options.check("save", opts, WRITE)
  local format = FORMATS[lower(path:match("%.(%w+)$") or "")]
  if not format then
    error(("bad argument #1 to 'save': path must end in .png, .jpg, .jpeg, .ppm, .pgm or .pfm, got '%s'"):format(
      path), 2)
  end
  check_writing("save", format, o)
  local bytes, message, code =
    call("save", 1, codec.encode, t, format, o.bits, o.quality, o.raw, packed_palette("save", o.palette))
  if not bytes then return nil, path .. ": " .. message, code end
  return core.file.write(path, bytes, false)
end

-- Geometry -----------------------------------------------------------------

--- Changes height and width.
--
-- By default each axis that shrinks is averaged over the exact area that a
-- pixel covers, each that grows is interpolated linearly between pixel
-- centres. Option `method` = "area", "bilinear" or "nearest" decides for both.
-- @tparam tensor t C×H×W, H×W or N×C×H×W
-- @int height
-- @int width
-- @tparam[opt] table opts
-- @treturn tensor a new image
function M.resize(t, height, width, opts)
  local o = options.check("resize", opts, RESIZE)
  local result = call("resize", 0, codec.resize, t, height, width, o.method)
  return result
end

--- Cuts out a window.
-- @function crop
-- @tparam tensor t C×H×W, H×W or N×C×H×W
-- @int top first row, from 1
-- @int left first column, from 1
-- @int height
-- @int width
-- @treturn tensor a new image
M.crop = codec.crop

--- Copies an image into a larger one, in place.
-- @function paste
-- @tparam tensor whole C×H×W, H×W or N×C×H×W
-- @tparam tensor part as many channels
-- @int top row of its first pixel, from 1
-- @int left column of its first pixel, from 1
-- @treturn tensor whole
M.paste = codec.paste

--- Mirrors an image: "horizontal" exchanges left and right, "vertical" top and
-- bottom.
-- @function flip
-- @tparam tensor t C×H×W, H×W or N×C×H×W
-- @string direction
-- @treturn tensor a new image
M.flip = codec.flip

--- Grey of a colour image, by the luma of ITU-R BT.601; a copy of a grey one.
-- @function grey
-- @tparam tensor t 3×H×W or 1×H×W
-- @treturn tensor 1×H×W
M.grey = codec.grey

--- A grey image in all three channels; a copy of a colour one.
-- @function rgb
-- @tparam tensor t 1×H×W or 3×H×W
-- @treturn tensor 3×H×W
M.rgb = codec.rgb

--- Adds a border.
--
-- Options: `top`, `bottom`, `left`, `right` = pixels to add (default 0);
-- `mode` = "constant" (default, filled with `value`, default 0), "edge" (the
-- edge pixel repeated) or "reflect" (mirrored at the edge pixel).
-- @tparam tensor t C×H×W, H×W or N×C×H×W
-- @tparam table opts
-- @treturn tensor a new image
function M.pad(t, opts)
  local o = options.check("pad", opts, PAD)
  local result =
    call("pad", 0, codec.pad, t, o.top, o.bottom, o.left, o.right, o.mode, o.value)
  return result
end

-- Contact sheets -----------------------------------------------------------

M.text = sheet.text
M.grid = sheet.grid

return M
