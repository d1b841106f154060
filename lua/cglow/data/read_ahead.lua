--- Samples that are read in threads of their own while something else is computed.
--
-- What a reader reads of its files does not depend on when it is read: what is random comes after it. So
-- each thread makes the same set in a Lua state of its own, by the reader's name and options, and
-- samples that will soon be wanted (`Dataset:expect`) are read there. A sample that no thread has begun with when
-- it is wanted is read as ever, and so is one that could not be read, which gives the same error in the
-- same place. The numbers are the same with and without.
-- @module cglow.data.read_ahead
local core = require "cglow.core"
local json = require "cglow.util.json"
local notice = require "cglow.util.notice"
local options = require "cglow.util.options"

local NAME <const> = ...

local M = {}

-- ---- in a thread -----------------------------------------------------------

local opened -- in a thread's state: the function that its reader reads with

-- What runs in each thread: the modules are found as they are here.
local function chunk()
  return ("package.path, package.cpath = %q, %q\nreturn require(%q).open(...)"):format(package.path, package.cpath,
    NAME)
end

--- Make the set of a reader in a thread's state.
-- @string text what `reading` has written
-- @treturn function(i) that gives a sample and what was to be told
function M.open(text)
  local reader, told = json.decode(text), {}
  function notice.notify(said) told[#told + 1] = said end
  opened = false
  local ok, message = require("cglow.data." .. reader.name)(reader.dir, reader.options)
  if not ok then error(message, 0) end
  return function(i)
    told = {}
    local sample, why = opened(i)
    if not sample then error(why, 0) end
    return {sample = sample, told = told}
  end
end

-- ---- where samples are wanted ------------------------------------------------

local Ahead = {}
Ahead.__index = Ahead

--- Start the threads, unless they are there.
-- @int threads
-- @int most samples that may be asked for and not yet taken
function Ahead:start(threads, most)
  if not self.readers then
    local message
    self.readers, message = core.readers(threads, most, chunk(), self.text)
    if not self.readers then notice.notify(message) end
  end
end

--- End them.
function Ahead:close()
  if self.readers then self.readers:close() end
  self.readers = nil
end

-- A sample that a thread has read; nil, and why if it could not.
local function take(self, i)
  local found, message = self.readers:take(i)
  if not found then return nil, message end
  for _, text in ipairs(found.told) do self.tell(text) end
  return found.sample
end

--- A reader's `get` that takes what threads have read, once they are started.
-- @tparam function read function(i) that gives a sample, or nil and a message
-- @tparam ?table reader {its name, dir, options}; nil: no thread can make this set
-- @treturn function(i)
-- @treturn ?table for `attach`
function M.reading(read, reader)
  if opened == false then opened = read end
  if not reader then return read end
  local with = {cache = "none"}
  for name, value in pairs(reader[3]) do with[name] = name == "cache" and "none" or value end
  local once = {}
  local ahead = setmetatable({
    text = json.encode {name = reader[1], dir = reader[2], options = with},
    tell = function(text)
      if not once[text] then notice.notify(text) end
      once[text] = true
    end,
  }, Ahead)
  return function(i)
    if not ahead.readers then return read(i) end
    local sample, why = take(ahead, i)
    if sample then return sample end
    local message, skip
    sample, message, skip = read(i)
    if sample and why then ahead.tell("reading ahead failed where reading did not: " .. why) end
    return sample, message, skip
  end, ahead
end

--- Note that a set's samples can be read ahead.
-- @tparam Dataset ds
-- @tparam table ahead from `reading`
function M.attach(ds, ahead)
  ds.ahead = {ahead}
  function ds.soon(i)
    if ahead.readers then ahead.readers:ask(i) end
  end
end

--- What two sets announce, for the one that has the samples of both.
function M.join(result, one, other)
  local soon, soon_there, count <const> = one.soon, other.soon, one.count
  function result.soon(i)
    if i <= count then soon(i) else soon_there(i - count) end
  end
  result.ahead = table.move(other.ahead, 1, #other.ahead, #one.ahead + 1, table.move(one.ahead, 1, #one.ahead, 1, {}))
end

-- ---- methods -----------------------------------------------------------------

local Reading = {}
Reading.__index = Reading

--- End the threads.
function Reading:close()
  for _, ahead in ipairs(self) do ahead:close() end
end

Reading.__close = Reading.close

--- Give data sets their methods about it.
-- @tparam table Dataset the class
function M.extend(Dataset)
  --- Start threads that read what `expect` announces. Sets of the readers in `cglow.data` have it, and
  -- those made from them; not where a disk cache keeps all samples.
  -- @function Dataset:read_ahead
  -- @int threads from 1 to 64
  -- @int most samples, read or to be read, that nobody has asked for yet
  -- @treturn ?table with `close()`, and to be closed (`local reading <close> = …`), which ends the threads; nil
  -- where nothing can be read ahead
  function Dataset:read_ahead(threads, most)
    threads = options.arg("Dataset:read_ahead", 1, "threads", threads, {type = "integer", min = 1, max = 64})
    most = options.arg("Dataset:read_ahead", 2, "most", most, {type = "integer", min = 1, max = 65536})
    if #self.ahead == 0 then return nil end
    local reading = setmetatable({}, Reading)
    for i, ahead in ipairs(self.ahead) do
      ahead:start(threads, most)
      reading[i] = ahead
    end
    return reading
  end

  --- Announce samples that will be asked for, the next one first.
  -- @function Dataset:expect
  -- @tparam {integer,...} indices
  function Dataset:expect(indices)
    options.arg("Dataset:expect", 1, "indices", indices, "table")
    for place, i in ipairs(indices) do
      self.soon(options.arg("Dataset:expect", 1, ("indices[%d]"):format(place), i,
        {type = "integer", min = 1, max = self.count}))
    end
  end
end

return M
