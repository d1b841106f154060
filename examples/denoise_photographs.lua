#!/usr/bin/env lua5.4
--- How well a trained denoiser cleans whole photographs: adds noise to each, asks the model, and compares
-- with what the photograph was. See --help.
local here = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = ("%s/../lua/?.lua;%s/../lua/?/init.lua;%s"):format(here, here, package.path)
package.cpath = ("%s/../lua/?.so;%s"):format(here, package.cpath)

local argparse = require "argparse"
local cglow = require "cglow"
local number = require("cglow.run.format").number

local parser = argparse("denoise_photographs.lua", "PSNR of whole photographs with noise, and denoised.")
parser:argument("run", "a run folder of the task denoising, or its model file")
parser:argument("photo", "photographs without noise"):args "+"
parser:option("--sigma", "standard deviation of the noise, of 255", "25"):convert(tonumber)
parser:option("--seed", "of the noise", "1"):convert(math.tointeger)
parser:option("--threads", "cores to use"):convert(math.tointeger)
local args = parser:parse()

local function must(ok, message)
  if ok then return ok end
  io.stderr:write("denoise_photographs: ", tostring(message), "\n")
  os.exit(2)
end

if args.threads then cglow.threads(args.threads) end
local denoiser = must(cglow.open(args.run))
local rng, sum_noisy, sum_clean = cglow.Rng(args.seed), 0, 0
for _, path in ipairs(args.photo) do
  local photo = must(cglow.image.load(path, {channels = 3}))
  local noisy = photo + rng:normal(photo:size()) * (args.sigma / 255)
  local clean = must(denoiser:predict(noisy)).answer
  local before, after = cglow.metrics.psnr(noisy, photo), cglow.metrics.psnr(clean, photo)
  print(("%s  %d×%d  %s -> %s"):format(path, photo:size(2), photo:size(3), number("%.2f dB", before),
    number("%.2f dB", after)))
  sum_noisy, sum_clean = sum_noisy + before, sum_clean + after
end
print(("mean of %d: %s -> %s"):format(#args.photo, number("%.2f dB", sum_noisy / #args.photo),
  number("%.2f dB", sum_clean / #args.photo)))
