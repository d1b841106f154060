--- Samples that are left out.
--
-- A sample may have nothing to learn from: a depth frame without a reference, or with
-- `skip_damaged` a file that cannot be read. `Dataset:get` then gives nil, a message and
-- true; `samples` and `usable` pass over it, `batch` takes the next one instead. The
-- first one is told through `cglow.data.notify`; `left_out` lists them all.
-- @module cglow.data.left_out
local core = require "cglow.core"
local files = require "cglow.data.files"

local M = {}

--- Note a sample that is left out.
-- @param ds data set
-- @string message why
function M.note(ds, message)
  local left = ds.left
  if left[message] then return end
  if not next(left) then files.notify(message .. ": left out") end
  left[message] = true
end

--- Sample i, or if it is left out the next one that is not.
-- @param ds data set
-- @tparam integer i
-- @tparam ?Rng rng
-- @treturn[1] table sample
-- @treturn[2] nil
-- @treturn[2] string message
function M.get_or_next(ds, i, rng)
  for _ = 1, ds:size() do
    local sample, message, skip = ds:get(i, rng, ds.scratch)
    if sample or not skip then return sample, message end
    M.note(ds, message)
    i = i % ds:size() + 1
  end
  return nil, ("%s: none of %d samples can be used"):format(ds.name, ds:size())
end

--- Give data sets their methods about it.
-- @tparam table Dataset the class
-- @tparam function derive makes a set of another one and changes
function M.extend(Dataset, derive)
  --- Why samples were left out so far, by this set and those made from it or that it was made from.
  -- @function Dataset:left_out
  -- @treturn {string,...} a message for each, sorted
  function Dataset:left_out()
    local list = {}
    for message in pairs(self.left) do list[#list + 1] = message end
    return files.sort(list)
  end

  --- The set without samples that cannot be read: they are left out, and said.
  -- @function Dataset:skip_damaged
  -- @treturn Dataset
  function Dataset:skip_damaged()
    local get = self.fetch
    return derive(self, {recipe = self.recipe, get = function(i, rng, scratch)
      local sample, message = get(i, rng, scratch)
      if sample then return sample end
      return nil, message, true
    end})
  end

  --- The set without the samples that are left out; all are read for it. The set
  -- itself when there are none.
  -- @function Dataset:usable
  -- @treturn[1] Dataset
  -- @treturn[2] nil when a sample cannot be read, or none can be used
  -- @treturn[2] string message
  function Dataset:usable()
    local kept = {}
    for i = 1, self:size() do
      local sample, message, skip = self:get(i, core.Rng(i))
      if sample then kept[#kept + 1] = i
      elseif skip then M.note(self, message)
      else return nil, message end
    end
    if #kept == self:size() then return self end
    if #kept == 0 then return nil, ("%s: none of %d samples can be used"):format(self.name, self:size()) end
    return self:subset(kept)
  end
end

return M
