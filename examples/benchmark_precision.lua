#!/usr/bin/env lua5.4
-- What bfloat16 products gain: a model of each precision in turns, training steps or
-- samples. See --help.
local here = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = ("%s/../lua/?.lua;%s/../lua/?/init.lua;%s"):format(here, here, package.path)
package.cpath = ("%s/../lua/?.so;%s"):format(here, package.cpath)

local cglow = require "cglow" -- first: it says which Lua it needs
local argparse = require "argparse"
local core = require "cglow.core"

local parser = argparse("benchmark_precision.lua", "Time models of fp32 and of bf16 in turns.")
parser:option("--model", "networks of each layer, as published, or one encoder of x for all", "encoder")
  :choices { "paper", "encoder" }
parser:option("--what", "a training step, or ten samples of one x", "step"):choices { "step", "samples" }
parser:option("--size", "sides of x and y", "64"):convert(math.tointeger)
parser:option("--batch", "samples in a training step", "2"):convert(math.tointeger)
parser:option("--reps", "timed repetitions", "9"):convert(math.tointeger)
parser:option("--threads", "threads", "1"):convert(math.tointeger)
local args = parser:parse()

local function model_of(precision)
  local shape = { 3, args.size, args.size }
  cglow.seed(1)
  if args.model == "encoder" then
    return cglow.Model { x = shape, y = shape, encoder = {}, head = { outputs = 2 }, precision = precision }
  end
  return cglow.Model { x = shape, y = shape, coupling = { width = 256 }, init = "orthogonal", precision = precision }
end

local function job(precision)
  local model, n, size = model_of(precision), args.batch, args.size
  local x, y = cglow.rand(n, 3, size, size), cglow.rand(n, 3, size, size)
  local with = { head = args.model == "encoder" and cglow.ones(n, size, size) or nil }
  local adam = cglow.optim.Adam(model:parameters(), { lr = 2e-4, clip_value = 0.25 })
  local function step()
    model:zero_grad()
    assert(model:loss_and_grad(x, y, with))
    assert(adam:step())
  end
  if args.what == "step" then return step end
  step()
  return function() model:sample(x:narrow(1, 1, 1), { n = 10 }) end
end

local function median(list)
  table.sort(list)
  return list[math.floor((#list + 1) / 2)]
end

cglow.threads(args.threads)
-- Of one thread processor time, which other programs do not add to.
local clock = args.threads == 1 and os.clock or core.system.clock
local jobs, times, ratios = { job "fp32", job "bf16" }, { {}, {} }, {}
for rep = 0, args.reps do -- the first does not count
  local took = {}
  for i, run in ipairs(jobs) do
    collectgarbage()
    local start = clock()
    run()
    took[i] = clock() - start
  end
  if rep > 0 then
    ratios[rep] = took[1] / took[2]
    for i = 1, 2 do times[i][rep] = took[i] end
  end
end
local quarter = math.floor(#ratios / 4)
local ratio, low, high = median(ratios), ratios[1 + quarter], ratios[#ratios - quarter]
for i = 1, 2 do median(times[i]) end
local LINE = "%s, %s, %d×%d%s, %d threads: fp32 %.1f ms, bf16 %.1f ms, %.2f times (fastest of %d); "
  .. "median of pairs %.2f (%.2f to %.2f)"
print(LINE
  :format(args.what, args.model, args.size, args.size, args.what == "step" and (", batch %d"):format(args.batch) or "",
    args.threads, 1e3 * times[1][1], 1e3 * times[2][1], times[1][1] / times[2][1], args.reps, ratio, low, high))
