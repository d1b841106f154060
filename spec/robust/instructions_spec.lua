-- Matrix products with the instructions of other processors: CGLOW_INSTRUCTIONS.
local core = require "cglow.core"

local LUA = arg[-1] or "lua5.4"

-- The numbers that a script prints, or what it said instead.
local function run(instructions, script, precision)
  local command = ("CGLOW_INSTRUCTIONS='%s' LUA_PATH='%s' LUA_CPATH='%s' %s '%s' %s 2>&1"):format(instructions,
    package.path, package.cpath, LUA, script, precision or "")
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

  -- A product of two bfloat16 is exact in fp32, and sums run in one order. Without fused
  -- multiply-adds the arithmetic between products is rounded elsewhere, and what differs in the
  -- last bit of fp32 may be rounded to the next bfloat16: then numbers agree within the square
  -- root of what they do in fp32.
  if core.scalar == "float" then
    it("changes no bit of networks that multiply bfloat16, down to AVX2", function()
      local script = "spec/support/instructions_child.lua"
      local function after_name(text) return text:match "^%S+\n(.*)" end
      local text = run("AVX512_BF16", script, "bf16")
      local bits = after_name(text:gsub("cglow: [^\n]*\n", ""))
      local _, list = numbers(text)
      assert.is_true(#list > 10)
      for _, most in ipairs { "AVX-512", "AVX2" } do
        local emulated = run(most, script, "bf16")
        local _, notices = emulated:gsub("cglow: this processor has no AVX512_BF16", "")
        assert.equal(1, notices)
        assert.equal(bits, after_name((emulated:gsub("cglow: [^\n]*\n", ""))))
      end
      local _, got = numbers((run("any", script, "bf16"):gsub("cglow: [^\n]*\n", "")))
      assert.equal(#list, #got)
      for i, w in ipairs(list) do assert.is_true(math.abs(got[i] - w) <= math.sqrt(1e-5) * math.abs(w)) end
    end)
  end

  it("names what it expects", function()
    assert.matches("CGLOW_INSTRUCTIONS: AMX, AVX512_BF16, AVX%-512, AVX2 or any expected, got 'avx2'",
      run("avx2", "spec/support/instructions_child.lua"))
  end)
end)
