--- Contact sheets: many images, and text, in one.
-- @module cglow.image.sheet
local core = require "cglow.core"
local font = require "cglow.image.font"
local options = require "cglow.util.options"

local codec <const> = core.image
local M = {}

local SCALE = {type = "integer", min = 1, max = 64, default = 1}
local function rgb(default) return {type = "table", length = 3, each = {type = "number"}, default = default} end
local TEXT = {scale = SCALE, colour = rgb {0, 0, 0}, background = rgb {1, 1, 1}}
local GRID = {
  columns = {type = "integer", min = 1, max = 65535}, gap = {type = "integer", min = 0, max = 65535, default = 2},
  background = {type = "number", default = 1}, scale = SCALE,
  captions = {type = "table", each = {type = "string"}, default = {}}, caption_scale = SCALE,
}

local function enlarge(image, scale)
  if scale == 1 then return image end
  return codec.resize(image, image:size(2) * scale, image:size(3) * scale, "nearest")
end

--- Draws a line of text in printable ASCII, 7 dots high and 6 a character.
--
-- Options: `scale` = pixels a dot (default 1); `colour` and `background` =
-- {red, green, blue} in [0, 1] (default black on white).
-- @string text not empty
-- @tparam[opt] table opts
-- @treturn tensor 3×H×W
function M.text(text, opts)
  options.arg("text", 1, "text", text, "string")
  if text == "" then error("bad argument #1 to 'text': text must not be empty, got ''", 2) end
  local o = options.check("text", opts, TEXT)
  local dots, width = font.draw(text)
  local numbers = {}
  for channel = 1, 3 do
    for _, dot in ipairs(dots) do
      numbers[#numbers + 1] = dot and o.colour[channel] or o.background[channel]
    end
  end
  return enlarge(core.tensor(numbers):reshape(3, font.height, width), o.scale)
end

local function is_tensor(v) return core.type(v) == "cglow.Tensor" end

local function bad_images(expected, got)
  local text = core.type(got)
  if is_tensor(got) then text = "a tensor of shape " .. table.concat(got:size(), "x") end
  if text == "table" and #got == 0 then text = "an empty one" end
  error(("bad argument #1 to 'grid': images must be %s, got %s"):format(expected, text), 4)
end

--- A list item as C×H×W, or nil if it is no image.
local function as_image(t)
  if not is_tensor(t) then return nil end
  if t:dim() == 2 then return t:reshape(1, t:size(1), t:size(2)) end
  local fits = t:dim() == 3 and (t:size(1) == 1 or t:size(1) == 3)
  return fits and t or nil
end

--- The argument of grid as a list of C×H×W images and false.
local function list_of(images)
  local batch = is_tensor(images) and images:dim() == 4
  if not batch and (type(images) ~= "table" or #images == 0) then
    bad_images("a list of at least one image or a tensor of shape NxCxHxW", images)
  end
  local list = {}
  for i = 1, #images do
    local item = images[i]
    list[i] = item and as_image(item)
    if list[i] == nil then
      bad_images(("tensors of shape HxW, 1xHxW or 3xHxW, or false, at %d"):format(i), item)
    end
  end
  return list
end

--- Height and width of a cell that holds every image and caption.
local function cell_size(list, captions, o)
  local channels, height, width = 1, 1, 1
  for _, t in ipairs(list) do
    if t then
      channels = math.max(channels, t:size(1))
      height, width = math.max(height, t:size(2) * o.scale), math.max(width, t:size(3) * o.scale)
    end
  end
  for _, text in ipairs(captions) do
    width = math.max(width, #text * font.advance * o.caption_scale)
  end
  return channels, height, width
end

local function paste_captions(sheet, captions, channels, width, o)
  local ink = o.background > 0.5 and 0 or 1
  local paper = o.background
  for column, text in ipairs(captions) do
    if text ~= "" then
      local image = M.text(text, {
        scale = o.caption_scale, colour = {ink, ink, ink}, background = {paper, paper, paper},
      })
      if channels == 1 then image = codec.grey(image) end
      local spare = width - image:size(3)
      codec.paste(sheet, image, o.gap + 1, o.gap + (column - 1) * (width + o.gap) + spare // 2 + 1)
    end
  end
end

--- Lays images out in rows, each centred in a cell; grey and colour may mix.
--
-- Options: `columns` (default: as square as it gets, or one for each caption);
-- `gap` = pixels around each cell (default 2); `background` = grey in [0, 1]
-- (default 1, white); `scale` = whole number of pixels for a pixel (default 1);
-- `captions` = a list of strings above the columns, `caption_scale` = pixels for
-- a dot of theirs (default 1).
-- @param images a list of H×W, 1×H×W or 3×H×W tensors, or `false` for an empty
-- cell, or an N×C×H×W tensor
-- @tparam[opt] table opts
-- @treturn tensor 3×H×W if any image has colour, else 1×H×W
-- @usage image.save("sheet.png", image.grid({x, y, yhat}, {captions = {"x", "y", "mean"}, scale = 4}))
function M.grid(images, opts)
  local o = options.check("grid", opts, GRID)
  local list, captions = list_of(images), o.captions
  local columns = o.columns or #captions > 0 and #captions or math.ceil(math.sqrt(#list))
  if #captions > columns then
    error(("grid: %d captions for %d columns"):format(#captions, columns), 2)
  end
  local channels, height, width = cell_size(list, captions, o)
  local head = #captions > 0 and font.height * o.caption_scale + o.gap or 0
  local rows = (#list + columns - 1) // columns
  local sheet = core.full({channels, head + o.gap + rows * (height + o.gap), o.gap + columns * (width + o.gap)},
    o.background)
  paste_captions(sheet, captions, channels, width, o)
  for i, t in ipairs(list) do
    if t then
      local image = enlarge(channels == 3 and codec.rgb(t) or t, o.scale)
      local row, column = (i - 1) // columns, (i - 1) % columns
      local top = head + o.gap + row * (height + o.gap) + (height - image:size(2)) // 2
      local left = o.gap + column * (width + o.gap) + (width - image:size(3)) // 2
      codec.paste(sheet, image, top + 1, left + 1)
    end
  end
  return sheet
end

return M
