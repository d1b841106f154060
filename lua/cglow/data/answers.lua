--- y from its file, by what it is: a picture, a mask, or a map of labels.
--
-- For each kind, `load(path, o)` gives y as it is in the file, or nil and a message, `make(y, o)`
-- as a model wants it; `o` may have `y_size` {height, width}, `y_channels`, `classes`, `colours`.
-- @module cglow.data.answers
local core = require "cglow.core"
local image = require "cglow.image"
local labels = require "cglow.data.labels"
local metrics = require "cglow.metrics"

local function resized(t, size)
  return size and image.resize(t, size[1], size[2]) or t
end

local function load_picture(path, o) return image.load(path, {channels = o.y_channels}) end

return {
  continuous = {load = load_picture, make = function(t, o) return resized(t, o.y_size) end},

  image = {
    load = load_picture, cell_width = 1 / 256,
    make = function(t, o) return (resized(t, o.y_size) * 255):round() / 255 end,
  },

  mask = {
    load = labels.mask, cell_width = 1,
    make = function(t, o)
      local mask = resized(t, o.y_size):gt(0.5)
      return o.y_channels == 3 and core.cat({mask, mask, mask}, 1) or mask
    end,
  },

  labels = {
    cell_width = 1,
    load = function(path, o)
      local map, message = labels.map(path, o.classes, o.colours)
      return map and metrics.one_hot(map + 1, o.classes), message
    end,
    make = function(t, o)
      return o.y_size and metrics.one_hot(metrics.argmax(resized(t, o.y_size)), o.classes) or t
    end,
  },
}
