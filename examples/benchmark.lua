#!/usr/bin/env lua5.4
-- How fast training steps and ten-sample predictions are: at the paper's sizes, alone or in
-- turns with the PyTorch peer; or steps on several ranks. See --help.
local here = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = ("%s/../lua/?.lua;%s/../lua/?/init.lua;%s"):format(here, here, package.path)
package.cpath = ("%s/../lua/?.so;%s"):format(here, package.cpath)

local cglow = require "cglow" -- first: it says which Lua it needs
local argparse = require "argparse"
local core = require "cglow.core"
local cost = require "cglow.model.cost"
local json = require "cglow.util.json"

local clock, memory = core.system.clock, core.system.memory

-- Like 32,64: argparse reports nil with the message.
local function numbers(text)
  local list = {}
  for n in (text .. ","):gmatch("([^,]*),") do
    list[#list + 1] = n:match("^%d+$") and tonumber(n) or 0
    if list[#list] < 1 then return nil, ("'%s': positive integers, separated by commas, expected"):format(text) end
  end
  return list
end

local function number(text)
  local list, why = numbers(text)
  return list and list[1], why
end

local parser = argparse("benchmark.lua",
  "Time training steps and predictions of conditional Glow at the paper's sizes.")
parser:option("--sizes", "image sides (32,64,128; with --ranks 64)"):convert(numbers)
parser:option("--batches", "batch sizes of a training step (2,16; with --ranks 1)"):convert(numbers)
parser:option("--images", "images predicted at once", "1,16"):convert(numbers)
parser:option("--reps", "timed repetitions of each", "9"):convert(number)
parser:option("--threads", "threads of both programs (2), or of each rank (1)"):convert(number)
parser:option("--peer", "also run this PyTorch peer in turns, e.g. spec/oracle/peer.py"):args("?")
parser:option("--peer-blas-threads", "threads of the peer's BLAS (PyTorch's default: one for each core)", "1")
  :convert(number)
parser:option("--python", "interpreter that has torch", "/usr/bin/python3")
parser:option("--model",
  "networks of each layer, as published, or one encoder of x for all (paper; with --ranks both)")
  :choices { "paper", "encoder" }
parser:option("--precision", "of the networks' products", "fp32"):choices { "fp32", "bf16" }
parser:option("--levels", "L", "3"):convert(number)
parser:option("--cn", "n_c and n_w of the conditioning networks", "64,128"):convert(numbers)
parser:flag("--profile", "time by kind of layer")
parser:flag("--recompute", "keep less for the backward pass")
parser:flag("--no-train", "leave training out")
parser:flag("--no-predict", "leave prediction out")
parser:option("--ranks", "numbers of ranks, e.g. 1,2,4: time training steps on each, started with mpirun, and "
  .. "simulate a cluster from the first"):convert(numbers)
parser:option("--turns", "with --ranks: time so often, in turns, one process of as many threads and samples", "0")
  :convert(tonumber)
parser:option("--mpirun", "with --ranks: how to start them", "mpirun --oversubscribe --bind-to none")
parser:flag("--one", "measure in this process, which mpirun has started"):hidden(true)
parser:flag("--json", "print one JSON object instead of text")

local function sorted(list)
  local t = table.move(list, 1, #list, 1, {})
  table.sort(t)
  return t
end

local function summary(times)
  local t = sorted(times)
  local quarter = math.floor(#t / 4)
  return { median = t[math.floor((#t + 1) / 2)], low = t[1 + quarter], high = t[#t - quarter] }
end

-- ---- the peer: lines through a pipe and a fifo ----

local Peer = {}
Peer.__index = Peer

function Peer.start(python, script, threads, blas_threads)
  local fifo = os.tmpname()
  os.remove(fifo)
  assert(os.execute("mkfifo " .. fifo), "cannot make a fifo")
  local command = ("%s %s --threads %d --blas-threads %d > %s"):format(python, script, threads, blas_threads, fifo)
  local to = assert(io.popen(command, "w"))
  local from = assert(io.open(fifo, "r"))
  os.remove(fifo)
  return setmetatable({ to = to, from = from }, Peer)
end

function Peer:ask(line)
  self.to:write(line, "\n")
  self.to:flush()
  local answer = self.from:read("l") or "error the peer has ended"
  if answer:match("^error") then error("peer: " .. answer) end
  return tonumber(answer)
end

function Peer:stop()
  pcall(self.ask, self, "quit")
  self.to:close()
  self.from:close()
end

-- ---- what is timed ----

local args = parser:parse()
local of_ranks = args.ranks or args.one
args.sizes = args.sizes or (of_ranks and { 64 } or { 32, 64, 128 })
args.batches = args.batches or (of_ranks and { 1 } or { 2, 16 })
args.threads = args.threads or (of_ranks and 1 or 2)
if not of_ranks then args.model = args.model or "paper" end

core.precision(args.precision)

local models = {}

function models.paper(shape)
  return {
    x = shape, y = shape, cn = { channels = args.cn[1], width = args.cn[2] }, coupling = { width = 256 },
    init = "orthogonal",
  }
end

function models.encoder(shape) return { x = shape, y = shape, encoder = {}, head = { outputs = 2 } } end

local SETUP = { paper = "setup %d %d", encoder = "setup_encoder %d %d" }

local function new_model(size, recompute)
  cglow.seed(1)
  local opts = models[args.model] { 3, size, size }
  opts.levels, opts.depth, opts.recompute = args.levels, 8, recompute
  return cglow.Model(opts)
end

-- A step of training: `done` is told of parts of the gradients, `before` is called before
-- the optimizer is.
local function trainer(model, size, batch)
  local x, y = cglow.rand(batch, 3, size, size), cglow.rand(batch, 3, size, size)
  local with = { head = args.model == "encoder" and cglow.ones(batch, size, size) or nil }
  local adam = cglow.optim.Adam(model:parameters(), { lr = 2e-4, clip_value = 0.25 })
  return function(done, before)
    model:zero_grad()
    with.done = done
    assert(model:loss_and_grad(x, y, with))
    if before then before() end
    assert(adam:step())
  end
end

local function timed(f)
  local start = clock()
  f()
  return clock() - start
end

-- Time ours and the peer's commands in turns; the first round does not count.
local function rounds(reps, ours, peer, commands)
  local times, theirs = {}, {}
  for i = 0, reps do
    collectgarbage()
    local t = timed(ours)
    if i > 0 then times[i] = t end
    for _, command in ipairs(peer and commands or {}) do
      theirs[command] = theirs[command] or {}
      local s = peer:ask(command)
      if i == 0 then s = peer:ask(command) end -- one-off work inside PyTorch comes twice
      if i > 0 then theirs[command][i] = s end
    end
  end
  local result = summary(times)
  for command, list in pairs(theirs) do
    result.peer = result.peer or {}
    local s = summary(list)
    s.ratio = s.median / result.median
    result.peer[command] = s
  end
  return result
end

-- ---- time by kind of layer ----

local function spy(object, kind, spent, methods)
  local proxy = {}
  for _, name in ipairs(methods) do
    proxy[name] = function(_, ...)
      local start = clock()
      local r = table.pack(object[name](object, ...))
      local key = kind .. " " .. name
      spent[key] = (spent[key] or 0) + clock() - start
      return table.unpack(r, 1, r.n)
    end
  end
  return proxy
end

local function profile(model, step, reps)
  local spent = {}
  for _, layer in ipairs(model.layers) do
    layer.flow = spy(layer.flow, layer.kind, spent, { "forward", "log_prob", "backward", "parameters" })
    layer.run = layer.run and layer.flow
  end
  if model.net_group then
    model.net_group = spy(model.net_group, "conditioning networks", spent, { "forward", "backward" })
  end
  if model.encoder then
    model.encoder.net = spy(model.encoder.net, "encoder", spent, { "forward", "backward" })
    for _, level in ipairs(model.encoder.levels) do
      level.map = spy(level.map, "features", spent, { "forward", "backward" })
    end
  end
  local total = 0
  for _ = 1, reps do total = total + timed(step) end
  local rest = total
  for key, t in pairs(spent) do
    rest = rest - t
    spent[key] = t / reps
  end
  spent["optimizer and the rest"] = rest / reps
  return spent
end

-- ---- output ----

local function say_times(what, r)
  print(("  %-28s %8.1f ms  (quartiles %.1f – %.1f)"):format(what, r.median * 1e3, r.low * 1e3, r.high * 1e3))
end

local function say_peer(r)
  for command, p in pairs(r.peer or {}) do
    print(("    peer %-21s %8.1f ms  → %.2f times our time"):format(command, p.median * 1e3, p.ratio))
  end
end

local function say_train(r, batch, peak)
  say_times(("training step, batch %d"):format(batch), r)
  print(("    %.1f Gflop, %.0f Gflop/s = %.0f %% of peak; Adam moves at least %.0f MB; peak memory %.0f MB")
    :format(r.flops / 1e9, r.flops / r.median / 1e9, 100 * r.flops / r.median / peak, r.adam_bytes / 1e6,
      r.peak_memory / 1e6))
  say_peer(r)
  local keys = {}
  for key in pairs(r.profile or {}) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return r.profile[a] > r.profile[b] end)
  for _, key in ipairs(keys) do print(("    %-34s %7.2f ms"):format(key, r.profile[key] * 1e3)) end
end

local function bench_train(peer, size, batch, quiet, peak)
  if peer then peer:ask(SETUP[args.model]:format(size, batch)) end
  local model = new_model(size, args.recompute)
  local step = trainer(model, size, batch)
  step()
  local r = rounds(args.reps, step, peer, { "train" })
  r.size, r.batch = size, batch
  r.flops = cost.flops(model, batch).train
  r.parameters = model:parameter_count()
  r.adam_bytes = 6 * 4 * r.parameters -- reads and writes value and two moments
  r.peak_memory = select(2, memory())
  if args.profile then r.profile = profile(model, step, args.reps) end
  if not quiet then say_train(r, batch, peak) end
  return r
end

local function bench_predict(peer, size, images, quiet)
  if peer then peer:ask(SETUP[args.model]:format(size, images)) end
  local model, x = new_model(size), cglow.rand(images, 3, size, size)
  local r = rounds(args.reps, function() model:predict(x, { samples = 10 }) end, peer,
    { "predict_seq 10", "predict_rep 10" })
  r.size, r.images = size, images
  if not quiet then
    say_times(("predict %d image%s, 10 samples"):format(images, images > 1 and "s" or ""), r)
    say_peer(r)
  end
  return r
end

-- ---- several ranks ----

local function run_ranks()
  local ranks = dofile(here .. "/benchmark_ranks.lua")
  for _, kind in ipairs(args.model and { args.model } or { "paper", "encoder" }) do
    for _, size in ipairs(args.sizes) do
      for _, batch in ipairs(args.batches) do
        local o = { reps = args.reps, threads = args.threads, batch = batch, turns = args.turns, mpirun = args.mpirun,
          ranks = args.ranks }
        function o.make(samples)
          args.model = kind
          local model = new_model(size, args.recompute)
          return model, trainer(model, size, samples or batch)
        end
        if args.one then return ranks.measure(o) end
        local given = "--model %s --sizes %d --batches %d --threads %d --reps %d --levels %d --cn %d,%d%s"
        o.again = ("%s %s --one "):format(os.getenv "LUA" or "lua5.4", arg[0]) .. given:format(kind, size, batch,
          args.threads, args.reps, args.levels, args.cn[1], args.cn[2], args.recompute and " --recompute" or "")
        print(("%s model, %d×%d, batch %d and %d thread%s on each rank, the quickest of %d"):format(kind, size, size,
          batch, args.threads, args.threads > 1 and "s" or "", args.reps))
        ranks.run(o)
      end
    end
  end
end

if of_ranks then return run_ranks() end

cglow.threads(args.threads)
local peak = core.peak_flops(0.5) -- before the peer starts and loads PyTorch
local script = args.peer and (args.peer[1] or "spec/oracle/peer.py")
local peer = script and Peer.start(args.python, script, args.threads, args.peer_blas_threads)
local all = { peak_flops = peak, threads = args.threads, machine = core.system.machine(), train = {}, predict = {} }
if peer then all.peer_blas_threads = args.peer_blas_threads end
if not args.json then
  print(("%d threads, instructions: %s, FMA peak %.0f Gflop/s, medians of %d"):format(args.threads,
    all.machine.instructions, peak / 1e9, args.reps))
end
for _, size in ipairs(args.sizes) do
  if not args.json then print(("%d×%d"):format(size, size)) end
  for _, batch in ipairs(args.no_train and {} or args.batches) do
    all.train[#all.train + 1] = bench_train(peer, size, batch, args.json, peak)
    collectgarbage()
  end
  for _, images in ipairs(args.no_predict and {} or args.images) do
    all.predict[#all.predict + 1] = bench_predict(peer, size, images, args.json)
    collectgarbage()
  end
end
if peer then peer:stop() end
if args.json then print(json.encode(all)) end
