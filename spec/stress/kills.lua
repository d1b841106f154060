--- kill -9 at random moments of a training run with frequent checkpoints:
--
--     lua5.4 spec/stress/kills.lua [KILLS] [SEED]        (200, 1)
--
-- After every kill the newest checkpoint must load; every run, once it came to
-- its end in spite of all kills, must hold the same weights, moments, generators
-- and log as one that was left alone. Needs `timeout` (coreutils).
local core = require "cglow.core"
local json = require "cglow.util.json"
local runfolder = require "cglow.run.folder"
local safetensors = require "cglow.util.safetensors"
local toy = require "spec.support.toy"

local KILLS <const> = math.tointeger(tonumber(arg[1] or 200))
local SEED <const> = math.tointeger(tonumber(arg[2] or 1))
local STEPS <const> = 120
local KILLED <const> = 137 -- exit code after SIGKILL

local folder <const>, remove <const> = toy.folder()
local rng <const> = core.Rng(SEED)

-- Train, and kill after so many seconds; true when it came to its end before.
local function train(name, seconds)
  local limit = seconds and ("timeout -s KILL %.3f "):format(seconds) or ""
  local ok, _, code = os.execute(("%slua5.4 spec/support/crash_child.lua '%s/%s' 0 %d >'%s/.out' 2>&1"):format(
    limit, folder, name, STEPS, folder))
  if not ok and code ~= KILLED then error(("%s ended with %d: %s"):format(name, code, toy.read(folder .. "/.out"))) end
  return ok
end

local function contents(path)
  local tensors, metadata = assert(safetensors.load(path))
  local sums = {}
  for key, tensor in pairs(tensors) do sums[key] = core.file.crc32c(tensor) end
  local training = metadata.training and json.decode(metadata.training)
  if training then training.state.at.seconds = nil end
  return json.encode {tensors = sums, training = training}
end

local function everything(name)
  local path = folder .. "/" .. name
  return contents(path .. "/last.safetensors") .. contents(path .. "/best.safetensors")
    .. toy.read(path .. "/log.jsonl"):gsub('"seconds":[%d.]+,', "")
end

train "whole"
local before = core.system.clock()
train "timed"
local whole <const>, longest <const> = everything "whole", core.system.clock() - before

local kills, runs, loads = 0, 0, 0
while kills < KILLS do
  runs = runs + 1
  local name = "run" .. runs
  while not train(name, 0.02 + 0.7 * longest * rng:uniform()) do
    kills = kills + 1
    local newest = runfolder.at(folder .. "/" .. name):newest()
    if newest then
      loads = loads + 1
      assert(safetensors.load(newest))
    end
  end
  assert(everything(name) == whole, "a killed run came to another end: " .. folder .. "/" .. name)
  os.execute(("rm -rf '%s/%s'"):format(folder, name))
end
remove()
print(("%d kills in %d runs: the newest checkpoint loaded %d times of %d, every run came to the same end"):format(
  kills, runs, loads, loads))
