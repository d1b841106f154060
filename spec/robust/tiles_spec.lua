-- Products by AMX's tiles, on a model of them (spec/support/tiles.c): what specs say of products
-- of bfloat16 and of models that are made of them, in a core whose tiles are that model.
local LUA <const> = arg[-1] or "lua5.4"
local CPATH <const> = "./build/tiles/?.so"

-- What a command says, and whether it ended well.
local function run(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local said = pipe:read "a"
  return said, (pipe:close())
end

local function with_tiles(most, rest)
  return run(("CGLOW_INSTRUCTIONS=%s LUA_PATH='%s' LUA_CPATH='%s;%s' %s %s"):format(most, package.path, CPATH,
    package.cpath, LUA, rest))
end

-- What the specs' child prints after the name of its instructions, without notices.
local function numbers(most)
  local said, ended = with_tiles(most, "spec/support/instructions_child.lua bf16")
  assert.is_true(ended, said)
  local list = {}
  for line in said:gsub("cglow: [^\n]*\n", ""):gmatch "[^\n]+" do list[#list + 1] = tonumber(line) end
  return list
end

describe("Tiles", function()
  setup(function()
    local said, built = run "LD_PRELOAD= make --no-print-directory BUILD=build tiles"
    assert.is_true(built, said)
  end)

  it("are used where they may be", function()
    local script = "-e \"local c = require 'cglow.core' print((select(2, c.precision 'bf16')))\""
    assert.equal("AMX\n", (with_tiles("AMX", script)))
    assert.not_matches("AMX", (with_tiles("AVX512_BF16", script)))
    assert.matches("emulated", (with_tiles("AVX2", script)))
  end)

  for _, file in ipairs { "spec/nn/bf16_products_spec.lua", "spec/model/bf16_spec.lua" } do
    it("satisfy " .. file, function()
      local said, ended = run(("CGLOW_INSTRUCTIONS=AMX %s spec/tools/busted.lua --run=default --cpath=%s -o TAP %s")
        :format(LUA, CPATH, file))
      assert.is_true(ended, said)
      assert.matches("\nok 18 ", said, 1, true)
      assert.not_matches("not ok", said, 1, true)
    end)
  end

  -- Tiles add in another order. What that changes in the last bits of fp32 may be rounded to the
  -- next bfloat16 in the layer that follows, so numbers agree within the square root of what they
  -- do in fp32 (spec/robust/instructions_spec.lua).
  it("give models the numbers that the emulation gives, but for the order of sums", function()
    local own, emulated = numbers "AMX", numbers "AVX-512"
    assert.is_true(#own > 100)
    assert.equal(#own, #emulated)
    local differ = false
    for i, v in ipairs(own) do
      assert.is_true(math.abs(v - emulated[i]) <= math.sqrt(1e-5) * math.abs(emulated[i]))
      differ = differ or v ~= emulated[i]
    end
    assert.is_true(differ) -- both are what they are called
  end)
end)
