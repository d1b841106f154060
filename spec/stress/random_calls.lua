--- Everything that Lua code can reach, called with anything:
--
--     lua5.4 spec/stress/random_calls.lua [SECONDS] [SEED]        (60, 1)
--
-- A call may do what it is for or raise a message of its own; the process must live
-- on, and no error may come from inside ("attempt to index a nil value" in a file of
-- cglow). Objects that calls return are arguments of later calls. The call at hand is
-- in the file that the first line names, for a crash. `make stress` allows it 3 GB, so that
-- tensors of 2^31 numbers are refused and not filled. Under AddressSanitizer:
--
--     make sanitize TEST=none; LD_PRELOAD=$(gcc -print-file-name=libasan.so) \
--       LUA_CPATH='./build/sanitize/?.so;;' lua5.4 spec/stress/random_calls.lua
local core = require "cglow.core"
local cglow = require "cglow"
local lfs = require "lfs"
local public = require "spec.support.public"
local scratch = require "spec.fixtures.scratch"

local SECONDS <const> = tonumber(arg[1] or 60)
local SEED <const> = math.tointeger(tonumber(arg[2] or 1))
math.randomseed(SEED)

local function pick(list) return list[math.random(#list)] end

-- ---- what to call ----------------------------------------------------------

-- They take their time, or change what the process does with signals and threads.
local NOT_CALLED <const> = {
  ["core.peak_flops"] = true, ["core.system.catch_interrupt"] = true, ["core.threads"] = true,
  ["cglow.threads"] = true,
}

local functions, seen = {}, {}

local function add(name, f)
  if type(f) ~= "function" or seen[f] or NOT_CALLED[name] then return end
  seen[f] = true
  functions[#functions + 1] = {name = name, call = f, class = name:match("^([%w_.]+):")}
end

local function add_all(t, path)
  if seen[t] then return end
  seen[t] = true
  for key, value in pairs(t) do
    if type(key) == "string" and type(value) == "table" then add_all(value, path .. "." .. key) end
    if type(key) == "string" then add(path .. "." .. key, value) end
  end
end

local function add_methods(class, methods)
  for key, f in pairs(methods) do
    if key ~= "new" and key ~= "__gc" then add(class .. ":" .. tostring(key), f) end
  end
end

for part in pairs(public.parts()) do assert(public.of_commands[part] or cglow[part]) end
add_all(core, "core")
add_all(cglow, "cglow")
for name, module in pairs(public.modules) do
  if name ~= "options" then add_all(require("cglow." .. module), name) end -- its rules are its callers' code
end
for class, meta in pairs(debug.getregistry()) do
  if type(class) == "string" and class:find "^cglow%." then
    local methods = meta.__index
    if type(methods) == "function" then methods = select(2, debug.getupvalue(methods, 1)) end
    add_methods(class, meta)
    add_methods(class, type(methods) == "table" and methods or {})
  end
end

local function new_model()
  return cglow.Model {x = {3, 8, 8}, y = {3, 8, 8}, levels = 2, depth = 1, cn = {channels = 2, width = 2},
    coupling = {width = 2}}
end

local model = new_model()
local adam = cglow.optim.Adam(model:parameters())
add_methods("cglow.Model", getmetatable(model))
add_methods("cglow.Optimizer", getmetatable(adam))
table.sort(functions, function(a, b) return a.name < b.name end) -- the same for the same seed

-- ---- what to call it with --------------------------------------------------

-- Any word may be taken for the name of a file, which then goes there.
local folder <const> = scratch.folder()
package.path = package.path:gsub("%./", lfs.currentdir() .. "/")
assert(lfs.chdir(folder))

local INTEGERS <const> = {0, 1, 2, 3, 4, 5, 7, 8, 16, 100, 65536, -1, -2, (1 << 31) - 1, 1 << 31, 1 << 32, 1 << 40,
  1 << 53, 1 << 62, math.maxinteger, math.mininteger}
local NUMBERS <const> = {0.5, 1.5, -0.5, 0 / 0, 1 / 0, -1 / 0, 1e308, 1e-320, 3.5e38, 2.0 ^ 31, 2.0 ^ 53, 2.0 ^ 63}
local STRINGS <const> = {"", "x", "a\0b", "%s%n", "\xff\xfe", ("y"):rep(1000), "nearest", "area", "png", "jpeg", "F32",
  "F64", "live", "paper", "philox4x32-10:1:2", "/dev/null", folder, folder .. "/a", folder .. "/b.png",
  folder .. "/c.safetensors", folder .. "/none/x"}
local KEYS <const> = {"n", "temperature", "rng", "size", "raw", "channels", "bits", "quality", "method", "steps", "lr",
  "make", "x", "y", "levels", "depth", "cn", "coupling", "init", "samples", "out", "camera", "motion", "support",
  "segments", "cell_width", "start", "width"}
local SIDES <const> = {1, 2, 3, 4, 8}

local any -- forward: tables hold anything

local function tensor()
  local size = {}
  for i = 1, math.random(4) do size[i] = pick(SIDES) end
  local t = core.zeros(size)
  if math.random(2) == 1 then core.rng():fill_normal(t) end
  return t
end

local function part() return pick(pick(pick(model.levels).steps)) end

local OBJECTS <const> = {
  function() return model end, function() return adam end, function() return adam.core end,
  function() return pick(model:parameters()) end, function() return model:parameters() end,
  function() return part().flow end, function() return part().cn end, function() return model.net_group end,
  function() return model.layers[#model.layers].flow end, function() return model.levels[1].split.flow end,
  function() return model.layers[1].flow end, core.rng, function() return core.Rng(7) end,
  function() return core.file.create(folder .. "/w" .. math.random(3)) end,
  function() return core.file.open(folder .. "/a") end,
  function() return io.stdout end, function() return print end, function() return error end,
  function() return function() coroutine.yield() end end, function() return coroutine.create(print) end,
  function() return setmetatable({}, {__index = function() error "mine" end, __len = function() return 99 end}) end,
  function() return setmetatable({}, {__gc = function() collectgarbage() end}) end,
}

local KEPT <const> = 40
local kept = {}

local function object()
  local ok, value = pcall(pick(OBJECTS))
  return ok and value or nil
end

local function a_table(depth)
  local t = {}
  for i = 1, math.random(4) do t[i] = any(depth + 1) end
  if math.random(3) == 1 then
    for _ = 1, math.random(3) do t[pick(KEYS)] = any(depth + 1) end
  end
  return t
end

function any(depth)
  local kind = math.random(20)
  if kind <= 6 then return tensor() end
  if kind <= 9 then return pick(INTEGERS) end
  if kind <= 11 then return math.random(6) end
  if kind == 12 then return pick(NUMBERS) end
  if kind <= 14 then return pick(STRINGS) end
  if kind == 15 then return nil end
  if kind == 16 then return math.random(2) == 1 end
  if kind <= 18 then return object() end
  if kind == 19 then return kept[math.random(KEPT)] end
  return depth < 3 and a_table(depth) or nil
end

-- Something that a method of the class may be called on.
local function of_class(class)
  for _ = 1, 60 do
    local value = math.random(2) == 1 and kept[math.random(KEPT)] or object() or tensor()
    local meta = getmetatable(value)
    if core.type(value) == class or type(meta) == "table" and meta.__name == class then return value end
  end
end

local function arguments(f)
  local args = table.pack()
  args.n = math.random(0, 5)
  for i = 1, args.n do args[i] = any(0) end
  if f.class and math.random(4) > 1 then
    args[1], args.n = of_class(f.class), math.max(1, args.n)
  end
  return args
end

-- ---- calling ---------------------------------------------------------------

local function call(f, args)
  if math.random(10) > 1 then return table.pack(pcall(f.call, table.unpack(args, 1, args.n))) end
  local thread = coroutine.create(f.call)
  local result = table.pack(coroutine.resume(thread, table.unpack(args, 1, args.n)))
  coroutine.close(thread)
  return result
end

local function from_inside(message)
  return type(message) == "string" and message:find "lua/cglow/[%w_/]+%.lua:%d+: attempt to"
end

local log <close> = assert(io.open(folder .. ".call", "w"))
log:setvbuf("no")
print("the call at hand: " .. folder .. ".call")

local calls, done, faults = 0, 0, {}
local stop <const> = core.system.clock() + SECONDS
while core.system.clock() < stop do
  local f = pick(functions)
  log:seek("set", 0)
  log:write(("%-60s\n"):format(f.name))
  local result = call(f, arguments(f))
  calls = calls + 1
  if result[1] then
    done = done + 1
    for i = 2, math.min(result.n, 4) do
      if type(result[i]) == "userdata" then kept[math.random(KEPT)] = result[i] end
    end
  elseif from_inside(result[2]) then
    faults[#faults + 1] = ("%s: %s"):format(f.name, result[2])
  end
  if calls % 2000 == 0 then
    kept = {}
    collectgarbage()
    model = new_model()
    adam = cglow.optim.Adam(model:parameters())
  end
end
scratch.remove(folder)
os.remove(folder .. ".call")
for i = 1, math.min(#faults, 20) do print(faults[i]) end
print(("seed %d: %d calls of %d functions, %d did what they are for, %d errors from inside"):format(
  SEED, calls, #functions, done, #faults))
os.exit(#faults == 0, true)
