-- Matrix products with the instructions of other processors: CGLOW_INSTRUCTIONS.
local core = require "cglow.core"

local LUA = arg[-1] or "lua5.4"

-- The numbers that a script prints, or what it said instead.
local function run(instructions, script)
  local command = ("CGLOW_INSTRUCTIONS='%s' LUA_PATH='%s' LUA_CPATH='%s' %s '%s' 2>&1"):format(instructions,
    package.path, package.cpath, LUA, script)
  local pipe <close> = assert(io.popen(command))
  return pipe:read "a"
end

local function numbers(text)
  local name, list = text:match "^(%S+)\n", {}
  for line in text:gmatch "[^\n]+" do list[#list + 1] = tonumber(line) end
  return name, list
end

describe("CGLOW_INSTRUCTIONS", function()
  local own = core.system.machine().instructions
  local ORDER = { any = 1, AVX2 = 2, ["AVX-512"] = 3 }
  local _, want = numbers(run("AVX-512", "spec/support/instructions_child.lua"))

  for _, most in ipairs { "any", "AVX2" } do
    it(("limits products to %s, which give the same but for rounding"):format(most), function()
      local name, got = numbers(run(most, "spec/support/instructions_child.lua"))
      assert.equal(ORDER[most] < ORDER[own] and most or own, name)
      assert.is_true(#want > 10)
      assert.equal(#want, #got)
      for i, w in ipairs(want) do
        assert.is_true(math.abs(got[i] - w) <= 1e-5 * math.abs(w), ("%d: %g, not %g"):format(i, got[i], w))
      end
    end)
  end

  it("names what it expects", function()
    assert.matches("CGLOW_INSTRUCTIONS: AVX%-512, AVX2 or any expected, got 'avx2'",
      run("avx2", "spec/support/instructions_child.lua"))
  end)
end)
