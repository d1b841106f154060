-- The module cglow.mpi in one to four processes.
local ranks = require "spec.support.ranks"

local LUA = os.getenv "LUA" or "lua5.4"

describe("cglow.mpi", function()
  if not ranks.here then return pending "needs Open MPI's mpirun and cglow.mpi (make mpi)" end

  for n = 1, 4 do
    it(("sends, adds up, gathers and refuses on %d ranks"):format(n), function()
      local said = ranks.must(n, "calls")
      for rank = 0, n - 1 do assert.truthy(said:find("rank " .. rank .. " is content", 1, true), said) end
    end)
  end

  it("works in a process that nobody started with mpirun", function()
    local command = "OMP_NUM_THREADS=1 LUA_PATH='%s' LUA_CPATH='%s' %s spec/mpi/ranks/calls.lua >/dev/null"
    assert.truthy(os.execute(ranks.leaks_aside .. command:format(package.path, package.cpath, LUA)))
  end)

  -- The program, ranks, what is said, exit status.
  local function ends(n, program, status, ...)
    local said, got = ranks.run(n, ("%s -e %s"):format(LUA, "'" .. program .. "'"))
    for _, text in ipairs {...} do assert.truthy(said:find(text, 1, true), said) end
    assert.equal(status, got, said)
  end

  it("ends all when one fails, and says which", function()
    ends(3, [[local m = require "cglow.mpi" if m.rank() == 1 then error "no such luck" end m.barrier()]], 1,
      "no such luck", "rank 1 of 3 ends with status 1, and all others with it")
    ends(3, [[local m = require "cglow.mpi" if m.rank() == 2 then os.exit(7) end m.barrier()]], 7,
      "rank 2 of 3 ends with status 7")
    ends(2, [[local m <close> = require "cglow.mpi" if m.rank() == 1 then error "in a block" end m.barrier()]], 1,
      "in a block", "rank 1 of 2 ends with status 1")
  end)

  it("ends together with the process, however that ends well", function()
    ends(3, [[require "cglow.mpi"]], 0)
    ends(3, [[require "cglow.mpi" os.exit(0)]], 0)
    ends(3, [[require "cglow.mpi" os.exit(true, true)]], 0)
    ends(3, [[do local m <close> = require "cglow.mpi" end os.exit(0)]], 0)
    ends(2, [[require "cglow.mpi".close() os.exit(130, true)]], 130)
  end)

  it("names MPI's function and the rank in an error of MPI's", function()
    local said, status = ranks.run(2, ([[%s -e '
      local m, core = require "cglow.mpi", require "cglow.core"
      m.allreduce(core.zeros(m.rank() == 0 and 1000 or 100))']]):format(LUA))
    assert.truthy(said:find("cglow%.mpi: MPI_%a+ on rank %d of 2: .*truncated"), said)
    assert.equal(1, status)
  end)

  it("is closed for good", function()
    ends(2, [[local m = require "cglow.mpi" m.close()
      for _, name in ipairs {"barrier", "sum", "gather", "broadcast", "allreduce", "igather", "share", "library"} do
        local ok, why = pcall(m[name])
        assert(not ok and why:find "has been closed", why)
      end
      m.close()
      package.loaded["cglow.mpi"] = nil
      local ok, why = pcall(require, "cglow.mpi")
      assert(not ok and why:find "cannot start again", why)]], 0)
  end)
end)
