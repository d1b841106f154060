--- Paths that are no files: whatever reads a file refuses folders, devices and pipes,
-- at once and with a reason.
local cglow = require "cglow"
local depth = require "cglow.data.depth"
local json = require "cglow.util.json"
local lfs = require "lfs"
local runfolder = require "cglow.run.folder"
local safetensors = require "cglow.util.safetensors"
local scratch = require "spec.fixtures.scratch"
local sets = require "spec.support.sets"

local picture = cglow.zeros(1, 2, 2)

-- Name → function(path) that is to read a file at the path.
local READERS = {
  ["image.load"] = cglow.image.load,
  ["json.read"] = json.read,
  ["safetensors.load"] = safetensors.load,
  ["cglow.load"] = cglow.load,
  ["a pose"] = depth.read_pose,
  ["a camera"] = depth.read_camera,
}

-- Where the file is in a folder, and what reads the folder.
local IN_FOLDERS = {
  ["a run's configuration"] = {"config.json", function(dir) return runfolder.at(dir):read_config() end},
  ["a run's log"] = {"log.jsonl", function(dir) return runfolder.at(dir):read_log() end},
  ["a run's log, rewound"] = {"log.jsonl", function(dir) return runfolder.at(dir):rewind_log(1) end},
  ["a split list"] = {"train.txt", function(dir)
    sets.save(dir .. "/x/a.png", picture)
    sets.save(dir .. "/y/a.png", picture)
    return cglow.data.pairs(dir, {split = "train"})
  end},
}

for name, case in pairs(IN_FOLDERS) do
  READERS[name] = function(path)
    local folder = scratch.folder()
    assert(lfs.link(path, folder .. "/" .. case[1], true))
    local value, message, code = case[2](folder)
    scratch.remove(folder)
    return value, message, code
  end
end

describe("a path that is no file", function()
  local folder <const> = scratch.each(before_each, after_each)

  local function refused(path, reason)
    for name, read in pairs(READERS) do
      local value, message = read(path)
      -- in a run folder no link is followed
      local why = name:find "^a run" and "is a link" or reason
      -- a data set passes over a list that is no regular file
      if name ~= "a split list" or value == nil then
        assert.is_nil(value, name)
        assert.is_truthy(message:find(why, 1, true), ("%s: %s"):format(name, message))
        assert.is_true(#message < 300, message)
      end
    end
  end

  it("but a folder", function() refused(folder, "s a directory") end)
  it("but nothing", function() refused(folder .. "/none", "o such file or directory") end)
  it("but a device without an end", function() refused("/dev/null", "not a regular file") end)

  it("but a pipe that nobody writes to", function()
    assert(os.execute(("mkfifo '%s/pipe'"):format(folder)))
    refused(folder .. "/pipe", "not a regular file")
  end)

  it("but a file of more bytes than anyone needs, all of them holes", function()
    local path = folder .. "/holes"
    local file <close> = assert(io.open(path, "wb"))
    assert(file:seek("set", 1 << 40) and file:write "\0")
    file:close()
    for name, read in pairs(READERS) do
      local value, message = read(path)
      assert.is_nil(value, name)
      assert.is_true(#message < 400, message)
    end
  end)
end)
