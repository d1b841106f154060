-- What the functions on images refuse, and where they place the error.
local core = require "cglow.core"
local image = require "cglow.image"
local tools = require "spec.fixtures.image.tools"

local make, mixed = tools.make, tools.mixed

describe("cglow.image tells of misuse:", function()
  local t = make(1, 2, 2, function() return 0 end)
  local three = make(3, 2, 2, function() return 0 end)
  local nan = make(1, 1, 2, function() return 0 / 0 end)
  local cases = {
    {"load", {5}, "bad argument #1 to 'load': path must be a string, got 5"},
    {"load", {"a\0.png"}, "bad argument #1 to 'load': path must be without NUL"},
    {"load", {"a.png", 5}, "load: table of options expected, got 5"},
    {"load", {"a.png", {colour = 1}}, "load: unknown option 'colour' (known: as_stored, channels, raw)"},
    {"load", {"a.png", {channels = 5}}, "load: option 'channels' must be one of 1, 2, 3, 4, got 5"},
    {"load", {"a.png", {raw = 1}}, "load: option 'raw' must be a boolean, got 1"},
    {"decode", {}, "bad argument #1 to 'decode': bytes must be a string, got nil"},
    {"save", {"a.gif", t}, "bad argument #1 to 'save': path must end in .png"},
    {"save", {"a\0.png", t}, "bad argument #1 to 'save': path must be without NUL"},
    {"save", {"a.png", "b"}, "bad argument #2 to 'save' (cglow.Tensor expected, got string)"},
    {"save", {"a.png", core.tensor {1}}, "#2 to 'save' (image of HxW, 1xHxW, 2xHxW, 3xHxW or 4xHxW expected, got 1)"},
    {"save", {"a.jpg", make(4, 2, 2, mixed(1))}, "image of HxW, 1xHxW or 3xHxW expected, got 4x2x2"},
    {"save", {"a.png", nan}, "bad argument #2 to 'save' (the image holds NaN (number 1 of 2))"},
    {"save", {"a.png", t, {bits = 12}}, "save: option 'bits' must be one of 8, 16, got 12"},
    {"save", {"a.png", t, {quality = 5}}, "save: option 'quality' is for jpeg, not png"},
    {"save", {"a.jpg", t, {quality = 0}}, "save: option 'quality' must be an integer >= 1 and <= 100, got 0"},
    {"save", {"a.jpg", t, {bits = 16}}, "save: option 'bits' must be 8 for jpeg, got 16"},
    {"save", {"a.png", t, {size = 1}}, "save: unknown option 'size' (known: bits, palette, quality, raw)"},
    {"save", {"a.ppm", t}, "a ppm holds 3 channels"},
    {"save", {"a.pgm", three}, "a pgm holds 1 channel"},
    {"encode", {t, "gif"}, "#2 to 'encode': format must be one of 'png', 'jpeg', 'jpg', 'ppm', 'pgm'"},
    {"encode", {nan, "png"}, "bad argument #1 to 'encode' (the image holds NaN"},
    {"encode", {core.full({1, 1, 65536}, 0), "png"}, "65536x1 pixels; at most 65535 a side"},
    {"resize", {5, 1, 1}, "bad argument #1 to 'resize' (cglow.Tensor expected, got number)"},
    {"resize", {core.tensor {1}, 1, 1}, "#1 to 'resize' (image of HxW, CxHxW or NxCxHxW expected, got 1)"},
    {"resize", {t, 0, 1}, "bad argument #2 to 'resize' (height must be from 1 to 2147483647, got 0)"},
    {"resize", {t, 1, 1.5}, "bad argument #3 to 'resize' (number has no integer representation)"},
    {"resize", {t, 1, math.maxinteger}, "bad argument #3 to 'resize' (width must be from 1"},
    {"resize", {t, 1, 1, {method = "cubic"}}, "'method' must be one of 'area', 'nearest', 'bilinear', got 'cubic'"},
    {"crop", {t, 0, 1, 1, 1}, "top must be from 1"},
    {"crop", {t, 2, 1, 2, 1}, "rows 2 to 3 lie outside the image's 2"},
    {"crop", {t, 1, 2147483647, 1, 2147483647}, "columns 2147483647 to 4294967293 lie outside the image's 2"},
    {"flip", {t, "left"}, "one of horizontal, vertical expected, got 'left'"},
    {"flip", {t}, "string expected, got no value"},
    {"paste", {t, three, 1, 1}, "the same number of channels"},
    {"paste", {t, t, 1, 1}, "an image cannot be pasted into itself"},
    {"paste", {three, make(3, 2, 2, mixed(1)), 2, 1}, "rows 2 to 3 lie outside the image's 2"},
    {"pad", {t, {top = -1}}, "pad: option 'top' must be an integer >= 0 and <= 65535, got -1"},
    {"pad", {t, {mode = "wrap"}}, "option 'mode' must be one of 'constant', 'edge', 'reflect', got 'wrap'"},
    {"pad", {t, {up = 1}}, "unknown option 'up' (did you mean 'top'? known: bottom, left, mode, right, top, value)"},
    {"pad", {three[1][1], {}}, "bad argument #1 to 'pad' (image of HxW"},
    {"grey", {make(2, 1, 1, mixed(1))}, "image of 1xHxW or 3xHxW expected, got 2x1x1"},
    {"rgb", {5}, "cglow.Tensor expected, got number"},
    {"grid", {{}}, "images must be a list of at least one image or a tensor of shape NxCxHxW, got an empty one"},
    {"grid", {t}, "or a tensor of shape NxCxHxW, got a tensor of shape 1x2x2"},
    {"grid", {{t, 5}}, "tensors of shape HxW, 1xHxW or 3xHxW, or false, at 2, got number"},
    {"grid", {{make(2, 1, 1, mixed(1))}}, "or false, at 1, got a tensor of shape 2x1x1"},
    {"grid", {{t}, {columns = 0}}, "option 'columns' must be an integer >= 1 and <= 65535, got 0"},
    {"grid", {{t}, {captions = {"a", "b"}, columns = 1}}, "grid: 2 captions for 1 columns"},
    {"grid", {{t}, {captions = {1}}}, "option 'captions', element 1, must be a string, got 1"},
    {"text", {""}, "bad argument #1 to 'text': text must not be empty"},
    {"text", {"a", {colour = {1}}}, "option 'colour' must be a table of length 3, got a list of 1"},
  }
  for i, case in ipairs(cases) do
    local name, arguments, message = table.unpack(case)
    it(("%d: %s: %s"):format(i, name, message), function()
      local ok, got = pcall(image[name], table.unpack(arguments))
      assert.is_false(ok)
      assert.is_truthy(tostring(got):find(message, 1, true), tostring(got))
    end)
  end

  it("places the error at the caller", function()
    local here = debug.getinfo(1, "S").short_src
    for _, f in ipairs {
      function() image.load(5) end, function() image.save("a.png", 5) end, function() image.resize(t, 0, 1) end,
      function() image.encode(5, "png") end, function() image.grid({}) end, function() image.pad(t, {x = 1}) end,
      function() image.crop(t, 0, 1, 1, 1) end, function() image.text("") end,
    } do
      local _, message = pcall(f)
      assert.equal(here, message:match("^(.-):%d+: "), message)
    end
  end)
end)
