--- A small model and a small data set for specs of training.
local core = require "cglow.core"
local cglow = require "cglow"

local M = {}

local Data = {}
Data.__index = Data

function Data:size() return self.count end

-- y is x in another scale plus a constant that depends on the sample.
function Data:get(i)
  local x = core.Rng(1000 + i):uniform(3, 8, 8)
  return {x = x, y = x * 0.5 + i / self.count}
end

function Data:batch(indices, x, y, rng)
  self.noise = self.noise or core.zeros(16, 3, 8, 8)
  for place, i in ipairs(indices) do
    if i == self.missing then return nil, ("sample %d cannot be read"):format(i) end
    local sample = self:get(i)
    x[place], y[place] = sample.x, sample.y
  end
  local noise = self.noise:narrow(1, 1, #indices)
  rng:fill_uniform(noise)
  y:add(noise, 0.1)
  return true
end

--- A data set of `count` samples, 3×8×8 each, with noise in every batch.
function M.data(count) return setmetatable({count = count}, Data) end

--- A conditional Glow of a few thousand parameters.
function M.model(seed)
  return cglow.Model {
    x = {3, 8, 8}, y = {3, 8, 8}, levels = 2, depth = 1,
    cn = {channels = 4, width = 8}, coupling = {width = 8}, rng = core.Rng(seed or 3),
  }
end

--- A new empty folder for a spec, and a function that removes it.
-- It is in memory where the system has a place for that: the specs make many
-- checkpoints, and each waits for the disk.
function M.folder()
  local lfs = require "lfs"
  local path = os.tmpname()
  os.remove(path)
  if lfs.attributes("/dev/shm", "mode") == "directory" then path = "/dev/shm/" .. path:match("[^/]+$") end
  assert(lfs.mkdir(path))
  return path, function() os.execute("rm -rf '" .. path .. "'") end
end

--- The whole text of a file.
function M.read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read("a")
end

return M
