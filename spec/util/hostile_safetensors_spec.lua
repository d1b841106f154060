--- Safetensors files that were cut, changed or made to harm: always nil and a
-- message, nothing allocated that the file does not hold, nothing left open.
local core = require "cglow.core"
local json = require "cglow.util.json"
local safetensors = require "cglow.util.safetensors"
local scratch = require "spec.fixtures.scratch"

local WIDTH = core.scalar == "double" and 8 or 4

local folder, path = nil, nil
local before
setup(function()
  folder = scratch.folder()
  path = folder .. "/a.safetensors"
end)
teardown(function() scratch.remove(folder) end)
before_each(function() before = scratch.descriptors() end)
after_each(function() assert.equal(before, scratch.descriptors()) end)

-- Whole files are built for each case, so that what is tried is what is read.
local function file(header, data)
  return string.pack("<s8", header) .. (data or "")
end

local function entry(fields)
  return ('{"dtype":%s,"shape":%s,"data_offsets":%s}'):format(
    fields.dtype or '"F32"', fields.shape or "[2]", fields.offsets or "[0,8]")
end

local function one(fields, data)
  return file(('{"a":%s}'):format(entry(fields)), data or ("\0"):rep(8))
end

local function load(bytes)
  os.remove(path) -- ext4 hurries a file to the disk that was emptied and written again
  scratch.write(path, bytes)
  local made = core.stats().bytes
  local tensors, message, code = safetensors.load(path)
  -- A tensor is as large as its bytes in the file (twice, for F32 in the double
  -- core) and its own 150 bytes of shape and alignment; an entry has 50.
  assert(core.stats().bytes - made <= 8 * #bytes, "more memory than the file justifies")
  return tensors, message, code
end

local function refused(bytes, why)
  local tensors, message, code = load(bytes)
  assert.is_nil(tensors)
  assert.equal("string", type(message))
  assert.equal(path .. ": ", message:sub(1, #path + 2))
  assert.is_true(#message < #path + 600 and not message:find "%c", message)
  assert.equal(core.file.EBADMSG, code)
  if why then assert.matches(why, message, 1, true) end
end

local function small()
  local saved = {["level.1.weight"] = core.tensor {{1, -2.5, 3}, {4, 5, 1e-6}}, b = core.tensor {0.25}}
  assert(safetensors.save(path, saved, {config = '{"levels":3}', note = "x"}))
  return scratch.read(path), saved
end

describe("a hostile safetensors file", function()
  local cases = {
    {"empty", "", "too short"},
    {"seven bytes", "1234567", "too short"},
    {"no header", string.pack("<I8", 0), "a header of 0 bytes"},
    {"a header of one byte", file "{", "a header of 1 bytes in a file of 9"},
    {"a header longer than the file", string.pack("<I8", 3) .. "{}", "a header of 3 bytes in a file of 10"},
    {"a header of 2^31 bytes", string.pack("<I8", 1 << 31) .. "{}", "a header of 2147483648 bytes"},
    {"a header of 2^63 - 1 bytes", string.pack("<I8", math.maxinteger) .. "{}", "a header of 9223372036854775807"},
    {"a header of 2^63 bytes", string.pack("<I8", math.mininteger) .. "{}", "a header of more than 2^63 bytes"},
    {"a header of 2^64 - 8 bytes", string.pack("<i8", -8) .. "{}", "a header of more than 2^63 bytes"},
    {"an array as header", file "[]", "does not begin with '{'"},
    {"a space before the header", file " {}", "does not begin with '{'"},
    {"a header that is no JSON", file '{"a":}', "header: invalid JSON at byte 6"},
    {"a header with more after it", file '{} {}', "header: invalid JSON at byte 4"},
    {"a header that ends in zeros", file '{}\0\0', "header: invalid JSON at byte 3"},
    {"a header nested a million deep", file('{"a":' .. ("["):rep(1000000)), "nested deeper"},
    {"a header that is no UTF-8", file '{"\255":1}', "no valid UTF-8"},
    {"bytes without tensors", file("{}", "\0"), "1 bytes follow the last tensor"},

    {"a number as entry", file '{"a":1}', "tensor 'a': an object expected"},
    {"a list as entry", file '{"a":[1]}', "tensor 'a': unknown key 1"},
    {"null as entry", file '{"a":null}', "tensor 'a': dtype nil"},
    {"an empty entry", file '{"a":{}}', "tensor 'a': dtype nil"},
    {"a key too many", one {offsets = '[0,8],"x":1'}, "tensor 'a': unknown key 'x'"},
    {"a key twice in an entry", one {offsets = '[0,8],"shape":[1]'}, "key 'shape' comes twice"},
    {"a tensor twice", file(('{"a":%s,"a":%s}'):format(entry {}, entry {}), ("\0"):rep(8)), "key 'a' comes twice"},
    {"a tensor twice, spelt differently", file(('{"a":%s,"\\u0061":%s}'):format(entry {}, entry {offsets = "[8,16]"}),
      ("\0"):rep(16)), "key 'a' comes twice"},

    {"8-bit floating point", one {dtype = '"F8_E4M3"', shape = "[8]"}, "dtype 'F8_E4M3' is not supported"},
    {"too few integers for their bytes", one {dtype = '"I64"', shape = "[2]"}, "shape [2] does not fit"},
    {"a dtype in small letters", one {dtype = '"f32"'}, "dtype 'f32' is not supported"},
    {"a number as dtype", one {dtype = "32"}, "dtype 32 is not supported"},
    {"a dtype of a megabyte", one {dtype = '"' .. ("\\n"):rep(1 << 20) .. '"'}, "is not supported"},

    {"five dimensions", one {shape = "[1,1,1,1,2]"}, "a list of at most 4 integers"},
    {"a dimension of 0", one {shape = "[2,0]", offsets = "[0,0]"}, "8 bytes follow the last tensor"},
    {"a negative dimension", one {shape = "[-2]"}, "shape [-2] does not fit"},
    {"two negative dimensions", one {shape = "[-1,-2]"}, "shape [-1,-2] does not fit"},
    {"a float as dimension", one {shape = "[2.0]"}, "a list of at most 4 integers"},
    {"an exponent in a dimension", one {shape = "[2e0]"}, "a list of at most 4 integers"},
    {"a string as dimension", one {shape = '["2"]'}, "a list of at most 4 integers"},
    {"null as dimension", one {shape = "[2,null]"}, "a list of at most 4 integers"},
    {"a shape that is an object", one {shape = '{"1":2}'}, "a list of at most 4 integers"},
    {"a shape that is a number", one {shape = "2"}, "a list of at most 4 integers"},
    {"2^31 numbers", one {shape = "[2147483648]", offsets = "[0,8589934592]"}, "does not fit the file's 8 bytes"},
    {"2^32 x 2^32 numbers", one {shape = "[4294967296,4294967296]"}, "does not fit the file's 8 bytes"},
    {"2^62 numbers: 2^64 bytes", one {shape = "[4611686018427387904]", offsets = "[0,0]"}, "does not fit"},
    {"2^63 - 1 numbers", one {shape = "[9223372036854775807]"}, "does not fit"},
    {"2^63 numbers", one {shape = "[9223372036854775808]"}, "a list of at most 4 integers"},
    {"a product that wraps to 2", one {shape = "[3,6148914691236517206]"}, "does not fit"},
    {"a shape larger than its place", one {shape = "[3]"}, "does not fit the file's 8 bytes"},
    {"a shape smaller than its place", one {shape = "[1]"}, "data_offsets [0,8] do not fit 4 bytes"},

    {"one offset", one {offsets = "[8]"}, "data_offsets must be two integers"},
    {"three offsets", one {offsets = "[0,4,8]"}, "data_offsets must be two integers"},
    {"floats as offsets", one {offsets = "[0.0,8.0]"}, "data_offsets must be two integers"},
    {"half an offset", one {offsets = "[0,8.5]"}, "data_offsets must be two integers"},
    {"strings as offsets", one {offsets = '["0","8"]'}, "data_offsets must be two integers"},
    {"no offsets", one {offsets = "null"}, "data_offsets must be two integers"},
    {"offsets beyond the file", one {offsets = "[8,16]"}, "data_offsets [8,16] do not fit 8 bytes of data in 8"},
    {"offsets beyond 2^31", one {offsets = "[2147483648,2147483656]"}, "do not fit"},
    {"offsets at the end of the integers", one {offsets = "[9223372036854775799,9223372036854775807]"}, "do not fit"},
    {"offsets beyond the integers", one {offsets = "[0,18446744073709551616]"}, "must be two integers"},
    {"a negative offset", one {offsets = "[-8,0]"}, "data_offsets [-8,0] do not fit"},
    {"a difference that wraps", one {offsets = "[-9223372036854775808,-9223372036854775800]"}, "do not fit"},
    {"offsets in the wrong order", one {offsets = "[8,0]"}, "data_offsets [8,0] do not fit"},
    {"an end cut off", one({}, "1234567"), "does not fit the file's 7 bytes"},
    {"trailing bytes", one({}, "123456789"), "1 bytes follow the last tensor"},
    {"a gap at the beginning", one({offsets = "[1,9]"}, "123456789"),
      "'a' begins at 1, where 0 was expected: tensors leave"},
    {"a gap between two", file(('{"a":%s,"b":%s}'):format(entry {}, entry {offsets = "[9,17]"}), ("x"):rep(17)),
      "'b' begins at 9, where 8 was expected: tensors leave a gap"},
    {"two that overlap", file(('{"a":%s,"b":%s}'):format(entry {}, entry {offsets = "[4,12]"}), ("x"):rep(12)),
      "'b' begins at 4, where 8 was expected: tensors overlap"},
    {"a million bytes of one tensor after another, all the same", file(
      ('{"a":%s,"b":%s,"c":%s}'):format(entry {}, entry {}, entry {}), ("x"):rep(8)), "tensors overlap"},

    {"metadata that are a list", file '{"__metadata__":["a"]}', "the metadata must be an object of strings"},
    {"metadata that are a string", file '{"__metadata__":"a"}', "the metadata must be an object of strings"},
    {"a number in the metadata", file '{"__metadata__":{"a":1}}', "the metadata must be an object of strings"},
    {"null in the metadata", file '{"__metadata__":{"a":null}}', "the metadata must be an object of strings"},
    {"an object in the metadata", file '{"__metadata__":{"a":{}}}', "the metadata must be an object of strings"},
    {"metadata twice", file '{"__metadata__":{},"__metadata__":{}}', "comes twice"},
    {"checksums that are no JSON", file '{"__metadata__":{"checksums":"{"}}', "checksums: invalid JSON"},
    {"checksums that are null", file '{"__metadata__":{"checksums":"null"}}', "checksums"},
    {"checksums that are numbers", file '{"__metadata__":{"checksums":"{\\"a\\":1}"}}',
      "an object of strings expected"},
    {"no checksum of the metadata", file '{"__metadata__":{"checksums":"{}"}}', "do not belong together"},
    {"a name with control characters", file('{"a\\n\\u0000b":1}'), "tensor 'a??b'"},
    {"a key with control characters twice", file('{"a\\n":1,"a\\n":1}'), "key 'a?' comes twice"},
    {"a name of a megabyte", file('{"' .. ("n"):rep(1 << 20) .. '":1}'), "an object expected"},
  }
  for _, case in ipairs(cases) do
    it("is refused: " .. case[1], function() refused(case[2], case[3]) end)
  end

  it("may have null as metadata, which is none", function()
    local tensors, metadata = load(file '{"__metadata__":null}')
    assert.same({}, tensors)
    assert.same({}, metadata)
    assert.is_nil(next(json.null)) -- which nobody wrote into
  end)

  -- 100 MB of header in a sparse file: refused by its length, before it is read.
  it("is refused: a header of more than 100 MB", function()
    local out = assert(io.open(path, "wb"))
    out:write(string.pack("<I8", 100000001), "{")
    out:seek("set", 8 + 100000001)
    out:write "}"
    out:close()
    local memory = collectgarbage "count"
    local tensors, message = safetensors.load(path)
    assert.is_nil(tensors)
    assert.matches("a header of 100000001 bytes in a file of 100000010", message, 1, true)
    assert.is_true(collectgarbage "count" - memory < 1000) -- kilobytes
  end)

  it("is refused when it was cut anywhere", function()
    local whole = small()
    for n = 0, #whole - 1 do refused(whole:sub(1, n)) end
    assert.is_table(load(whole))
  end)

  -- Eight single bits and all of them at once. What only says that there are
  -- checksums is not covered by them: a file without that key is a good file
  -- without checksums, and its tensors are checked here to be the same.
  it("is refused when any byte was changed", function()
    local whole, saved = small()
    local first, last = whole:find("checksums", 1, true)
    for at = 1, #whole do
      for bit = 0, 8 do
        local byte = whole:byte(at) ~ (bit < 8 and 1 << bit or 255)
        local changed = whole:sub(1, at - 1) .. string.char(byte) .. whole:sub(at + 1)
        if at < first or at > last then
          refused(changed)
        else
          local tensors = load(changed)
          for name, t in pairs(tensors or {}) do assert.same(saved[name]:totable(), t:totable()) end
        end
      end
    end
  end)

  it("is refused with the damaged tensor's name", function()
    local whole = small()
    local n = string.unpack("<I8", whole)
    local function flip(at)
      return whole:sub(1, at - 1) .. string.char(whole:byte(at) ~ 1) .. whole:sub(at + 1)
    end
    refused(flip(8 + n + 1), "tensor 'b' is damaged (checksum ")
    refused(flip(8 + n + WIDTH + 1), "tensor 'level.1.weight' is damaged (checksum ")
    refused(flip(#whole), "tensor 'level.1.weight' is damaged (checksum ")
    refused(flip(whole:find("levels", 1, true)), "the metadata are damaged (checksum ")
  end)

  it("is refused when two tensors changed places", function()
    assert(safetensors.save(path, {a = core.tensor {1, 2}, b = core.tensor {3, 4}}))
    local whole = scratch.read(path)
    local data = #whole - 4 * WIDTH
    refused(whole:sub(1, data) .. whole:sub(data + 2 * WIDTH + 1) .. whole:sub(data + 1, data + 2 * WIDTH),
      "tensor 'a' is damaged")
  end)

  -- What `make fuzz` found its way through the reader with.
  it("is refused or survives saving and loading: the fuzzer's corpus", function()
    local names, good = scratch.list "spec/fuzz/corpus/safetensors", 0
    for name in names:gmatch "%S+" do
      local bytes = scratch.read("spec/fuzz/corpus/safetensors/" .. name)
      local tensors, metadata = load(bytes)
      if tensors then
        good = good + 1
        assert(safetensors.save(path, tensors, metadata))
        local again, notes = assert(safetensors.load(path))
        assert.same(metadata, notes)
        for key, t in pairs(tensors) do assert.equal(core.file.crc32c(t), core.file.crc32c(again[key])) end
      else
        refused(bytes)
      end
    end
    assert.is_true(good >= 5) -- the seeds that are good files, at the least
  end)

  it("is refused when it is longer than memory, as a file with holes can be", function()
    -- AddressSanitizer wants more addresses than this limit leaves.
    if (os.getenv "LD_PRELOAD" or ""):find "asan" then return pending "not under a sanitizer" end
    local bytes = 1 << 32
    os.remove(path)
    local f <close> = assert(io.open(path, "wb"))
    f:write(file(('{"a":%s}'):format(entry {
      shape = ("[%d]"):format(bytes // 4), offsets = ("[0,%d]"):format(bytes) })))
    assert(f:seek("cur", bytes - 1))
    f:write "\0"
    f:close()
    local program = ([[package.path, package.cpath = %q, %q
      print(require "cglow.util.safetensors".load %q)]]):format(package.path, package.cpath, path)
    local child <close> = assert(io.popen(("ulimit -v 3000000; OPENBLAS_NUM_THREADS=1 %s -e '%s' 2>&1")
      :format(os.getenv "LUA" or "lua5.4", program:gsub("'", "'\\''"))))
    assert.equal(("nil\t%s: tensor 'a': not enough memory\t%d\n"):format(path, core.file.ENOMEM), child:read "a")
  end)

  it("costs no more than it holds: 2000 entries that all want the whole file", function()
    local entries = {}
    for i = 1, 2000 do entries[i] = ('"t%d":%s'):format(i, entry {shape = "[250000]", offsets = "[0,1000000]"}) end
    refused(file("{" .. table.concat(entries, ",") .. "}", ("\0"):rep(1000000)), "tensors overlap")
  end)
end)
