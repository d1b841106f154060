-- make demo: a small c-Glow learns the masks of the embedded sample pictures.
-- The steps are always the same, so that the result is, in two minutes of two idle cores. A busy
-- machine takes longer, and a slow one that would take more than the limit makes fewer steps, but
-- never fewer than 0.90 class-mean IoU needs.
package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
package.cpath = "./lua/?.so;" .. package.cpath
local cglow = require "cglow"
local core = require "cglow.core"
local lfs = require "lfs"

local LUA <const> = os.getenv("LUA") or "lua5.4"
local SCRIPT <const> = "examples/binary_segmentation.lua"
local RUN <const> = "demo"
local STEPS <const>, LEAST <const> = 3300, 2500
local LIMIT <const> = 480 -- seconds
local CHANNELS <const>, DEPTH <const>, BATCH <const> = {16, 32, 64, 96, 96}, 4, 8
local CONFIG <const> = {
  depth = DEPTH, ["encoder.channels"] = table.concat(CHANNELS, ","), batch = BATCH, valid_every = 1000,
  valid_images = 32, checkpoint_every = 1000,
}

-- Seconds of a training step of the demo's model: the least and the median of a few.
local function measure()
  local shape = {3, 32, 32}
  local model = cglow.Model {
    x = shape, y = shape, depth = DEPTH, encoder = {channels = CHANNELS}, coupling = {width = 64}, head = {outputs = 2},
  }
  local adam = cglow.optim.Adam(model:parameters(), {lr = 1e-4, clip_norm = 1})
  local x, y, times = cglow.rand(BATCH, 3, 32, 32), cglow.rand(BATCH, 3, 32, 32), {}
  local began = core.system.clock()
  while #times < 15 and (#times < 3 or core.system.clock() - began < 5) do
    local start = core.system.clock()
    model:zero_grad()
    assert(model:loss_and_grad(x, y, {head = core.ones(BATCH, 32, 32)}))
    assert(adam:step())
    times[#times + 1] = core.system.clock() - start
  end
  table.sort(times)
  return times[1], times[(#times + 1) // 2]
end

-- The same in a process of its own, under this setting.
local function measured_under(setting)
  local pipe <close> = assert(io.popen(("%s %s %s speed"):format(setting, LUA, arg[0])))
  local least, median = pipe:read("n", "n")
  return assert(least, "demo: the model could not be measured"), median
end

-- Threads that wait for others may spin, which is quickest where the cores are idle; on a busy
-- machine they keep the others from working, and a step takes ten times as long.
local PATIENT <const>, GAIN <const> = "OMP_WAIT_POLICY=passive", 1.1
local function waiting()
  if os.getenv "OMP_WAIT_POLICY" then return "", (measured_under "") end
  local least, median = measured_under(PATIENT)
  local spinning, median_spinning = measured_under ""
  if median_spinning * GAIN < median then return "", spinning end
  return PATIENT .. " ", least
end

if arg[1] == "speed" then return print(measure()) end

local function run(setting, ...)
  local command = setting .. table.concat({LUA, SCRIPT, ...}, " ")
  print("\n$ " .. command)
  if not os.execute(command) then
    io.stderr:write("demo: the command above failed\n")
    os.exit(1)
  end
end

local function held_out_photos(count)
  local folder = cglow.data.sample_dir("binary_segmentation")
  local photos = {}
  for name in io.lines(folder .. "/valid.txt") do
    if #photos < count then photos[#photos + 1] = folder .. "/rgb/" .. name:match("%S+") end
  end
  return table.concat(photos, " ")
end

-- An earlier demo's run would otherwise be in the way.
local function remove(path)
  if lfs.symlinkattributes(path, "mode") == "directory" then
    for name in lfs.dir(path) do
      if name ~= "." and name ~= ".." then remove(path .. "/" .. name) end
    end
  end
  os.remove(path)
end

local setting, each = waiting()
local steps = math.max(LEAST, math.min(STEPS, math.floor(LIMIT / each)))
local config = {}
for name, value in pairs(CONFIG) do config[#config + 1] = ("--config %s=%s"):format(name, value) end
table.sort(config)

print "cglow demo: masks of garments on photographs, 200 pictures to learn from, 64 held out."
print(("%d steps of %.0f ms or more: %.0f minutes or more"):format(steps, 1000 * each, math.ceil(steps * each / 60)))
if steps < STEPS then print(("(%d would take too long here: expect 0.90 class-mean IoU, not 0.91)"):format(STEPS)) end
remove(RUN)
run(setting, "train", "--run", RUN, "--steps", steps, table.concat(config, " "))
run(setting, "evaluate", "--run", RUN)
run("", "predict", "--run", RUN, "--out", RUN .. "/predictions", held_out_photos(4))
print(([[

Look at
  %s/evaluation.png   held-out photographs, true masks, samples, predictions
  %s/predictions/     masks for four of them, in their own size
  %s/report.html      learning curves and contact sheets (open it in a browser)

Next
  %s %s predict --run %s YOUR_PHOTO.jpg
  %s examples/inpainting.lua train --help      another task
  the prompt; then cglow.help():
  LUA_PATH='./lua/?.lua;./lua/?/init.lua;;' LUA_CPATH='./lua/?.so;;' %s -i -l cglow]])
  :format(RUN, RUN, RUN, LUA, SCRIPT, RUN, LUA, LUA))
