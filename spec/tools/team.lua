-- What keeps many threads from being as many times as fast: the phases of a training step, simulated
-- on one processor (spec/tools/team.c).
--
--     make team && lua5.4 spec/tools/team.lua [--model encoder] [--batch 2] [--size 64] [--threads 16] [--phases N]
--
-- Printed for each part of a step: milliseconds of one thread alone, between teams, and of the team
-- together; phases, each of which ends with a barrier; how many threads had something to do in the phase
-- that had the fewest, of those that matter; and how many times as fast as one thread the part may become.
local here = arg[0]:match("^(.*)/spec/tools/[^/]*$") or "."
package.path = ("%s/lua/?.lua;%s/lua/?/init.lua;%s"):format(here, here, package.path)
package.cpath = ("%s/lua/?.so;%s"):format(here, package.cpath)

local LIBRARY <const> = here .. "/build/team.so"

local function quote(s) return "'" .. s:gsub("'", "'\\''") .. "'" end

if not (os.getenv "LD_PRELOAD" or ""):find("team.so", 1, true) then
  local list = {}
  for i = 0, #arg do list[#list + 1] = quote(arg[i]) end
  os.exit(os.execute(("LD_PRELOAD=%s OPENBLAS_NUM_THREADS=1 %s %s"):format(quote(LIBRARY), os.getenv "LUA" or "lua5.4",
    table.concat(list, " "))) == true)
end

local argparse = require "argparse"
local cglow = require "cglow"
local core = require "cglow.core"
local team = assert(package.loadlib(LIBRARY, "luaopen_team"))()

local parser = argparse("team.lua", "Simulate a training step on many threads.")
parser:option("--model", "paper or encoder", "encoder"):choices {"paper", "encoder"}
parser:option("--batch", "samples", "2"):convert(math.tointeger)
parser:option("--size", "image side", "64"):convert(math.tointeger)
parser:option("--threads", "of the team", "16"):convert(math.tointeger)
parser:option("--reps", "steps: of each phase the quickest counts", "9"):convert(math.tointeger)
parser:option("--phases", "also list so many phases in which most time is lost", "0"):convert(math.tointeger)
parser:option("--losses", "also list so many functions in which most time is lost", "0"):convert(math.tointeger)
parser:option("--list", "also list all phases of this part, in order")
parser:option("--barrier", "microseconds that a barrier is taken to cost", "3"):convert(tonumber)
local args = parser:parse()

-- ---- the step, with labels ----------------------------------------------------------

local labels, index = {}, {}
local function label_of(name)
  if not index[name] then
    labels[#labels + 1] = name
    index[name] = #labels
  end
  return index[name]
end
local REST <const> = label_of "the rest"

-- An object whose methods say whose time is spent.
local function spy(object, kind, methods)
  local proxy = setmetatable({}, {__index = function(_, key)
    local f = object[key]
    return type(f) == "function" and function(_, ...) return f(object, ...) end or f
  end})
  for _, name in ipairs(methods) do
    proxy[name] = object[name] and team.spy(object, object[name], label_of(kind .. " " .. name), REST)
  end
  return proxy
end

local function build()
  local n = args.size
  local shape = {3, n, n}
  if args.model == "encoder" then return cglow.Model {x = shape, y = shape, encoder = {}, head = {outputs = 2}} end
  return cglow.Model {x = shape, y = shape, levels = 3, depth = 8, cn = {channels = 64, width = 128},
    coupling = {width = 256}, init = "orthogonal"}
end

local function label_parts(model)
  for _, layer in ipairs(model.layers) do
    layer.flow = spy(layer.flow, layer.kind, {"forward", "log_prob", "backward"})
    layer.run = layer.run and layer.flow
  end
  if model.net_group then model.net_group = spy(model.net_group, "conditioning networks", {"forward", "backward"}) end
  local encoder = model.encoder
  if not encoder then return end
  encoder.net = spy(encoder.net, "U-Net", {"forward", "backward"})
  encoder.head = encoder.head and spy(encoder.head, "head", {"forward", "backward"})
  for _, level in ipairs(encoder.levels) do level.map = spy(level.map, "features", {"forward", "backward"}) end
end

-- A step as a trainer makes it: uniform noise, mirror images, gradients, clipping by norm, Adam, averages.
local function stepper()
  cglow.seed(1)
  core.threads(1)
  local model = build()
  local n, batch = args.size, args.batch
  local x, y = cglow.rand(batch, 3, n, n), cglow.rand(batch, 3, n, n)
  local head = args.model == "encoder" and cglow.ones(batch, n, n) or nil
  assert(model:loss_and_grad(x, y, {head = head}))
  local params = model:parameters()
  local adam = cglow.optim.Adam(params, {lr = 2e-4, clip_norm = 1})
  local average = core.average(params)
  label_parts(model)
  local noise, rng = core.zeros(batch, 3, n, n), core.Rng(3)
  local function part(name, f, ...)
    team.label(label_of(name))
    local r = table.pack(f(...))
    team.label(REST)
    return table.unpack(r, 1, r.n)
  end
  return function()
    part("noise", rng.fill_uniform, rng, noise)
    part("noise", noise.mul, noise, 1 / 256)
    part("noise", noise.add, noise, y)
    part("zero_grad", model.zero_grad, model)
    assert(model:loss_and_grad(x, noise, {head = head}))
    assert(part("Adam, clipping by norm", adam.step, adam))
    part("average of weights", average.update, average, 0.999)
  end
end

-- ---- notes -----------------------------------------------------------------------------

-- The phases of a step, all of which have the same ones: of each the least of several steps.
local function least_of(step, threads)
  core.threads(threads)
  step()
  local best
  for _ = 1, args.reps do
    team.begin()
    step()
    local notes, list = team.finish(), {}
    for i = 1, #notes, 6 do
      list[#list + 1] = {label = notes[i] // 1 | 0, threads = notes[i + 1] // 1 | 0, busy = notes[i + 2] // 1 | 0,
        sum = notes[i + 3], most = notes[i + 4], where = notes[i + 5] // 1 | 0}
    end
    best = best or list
    assert(#list == #best, "the phases of a step change")
    for i, phase in ipairs(list) do
      best[i].sum, best[i].most = math.min(best[i].sum, phase.sum), math.min(best[i].most, phase.most)
      best[i].busy = math.max(best[i].busy, phase.busy)
    end
  end
  return best
end

-- The function that a team's loop stands in.
local names = {}
local function function_of(where)
  if not names[where] then
    local pipe <close> = assert(io.popen(("addr2line -f -e %s %#x"):format(quote(package.searchpath("cglow.core",
      package.cpath)), where)))
    names[where] = pipe:read "l":gsub("%._omp_fn%.%d+$", "")
  end
  return names[where]
end

-- Sums of each part.
local function parts_of(list)
  local parts = {}
  for _, phase in ipairs(list) do
    local s = parts[phase.label] or {alone = 0, work = 0, most = 0, phases = 0, losses = {}}
    parts[phase.label] = s
    if phase.threads == 1 then
      s.alone = s.alone + phase.sum
    else
      s.work, s.most, s.phases = s.work + phase.sum, s.most + phase.most, s.phases + 1
      s.losses[s.phases] = phase
    end
  end
  return parts
end

-- The fewest busy threads of phases that take a tenth of the part's time together.
local function fewest(s)
  table.sort(s.losses, function(a, b) return a.busy < b.busy end)
  local time = 0
  for _, phase in ipairs(s.losses) do
    time = time + phase.most
    if time >= 0.1 * s.most then return phase.busy end
  end
  return 0
end

local step = stepper()
local one = parts_of(least_of(step, 1))
local many_steps = least_of(step, args.threads)
local many = parts_of(many_steps)

local order, total = {}, {one = 0, many = 0, alone = 0, phases = 0, work = 0, most = 0}
for id, s in pairs(many) do
  s.id, s.one = id, one[id] and one[id].alone + one[id].work or 0
  s.many = s.alone + s.most + s.phases * args.barrier * 1e-6
  order[#order + 1] = s
  for _, key in ipairs {"one", "many", "alone", "phases", "work", "most"} do total[key] = total[key] + s[key] end
end
table.sort(order, function(a, b) return a.many > b.many end)

print(("%s model, %d×%d, batch %d: one thread and a simulated team of %d; ms, the least of %d steps; %g us a barrier")
  :format(args.model, args.size, args.size, args.batch, args.threads, args.reps, args.barrier))
print(("%-32s %8s %8s %8s %7s %8s %8s %7s"):format("part", "1 thread", "alone", "work/" .. args.threads, "phases",
  "fewest", "together", "times"))
local function row(name, s, busy)
  print(("%-32s %8.2f %8.2f %8.2f %7d %8s %8.2f %7.1f"):format(name, s.one * 1e3, s.alone * 1e3,
    s.work / args.threads * 1e3, s.phases, busy, s.many * 1e3, s.one / s.many))
end
for _, s in ipairs(order) do row(labels[s.id], s, fewest(s)) end
row("all", total, "")

if args.list then
  print "busy threads, work and the last one's, microseconds"
  for _, phase in ipairs(many_steps) do
    if labels[phase.label] == args.list then
      print(("  %3d %3d %8.1f %8.1f  %s"):format(phase.threads, phase.busy, phase.sum * 1e6, phase.most * 1e6,
        phase.threads > 1 and function_of(phase.where) or ""))
    end
  end
end
if args.phases > 0 then
  print "phases in which most is lost: part, its phase, busy threads, work, the last one's, in which function"
  local list = {}
  for id, s in pairs(parts_of(many_steps)) do
    for i, phase in ipairs(s.losses) do
      list[#list + 1] = {id = id, i = i, phase = phase, lost = phase.most - phase.sum / args.threads}
    end
  end
  table.sort(list, function(a, b) return a.lost > b.lost end)
  for i = 1, math.min(args.phases, #list) do
    local p = list[i]
    print(("  %-28s %4d %4d %8.3f %8.3f  %s"):format(labels[p.id], p.i, p.phase.busy, p.phase.sum * 1e3,
      p.phase.most * 1e3, function_of(p.phase.where)))
  end
end
-- What a phase costs beyond its share of the team, or alone.
local function loss_of(phase)
  return phase.threads > 1 and phase.most - phase.sum / args.threads + args.barrier * 1e-6 or phase.sum
end

if args.losses > 0 then
  print "where most time is lost, with barriers: ms, phases, part and function"
  local list, at = {}, {}
  for i, phase in ipairs(many_steps) do
    local next_one = phase.threads == 1 and many_steps[i + 1]
    local name = phase.threads > 1 and function_of(phase.where)
      or "alone before " .. (next_one and next_one.threads > 1 and function_of(next_one.where) or "the end")
    local key = (labels[phase.label] or "") .. ": " .. name
    at[key] = at[key] or {name = key, lost = 0, phases = 0}
    if at[key].phases == 0 then list[#list + 1] = at[key] end
    at[key].lost, at[key].phases = at[key].lost + loss_of(phase), at[key].phases + 1
  end
  table.sort(list, function(a, b) return a.lost > b.lost end)
  for i = 1, math.min(args.losses, #list) do
    print(("  %8.2f %5d  %s"):format(list[i].lost * 1e3, list[i].phases, list[i].name))
  end
end
