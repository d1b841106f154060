--- y from its file, by what it is: a picture, a mask, or a map of labels.
--
-- For each kind, `load(path, o)` gives y as it is in the file (a path, or a source), or nil and a message, `make(y, o)`
-- as a model wants it; `o` may have `y_size` {height, width}, `y_channels`, `classes`, `colours`.
-- @module cglow.data.answers
local core = require "cglow.core"
local image = require "cglow.image"
local labels = require "cglow.data.labels"
local metrics = require "cglow.metrics"
local source = require "cglow.image.source"

local function resized(t, size)
  return size and image.resize(t, size[1], size[2]) or t
end

local function load_picture(path, o) return source.load(source.of(path), {channels = o.y_channels}) end

-- Labels, one-hot, where some pixels have none (all shares are 0): those of the nearest surroundings.
local function filled(shares, classes)
  local h, w = shares:size(2), shares:size(3)
  local found, known = metrics.argmax(shares), shares:sum(1):gt(0)
  local missing, factor = known:eq(0), 2
  while missing:sum() > 0 and factor < 2 * math.max(h, w) do
    local around = resized(resized(shares, {(h + factor - 1) // factor, (w + factor - 1) // factor}), {h, w})
    local here = missing * around:sum(1):gt(0)
    found = found * here:eq(0) + metrics.argmax(around) * here
    missing, factor = missing - here, 2 * factor
  end
  return metrics.one_hot(found, classes), known
end

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
      local map, message = labels.map(path, o.classes, o.colours, o.ignore)
      if not map then return nil, message end
      local known = map:ge(0)
      return metrics.one_hot(map * known + 1, o.classes) * known:reshape(1, known:size(1), known:size(2))
    end,
    make = function(t, o)
      if o.ignore then return filled(resized(t, o.y_size), o.classes) end
      return o.y_size and metrics.one_hot(metrics.argmax(resized(t, o.y_size)), o.classes) or t
    end,
  },
}
