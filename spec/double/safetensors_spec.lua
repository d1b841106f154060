--- Files of the double core, which are F64, and what it makes of F32.
local core = require "cglow.core"
local safetensors = require "cglow.util.safetensors"
local scratch = require "spec.fixtures.scratch"

assert(core.scalar == "double", "this spec is for the double core: LUA_CPATH='./build/double/?.so;;'")

describe("safetensors with the double core", function()
  local folder <const> = scratch.each(before_each, after_each)
  local path <const> = folder .. "/a.safetensors"

  it("keeps all 53 bits of a number", function()
    local values = {1 / 3, -0.0, 2 ^ -1074, 1.7e308, math.huge, -1e-300}
    assert(safetensors.save(path, {a = core.tensor(values)}))
    assert.matches('"dtype":"F64"', scratch.read(path), 1, true)
    local loaded = assert(safetensors.load(path)).a
    for i, v in ipairs(values) do assert.equal(("%a"):format(v), ("%a"):format(loaded[i])) end
  end)

  -- More than the buffer that conversion goes through (4096 numbers).
  it("reads F32 exactly, whatever its length", function()
    local n = 10001
    local values = {}
    for i = 1, n do values[i] = string.pack("<f", i / 7) end
    local header = ('{"a":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}'):format(n, 4 * n)
    scratch.write(path, string.pack("<s8", header) .. table.concat(values))
    local a = assert(safetensors.load(path)).a
    for i = 1, n do assert(a[i] == string.unpack("<f", values[i])) end
  end)

  it("exchanges files with the float core", function()
    assert(safetensors.save(path, {a = core.tensor {1 / 3, 2}}))
    local out, ok = scratch.lua([[
      local core, safetensors = require "cglow.core", require "cglow.util.safetensors"
      assert(core.scalar == "float")
      local path = ...
      local a = assert(safetensors.load(path)).a
      assert(a[1] == string.unpack("<f", string.pack("<f", 1 / 3)) and a[2] == 2)
      assert(safetensors.save(path, {a = a}, {from = "float"}))
    ]], {core = os.getenv "CGLOW_CORE" or "lua"}, path)
    assert.is_true(ok, out)
    assert.matches('"dtype":"F32"', scratch.read(path), 1, true)
    local tensors, metadata = assert(safetensors.load(path))
    assert.same({from = "float"}, metadata)
    assert.same({string.unpack("<f", string.pack("<f", 1 / 3)), 2}, tensors.a:totable())
  end)
end)

-- The reference build shows the version for processors without the instruction.
describe("crc32c without the instruction", function()
  local crc, portable = core.file.crc32c, core.file.crc32c_portable

  it("gives the published check values", function()
    for _, f in ipairs {crc, portable} do
      assert.equal(0xE3069283, f "123456789")           -- the usual check string
      assert.equal(0x8A9136AA, f(("\0"):rep(32)))       -- RFC 3720, B.4
      assert.equal(0x62A8AB43, f(("\255"):rep(32)))
      assert.equal(0, f "")
    end
  end)

  it("agrees with it for every length and alignment", function()
    local bytes = {}
    for i = 1, 200 do bytes[i] = string.char(i * i * 7 % 251) end
    local text = table.concat(bytes)
    for first = 1, 9 do
      for last = first - 1, #text do
        local part = text:sub(first, last)
        assert(crc(part) == portable(part), #part)
      end
    end
  end)
end)
