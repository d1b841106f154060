--- A run that is killed goes on as if nothing had happened, whenever that was.
local json = require "cglow.json"
local lfs = require "lfs"
local safetensors = require "cglow.safetensors"
local toy = require "spec.support.toy"

describe("a run that is killed", function()
  local folder, remove
  before_each(function() folder, remove = toy.folder() end)
  after_each(function() remove() end)

  -- Train in a process that kills itself before its n-th change of a file.
  -- Gives the number of changes, or nil when it did not come to the end, and
  -- what it said.
  local function child(name, n, shell)
    local out = folder .. "/.out"
    local ok = os.execute(("%s LUA_PATH='%s' LUA_CPATH='%s' OMP_NUM_THREADS=1 lua5.4 spec/support/crash_child.lua "
      .. "'%s/%s' %d >'%s' 2>&1"):format(shell or "", package.path, package.cpath, folder, name, n, out))
    return ok and math.tointeger(tonumber(toy.read(out))), toy.read(out)
  end

  local function log_of(name)
    return (toy.read(folder .. "/" .. name .. "/log.jsonl"):gsub('"seconds":[%d.]+,', ""))
  end

  -- Every tensor of a checkpoint by its bytes' checksum, and the training state.
  local function contents(name, file)
    local tensors, metadata = assert(safetensors.load(("%s/%s/%s"):format(folder, name, file)))
    local result = {}
    for key, tensor in pairs(tensors) do result[key] = require "cglow.core".file.crc32c(tensor) end
    result.training = metadata.training and json.decode(metadata.training)
    if result.training then result.training.state.at.seconds = nil end
    return result
  end

  local function assert_same(expected, actual, when)
    assert.same(expected.training, actual.training, when)
    for key, sum in pairs(expected) do
      if key ~= "training" then assert.equal(sum, actual[key], key .. when) end
      actual[key] = nil
    end
    assert.is_nil(next(actual))
  end

  local function newest(name)
    return require "cglow.train.runfolder".at(folder .. "/" .. name):newest()
  end

  local function leftovers(name)
    local found = {}
    for _, directory in ipairs {"", "/checkpoints", "/samples"} do
      for entry in lfs.dir(folder .. "/" .. name .. directory) do
        if entry:find "^%.[^.]" then found[#found + 1] = entry end
      end
    end
    return found
  end

  it("before any change of a file: resuming gives the same weights, moments, generators and log", function()
    local changes = assert(child("whole", 0))
    assert.is_true(changes > 50)
    local last, best = contents("whole", "last.safetensors"), contents("whole", "best.safetensors")
    for n = 1, changes do
      assert.is_nil(child("cut", n), "not killed at change " .. n)
      local path = newest "cut"
      if path then assert(safetensors.load(path)) end
      local finished, why = child("cut", 0)
      assert.is_truthy(finished, ("after a cut at change %d: %s"):format(n, why))
      assert.equal(log_of "whole", log_of "cut", "log after a cut at change " .. n)
      local when = ", after a cut at change " .. n
      assert_same(last, contents("cut", "last.safetensors"), when)
      assert_same(best, contents("cut", "best.safetensors"), when)
      assert.same({}, leftovers "cut")
      os.execute(("rm -rf '%s/cut'"):format(folder))
    end
  end)

  it("again and again still comes to the same end", function()
    assert(child("whole", 0))
    local n, finished = 10, nil
    for _ = 1, 100 do
      finished = child("cut", n)
      if finished then break end
      n = n + 1 -- a process that goes on must get further at some time
    end
    assert.is_truthy(finished)
    assert.equal(log_of "whole", log_of "cut")
    assert_same(contents("whole", "last.safetensors"), contents("cut", "last.safetensors"), "")
  end)

  -- A limit on the size of files stands for a full disk: writing fails half-way.
  it("by a full disk says so and leaves the old checkpoint, from which it goes on", function()
    assert(child("whole", 0))
    -- the model alone fits into 200 blocks of 512 bytes or 1024 bytes, a checkpoint of 287 kB does not
    local finished, said = child("cut", 0, "trap '' XFSZ; ulimit -f 200;")
    assert.is_nil(finished)
    assert.matches("[Ff]ile too large", said)
    assert.is_nil((newest "cut"))
    assert.is_truthy(child("cut", 0))
    assert.equal(log_of "whole", log_of "cut")
    assert_same(contents("whole", "last.safetensors"), contents("cut", "last.safetensors"), "")
  end)

  it("is kept out of a folder that it may not write", function()
    assert(child("whole", 0))
    local runfolder = require "cglow.train.runfolder"
    local file <close> = assert(io.open(folder .. "/plain", "w"))
    file:close()
    local ok, message = runfolder.at(folder .. "/plain"):open()
    assert.is_nil(ok)
    assert.matches("cannot make folder", message)
  end)
end)
