-- Runs a Lua program in several processes under mpirun, as root and with more processes
-- than cores where it must be.
local M = {}

local function quote(s) return "'" .. s:gsub("'", "'\\''") .. "'" end

local function output_of(command)
  local pipe <close> = assert(io.popen(command))
  return pipe:read "a"
end

--- Is there an Open MPI, and was cglow.mpi built with it?
M.here = output_of "env -u LD_PRELOAD mpirun --version 2>/dev/null":find("Open MPI", 1, true) ~= nil
  and package.searchpath("cglow.mpi", package.cpath) ~= nil

-- Open MPI refuses to run as root without these two, and does not say one rank twice
-- what went wrong: its own messages come through a socket that a sandbox may lack.
local ENVIRONMENT <const> = "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"

-- Under `make sanitize` the ranks alone are looked at, not mpirun, and for everything but leaks: Open MPI
-- unloads its plugins, whose leaks LeakSanitizer can then neither name nor pass over.
local PRELOADED <const> = os.getenv "LD_PRELOAD"
local SANITIZED <const> = PRELOADED ~= nil and PRELOADED:find("libasan", 1, true) ~= nil

--- What goes before the command of a process that loads MPI without mpirun.
M.leaks_aside = SANITIZED and ("ASAN_OPTIONS=%s:detect_leaks=0 "):format(os.getenv "ASAN_OPTIONS" or "") or ""

local function sanitize(options)
  return ("-x LD_PRELOAD=%s -x %s %s"):format(quote(PRELOADED), M.leaks_aside, options)
end

--- The command that runs a program in n processes.
-- @tparam integer n
-- @tparam string program and its arguments, for the shell
-- @tparam[opt=""] string options of mpirun
function M.command(n, program, options)
  options = SANITIZED and sanitize(options or "") or options or ""
  local start = SANITIZED and "env -u LD_PRELOAD timeout -k 5 240" or "timeout -k 5 60"
  return ("%s LUA_PATH=%s LUA_CPATH=%s OMP_NUM_THREADS=1 %s mpirun -n %d --oversubscribe %s %s"):format(
    ENVIRONMENT, quote(package.path), quote(package.cpath), start, n, options, program)
end

--- Run it.
-- @tparam integer n processes
-- @tparam string program and its arguments
-- @tparam[opt] string options of mpirun
-- @treturn string all that was printed
-- @treturn integer exit status
function M.run(n, program, options)
  local text = output_of(("(%s) 2>&1; echo \"status $?\""):format(M.command(n, program, options)))
  local said, status = text:match "^(.*)status (%d+)\n$"
  return said, math.tointeger(tonumber(status))
end

--- Run a program of spec/mpi/ranks, which must end well; what it printed is in the error.
function M.must(n, name, arguments, options)
  local lua = os.getenv "LUA" or "lua5.4"
  local said, status = M.run(n, ("%s spec/mpi/ranks/%s.lua %s"):format(lua, name, arguments or ""), options)
  if status ~= 0 then error(("%s on %d ranks ended with %d:\n%s"):format(name, n, status, said), 2) end
  return said
end

return M
