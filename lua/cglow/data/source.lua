--- What the readers share.
-- @module cglow.data.source
local dataset = require "cglow.data.dataset"
local read_ahead = require "cglow.data.read_ahead"

local M = {}

local CACHE = {type = "string", default = "memory", one_of = {"memory", "disk", "none"}}

--- A reader's options and those that every reader has.
function M.options(own)
  own.cache = CACHE
  return own
end

--- A data set of items that are read one by one.
-- @tparam table t `name`, `recipe` (names reader, version and options), `items`,
-- `read` (function(item, i) → sample, or nil and a message), `paths` (fields of an
-- item that are paths it depends on), `cache`, `info`; `reader`: {its name in `cglow.data`, dir, options},
-- by which threads can make the same set; `seen`: function(i, sample) called for each one that was read
-- @treturn Dataset
function M.dataset(t)
  local paths = {}
  for _, item in ipairs(t.items) do
    for _, field in ipairs(t.paths) do paths[#paths + 1] = item[field] end
  end
  local get, ahead = read_ahead.reading(function(i) return t.read(t.items[i], i) end, t.reader)
  local ds = dataset.new {
    name = t.name, size = #t.items, recipe = t.recipe, files = paths, info = t.info,
    get = function(i)
      local sample, message, skip = get(i)
      if sample and t.seen then t.seen(i, sample) end
      return sample, message, skip
    end,
  }
  if ahead then read_ahead.attach(ds, ahead) end
  if t.cache == "none" then return ds end
  return t.cache == "disk" and ds:disk_cache() or ds:cache()
end

return M
