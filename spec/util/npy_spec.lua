--- NumPy's files, byte by byte; spec/tools/npy.py holds them against NumPy itself.
local core = require "cglow.core"
local npy = require("cglow").npy
local scratch = require "spec.fixtures.scratch"

local dir <const> = scratch.each(before_each, after_each)
local path <const> = dir .. "/a.npy"

-- A file of this header and these numbers.
local function bytes_of(header, numbers, version)
  version = version or 1
  return "\x93NUMPY" .. string.char(version, 0) .. string.pack(version == 1 and "<s2" or "<s4", header) .. numbers
end

local function load(bytes)
  scratch.write(path, bytes)
  return npy.load(path)
end

local function header(descr, shape, fortran)
  return ("{'descr': '%s', 'fortran_order': %s, 'shape': %s, }\n"):format(descr, fortran and "True" or "False", shape)
end

describe("an npy file is read", function()
  it("of every type, in either byte order", function()
    for name, case in pairs {
      f2 = {"HH", -1.5, 65504, 0xbe00, 0x7bff}, f4 = {"ff", -1.5, 0.25}, f8 = {"dd", -1.5, 1e10},
      i1 = {"i1i1", -128, 127},
      i2 = {"i2i2", -32768, 5}, i4 = {"i4i4", -1 << 31, 7}, i8 = {"i8i8", -1 << 62, 3}, u1 = {"I1I1", 255, 1},
      u2 = {"I2I2", 65535, 2}, u4 = {"I4I4", 1 << 31, 7}, u8 = {"I8I8", 1 << 62, 1}, b1 = {"I1I1", 1, 0},
    } do
      for _, order in ipairs(name:sub(2) == "1" and {"|", "<"} or {"<", ">"}) do
        local numbers = string.pack((order == ">" and ">" or "<") .. case[1], case[4] or case[2], case[5] or case[3])
        local t, kind = assert(load(bytes_of(header(order .. name, "(2,)"), numbers)))
        assert.same({case[2] + 0.0, case[3] + 0.0}, t:totable(), order .. name)
        assert.equal(name, kind)
      end
    end
  end)

  it("of every version and number of dimensions", function()
    for version = 1, 3 do
      assert.same({2, 1}, assert(load(bytes_of(header("|u1", "(2, 1)"), "\1\2", version))):size())
    end
    assert.same({1}, assert(load(bytes_of(header("|u1", "()"), "\5"))):size())
    assert.same({1, 2, 1, 3}, assert(load(bytes_of(header("|u1", "(1, 2, 1, 3)"), "\1\2\3\4\5\6"))):size())
  end)

  it("in Fortran's order", function()
    local t = assert(load(bytes_of(header("|u1", "(2, 3)", true), "\1\4\2\5\3\6")))
    assert.same({2, 3}, t:size())
    assert.same({1, 2, 3, 4, 5, 6}, t:totable())
    local numbers, at = {}, 0 -- number i·100 + j·10 + k at (i, j, k), the first index fastest
    for k = 1, 4 do
      for j = 1, 3 do
        for i = 1, 2 do
          at = at + 1
          numbers[at] = string.char(i * 100 + j * 10 + k)
        end
      end
    end
    t = assert(load(bytes_of(header("|u1", "(2, 3, 4)", true), table.concat(numbers))))
    assert.equal(234, t[2][3][4])
    assert.equal(123, t[1][2][3])
  end)
end)

describe("an npy file is refused", function()
  local function refused(bytes, why)
    local t, message, code = load(bytes)
    assert.is_nil(t)
    assert.equal(path .. ": ", message:sub(1, #path + 2))
    assert.is_true(#message < 400)
    assert.is_truthy(message:find(why, 1, true), message)
    assert.equal("integer", math.type(code))
  end

  it("when its header is hostile or of another kind", function()
    local good = header("|u1", "(2,)")
    refused("", "no npy file")
    refused("\x93NUMPY\1\0", "no npy file")
    refused("PK\3\4 an npz archive", "no npy file")
    refused(bytes_of(good, "\1\2", 4), "version 4")
    refused(bytes_of(good, "\1\2", 0), "version 0")
    refused("\x93NUMPY\1\0\255\255" .. good, "a header of 65535 bytes in a file of")
    refused("\x93NUMPY\2\0\255\255\255\255" .. good, "a header of 4294967295 bytes in a file of")
    refused("\x93NUMPY\2\0\0\0", "ends before its header")
    for _, text in ipairs {
      "", "{", "{}", "None", good:sub(1, -4), good .. "x", "{'descr': '|u1', 'shape': (2,)}",
      "{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (2,)}",
      "{'descr': '|u1', 'fortran_order': 0, 'shape': (2,)}", "{'descr': '|u1', 'fortran_order': False, 'shape': (2)}",
      "{'descr': '|u1', 'fortran_order': False, 'shape': (-2,)}",
      "{'descr': '|u1', 'fortran_order': False, 'shape': [2]}",
      "{'descr': '|u1', 'fortran_order': False, 'shape': (1e3,)}",
      "{'descr': '|u1', 'fortran_order': False, 'shape': (2 2,)}",
      "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}",
      "{'descr': '|u1' 'fortran_order': False, 'shape': (2,)}",
      "{'descr': '|u1', 'fortran_order': False, 'shape': __import__('os').system('id')}",
    } do refused(bytes_of(text, "\1\2"), "the header is none of an array of numbers") end
    for _, descr in ipairs {"|O", "<c8", "<U3", "|S4", "<f16", "<M8[ns]", "f4", "|f4", "<e2", "|V8", "!i4"} do
      refused(bytes_of(header(descr, "(1,)"), ("\0"):rep(8)), "type '" .. descr .. "' is not supported")
    end
  end)

  it("when its numbers are not those of its shape", function()
    refused(bytes_of(header("|u1", "(3,)"), "\1\2"), "shape (3) of 1 bytes a number does not fit the file's 2 bytes")
    refused(bytes_of(header("|u1", "(1,)"), "\1\2"), "does not fit")
    refused(bytes_of(header("<f4", "(2,)"), "\1\2"), "does not fit")
    refused(bytes_of(header("|u1", "(4294967296, 4294967296)"), "\1\2"), "does not fit")
    refused(bytes_of(header("<f8", "(2305843009213693952,)"), "\1\2"), "the header is none") -- of 19 digits
    refused(bytes_of(header("|u1", "(0, 3)"), ""), "without numbers")
    refused(bytes_of(header("|u1", "(1, 1, 1, 1, 2)"), "\1\2"), "an array of 5 dimensions: tensors have at most 4")
  end)

  it("when a number has no place among the core's", function()
    refused(bytes_of(header("|b1", "(1,)"), "\2"), "booleans other than 0 and 1")
    refused(bytes_of(header("<u8", "(1,)"), ("\255"):rep(8)), "holds a whole number")
    if core.scalar == "float" then
      refused(bytes_of(header("<i4", "(1,)"), string.pack("<i4", 16777217)), "does not have exactly")
      refused(bytes_of(header("<f8", "(1,)"), string.pack("<d", 1e300)), "too large for float")
    end
  end)

  it("when it is not there", function()
    local t, message, code = npy.load(dir .. "/none.npy")
    assert.same({nil, dir .. "/none.npy: No such file or directory", 2}, {t, message, code})
  end)
end)

describe("an npy file is written", function()
  it("as NumPy writes it, and comes back the same", function()
    local t = core.tensor {0, 1, 2, 3, 4, 5}:reshape(2, 3)
    assert(npy.save(path, t, {dtype = "f4"}))
    local bytes = scratch.read(path)
    assert.equal(128, bytes:find("\n", 1, true))
    assert.equal("\x93NUMPY\1\0\x76\0{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", bytes:sub(1, 69))
    assert.equal(string.pack("<ffffff", 0, 1, 2, 3, 4, 5), bytes:sub(129))
    for _, name in ipairs {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"} do
      assert(npy.save(path, t, {dtype = name}))
      local again, kind = assert(npy.load(path))
      assert.same({name, 2, 3}, {kind, table.unpack(again:size())})
      assert.same(t:totable(), again:totable())
    end
    local bits = core.tensor {0, 1, 1}
    assert(npy.save(path, bits, {dtype = "b1"}))
    assert.is_truthy(scratch.read(path):find("'descr': '|b1', 'fortran_order': False, 'shape': (3,), }", 1, true))
    assert.same({0, 1, 1}, npy.load(path):totable())
    local own = core.randn(4, 5)
    assert(npy.save(path, own))
    assert.is_true(npy.load(path):eq(own):min() == 1)
  end)

  it("or not at all", function()
    assert(npy.save(path, core.zeros(3)))
    local before = scratch.read(path)
    for dtype, number in pairs {u1 = 256, i1 = 0.5, b1 = 2, f2 = 1e6, u8 = -1} do
      local ok, message = pcall(npy.save, path, core.tensor {number}, {dtype = dtype})
      assert.is_false(ok)
      assert.is_truthy(message:find("not all of the tensor's numbers have a place in " .. dtype, 1, true), message)
    end
    assert.equal(before, scratch.read(path))
    assert.same({nil, dir .. "/none/a.npy: No such file or directory", 2},
      {npy.save(dir .. "/none/a.npy", core.zeros(1))})
    assert.equal("a.npy", scratch.list(dir))
  end)

  it("with arguments that are right", function()
    local t = core.zeros(1)
    for _, case in ipairs {
      {"load", "bad argument #1 to 'npy.load': path must be a string, got nil"},
      {"load", "path holds a zero byte", "a\0b"},
      {"save", "bad argument #1 to 'npy.save': path must be a string, got nil"},
      {"save", "bad argument #2 to 'npy.save': tensor must be a tensor, got 5", "a", 5},
      {"save", "npy.save: option 'dtype' must be one of 'f2', 'f4'", path, t, {dtype = "f3"}},
      {"save", "npy.save: unknown option 'type'", path, t, {type = "f4"}},
    } do
      local ok, message = pcall(npy[case[1]], table.unpack(case, 3))
      assert.is_false(ok)
      assert.is_truthy(message:find(case[2], 1, true), message)
    end
  end)
end)
