--- Commands in several processes: whether mpirun or srun has started this one beside
-- others, and what the commands do then. Rank 0 speaks for all.
-- @module cglow.cli.launch
local console = require "cglow.util.console"
local core = require "cglow.core"
local json = require "cglow.util.json"
local world_of = require "cglow.train.world"

local M = {}

-- What starters tell their processes: Open MPI, MPICH and Intel MPI, Slurm.
local COUNTS <const> = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"}

local mpi -- the module cglow.mpi, once it is in use

-- How many processes were started together, as far as the environment tells.
local function started()
  for _, name in ipairs(COUNTS) do
    local n = math.tointeger(tonumber(os.getenv(name)))
    if n and n > 1 then return n end
  end
  return 1
end

-- Ranks that have a whole machine to themselves, because the starter has bound them to no
-- part of it, share its cores.
local function share_cores()
  local cores, here = core.threads(), mpi.host_ranks()
  if os.getenv "OMP_NUM_THREADS" or here == 1 or cores < core.system.machine().cores then return end
  core.threads(math.max(1, cores // here))
end

--- Join the others, if there are any.
-- @treturn[1] boolean true
-- @treturn[2] nil when cglow.mpi is missing
-- @treturn[2] string message
function M.join()
  local count = started()
  if count == 1 or mpi then return true end
  local ok, found = pcall(require, "cglow.mpi")
  if not ok then
    local missing = found:find("module 'cglow.mpi' not found", 1, true)
    return nil, missing and ("started as one of %d processes, but cglow was built without MPI (make mpi)"):format(count)
      or found
  end
  mpi = found
  console.silence(mpi.rank() > 0)
  return true
end

--- Tell a command what being one of several means for its options.
-- @tparam table args parsed command line
function M.tell(args)
  if not mpi then return end
  if not args.threads then share_cores() end
end

--- The module cglow.mpi; nil in a process of its own.
function M.mpi() return mpi end

--- The processes as trainers and evaluations see them.
-- @treturn World
function M.world() return world_of.of(mpi) end

--- This process's rank.
function M.rank() return mpi and mpi.rank() or 0 end

--- A table that rank 0 reads from a file, for all.
-- @tparam function read
-- @treturn table
function M.shared(read)
  if not mpi then return read() end
  local text = mpi.broadcast(mpi.rank() == 0 and json.encode(read()) or "")
  return (assert(json.decode(text)))
end

local failing = false

--- Wait until all ranks have come here.
function M.meet()
  if mpi then mpi.barrier() end
end

--- The command has come to its end on all ranks.
function M.leave()
  if mpi and not failing then mpi.close() end
end

-- What is wrong with a command line is wrong on all ranks, and rank 0 says it; it has this
-- long before another one, with an error of its own perhaps, ends all of them.
local PATIENCE <const> = 1 -- seconds

--- A command has failed on this rank, which may say why.
function M.fail()
  if not mpi or failing then return end
  failing = true
  if mpi.rank() == 0 then return end
  local before = core.system.clock()
  while core.system.clock() - before < PATIENCE do end
  console.silence(false)
  console.tell(("rank %d:"):format(mpi.rank()))
end

return M
