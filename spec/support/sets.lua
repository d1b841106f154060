--- Tiny data sets in the published layouts, and where the real ones may be.
local image = require "cglow.image"
local lfs = require "lfs"
local scratch = require "spec.fixtures.scratch"

local M = {folder = scratch.folder, read = scratch.read}

-- What readers say once would come between the lines of the results; specs of it use `notes`.
require("cglow.data").notify = function() end

local function folders_of(path)
  for at in path:gmatch("()/") do
    if at > 1 then lfs.mkdir(path:sub(1, at - 1)) end
  end
end

--- Write text to a file, making the folders above it.
function M.write(path, text)
  folders_of(path)
  scratch.write(path, text)
end

--- Save an image, making the folders above it.
function M.save(path, t, options)
  folders_of(path)
  assert(image.save(path, t, options))
end

--- A folder of real data: $CGLOW_SHARED/data/NAME or ../shared/data/NAME; nil when it is not there.
function M.real(name)
  local path = (os.getenv "CGLOW_SHARED" or "../shared") .. "/data/" .. name
  return lfs.attributes(path, "mode") == "directory" and path or nil
end

--- Call f with `cglow.data.notify` caught; returns the lines and f's results.
function M.notes(f)
  local data = require "cglow.data"
  local lines, old = {}, data.notify
  data.notify = function(text) lines[#lines + 1] = text end
  local results = table.pack(pcall(f))
  data.notify = old
  assert(results[1], results[2])
  return lines, table.unpack(results, 2, results.n)
end

return M
