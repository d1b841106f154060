--- Images: files, geometry and contact sheets.
--
-- An image is a tensor of C×H×W numbers, 1 (grey) or 3 (red, green, blue)
-- channels, in [0, 1]. Rows and columns count from 1 at the top left.
-- Files: PNG of every kind, 8- and 16-bit depths exact; JPEG, grey and colour,
-- sequential and progressive; PNM (P2, P3, P5, P6).
--
-- Reading is strict. A truncated or damaged file is an error, never a picture
-- that is grey from some row on: wrong checksums, missing or surplus pixel data
-- and every warning of the JPEG library count as damage. CMYK and arithmetic
-- coded JPEG are refused. Gamma, colour profiles and orientation tags are not
-- applied: the numbers are those in the file. A file that declares more
-- pixels than its bytes can hold is refused before memory is taken for them,
-- and so is one of more than 65535 pixels a side or 2^27 in all.
-- @module cglow.image
local core = require "cglow.core"
local check = require "cglow.image_check"
local sheet = require "cglow.image_sheet"

local codec <const> = core.image
local M = {}

local READ = {channels = check.one_of(1, 3, 4), raw = check.flag}
local WRITE = {bits = check.one_of(8, 16), quality = check.integer(1, 100), raw = check.flag}
local RESIZE = {method = check.one_of("area", "nearest", "bilinear")}
local SIDE = check.integer(0, 65535)
local PAD = {
  top = SIDE, bottom = SIDE, left = SIDE, right = SIDE,
  mode = check.one_of("constant", "edge", "reflect"), value = check.number,
}

-- Files --------------------------------------------------------------------

--- Turns the bytes of an image file into an image.
-- @string bytes a whole file: PNG, JPEG or PNM
-- @tparam[opt] table options as for `load`
-- @treturn tensor C×H×W, or nil, message and error number
function M.decode(bytes, options)
  check.string("decode", 1, bytes)
  options = check.options("decode", 2, options, READ)
  return codec.decode(bytes, options.channels, options.raw)
end

--- Reads an image file; its contents, not its name, tell the format.
--
-- Options: `channels` = 1, 3 or 4 converts (colour to grey by the luma of
-- ITU-R BT.601; a fourth channel is alpha, 1 where the file has none); by
-- default an image has the file's colour channels, 1 or 3, and alpha is left
-- out, never blended. `raw = true` gives the file's own whole numbers instead of
-- [0, 1]: millimetres of a depth map, 0…255, or the indices of a palette PNG.
-- @string path
-- @tparam[opt] table options
-- @treturn tensor C×H×W, or nil, message and error number, like io.open
-- @usage local depth = image.load("frame.depth.png", {raw = true})
function M.load(path, options)
  check.path("load", 1, path)
  options = check.options("load", 2, options, READ)
  local file <close>, message, code = io.open(path, "rb")
  if not file then return nil, message, code end
  local bytes
  bytes, message, code = file:read("a")
  if not bytes then return nil, path .. ": " .. message, code end
  local t
  t, message, code = codec.decode(bytes, options.channels, options.raw)
  if not t then return nil, path .. ": " .. message, code end
  return t
end

local FORMATS = {png = "png", jpg = "jpeg", jpeg = "jpeg", ppm = "ppm", pgm = "pgm"}

local function check_writing(name, format, options)
  if options.quality and format ~= "jpeg" then
    error(("%s: option 'quality' is for jpeg, not %s"):format(name, format), 3)
  end
  if options.bits == 16 and format == "jpeg" then
    error(("%s: option 'bits' must be 8 for jpeg, got 16"):format(name), 3)
  end
end

--- Turns an image into the bytes of a file.
-- @tparam tensor t C×H×W or H×W, without NaN; numbers outside [0, 1] are clamped
-- @string format "png" (1, 3 or 4 channels), "jpeg" (1 or 3), "ppm" (3), "pgm" (1)
-- @tparam[opt] table options as for `save`
-- @treturn string the bytes, or nil, message and error number
function M.encode(t, format, options)
  check.string("encode", 2, format)
  if not FORMATS[format] then check.fail(2, 2, "encode", "png, jpeg, ppm or pgm", format) end
  format = FORMATS[format]
  options = check.options("encode", 3, options, WRITE)
  check_writing("encode", format, options)
  local bytes, message, code =
    check.call("encode", 0, codec.encode, t, format, options.bits, options.quality, options.raw)
  return bytes, message, code
end

--- Writes a temporary file beside the path and renames it, so that the path
-- holds the old file or the new one, whatever goes wrong.
local function replace_file(path, bytes)
  local temporary = ("%s.%p.tmp"):format(path, {})
  local file <close>, message, code = io.open(temporary, "wb")
  if not file then return nil, path .. message:sub(#temporary + 1), code end
  local ok
  ok, message, code = file:write(bytes)
  if ok then ok, message, code = file:close() end
  if ok then ok, message, code = os.rename(temporary, path) end
  if ok then return true end
  os.remove(temporary)
  return nil, path .. ": " .. message, code
end

--- Writes an image file: .png, .jpg, .jpeg, .ppm or .pgm, as the path ends.
--
-- Options: `bits` = 8 or 16 a sample (default 8; 16 for PNG, PPM and PGM);
-- `quality` = 1 to 100 for JPEG (default 95); `raw = true` when the numbers are
-- samples already, 0 to 255 or 65535, as `load` with `raw` gives them. Numbers
-- are clamped to the range and rounded to the nearest sample.
-- @string path
-- @tparam tensor t C×H×W or H×W, without NaN
-- @tparam[opt] table options
-- @treturn boolean true, or nil, message and error number, like io.open
function M.save(path, t, options)
  check.path("save", 1, path)
  options = check.options("save", 3, options, WRITE)
  local format = FORMATS[(path:match("%.(%w+)$") or ""):lower()]
  if not format then
    check.fail(2, 1, "save", "path that ends in .png, .jpg, .jpeg, .ppm or .pgm", "'" .. path .. "'")
  end
  check_writing("save", format, options)
  local bytes, message, code =
    check.call("save", 1, codec.encode, t, format, options.bits, options.quality, options.raw)
  if not bytes then return nil, path .. ": " .. message, code end
  return replace_file(path, bytes)
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
-- @tparam[opt] table options
-- @treturn tensor a new image
function M.resize(t, height, width, options)
  options = check.options("resize", 4, options, RESIZE)
  local result = check.call("resize", 0, codec.resize, t, height, width, options.method)
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
-- @tparam table options
-- @treturn tensor a new image
function M.pad(t, options)
  local o = check.options("pad", 2, options, PAD)
  local result =
    check.call("pad", 0, codec.pad, t, o.top or 0, o.bottom or 0, o.left or 0, o.right or 0, o.mode, o.value)
  return result
end

-- Contact sheets -----------------------------------------------------------

M.text = sheet.text
M.grid = sheet.grid

return M
