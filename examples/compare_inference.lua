#!/usr/bin/env lua5.4
--- The two inferences of the paper on one trained horse model: the mean of M
-- samples, and gradient ascent on log p(y|x) (Lu & Huang 2020, section 3.3).
-- Quality against time, in one table. See --help.
local here = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = ("%s/../lua/?.lua;%s/../lua/?/init.lua;%s"):format(here, here, package.path)
package.cpath = ("%s/../lua/?.so;%s"):format(here, package.cpath)

local cglow = require "cglow" -- first: it says which Lua it needs
local argparse = require "argparse"
local core = require "cglow.core"
local number = require("cglow.run.format").number
local metrics = cglow.metrics

local function integers(text)
  local list = {}
  for n in text:gmatch("%d+") do list[#list + 1] = math.tointeger(tonumber(n)) end
  return list
end

local parser = argparse("compare_inference.lua", "Sample means against gradient ascent, on held-out horses.")
parser:option("--checkpoint", "trained model"):count(1)
parser:option("--data", "Weizmann horses, or a folder in their layout; default: the embedded samples")
parser:option("--samples", "values of M", "1,2,5,10,20,50"):convert(integers)
parser:option("--steps", "steps of gradient ascent", "50,100,200"):convert(integers)
parser:option("--lr", "its step size", "0.01"):convert(tonumber)
parser:option("--start", "where it starts: grey (1/2, between the classes) or mean (of 10 samples)", "grey")
  :choices {"grey", "mean"}
parser:option("--images", "held-out images", "64"):convert(tonumber)
parser:option("--threads", "threads", "2"):convert(tonumber)
parser:option("--seed", "of the samples", "1"):convert(tonumber)
local args = parser:parse()

local function fail(message)
  io.stderr:write("compare_inference: ", tostring(message), "\n")
  os.exit(2)
end

cglow.threads(args.threads)
local model, why = cglow.load(args.checkpoint)
if not model then fail(why) end
local folder = args.data or cglow.data.sample_dir("binary_segmentation")
local set, missing = cglow.data.horses(folder, {split = "valid", size = model.config.x[2]})
if not set then fail(missing) end
local count = math.min(args.images, #set)

-- Score one way to predict: IoU and seconds for each image, one image at a time
-- as a user would ask.
local function measure(name, predict)
  local confusion, start = metrics.confusion(2), core.system.clock()
  for i = 1, count do
    local sample = assert(set:get(i))
    local y = predict(core.stack {sample.x})[1]
    confusion:add(metrics.binarise(y), metrics.binarise(sample.y))
  end
  local seconds = (core.system.clock() - start) / count
  print(("| %-28s | %s | %s | %7.1f |"):format(name, number("%.4f", confusion:mean_iou()),
    number("%.4f", confusion:foreground_iou()), 1e3 * seconds))
end

print(("%d held-out images, %s, %d threads\n"):format(count, args.checkpoint:match("[^/]+$"), args.threads))
print("| inference                    | mean IoU | horse IoU | ms per image |")
print("|---|---|---|---|")
for _, m in ipairs(args.samples) do
  local rng = core.Rng(args.seed)
  measure(("mean of %d sample%s"):format(m, m > 1 and "s" or ""), function(x)
    return model:predict(x, {samples = m, rng = rng})
  end)
end

local starts = {
  grey = function() return core.full({1, table.unpack(model.config.y)}, 0.5) end,
  mean = function(x, rng) return model:predict(x, {samples = 10, rng = rng}) end,
}

for _, steps in ipairs(args.steps) do
  local rng = core.Rng(args.seed)
  measure(("ascent from %s, %d steps"):format(args.start, steps), function(x)
    return (model:maximize(x, {steps = steps, lr = args.lr, start = starts[args.start](x, rng)}))
  end)
end
