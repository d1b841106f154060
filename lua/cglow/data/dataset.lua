--- Data sets: something with a size and a `get`.
--
-- A sample is a table: `x` and `y` (C×H×W tensors), `name`, and whatever else a
-- reader adds (`valid`, `clean`, `superpixels` …). Samples may be shared, so
-- whoever wants to change one copies it; transforms do.
--
-- Data sets are lazy: nothing is read before it is asked for.
--
--     local ds = cglow.data.horses("weizmann_horse_db", {split = "train", size = 32})
--     print(ds, #ds, ds[1].name)
--     local x, y = ds:dequantise():batch {1, 2}
-- @module cglow.data.dataset
local check = require "cglow.util.check"
local count_of = require "cglow.util.count"
local core = require "cglow.core"
local left_out = require "cglow.data.left_out"
local options = require "cglow.util.options"
local read_ahead = require "cglow.data.read_ahead"

local M = {}

local function NOTHING() end
local RNG <const> = {type = "rng", optional = true}
local Dataset = {}
local meta = {__name = "cglow.Dataset"}

function meta.__len(self) return self.count end

-- ds[3] is ds:get(3), except that it ends a list (nil) after the last one.
function meta.__index(self, key)
  if math.type(key) ~= "integer" then return Dataset[key] end
  if key < 1 or key > self.count then return nil end
  return assert(self:get(key))
end

--- A data set from a function.
-- @tparam table opts
--
-- * `size`: how many samples (required)
-- * `get`: function(i, rng, scratch) that gives a sample, or nil and a message
--   (required). `scratch` is a table in which buffers may be kept from call to
--   call, or nil; random choices come from `rng` alone
-- * `name` = "data": for messages
-- * `random` = false: does `get` draw from `rng`?
-- * `info`: facts that go with the samples, handed on by `map` and the like (`dequantised`
--   once a discrete y has its noise):
--   `cell_width` (spacing of y's values once dequantised), `classes` (names), …
-- * `recipe`, `files`: what the samples depend on, for `disk_cache`: a string
--   that names reader and options, and a list of paths
-- @treturn Dataset
function M.new(opts)
  local o = options.check("data.Dataset", opts, {
    size = {type = "integer", required = true, min = 0},
    get = {type = "function", required = true},
    name = {type = "string", default = "data"},
    random = {type = "boolean", default = false},
    info = {type = "table", default = {}},
    recipe = {type = "string"},
    files = {type = "table", default = {}},
  })
  return setmetatable({
    count = o.size, fetch = o.get, name = o.name, random = o.random, info = o.info, recipe = o.recipe,
    files = o.files, scratch = {}, left = {}, ahead = {}, soon = NOTHING,
  }, meta)
end

-- A data set made from this one; what is not given is taken over.
local function derive(self, changes)
  local made = M.new {
    size = changes.size or self.count, get = changes.get, name = changes.name or self.name,
    random = changes.random == nil and self.random or changes.random or false, info = changes.info or self.info,
    recipe = changes.recipe or nil, files = self.files,
  }
  made.left, made.ahead, made.soon = self.left, changes.ahead or self.ahead, changes.soon or self.soon
  return made
end

--- How many samples there are; the same as `#ds`.
function Dataset:size() return self.count end

--- One sample.
-- @tparam integer i from 1 to the size
-- @tparam[opt] Rng rng for random transforms; the default generator when absent
-- @tparam[opt] table scratch buffers to reuse: then the sample's tensors may be
-- overwritten by the next call with the same table
-- @treturn[1] table sample; treat it as read-only
-- @treturn[2] nil when it cannot be read, or is left out
-- @treturn[2] string message
-- @treturn[2] ?boolean true when it is left out
function Dataset:get(i, rng, scratch)
  i = options.arg("Dataset:get", 1, "i", i, {type = "integer", min = 1, max = self.count})
  return self.fetch(i, options.arg("Dataset:get", 2, "rng", rng, RNG) or core.rng(), scratch)
end

--- All samples in order: `for i, sample in ds:samples() do`; those left out are passed over.
-- @tparam[opt] Rng rng
-- @raise when one cannot be read
function Dataset:samples(rng)
  options.arg("Dataset:samples", 1, "rng", rng, RNG)
  local i = 0
  return function()
    while i < self.count do
      i = i + 1
      local sample, message, skip = self:get(i, rng)
      if sample then return i, sample end
      if not skip then error(message, 0) end
      left_out.note(self, message)
    end
  end
end

-- ---- batches -------------------------------------------------------------

local FIELDS = {"x", "y"}

local function fits(out, n, like)
  local size = out:size()
  if #size ~= like:dim() + 1 or size[1] ~= n then return false end
  for d = 2, #size do
    if size[d] ~= like:size(d - 1) then return false end
  end
  return true
end

-- Sample number `place` of n into a batch, a new one when there is none.
local function put(out, n, place, sample, field)
  local t, name = sample[field], sample.name or "the sample"
  if core.type(t) ~= "cglow.Tensor" then error(("Dataset:batch: %s has no tensor '%s'"):format(name, field), 3) end
  out = out or core.empty(n, table.unpack(t:size()))
  if core.type(out) ~= "cglow.Tensor" or not fits(out, n, t) then
    local got = core.type(out) == "cglow.Tensor" and table.concat(out:size(), "x") or options.show(out)
    error(("Dataset:batch: %s must be a tensor of shape %dx%s (as %s has it), got %s"):format(
      field, n, table.concat(t:size(), "x"), name, got), 3)
  end
  out[place] = t
  return out
end

--- Several samples at once; in place of one that is left out comes the next one that is not.
-- @tparam {integer,...} indices
-- @tparam[opt] Tensor x N×Cx×Hx×Wx to write to; a new one when absent
-- @tparam[opt] Tensor y N×C×H×W, likewise
-- @tparam[opt] Rng rng for random transforms; the default generator when absent
-- @tparam[opt] {[string]=Tensor} more other fields of the samples to gather, each N×…
-- @treturn[1] Tensor x; false when the samples have none
-- @treturn[1] Tensor y
-- @treturn[2] nil when a sample cannot be read; x and y may be partly written
-- @treturn[2] string message
-- @raise when the samples differ in shape, or do not fit x and y
function Dataset:batch(indices, x, y, rng, more)
  options.arg("Dataset:batch", 1, "indices", indices, "table")
  local n <const> = #indices
  for place = 1, n do
    options.arg("Dataset:batch", 1, ("indices[%d]"):format(place), indices[place],
      {type = "integer", min = 1, max = self:size()})
  end
  rng = options.arg("Dataset:batch", 4, "rng", rng, {type = "rng", optional = true})
  if n == 0 then error("Dataset:batch: indices must be a list of at least one index, got an empty one", 2) end
  more = options.arg("Dataset:batch", 5, "more", more, {type = "table", default = {}})
  local out = {x = options.arg("Dataset:batch", 2, "x", x, {type = "tensor", optional = true}),
               y = options.arg("Dataset:batch", 3, "y", y, {type = "tensor", optional = true})}
  for place = 1, n do
    local sample, message = left_out.get_or_next(self, indices[place], rng)
    if not sample then return nil, message end
    for _, field in ipairs(FIELDS) do
      if sample[field] or field == "y" then out[field] = put(out[field], n, place, sample, field) end
    end
    for field, tensor in pairs(more) do put(tensor, n, place, sample, field) end
  end
  return out.x or false, out.y
end

-- ---- other data sets from this one -----------------------------------------

local function joined(recipe, step)
  return recipe and step and recipe .. "|" .. step
end

local MAP = {random = {type = "boolean"}, recipe = {type = "string"}, dequantised = {type = "boolean"}}
local function with_noise(info)
  local copy = {dequantised = true}
  for name, fact in pairs(info) do copy[name] = fact end
  return copy
end

--- Each sample changed by a transform.
-- @tparam function|table transform one of `cglow.data.transform`, or a function(sample,
-- rng, scratch) that returns a new sample, or nil and a message
-- @tparam[opt] table opts for a function: `random` = true when it draws from rng;
-- `recipe`: a string that names it, so that the result can be cached on disk;
-- `dequantised` = true when it adds noise to a discrete y
-- @treturn Dataset
function Dataset:map(transform, opts)
  options.arg("Dataset:map", 1, "transform", transform, "function|table")
  local o = options.check("Dataset:map", opts, MAP)
  local apply, random, recipe, dequantised = transform, o.random, o.recipe, o.dequantised
  if type(transform) == "table" then
    apply = options.arg("Dataset:map", 1, "transform.apply", transform.apply, "function")
    random, recipe, dequantised = transform.random, transform.recipe, transform.dequantises
  end
  local get = self.fetch
  return derive(self, {
    random = self.random or random or false, recipe = joined(self.recipe, recipe),
    info = dequantised and with_noise(self.info) or self.info,
    get = function(i, rng, scratch)
      local sample, message, skip = get(i, rng, scratch)
      if not sample then return nil, message, skip end
      return apply(sample, rng, scratch)
    end,
  })
end

--- y with uniform noise over its cells, as training on discrete y needs it, when
-- `ds.info.cell_width` says that y is discrete; the set itself when y is continuous or
-- has its noise.
-- @treturn Dataset
function Dataset:dequantise()
  local width = not self.info.dequantised and self.info.cell_width
  return width and self:map(require("cglow.data.transform").dequantise {width = width}) or self
end

--- The random set with its choices fixed: sample i always draws from a generator
-- of its own, seeded with seed + i. For test sets.
-- @tparam[opt=0] integer seed
-- @treturn Dataset not random
function Dataset:seeded(seed)
  seed = options.arg("Dataset:seeded", 1, "seed", seed, {type = "integer", default = 0})
  local get = self.fetch
  return derive(self, {
    random = false, recipe = joined(self.recipe, "seed " .. seed),
    get = function(i, _, scratch) return get(i, core.Rng(seed + i), scratch) end,
  })
end

local function check_indices(self, list)
  local checked = {}
  for place, i in ipairs(list) do
    checked[place] = options.arg("Dataset:subset", 1, ("indices[%d]"):format(place), i,
      {type = "integer", min = 1, max = self.count}, 1)
  end
  return checked
end

local function pick(self, indices, name)
  local get, soon = self.fetch, self.soon
  return derive(self, {
    size = #indices, name = name or self.name, recipe = joined(self.recipe, "pick " .. table.concat(indices, ",")),
    get = function(i, rng, scratch) return get(indices[i], rng, scratch) end,
    soon = function(i) soon(indices[i]) end,
  })
end

local function range(first, last)
  local list = {}
  for i = first, last do list[#list + 1] = i end
  return list
end

--- Some of the samples.
-- @tparam integer|{integer,...} first the first one to keep, or a list of indices
-- @tparam[opt] integer last the last one to keep; by default the set's last
-- @treturn Dataset
function Dataset:subset(first, last)
  options.arg("Dataset:subset", 1, "first", first, "integer|table")
  if type(first) == "table" then return pick(self, check_indices(self, first)) end
  first = options.arg("Dataset:subset", 1, "first", first, {type = "integer", min = 1})
  last = options.arg("Dataset:subset", 2, "last", last, {type = "integer", default = self.count, max = self.count})
  return pick(self, range(first, last))
end

--- Two parts.
-- @tparam number share of the samples that go to the first part: a fraction in
-- (0, 1), or a whole number of samples
-- @tparam[opt] integer seed deal them out at random; by default in their order
-- @treturn Dataset
-- @treturn Dataset
function Dataset:split(share, seed)
  options.arg("Dataset:split", 1, "share", share, {type = "number", min = 0, max = self.count})
  seed = options.arg("Dataset:split", 2, "seed", seed, {type = "integer", optional = true})
  local first = math.type(share) == "integer" and share or share < 1 and math.floor(share * self.count + 0.5)
  if not first then
    error(("Dataset:split: share must be a fraction below 1 or an integer, got %s"):format(share), 2)
  end
  local order = seed and core.Rng(seed):permutation(self.count) or range(1, self.count)
  return pick(self, table.move(order, 1, first, 1, {})),
    pick(self, table.move(order, first + 1, self.count, 1, {}))
end

--- The samples of both, this one's first.
-- @tparam Dataset other
-- @treturn Dataset
function Dataset:concat(other)
  if getmetatable(other) ~= meta then
    error(("Dataset:concat: a data set expected, got %s"):format(core.type(other)), 2)
  end
  local mine, theirs, count <const> = self.fetch, other.fetch, self.count
  local result = derive(self, {
    size = count + other.count, name = self.name .. "+" .. other.name, random = self.random or other.random,
    recipe = joined(self.recipe, other.recipe),
    get = function(i, rng, scratch)
      if i <= count then return mine(i, rng, scratch) end
      return theirs(i - count, rng, scratch)
    end,
  })
  read_ahead.join(result, self, other)
  result.files = table.move(self.files, 1, #self.files, 1, {})
  table.move(other.files, 1, #other.files, #result.files + 1, result.files)
  return result
end

-- ---- caches --------------------------------------------------------------

local function check_fixed(self, fname)
  if not self.random then return end
  error(("%s: %s draws random numbers for each sample; cache it before its random transforms, or fix them with "
    .. "ds:seeded()"):format(fname, self.name), 3)
end

local function bytes_of(sample)
  local bytes = 0
  for _, value in pairs(sample) do
    if core.type(value) == "cglow.Tensor" then bytes = bytes + 4 * value:count() end
  end
  return bytes
end

--- Keep samples in memory once they were read.
-- @tparam[opt] table opts `limit` = 2e9: bytes after which no more are kept (the rest
-- is read each time)
-- @treturn Dataset
-- @raise when the set is random
function Dataset:cache(opts)
  check_fixed(self, "Dataset:cache")
  local o = options.check("Dataset:cache", opts, {limit = {type = "number", default = 2e9, min = 0}})
  local get, soon, kept, left = self.fetch, self.soon, {}, o.limit
  return derive(self, {
    recipe = self.recipe,
    soon = function(i) return kept[i] or soon(i) end,
    get = function(i)
      if kept[i] then return kept[i] end
      local sample, message, skip = get(i)
      if not sample then return nil, message, skip end
      left = left - bytes_of(sample)
      if left >= 0 then kept[i] = sample end
      return sample
    end,
  })
end

--- Keep all samples in one file, read whole when the first sample is asked for.
--
-- The file is found by what the samples depend on (reader, options, names, sizes
-- and times of the files), so a change makes a new one. A damaged file is made
-- again, and a file that cannot be written is done without; both are said
-- through `cglow.data.notify`.
-- @tparam[opt] table opts `dir`: folder for the file, by default `cglow.data.cache_dir()`;
-- `recipe`: a string that names what the samples are, needed after `map` with a plain function
-- @treturn Dataset
-- @raise when the set is random, or nothing says what it depends on
function Dataset:disk_cache(opts)
  check_fixed(self, "Dataset:disk_cache")
  local o = options.check("Dataset:disk_cache", opts, {
    dir = {type = "string", path = true}, recipe = {type = "string"},
  })
  local recipe = o.recipe or self.recipe
  if not recipe then
    error("Dataset:disk_cache: option 'recipe' is required: a name for what this set was mapped with", 2)
  end
  local get = require("cglow.data.cache").getter(self, recipe, o.dir)
  return derive(self, {recipe = recipe, get = get, soon = NOTHING, ahead = {}}) -- all are read at once
end

left_out.extend(Dataset, derive)
read_ahead.extend(Dataset)

-- ---- at the prompt -------------------------------------------------------

local function shape(sample, field)
  return ("%s %s"):format(field, table.concat(sample[field]:size(), "x"))
end

function meta.__tostring(self)
  local text = ("cglow.Dataset %s: %s"):format(self.name, count_of(self.count, "sample"))
  local sample, message = nil, nil
  if self.count > 0 then sample, message = self.fetch(1, core.Rng(0)) end
  if not sample then return message and text .. "; the first cannot be read: " .. message or text end
  for _, field in ipairs(FIELDS) do
    if sample[field] then text = text .. ", " .. shape(sample, field) end
  end
  return self.random and text .. ", random" or text
end

check.class("Dataset", Dataset, "fetch")

--- Is this a data set?
-- @param value
-- @treturn boolean
function M.is_dataset(value) return getmetatable(value) == meta end

return M
