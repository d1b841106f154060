--- Runs every check of `make test` and counts.
--
--     lua5.4 spec/tools/run.lua [options] [WORD ...]
--
-- Each spec file runs in a process of its own, so that one that crashes or
-- hangs is a failure like any other and the rest still run.  Words choose the
-- checks whose label contains one of them.  The last line, alone, is
-- `N passed, N failed`; the exit status is 1 when anything failed.

local usage = [[
usage: lua5.4 spec/tools/run.lua [options] [WORD ...]
  --core DIR         folder of the float core (DIR/cglow/core.so), default lua
  --double DIR       folder of the double core, default build/double
  --runners DIR      folder of the C programs, default build/runners
  --suites LIST      of float,double,runners,soak,lint; default all but soak
  --wrap COMMAND     put before every command, e.g. "valgrind -q"
  --helper FILE      busted helper to load first
  --seconds N        time limit of one check, default 900
  --slow N           also list the N slowest
]]

local function fail(message)
  io.stderr:write("run.lua: ", message, "\n", usage)
  os.exit(2)
end

local function parse(args)
  local opts = { core = "lua", double = "build/double", runners = "build/runners", seconds = "900", slow = "0",
    suites = "float,double,runners,lint", wrap = "", helper = "", words = {} }
  local i = 1
  while args[i] do
    local name = args[i]:match("^%-%-(.+)$")
    if not name then
      table.insert(opts.words, args[i])
      i = i + 1
    else
      if name == "words" or opts[name] == nil then fail("unknown option " .. args[i]) end
      if not args[i + 1] then fail("option " .. args[i] .. " wants a value") end
      opts[name] = args[i + 1]
      i = i + 2
    end
  end
  return opts
end

local opts = parse(arg)
local LUA = os.getenv("LUA") or "lua5.4"

local function quote(s) return "'" .. s:gsub("'", "'\\''") .. "'" end

local function lines_of(command)
  local pipe = assert(io.popen(command))
  local list = {}
  for line in pipe:lines() do list[#list + 1] = line end
  pipe:close()
  return list
end

local function has(program) return os.execute("command -v " .. program .. " >/dev/null 2>&1") == true end

-- What to put before a command: macOS has no `timeout`.
local limit = has("timeout") and ("timeout -k 10 %s "):format(opts.seconds) or ""

---------------------------------------------------------------------------
-- The checks: {suite, label, command, tap = it prints TAP lines}

local checks = {}

local function add(suite, label, command, tap)
  checks[#checks + 1] = { suite = suite, label = label, command = command, tap = tap }
end

local function add_spec(suite, task, core, file)
  local helper = opts.helper ~= "" and " --helper=" .. quote(opts.helper) or ""
  add(suite, file, ("%s spec/tools/busted.lua --run=%s --cpath=%s -o TAP%s %s"):format(
    quote(LUA), task, quote("./" .. core .. "/?.so"), helper, quote(file)), true)
end

-- The specs in spec/double need the double core; all others take the float one.
local function suite_of(file) return file:find("^spec/double/") and "double" or "float" end

local core_of_suite = { float = opts.core, double = opts.double }
local task_of_suite = { float = "default", double = "double" }

local specs = lines_of("find spec -name '*_spec.lua' | LC_ALL=C sort")
for _, suite in ipairs { "float", "double" } do
  for _, file in ipairs(specs) do
    if suite_of(file) == suite then add_spec(suite, task_of_suite[suite], core_of_suite[suite], file) end
  end
end

for _, file in ipairs(lines_of("find " .. quote(opts.runners) .. " -type f -perm -100 2>/dev/null | LC_ALL=C sort")) do
  add("runners", file, quote(file), true)
end

for _, file in ipairs(lines_of("ls spec/memory/*_soak.lua 2>/dev/null")) do
  add("soak", file, quote(LUA) .. " " .. quote(file), true)
end

add("lint", "luacheck", "luacheck -q lua examples spec data .busted .luacheckrc $(ls *.rockspec 2>/dev/null)", false)
add("lint", "rooms", quote(LUA) .. " spec/tools/rooms.lua", false)
add("lint", "lengths", quote(LUA) .. " spec/tools/lengths.lua", false)

---------------------------------------------------------------------------
-- Running one check

local function wanted(check)
  if not ("," .. opts.suites .. ","):find("," .. check.suite .. ",", 1, true) then return false end
  if #opts.words == 0 then return true end
  for _, word in ipairs(opts.words) do
    if check.label:find(word, 1, true) then return true end
  end
  return false
end

local function now() return tonumber(lines_of("date +%s.%N")[1]) or os.time() end

local function say(...)
  io.write(...)
  io.flush()
end

-- Reads TAP: counts, remembers the failures with what they said, and whether
-- the plan line at the end came, that is, whether the program lived that long.
local function read_tap(pipe)
  local r = { passed = 0, failed = 0, skipped = {}, report = {}, tail = {}, ended = false }
  local failing = false
  for line in pipe:lines() do
    if line:find("^ok %d+ %- # SKIP") then
      table.insert(r.skipped, (line:gsub("^ok %d+ %- # SKIP ", "")))
      failing = false
    elseif line:find("^ok %d") then
      r.passed, failing = r.passed + 1, false
    elseif line:find("^not ok %d") then
      r.failed, failing = r.failed + 1, true
      table.insert(r.report, line)
    elseif line:find("^1%.%.%d") then
      r.ended = tonumber(line:match("^1%.%.(%d+)")) == r.passed + r.failed + #r.skipped
    elseif failing and line:find("^#") then
      table.insert(r.report, line)
    else
      failing = false
      table.insert(r.tail, line)
      if #r.tail > 20 then table.remove(r.tail, 1) end
    end
  end
  return r
end

-- A program that prints no TAP is one check: its exit status tells.
local function read_plain(pipe)
  local r = { passed = 0, failed = 0, skipped = {}, report = {}, tail = {}, ended = true }
  for line in pipe:lines() do table.insert(r.tail, line) end
  return r
end

-- On a busy machine idle OpenMP threads must not spin: a spec took 49 s with it, 3 s without.
local quiet_threads = os.getenv("OMP_WAIT_POLICY") and "" or "OMP_WAIT_POLICY=passive "

local function run(check)
  local start = now()
  local pipe = assert(io.popen(quiet_threads .. limit .. opts.wrap .. " " .. check.command .. " 2>&1 </dev/null"))
  local r = (check.tap and read_tap or read_plain)(pipe)
  local ok, how, code = pipe:close()
  r.seconds = now() - start
  if not check.tap and ok then
    r.passed = 1
  elseif not r.ended or (not ok and r.failed == 0) then
    -- It died, hung, or failed outside of any test.
    r.failed = r.failed + 1
    table.insert(r.report, ("not ok - ended with %s %d after %d results"):format(how, code, r.passed + r.failed - 1))
    table.move(r.tail, 1, #r.tail, #r.report + 1, r.report)
  end
  return r
end

---------------------------------------------------------------------------
-- Running all checks

local total = { passed = 0, failed = 0, skipped = {}, report = {} }
local times = {}
local suite

for _, check in ipairs(checks) do
  if wanted(check) then
    if check.suite ~= suite then
      suite = check.suite
      say(suite, "\n")
    end
    local r = run(check)
    total.passed, total.failed = total.passed + r.passed, total.failed + r.failed
    for _, reason in ipairs(r.skipped) do table.insert(total.skipped, check.label .. ": " .. reason) end
    say(("  %-44s %4d passed"):format(check.label, r.passed),
      r.failed > 0 and (", %d failed"):format(r.failed) or "",
      #r.skipped > 0 and (", %d skipped"):format(#r.skipped) or "",
      (", %.1f s\n"):format(r.seconds))
    for _, line in ipairs(r.report) do
      say("    ", line, "\n")
      table.insert(total.report, line:find("^not ok") and check.label .. ": " .. line or nil)
    end
    times[#times + 1] = { label = check.label, seconds = r.seconds }
  end
end

if #times == 0 then fail("nothing to run") end

table.sort(times, function(a, b) return a.seconds > b.seconds end)
for i = 1, math.min(tonumber(opts.slow) or 0, #times) do
  say(("%7.1f s  %s\n"):format(times[i].seconds, times[i].label))
end
if #total.skipped > 0 then say("\nSkipped:\n  ", table.concat(total.skipped, "\n  "), "\n") end
if #total.report > 0 then say("\nFailed:\n  ", table.concat(total.report, "\n  "), "\n") end
say(("\n%d passed, %d failed\n"):format(total.passed, total.failed))
os.exit(total.failed == 0, true)
