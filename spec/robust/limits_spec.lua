-- What the system does not give is said, and ends no process: threads, and another Lua.
local core = require "cglow.core"
local image = require "cglow.image"
local scratch = require "spec.fixtures.scratch"

describe("A process", function()
  -- Each thread takes 8 MB of addresses for its stack. OpenMP's library would end the process.
  it("holds its threads to what the system gives", function()
    if package.cpath:find "sanitize" then return end -- ASan takes all addresses there are
    local out, ok = scratch.lua([[
      local core = require "cglow.core"
      local given, why = core.threads(500)
      assert(given > 1 and given < 500, given)
      assert(why == "of 500 threads the system gives " .. given, why)
      local net = require "cglow.nn".Conv2d {in_channels = 3, out_channels = 8, padding = 1}
      assert(net:forward(core.randn(4, 3, 32, 32)):isfinite())
      local some, nothing = core.threads(2)
      assert(some == 2 and nothing == nil)
    ]], {prefix = "ulimit -v 700000; OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1"})
    assert.is_true(ok, out)
    assert.are.equal("", out)
  end)

  -- Kernels need more than the 16 kB that OpenMP's library allows, and it ends the process
  -- where it cannot make threads with the stack that it was asked for.
  it("computes on one thread where the others' stack is too small or too large", function()
    if package.cpath:find "sanitize" then return end
    for limit, message in pairs {
      ["OMP_STACKSIZE=16k"] = "threads would have a stack of 16 kB and need 256 (OMP_STACKSIZE, ulimit -s): one "
        .. "computes",
      ["OMP_STACKSIZE='100 K'"] = "threads would have a stack of 100 kB and need 256",
      ["GOMP_STACKSIZE=64"] = "of 64 kB",
      ["ulimit -s 128;"] = "threads would have a stack of 128 kB", ["OMP_STACKSIZE=100000g"] = "of 2 threads",
      ["OMP_THREAD_LIMIT=1"] = "of 2 threads the system gives 1",
    } do
      local out, ok = scratch.lua([[
        local core = require "cglow.core"
        local net = require "cglow.nn".Conv2d {in_channels = 3, out_channels = 32, padding = 1}
        assert(net:forward(core.randn(4, 3, 32, 32)):isfinite())
        print(core.threads())
      ]], {prefix = (limit:find "^ulimit" and "%s" or "export %s;"):format(limit) .. " OMP_NUM_THREADS=2"})
      assert.is_true(ok, limit .. ": " .. out)
      assert.is_truthy(out:find("1\t" .. message, 1, true) or out:find(message, 1, true), limit .. ": " .. out)
    end
  end)

  it("is told at its start of threads that there cannot be", function()
    local out, ok = scratch.lua("require 'cglow'", {prefix = "OMP_NUM_THREADS=100000"})
    assert.is_true(ok, out)
    assert.equal("cglow: of 100000 threads the system gives 1024\n", out)
    assert.equal("", (scratch.lua("require 'cglow'", {prefix = "OMP_NUM_THREADS=2"})))
  end)

  it("says so when a picture does not fit into memory", function()
    if package.cpath:find "sanitize" then return end
    local folder = scratch.folder()
    local path = folder .. "/large.png"
    assert(image.save(path, core.zeros(1, 4000, 6000))) -- some 23 kB
    local out, ok = scratch.lua([[
      local core, image = require "cglow.core", require "cglow.image"
      local path = ...
      local message, code = select(2, image.load(path, {channels = 3})) -- 288 MB
      assert(message == path .. ": not enough memory" and code == core.file.ENOMEM, message)
    ]], {prefix = "ulimit -v 300000; OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1"}, path)
    scratch.remove(folder)
    assert.is_true(ok, out)
    assert.are.equal("", out)
  end)

  it("of another Lua is told so at once", function()
    for _, lua in ipairs {"lua5.1", "lua5.3", "luajit"} do
      if os.execute(("command -v %s >/dev/null"):format(lua)) then
        local command = "LUA_INIT= LUA_PATH='./lua/?.lua;./lua/?/init.lua' %s -e 'require \"cglow\"' 2>&1"
        local pipe = assert(io.popen(command:format(lua)))
        assert.matches("cglow needs Lua 5.4, this is Lua", pipe:read "a", 1, true)
        pipe:close()
      end
    end
  end)
end)
