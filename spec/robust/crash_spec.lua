--- A run that is killed goes on as if nothing had happened, whenever that was.
local json = require "cglow.util.json"
local lfs = require "lfs"
local safetensors = require "cglow.util.safetensors"
local runfolder = require "cglow.run.folder"
local scratch = require "spec.fixtures.scratch"
local toy = require "spec.support.toy"
local train = require "cglow.train"

describe("a run that is killed", function()
  local folder <const> = scratch.each(before_each, after_each)

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
  local function checksums(path)
    local tensors, metadata = assert(safetensors.load(path))
    local result = {}
    for key, tensor in pairs(tensors) do result[key] = require "cglow.core".file.crc32c(tensor) end
    result.training = metadata.training and json.decode(metadata.training)
    if result.training then result.training.state.at.seconds = nil end
    return result
  end

  local function contents(name, file) return checksums(("%s/%s/%s"):format(folder, name, file)) end

  local function assert_same(expected, actual, when)
    assert.same(expected.training, actual.training, when)
    for key, sum in pairs(expected) do
      if key ~= "training" then assert.equal(sum, actual[key], key .. when) end
      actual[key] = nil
    end
    assert.is_nil(next(actual))
  end

  local function newest(name)
    return runfolder.at(folder .. "/" .. name):newest()
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
    local finished, said = child("cut", 0, "ulimit -f 200;")
    assert.is_nil(finished)
    assert.matches("[Ff]ile too large", said)
    assert.is_nil((newest "cut"))
    assert.is_truthy(child("cut", 0))
    assert.equal(log_of "whole", log_of "cut")
    assert_same(contents("whole", "last.safetensors"), contents("cut", "last.safetensors"), "")
  end)

  -- In a file system of its own: steps 1 to 4, one process more that meets trouble (between
  -- `spoil` and `mend`), and one that comes to the end.
  local function troubled_run(why, spoil, mend)
    local mounted = scratch.mount "4m"
    if not mounted then return pending "this user cannot mount a file system" end
    finally(function() scratch.unmount(mounted) end)
    local run = mounted .. "/run"
    local function go(steps, path)
      return train.Trainer {
        model = toy.model(3), train = toy.data(5), valid = toy.data(2), steps = steps, seed = 5, valid_every = 3,
        checkpoint_every = 2, log_every = 1, run = path, resume = path == run and steps > 4, progress = "quiet",
      }:run()
    end
    assert.equal("done", go(12, folder .. "/whole").reason)
    assert.equal("done", go(4, run).reason)
    spoil(mounted)
    local outcome = go(12, run)
    local path, step = runfolder.at(run):newest()
    local loads = safetensors.load(path)
    mend(mounted)
    assert.equal("failed", outcome.reason)
    assert.matches(why, outcome.message)
    assert.equal(4, step)
    assert.is_truthy(loads)
    assert.equal("done", go(12, run).reason)
    assert_same(contents("whole", "last.safetensors"), checksums(run .. "/last.safetensors"), "")
    assert_same(contents("whole", "best.safetensors"), checksums(run .. "/best.safetensors"), "")
  end

  it("by a disk that is full keeps its checkpoint, and goes on when there is room", function()
    troubled_run("No space left on device", function(mounted)
      os.execute(("head -c 4m /dev/zero >'%s/filler' 2>/dev/null"):format(mounted))
    end, function(mounted) os.remove(mounted .. "/filler") end)
  end)

  it("by a folder that may not be written keeps its checkpoint, and goes on when it may", function()
    local function remount(how)
      return function(mounted) assert(os.execute(("mount -o remount,%s '%s'"):format(how, mounted))) end
    end
    troubled_run("Read%-only file system", remount "ro", remount "rw")
  end)

  it("is kept out of a folder that it may not write", function()
    assert(child("whole", 0))
    local file <close> = assert(io.open(folder .. "/plain", "w"))
    file:close()
    local ok, message = runfolder.at(folder .. "/plain"):open()
    assert.is_nil(ok)
    assert.matches("cannot make folder", message)
  end)
end)
