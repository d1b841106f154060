#!/usr/bin/env lua5.4
-- How fast on several ranks: steps alone, with the exchange of gradients, and the exchange
-- alone, and from them what a cluster may be expected to do. See --help.
local argparse = require "argparse"
local cglow = require "cglow"
local core = require "cglow.core"
local exchange = require "cglow.train.exchange"
local json = require "cglow.util.json"

local clock = core.system.clock
local BYTES <const> = 4 -- of a number

local parser = argparse("benchmark_ranks.lua", "Time training steps on several ranks.")
  :epilog "Started alone, it starts itself under mpirun for each number of ranks."
parser:option("--ranks", "numbers of ranks, e.g. 1,2,4", "1,2")
parser:option("--size", "image side", "64"):convert(tonumber)
parser:option("--batch", "samples of each rank", "1"):convert(tonumber)
parser:option("--threads", "threads of each rank", "1"):convert(tonumber)
parser:option("--model", "published or encoder", "published"):choices {"published", "encoder"}
parser:option("--reps", "timed repetitions of each", "9"):convert(tonumber)
parser:option("--mpirun", "how to start ranks", "mpirun --oversubscribe --bind-to none")
parser:flag("--one-process", "time one process without MPI, too: all ranks' threads and samples")
parser:flag("--simulate", "also simulate a cluster from what was measured")
parser:flag("--one", "measure in this process, which mpirun has started"):hidden(true)
local args = parser:parse()

local function median(list)
  local t = table.move(list, 1, #list, 1, {})
  table.sort(t)
  return t[(#t + 1) // 2]
end

local function make_model()
  local n = args.size
  local o = {x = {3, n, n}, y = {3, n, n}, levels = 3, depth = 8, rng = core.Rng(1)}
  if args.model == "encoder" then
    o.encoder, o.coupling = {channels = {32, 64, 96, 128, 128}}, {width = 64}
  else
    o.cn, o.coupling, o.init = {channels = 64, width = 128}, {width = 256}, "orthogonal"
  end
  return cglow.Model(o)
end

-- ---- what is timed, on each rank -------------------------------------------------

-- A step; `shared`: the exchange of gradients, or nil.
local function stepper(model, batch, shared)
  local n = args.size
  local x, y = cglow.rand(batch, 3, n, n), cglow.rand(batch, 3, n, n)
  local adam = cglow.optim.Adam(model:parameters(), {lr = 2e-4, clip_value = 0.25})
  return function(done)
    model:zero_grad()
    if shared then shared:begin() end
    assert(model:loss_and_grad(x, y, {done = shared and shared.done or done}))
    if shared then
      shared:send_rest()
      shared:finish()
    end
    assert(adam:step())
  end
end

-- The slowest rank's time of each repetition, and its median: all begin together.
local function timed(mpi, f)
  local times, spread = {}, core.zeros(mpi.size())
  for i = 0, args.reps do
    mpi.barrier()
    local before = clock()
    f()
    mpi.igather(core.tensor {clock() - before}, spread):wait()
    if i > 0 then times[i] = (spread:max()) end
  end
  return median(times)
end

-- When the backward pass is done with each part, as a share of the whole step: of the
-- quickest of a few. What comes after the layers is done with the pass itself.
local function moments(model, step)
  local best, least = nil, math.huge
  local backward = model.loss_and_grad
  for _ = 1, args.reps do
    local at, start = {}, clock()
    function model.loss_and_grad(...)
      local loss, dy = backward(...)
      at[#at + 1] = clock() - start
      return loss, dy
    end
    step(function(part) at[part] = clock() - start end)
    local whole = clock() - start
    for part = 1, #at do at[part] = at[part] / whole end
    if whole < least then best, least = at, whole end
  end
  model.loss_and_grad = nil
  return best
end

local function measure()
  local mpi <close> = require "cglow.mpi"
  core.threads(args.threads)
  local model = make_model()
  local alone = stepper(model, args.batch)
  alone()
  local r = {ranks = mpi.size(), alone = timed(mpi, alone), moments = moments(model, alone)}
  if r.ranks == 1 then -- a trainer of its own exchanges nothing
    r.together, r.bytes, r.exchange = r.alone, 0, 0
    return print("RESULT " .. json.encode(r))
  end
  local shared = exchange.new(mpi, model, args.batch)
  local together = stepper(model, args.batch, shared)
  together()
  r.together, r.bytes = timed(mpi, together), shared:bytes()
  r.exchange = timed(mpi, function()
    shared:begin()
    shared:send_rest()
    shared:finish()
  end)
  if mpi.rank() == 0 then print("RESULT " .. json.encode(r)) end
end

-- ---- a cluster, simulated ---------------------------------------------------------

local NETWORKS <const> = {
  {name = " 10 Gbit/s Ethernet", bandwidth = 10e9 / 8, latency = 30e-6},
  {name = "100 Gbit/s Ethernet", bandwidth = 100e9 / 8, latency = 10e-6},
  {name = "200 Gbit/s InfiniBand", bandwidth = 200e9 / 8, latency = 2e-6},
}
local MESSAGE <const> = 0.5e-6 -- seconds of a processor for each message

-- Seconds of a step on so many nodes: a bucket sets out when its part is done and the one
-- before it has left; a sum is two rounds of messages to all others; the optimizer begins
-- when all has come.
local function simulate(model, step, at, nodes, network)
  local free, computed = 0, at[#at] * step
  for _, bucket in ipairs(exchange.plan(model, args.batch, nodes)) do
    local rounds = bucket.kind == "flat" and 2 or 1
    local begin = math.max(free, at[bucket.part] * step)
    free = begin + bucket.numbers * BYTES / network.bandwidth
      + rounds * (network.latency + (nodes - 1) * MESSAGE)
  end
  return math.max(computed, free) + step - computed
end

local function print_simulation(r)
  local model, nodes = make_model(), {2, 4, 8, 16, 32, 64, 128, 256}
  print(("A simulation from the step of %.1f ms above: efficiency (weak scaling, %%) by nodes"):format(r.alone * 1e3))
  print((" "):rep(22) .. ("%6d"):rep(#nodes):format(table.unpack(nodes)))
  for _, network in ipairs(NETWORKS) do
    local line = ("  %-20s"):format(network.name)
    for _, n in ipairs(nodes) do
      line = line .. ("%6.0f"):format(100 * r.alone / simulate(model, r.alone, r.moments, n, network))
    end
    print(line)
  end
  local line = "  MB that leave a node"
  for _, n in ipairs(nodes) do
    local numbers = 0
    for _, bucket in ipairs(exchange.plan(model, args.batch, n)) do numbers = numbers + bucket.numbers end
    line = line .. ("%6.0f"):format(numbers * BYTES / 1e6)
  end
  print(line)
end

-- ---- starting the ranks --------------------------------------------------------------

local function start(ranks)
  local as_root = "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"
  local command = ("%s OMP_NUM_THREADS=%d %s -n %d %s %s --one"):format(as_root, args.threads, args.mpirun, ranks,
    os.getenv "LUA" or "lua5.4", arg[0])
  for _, name in ipairs {"size", "batch", "threads", "model", "reps"} do
    command = ("%s --%s %s"):format(command, name, args[name])
  end
  local pipe <close> = assert(io.popen(command))
  local text = pipe:read "a"
  local result = text:match "RESULT ([^\n]*)"
  if not result then error("the ranks gave no result:\n" .. text) end
  return assert(json.decode(result))
end

local function say(r, first)
  -- Of the exchange, what makes a step longer is seen and the rest is hidden.
  local seen = math.max(0, r.together - r.alone)
  local hidden = r.exchange > 0 and 100 * (1 - math.min(1, seen / r.exchange)) or 100
  print(("%3d ranks: step %.1f ms alone, %.1f with exchange (%.2f MB, %.1f ms by itself, %.0f %% hidden)"):format(
    r.ranks, r.alone * 1e3, r.together * 1e3, r.bytes / 1e6, r.exchange * 1e3, hidden))
  print(("           %.1f samples/s, %.0f %% of %d/%d times those of %d"):format(r.ranks * args.batch / r.together,
    100 * first.together / r.together, r.ranks, first.ranks, first.ranks))
end

local function one_process(ranks)
  core.threads(args.threads * ranks)
  local step = stepper(make_model(), args.batch * ranks)
  step()
  local times = {}
  for i = 1, args.reps do
    local before = clock()
    step()
    times[i] = clock() - before
  end
  print(("one process of %d threads, batch %d: step %.1f ms, %.1f samples/s"):format(args.threads * ranks,
    args.batch * ranks, median(times) * 1e3, args.batch * ranks / median(times)))
end

if args.one then return measure() end
local counts = {}
for n in args.ranks:gmatch "%d+" do counts[#counts + 1] = math.tointeger(n) end
print(("%s model, %d×%d, batch %d and %d threads on each rank, medians of %d"):format(args.model, args.size, args.size,
  args.batch, args.threads, args.reps))
local first
for _, n in ipairs(counts) do
  local r = start(n)
  first = first or r
  say(r, first)
  if args.one_process then one_process(n) end
end
if args.simulate then print_simulation(first) end
