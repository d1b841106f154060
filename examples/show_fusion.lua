#!/usr/bin/env lua5.4
--- The clean depth that is made of 7-Scenes, to look at: for some frames the noisy
-- depth, the fused one, and their difference. See --help.
local here = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = ("%s/../lua/?.lua;%s/../lua/?/init.lua;%s"):format(here, here, package.path)
package.cpath = ("%s/../lua/?.so;%s"):format(here, package.cpath)

local cglow = require "cglow" -- first: it says which Lua it needs
local argparse = require "argparse"
local core = require "cglow.core"
local number = require("cglow.run.format").number
local image = cglow.image

local parser = argparse("show_fusion.lua", "Depth frames beside what their neighbours say.")
parser:option("--data", "7-Scenes, or a folder in its layout; default: the embedded samples")
parser:option("--size", "height and width of the crops", "96"):convert(math.tointeger)
parser:option("--frames", "how many of the held-out frames", "6"):convert(math.tointeger)
parser:option("--span", "millimetres of difference that are shown in full red or blue", "30"):convert(tonumber)
parser:option("--sheet", "where the picture goes", "fusion.png")
local args = parser:parse()

local function must(ok, message)
  if ok then return ok end
  io.stderr:write("show_fusion: ", tostring(message), "\n")
  os.exit(2)
end

-- From the crop's nearest to its farthest reading, black where there is none.
local function shades(depth, low, high)
  local known = depth:gt(0)
  return ((depth - low) / (high - low) * 0.9 + 0.1):clamp(0, 1) * known
end

-- Red where the frame is behind the fused depth, blue where before it, grey where
-- one of them has no reading.
local function colours(difference, known)
  local d = difference * known
  local r, g, b = (d + 1):clamp(0, 1), (d:abs() * -1 + 1):clamp(0, 1), (d * -1 + 1):clamp(0, 1)
  local grey = (known * -1 + 1) * 0.5
  return core.stack {r * known + grey, g * known + grey, b * known + grey}
end

local range = 4 -- metres that the reader gives as 1
local set = must(cglow.data.seven_scenes(args.data or cglow.data.sample_dir "depth_refinement",
  {split = "valid", size = args.size, range = range}))
local cells, captions = {}, {"noisy", "fused", "difference"}
for i = 1, math.min(args.frames, #set) do
  local sample = must(set:get(1 + math.floor((i - 1) * #set / math.min(args.frames, #set))))
  local noisy, fused = sample.x[1], sample.y[1] * sample.valid
  local known = noisy:gt(0) * sample.valid
  local difference = (noisy - fused) * (range * 1000 / args.span)
  local low, high = sample.y:min(), sample.y:max()
  cells[#cells + 1] = shades(noisy, low, high)
  cells[#cells + 1] = shades(fused, low, high)
  cells[#cells + 1] = colours(difference, known)
  local error_mm = ((noisy - fused):abs() * known):sum() / known:sum() * range * 1000
  print(("%s: %s apart in the mean; a reading for %.1f %% of the pixels, a reference for %.1f %%"):format(
    sample.name, number("%.1f mm", error_mm), 100 * noisy:gt(0):mean(), 100 * sample.valid:mean()))
end
must(image.save(args.sheet, image.grid(cells, {columns = #captions, captions = captions})))
print("picture: " .. args.sheet)
