#!/usr/bin/env lua5.4
-- How fast the 3×3 convolutions of an encoder are: of one with channels 32, 64, 96, 128, 128 at 1, 1/2,
-- … 1/16 of the picture, skip connections; forward, for the gradient of the input and for
-- that of the weight, against the machine's peak of multiply-adds. See --help.
local here = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = ("%s/../lua/?.lua;%s/../lua/?/init.lua;%s"):format(here, here, package.path)
package.cpath = ("%s/../lua/?.so;%s"):format(here, package.cpath)

local cglow = require "cglow" -- first: it says which Lua it needs
local argparse = require "argparse"
local core = require "cglow.core"

local parser = argparse("benchmark_convolutions.lua", "Time the 3x3 convolutions of an encoder.")
parser:option("--size", "side of the picture", "64"):convert(tonumber)
parser:option("--batch", "pictures", "2"):convert(tonumber)
parser:option("--reps", "timed repetitions of each; the fastest counts", "9"):convert(tonumber)
parser:option("--threads", "threads", "1"):convert(tonumber)
local args = parser:parse()

-- From, to, stride, what the picture is divided by, how many of them there are.
local SHAPES = {
  { 3, 32, 1, 1, 1 }, { 32, 32, 1, 1, 4 }, { 96, 32, 1, 1, 1 },
  { 32, 64, 2, 1, 1 }, { 64, 64, 1, 2, 4 }, { 160, 64, 1, 2, 1 },
  { 64, 96, 2, 2, 1 }, { 96, 96, 1, 4, 4 }, { 224, 96, 1, 4, 1 },
  { 96, 128, 2, 4, 1 }, { 128, 128, 1, 8, 4 }, { 256, 128, 1, 8, 1 },
  { 128, 128, 2, 8, 1 }, { 128, 128, 1, 16, 2 },
}

-- On one thread processor time, which other programs disturb less.
local clock = args.threads == 1 and os.clock or core.system.clock

-- The fastest of several, each long enough for the clock.
local function fastest(seconds, f)
  local best = math.huge
  local times = math.max(1, math.floor(2e-3 / seconds))
  for _ = 1, args.reps do
    local start = clock()
    for _ = 1, times do f() end
    best = math.min(best, (clock() - start) / times)
  end
  return best
end

local function measure(from, to, stride, side)
  local net = core.net.conv2d(from, to, 3, 3, stride, stride, 1, 1, true)
  for _, p in ipairs(net:parameters()) do p.value:copy(cglow.randn(table.unpack(p.value:size()))) end
  local x = cglow.randn(args.batch, from, side, side)
  local dy = cglow.randn(table.unpack(net:forward(x):size()))
  net:backward(dy)
  local guess = 18 * from * dy:count() / 60e9
  local forward = fastest(guess, function() net:forward(x) end)
  local both = fastest(2 * guess, function() net:backward(dy) end)
  local weight = fastest(guess, function() net:backward(dy, false) end)
  return 18 * from * dy:count(), { forward, both - weight, weight }
end

cglow.threads(args.threads)
local peak = 0
for _ = 1, 50 do peak = math.max(peak, core.peak_flops(0.01)) end -- like the times: the fastest
print(("%d×%d, batch %d, %d threads, FMA peak %.0f Gflop/s; per cent of it, where 9 multiply-adds for each pixel count")
  :format(args.size, args.size, args.batch, args.threads, peak / 1e9))
print(("%-32s %7s %9s %9s %9s"):format("", "Mflop", "forward", "d input", "d weight"))

local function say(what, flops, times)
  local share = {}
  for i, t in ipairs(times) do share[i] = ("%.0f %%"):format(100 * flops / t / peak) end
  print(("%-32s %7.1f %9s %9s %9s"):format(what, flops / 1e6, table.unpack(share)))
end

local total, sums = 0, { 0, 0, 0 }
for _, s in ipairs(SHAPES) do
  local from, to, stride, divisor, count = table.unpack(s)
  local side = math.floor(args.size / divisor)
  local flops, times = measure(from, to, stride, side)
  say(("%d × %3d → %3d, %d×%d%s"):format(count, from, to, side, side, stride > 1 and ", stride 2" or ""), flops, times)
  total = total + count * flops
  for i = 1, 3 do sums[i] = sums[i] + count * times[i] end
end
say("all", total, sums)
print(("together %.2f ms, %.0f %% of the peak"):format((sums[1] + sums[2] + sums[3]) * 1e3,
  300 * total / (sums[1] + sums[2] + sums[3]) / peak))
