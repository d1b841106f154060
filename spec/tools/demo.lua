-- make demo: a small c-Glow learns the masks of the embedded sample pictures.
-- How many steps fit into two minutes is measured first, so that it takes about
-- as long on a slow machine.
package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
package.cpath = "./lua/?.so;" .. package.cpath
local cglow = require "cglow"
local core = require "cglow.core"
local lfs = require "lfs"

local LUA <const> = os.getenv("LUA") or "lua5.4"
local SCRIPT <const> = "examples/binary_segmentation.lua"
local RUN <const> = "demo"
local BUDGET <const>, MOST <const>, LEAST <const> = 120, 5000, 300
local CHANNELS <const>, DEPTH <const>, BATCH <const> = {16, 32, 64, 96, 96}, 4, 8
local CONFIG <const> = {
  depth = DEPTH, ["encoder.channels"] = table.concat(CHANNELS, ","), batch = BATCH, valid_every = 1000,
  valid_images = 32, checkpoint_every = 1000,
}

-- Seconds of a training step of the demo's model, the median of a few.
local function seconds_per_step()
  local shape = {3, 32, 32}
  local model = cglow.Model {
    x = shape, y = shape, depth = DEPTH, encoder = {channels = CHANNELS}, coupling = {width = 64}, head = {outputs = 2},
  }
  local adam = cglow.optim.Adam(model:parameters(), {lr = 1e-4, clip_norm = 1})
  local x, y, times = cglow.rand(BATCH, 3, 32, 32), cglow.rand(BATCH, 3, 32, 32), {}
  for i = 1, 9 do
    local start = core.system.clock()
    model:zero_grad()
    assert(model:loss_and_grad(x, y, {head = core.ones(BATCH, 32, 32)}))
    assert(adam:step())
    times[i] = core.system.clock() - start
  end
  table.sort(times)
  return times[5]
end

local function run(...)
  local command = table.concat({LUA, SCRIPT, ...}, " ")
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

local steps = math.max(LEAST, math.min(MOST, math.floor(BUDGET / seconds_per_step())))
local config = {}
for name, value in pairs(CONFIG) do config[#config + 1] = ("--config %s=%s"):format(name, value) end
table.sort(config)

print("cglow demo: masks of garments on photographs, 200 pictures to learn from, 64 held out.")
remove(RUN)
run("train", "--run", RUN, "--steps", steps, table.concat(config, " "))
run("evaluate", "--run", RUN)
run("predict", "--run", RUN, "--out", RUN .. "/predictions", held_out_photos(4))
print(([[

Look at
  %s/evaluation.png   held-out photographs, true masks, samples, predictions
  %s/predictions/     masks for four of them, in their own size
  %s/report.html      learning curves and contact sheets (open it in a browser)

Next
  %s %s predict --run %s YOUR_PHOTO.jpg
  %s examples/inpainting.lua train --help      another task
  %s -i -l cglow                               the prompt; then cglow.help()]])
  :format(RUN, RUN, RUN, LUA, SCRIPT, RUN, LUA, LUA))
