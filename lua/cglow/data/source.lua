--- What the readers share.
-- @module cglow.data.source
local dataset = require "cglow.data.dataset"

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
-- item that are paths it depends on), `cache`, `info`
-- @treturn Dataset
function M.dataset(t)
  local paths = {}
  for _, item in ipairs(t.items) do
    for _, field in ipairs(t.paths) do paths[#paths + 1] = item[field] end
  end
  local ds = dataset.new {
    name = t.name, size = #t.items, recipe = t.recipe, files = paths, info = t.info,
    get = function(i) return t.read(t.items[i], i) end,
  }
  if t.cache == "none" then return ds end
  return t.cache == "disk" and ds:disk_cache() or ds:cache()
end

return M
