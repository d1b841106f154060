--- A tensor as a picture in the terminal.
--
-- `cglow.show(t)` draws an image with one character for each pair of pixels, one
-- above the other: half blocks in true colour or in the 256 colours that nearly
-- every terminal has, or characters from a space to `@` where there is no colour.
-- @module cglow.image.show
local core = require "cglow.core"
local image = require "cglow.image"
local options = require "cglow.util.options"

local system = core.system

local RAMP = " .:-=+*#%@" -- dark to light
local UPPER_HALF = "▀"
local COLUMNS = 80 -- when the terminal does not say
local STDOUT = 1

local SHOW = {
  colour = {type = "string", one_of = {"true", "256", "none"}},
  width = {type = "integer", min = 1, max = 65535},
  scale = {type = "integer", default = 1, min = 1, max = 64},
  min = {type = "number", default = 0},
  max = {type = "number", default = 1},
}

-- What the terminal behind standard output can do; see https://no-color.org.
local function terminal_colour()
  local function set(name) return (os.getenv(name) or "") ~= "" end
  if not system.isatty(STDOUT) or set "NO_COLOR" or os.getenv "TERM" == "dumb" then return "none" end
  local colour = os.getenv "COLORTERM"
  return (colour == "truecolor" or colour == "24bit") and "true" or "256"
end

-- One image of 1 or 3 channels: a batch becomes a grid, and so do channels that
-- are neither grey nor colour.
local function picture(t)
  if t:dim() == 2 then return t:reshape(1, t:size(1), t:size(2)) end
  if t:dim() == 3 then
    local channels = t:size(1)
    if channels == 1 or channels == 3 then return t end
    t = t:reshape(channels, 1, t:size(2), t:size(3))
  elseif t:size(2) ~= 1 and t:size(2) ~= 3 then
    t = t:reshape(t:size(1) * t:size(2), 1, t:size(3), t:size(4))
  end
  return image.grid(t, {gap = 1, background = 0.5})
end

-- Values from [min, max] to [0, 1]; what is not finite becomes 0.
local function normalised(t, min, max)
  return (t - min):mul(1 / (max - min)):clamp(0, 1):map(function(v) return v == v and v or 0 end)
end

local function fitted(t, width, scale)
  local h, w = t:size(2) * scale, t:size(3) * scale
  if w > width then h, w = math.max(1, math.floor(h * width / w + 0.5)), width end
  if h == t:size(2) and w == t:size(3) then return t end
  return image.resize(t, h, w, {method = w > t:size(3) and "nearest" or "area"})
end

-- ---- painters: the text of one pair of pixels ------------------------------

local function byte(v) return math.floor(v * 255 + 0.5) end

-- Place in a side of xterm's colour cube, whose levels are 0, 95, 135, … 255.
local function cube(v)
  v = 255 * v
  return v < 48 and 0 or v < 115 and 1 or (v - 35) // 40 | 0
end

-- Nearest of the 6×6×6 cube or, for what is nearly grey, of the 24 shades.
local function index256(r, g, b)
  if math.max(r, g, b) - math.min(r, g, b) > 0.03 then return 16 + 36 * cube(r) + 6 * cube(g) + cube(b) end
  local grey = math.floor((255 * (r + g + b) / 3 - 8) / 10 + 0.5)
  return grey < 0 and 16 or grey > 23 and 231 or 232 + grey
end

local escape = {
  ["true"] = function(ground, r, g, b) return ("\27[%d;2;%d;%d;%dm"):format(ground, byte(r), byte(g), byte(b)) end,
  ["256"] = function(ground, r, g, b) return ("\27[%d;5;%dm"):format(ground, index256(r, g, b)) end,
}

-- Upper pixel as foreground, lower one as background; nil below the last row.
local function coloured(colour)
  local code, last = escape[colour], nil
  return function(upper, lower)
    local text = code(38, table.unpack(upper)) .. (lower and code(48, table.unpack(lower)) or "\27[49m")
    if text == last then return UPPER_HALF end
    last = text
    return text .. UPPER_HALF
  end, function()
    last = nil
    return "\27[0m"
  end
end

local function characters()
  local function grey(p) return 0.299 * p[1] + 0.587 * p[2] + 0.114 * p[3] end
  return function(upper, lower)
    local v = (grey(upper) + grey(lower or upper)) / 2
    local i = math.min(#RAMP, 1 + math.floor(v * #RAMP))
    return RAMP:sub(i, i)
  end, function() return "" end
end

local function lines_of(t, paint, finish)
  local h, w = t:size(2), t:size(3)
  local numbers, plane = t:totable(), h * w
  local function pixel(row, column)
    if row > h then return nil end
    local at = (row - 1) * w + column
    return {numbers[at], numbers[at + plane], numbers[at + 2 * plane]}
  end
  local lines = {}
  for row = 1, h, 2 do
    local line = {}
    for column = 1, w do line[column] = paint(pixel(row, column), pixel(row + 1, column)) end
    lines[#lines + 1] = table.concat(line) .. finish()
  end
  return lines
end

local M = {}

local function check_arguments(fname, t, opts)
  options.arg(fname, 1, "t", t, "tensor", 1)
  local o = options.check(fname, opts, SHOW, 1)
  if t:dim() < 2 then
    error(("bad argument #1 to '%s': t must be a tensor of 2 to 4 dimensions, got %d"):format(fname, t:dim()), 3)
  end
  if o.min >= o.max then
    error(("%s: option 'max' must be above min, which is %g, got %g"):format(fname, o.min, o.max), 3)
  end
  return o
end

--- The picture as text.
-- @tparam Tensor t H×W, 1×H×W or 3×H×W; other numbers of channels, and N×C×H×W,
-- are laid out as a grid
-- @tparam[opt] table opts as for `show`; without `colour`, no colour
-- @treturn string lines, each ended by a newline
function M.text(t, opts)
  local o = check_arguments("show.text", t, opts)
  local shown = image.rgb(fitted(picture(normalised(t, o.min, o.max)), o.width or COLUMNS, o.scale))
  local colour = o.colour or "none"
  local paint, finish
  if colour == "none" then paint, finish = characters() else paint, finish = coloured(colour) end
  return table.concat(lines_of(shown, paint, finish), "\n") .. "\n"
end

--- Draw a tensor on standard output.
-- @function show
-- @tparam Tensor t H×W, 1×H×W or 3×H×W; other numbers of channels, and N×C×H×W,
-- are laid out as a grid
-- @tparam[opt] table opts
--
-- * `colour`: "true", "256" or "none"; by default what the terminal can do (none
--   when standard output is no terminal, or NO_COLOR is set)
-- * `width`: columns at most (the terminal's); a wider picture is averaged down
-- * `scale` = 1: columns for a pixel
-- * `min` = 0, `max` = 1: numbers shown as black and as white
-- @usage cglow.show(sample.x)
local function show(t, opts)
  local o = check_arguments("show", t, opts)
  o.colour = o.colour or terminal_colour()
  o.width = o.width or system.columns(STDOUT)
  io.stdout:write(M.text(t, o))
end

return setmetatable(M, {__call = function(_, ...) return show(...) end})
