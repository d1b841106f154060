-- core.system: the clock, memory, the machine, the terminal, interrupts.
local system = require "cglow.core".system

describe("core.system", function()
  it("has a clock that goes forward", function()
    local a = system.clock()
    local b = system.clock()
    assert.is_true(b >= a)
  end)

  it("tells memory, the machine and the terminal", function()
    local now, peak = system.memory()
    assert.is_true(now > 1e6 and peak >= now)
    local machine = system.machine()
    assert.is_true(#machine.cpu > 0 and machine.cores >= 1 and machine.memory > 1e8)
    assert.truthy(({ ["AVX-512"] = true, AVX2 = true, any = true })[machine.instructions])
    assert.equal("boolean", type(system.isatty(1)))
    assert.error_matches(function() system.isatty(3) end, "expected 0, 1 or 2")
    assert.error_matches(function() system.columns(-1) end, "expected 0, 1 or 2")
  end)

  it("catches one interrupt at a time, and lets go", function()
    do
      local catch <close> = system.catch_interrupt()
      assert.error_matches(function() system.catch_interrupt() end, "a catch is open already")
      assert.is_nil(catch:received())
      os.execute("kill -TERM $PPID")
      assert.equal("TERM", catch:received())
    end
    local again <close> = system.catch_interrupt()
    assert.is_nil(again:received())
    assert.error_matches(function() system.catch_interrupt(("x"):rep(256)) end, "at most 255 bytes")
  end)
end)
