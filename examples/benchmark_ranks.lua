-- What `benchmark.lua --ranks` does: steps on several ranks, alone, with the exchange of
-- gradients, and the exchange alone; and from them what a cluster may be expected to do.
local core = require "cglow.core"
local exchange = require "cglow.train.exchange"
local json = require "cglow.util.json"

local clock = core.system.clock
local BYTES <const> = core.scalar == "double" and 8 or 4 -- of a number

local M = {}

-- What else runs on a machine only ever makes a time longer.
local function least(list) return math.min(table.unpack(list)) end

local function median(list)
  local t = table.move(list, 1, #list, 1, {})
  table.sort(t)
  return t[(#t + 1) // 2]
end

-- ---- what is timed, on each rank -------------------------------------------------

-- A step; `shared`: the exchange of gradients, or nil. `step` is called with what the
-- model is told beside x and y, and with what comes before the optimizer's step.
local function with_exchange(step, shared)
  if not shared then return function(done) step(done) end end
  return function()
    shared:begin()
    step(shared.done, function()
      shared:send_rest()
      shared:finish()
    end)
  end
end

-- The slowest rank's time of the quickest repetition: all begin together.
local function timed(mpi, reps, f)
  local times, spread = {}, core.zeros(mpi.size())
  for i = 0, reps do
    mpi.barrier()
    local before = clock()
    f()
    mpi.igather(core.tensor {clock() - before}, spread):wait()
    if i > 0 then times[i] = (spread:max()) end
  end
  return least(times)
end

-- When the backward pass is done with each part, as a share of the whole step: of the
-- quickest of a few. Parts that were told of together were done together.
local function moments(reps, parts, step)
  local best, quickest = nil, math.huge
  for _ = 1, reps do
    local at, start, told = {}, clock(), 0
    local function done(part)
      for k = told + 1, part do at[k] = clock() - start end
      told = part
    end
    step(done, function() done(parts) end)
    local whole = clock() - start
    for part = 1, parts do at[part] = at[part] / whole end
    if whole < quickest then best, quickest = at, whole end
  end
  return best
end

--- Measure in this process, which mpirun has started, and print it as a line of JSON.
-- @tparam table o `reps`, `threads`, `batch`, and `make` = function() that returns a model and a
-- function(done, before) that makes a step of it: `done` is told of parts of the gradients,
-- `before` is called before the optimizer is
function M.measure(o)
  local mpi <close> = require "cglow.mpi"
  core.threads(o.threads)
  local model, step = o.make()
  step()
  local r = {ranks = mpi.size(), alone = timed(mpi, o.reps, step),
    moments = moments(o.reps, #model:gradient_parts(), step)}
  if r.ranks == 1 then -- a trainer of its own exchanges nothing
    r.together, r.bytes, r.exchange = r.alone, 0, 0
    return print("RESULT " .. json.encode(r))
  end
  local shared = exchange.new(mpi, model, o.batch)
  local together = with_exchange(step, shared)
  together()
  r.together, r.bytes = timed(mpi, o.reps, together), shared:bytes()
  r.exchange = timed(mpi, o.reps, function()
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
local NODES <const> = {2, 4, 8, 16, 32, 64, 128, 256}
local MESSAGE <const> = 0.5e-6 -- seconds of a processor for each message

-- Seconds of a step on so many nodes, and the share of the exchange that is hidden behind
-- computing: a bucket sets out when its part is done and the one before it has left; a sum
-- is two rounds of messages to all others; the optimizer begins when all has come.
local function simulate(plan, step, at, nodes, network)
  local free, travels, computed = 0, 0, at[#at] * step
  for _, bucket in ipairs(plan) do
    local rounds = bucket.kind == "flat" and 2 or 1
    local seconds = bucket.numbers * BYTES / network.bandwidth + rounds * (network.latency + (nodes - 1) * MESSAGE)
    free, travels = math.max(free, at[bucket.part] * step) + seconds, travels + seconds
  end
  local seen = math.max(0, free - computed)
  return step + seen, 1 - seen / travels
end

local function row(name, format, numbers)
  print(("  %-31s"):format(name) .. (format):rep(#numbers):format(table.unpack(numbers)))
end

local function print_simulation(model, batch, r)
  print(("  A simulation from the step of %.1f ms: nodes"):format(r.alone * 1e3))
  row("", "%6d", NODES)
  local plans, sent = {}, {}
  for i, nodes in ipairs(NODES) do
    plans[i], sent[i] = exchange.plan(model, batch, nodes), 0
    for _, bucket in ipairs(plans[i]) do sent[i] = sent[i] + bucket.numbers * BYTES / 1e6 end
  end
  row("MB that leave a node", "%6.1f", sent)
  for _, network in ipairs(NETWORKS) do
    local efficiency, hidden = {}, {}
    for i, nodes in ipairs(NODES) do
      local step, share = simulate(plans[i], r.alone, r.moments, nodes, network)
      efficiency[i], hidden[i] = 100 * r.alone / step, 100 * share
    end
    row(network.name .. ", % of perfect", "%6.0f", efficiency)
    row((" "):rep(14) .. "of it hidden, %", "%6.0f", hidden)
  end
end

-- ---- starting the ranks --------------------------------------------------------------

local function start(ranks, o)
  local command = ("OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=%d %s -n %d %s"):format(
    o.threads, o.mpirun, ranks, o.again)
  local pipe <close> = assert(io.popen(command))
  local text = pipe:read "a"
  local result = text:match "RESULT ([^\n]*)"
  if not result then error("the ranks gave no result:\n" .. text) end
  return assert(json.decode(result))
end

local function say(r, o, first)
  print(("  %d rank%s: step %.1f ms alone, %.1f with exchange; %.1f samples/s, %.0f %% of %d times those of %d"):format(
    r.ranks, r.ranks > 1 and "s" or "", r.alone * 1e3, r.together * 1e3, r.ranks * o.batch / r.together,
    100 * first.together / r.together, r.ranks // first.ranks, first.ranks))
  if r.exchange == 0 then return end
  -- The part of the exchange that makes a step longer is seen, and the rest is hidden.
  local seen = math.max(0, r.together - r.alone)
  print(("    %.2f MB leave a rank; %.1f ms by themselves, %.0f %% hidden (through this machine's memory)"):format(
    r.bytes / 1e6, r.exchange * 1e3, 100 * (1 - math.min(1, seen / r.exchange))))
end

-- The quickest step of one process of several threads.
local function one_process(threads, batch, o)
  core.threads(threads)
  local _, step = o.make(batch)
  local times = {}
  for i = 0, o.reps do
    local before = clock()
    step()
    if i > 0 then times[i] = clock() - before end
  end
  return least(times)
end

-- Ranks against one process of as many threads and samples, in turns.
local function compare(ranks, o)
  local several, one, ratios = {}, {}, {}
  for turn = 1, o.turns do
    several[turn], one[turn] = start(ranks, o).together, one_process(o.threads * ranks, o.batch * ranks, o)
    ratios[turn] = one[turn] / several[turn]
    collectgarbage()
  end
  print(("  %d turns: %d ranks %.1f ms, one process of %d threads, batch %d %.1f ms; %.2f times (%.2f to %.2f)")
    :format(o.turns, ranks, median(several) * 1e3, o.threads * ranks, o.batch * ranks, median(one) * 1e3,
      median(ratios), least(ratios), math.max(table.unpack(ratios))))
end

--- Start ranks, print what they measured, and a simulation of a cluster.
-- @tparam table o as for `measure`; `ranks` = {n, …}; `mpirun`, the command; `again`, the command line
-- of a rank; `turns` against one process, 0: none
function M.run(o)
  local first
  for _, ranks in ipairs(o.ranks) do
    local r = start(ranks, o)
    first = first or r
    say(r, o, first)
    if o.turns > 0 and ranks > 1 then compare(ranks, o) end
  end
  print_simulation(o.make(), o.batch, first)
end

return M
