--- Tensors in files: what is written, what comes back, and what stays when
-- writing fails. Malformed files are in hostile_safetensors_spec.lua.
local core = require "cglow.core"
local json = require "cglow.util.json"
local lfs = require "lfs"
local safetensors = require "cglow.util.safetensors"
local scratch = require "spec.fixtures.scratch"

-- Every bit counts, also those of NaN, -0 and denormals.
local function bits(t)
  local n, format = t:count(), core.scalar == "double" and "<d" or "<f"
  local flat = t:reshape(n)
  local parts = {}
  for i = 1, n do parts[i] = string.pack(format, flat[i]) end
  return table.concat(parts)
end

local function header_of(bytes)
  local n = string.unpack("<I8", bytes)
  return bytes:sub(9, 8 + n), bytes:sub(9 + n)
end

describe("safetensors", function()
  local folder <const> = scratch.each(before_each, after_each)
  local path <const> = folder .. "/a.safetensors"

  it("gives back what was saved, bit for bit", function()
    local odd = core.tensor {0 / 0, math.huge, -math.huge, -0.0, 2 ^ -149, 1.17e-38, 3.4e38, 1 / 3}
    local saved = {
      odd = odd, a = core.randn(2, 3, 4, 5), ["level.1.step.2.w"] = core.randn(7, 11), one = core.full({1}, 4),
      view = core.randn(5, 6):narrow(1, 2, 3), row = core.randn(4, 9)[3],
    }
    assert.is_true(safetensors.save(path, saved, {config = '{"x":[3,32,32]}', [""] = ""}))
    local loaded, metadata = assert(safetensors.load(path))
    assert.same({config = '{"x":[3,32,32]}', [""] = ""}, metadata)
    local count = 0
    for name, t in pairs(loaded) do
      count = count + 1
      assert.same(saved[name]:size(), t:size())
      assert.equal(bits(saved[name]), bits(t))
    end
    assert.equal(6, count)
  end)

  it("takes any name and any metadata that are UTF-8", function()
    local names = {"", " ", "ü", "馬", "🐎", 'a"b', "a\\b", "a/b", "a\nb", "a\0b", "__metadata_", "checksums", "\u{7f}",
                   ("long"):rep(1000)}
    local saved, notes = {}, {}
    for i, name in ipairs(names) do
      saved[name] = core.full({1}, i)
      if name ~= "checksums" then notes[name] = name end
    end
    assert(safetensors.save(path, saved, notes))
    local loaded, metadata = assert(safetensors.load(path))
    for i, name in ipairs(names) do assert.equal(i, loaded[name][1]) end
    assert.same(notes, metadata)
  end)

  it("keeps a thousand tensors apart", function()
    local saved = {}
    for i = 1, 1000 do saved[("level.%d.weight"):format(i)] = core.full({i % 7 + 1, i % 3 + 1}, i) end
    assert(safetensors.save(path, saved))
    local loaded = assert(safetensors.load(path))
    for name, t in pairs(saved) do assert.equal(bits(t), bits(loaded[name])) end
  end)

  it("writes the same bytes for the same tensors", function()
    local function save(order)
      local saved = {}
      for _, name in ipairs(order) do saved[name] = core.full({2}, #name) end
      assert(safetensors.save(path, saved, {k = "v", a = "b"}))
      return scratch.read(path)
    end
    assert.equal(save {"a", "bb", "ccc"}, save {"ccc", "a", "bb"})
  end)

  it("lays the file out as the format says", function()
    assert(safetensors.save(path, {b = core.tensor {{1, 2, 3}, {4, 5, 6}}, a = core.tensor {-1}}, {note = "hi"}))
    local header, data = header_of(scratch.read(path))
    assert.equal(0, (8 + #header) % 8)
    assert.equal("{", header:sub(1, 1))
    assert.matches("} *$", header)
    local decoded = assert(json.decode(header))
    local w, dtype = 4, "F32"
    if core.scalar == "double" then w, dtype = 8, "F64" end
    assert.same({dtype = dtype, shape = {1}, data_offsets = {0, w}}, decoded.a)
    assert.same({dtype = dtype, shape = {2, 3}, data_offsets = {w, 7 * w}}, decoded.b)
    assert.equal("hi", decoded.__metadata__.note)
    assert.equal(string.pack("<" .. (w == 4 and "f" or "d"):rep(7), -1, 1, 2, 3, 4, 5, 6), data)
    local sums = assert(json.decode(decoded.__metadata__.checksums))
    assert.equal(("%08x"):format(core.file.crc32c(data:sub(1, w))), sums.a)
    assert.equal(("%08x"):format(core.file.crc32c(data:sub(w + 1))), sums.b)
  end)

  -- In a locale whose letters are in another order, made here where none is installed.
  it("has the checksums that it has anywhere, whatever the locale", function()
    local made = os.execute(("localedef -i de_DE -f UTF-8 '%s/de_DE.UTF-8' >/dev/null 2>&1"):format(folder))
    local program = [[
      local core, safetensors = require "cglow.core", require "cglow.util.safetensors"
      if not os.setlocale "de_DE.UTF-8" then return print "no such locale" end
      assert("a" < "B", "the order of bytes")
      assert(safetensors.save((...), {t = core.ones(3), B = core.ones(2), a = core.ones(1)}, {B = "1", a = "2"}))
      assert(safetensors.load((...)))
    ]]
    local out, ok = scratch.lua(program, {prefix = made and ("LOCPATH='%s'"):format(folder)}, path)
    assert.is_true(ok, out)
    if out ~= "" then return pending(out) end
    local tensors, metadata = assert(safetensors.load(path))
    local there = scratch.read(path)
    assert(safetensors.save(path, tensors, metadata))
    assert.equal(select(2, header_of(scratch.read(path))), (select(2, header_of(there))))
  end)

  it("holds no tensors when there are none", function()
    assert(safetensors.save(path, {}))
    local tensors, metadata = assert(safetensors.load(path))
    assert.is_nil(next(tensors))
    assert.same({}, metadata)
  end)

  -- As Python's library writes it: metadata first, no checksums, dtypes mixed,
  -- names in any order, spaces between the tokens, no padding.
  it("reads files that others wrote", function()
    local header = '{"__metadata__": {"format": "pt"}, "z": {"dtype": "F32", "shape": [2, 1], "data_offsets": [8, 16]},'
      .. ' "a": {"dtype": "F64", "shape": [], "data_offsets": [0, 8]}} '
    scratch.write(path, string.pack("<s8dff", header, 0.1, 1.5, -2))
    local tensors, metadata = assert(safetensors.load(path))
    assert.same({format = "pt"}, metadata)
    assert.same({1}, tensors.a:size())
    assert.equal(string.unpack("<f", string.pack("<f", 0.1)), tensors.a[1])
    assert.same({2, 1}, tensors.z:size())
    assert.same({1.5, -2}, tensors.z:totable())
  end)

  local function one(dtype, shape, bytes)
    local header = ('{"a":{"dtype":"%s","shape":%s,"data_offsets":[0,%d]}}'):format(dtype, shape, #bytes)
    scratch.write(path, string.pack("<s8", header) .. bytes)
    return safetensors.load(path)
  end

  it("reads every number's format", function()
    for dtype, case in pairs {
      F64 = {"<dd", -1.5, 1e10}, F32 = {"<ff", -1.5, 1e10}, F16 = {"<HH", -1.5, 65504, 0xbe00, 0x7bff},
      BF16 = {"<HH", -1.5, 1.0, 0xbfc0, 0x3f80}, I64 = {"<i8i8", -1 << 62, 1 << 24}, I32 = {"<i4i4", -1 << 31, 7},
      I16 = {"<i2i2", -32768, 32767}, I8 = {"<i1i1", -128, 127}, U64 = {"<I8I8", 1 << 62, 7},
      U32 = {"<I4I4", 1 << 31, 7}, U16 = {"<I2I2", 65535, 0}, U8 = {"<I1I1", 255, 0}, BOOL = {"<I1I1", 1, 0},
    } do
      local bytes = string.pack(case[1], case[4] or case[2], case[5] or case[3])
      local t = assert(one(dtype, "[2]", bytes))
      assert.same({case[2] + 0.0, case[3] + 0.0}, t.a:totable(), dtype)
      assert.same({1}, assert(one(dtype, "[]", bytes:sub(1, #bytes // 2))).a:size())
    end
  end)

  it("refuses whole numbers that would change", function()
    local beyond = core.scalar == "double" and (1 << 53) + 1 or (1 << 24) + 1
    for dtype, bytes in pairs {
      I64 = string.pack("<i8", beyond), U64 = ("\255"):rep(8),
      I32 = core.scalar == "float" and string.pack("<i4", beyond) or nil,
      U32 = core.scalar == "float" and string.pack("<I4", beyond) or nil,
    } do
      local t, message = one(dtype, "[1]", bytes)
      assert.is_nil(t)
      assert.matches("tensor 'a': holds a whole number that %a+ does not have exactly", message)
    end
    assert.matches("booleans other than 0 and 1", (select(2, one("BOOL", "[1]", "\2"))))
  end)

  it("lists tensors without numbers apart", function()
    local header = '{"a":{"dtype":"F32","shape":[2,0],"data_offsets":[0,0]},"b":{"dtype":"I8","shape":[1],'
      .. '"data_offsets":[0,1]},"c":{"dtype":"F16","shape":[0],"data_offsets":[1,1]}}'
    scratch.write(path, string.pack("<s8", header) .. "\7")
    local tensors, _, empty = assert(safetensors.load(path))
    assert.same({7.0}, tensors.b:totable())
    assert.same({a = {2, 0}, c = {0}}, empty)
    assert.is_nil(tensors.a)
    local nothing, message = one("F32", "[0]", "1234")
    assert.is_nil(nothing)
    assert.matches("data_offsets %[0,4%] do not fit 0 bytes", message)
  end)

  it("refuses numbers that the core cannot hold, and keeps infinities", function()
    local header = '{"a":{"dtype":"F64","shape":[2],"data_offsets":[0,16]}}'
    scratch.write(path, string.pack("<s8dd", header, -math.huge, math.huge))
    assert.same({-math.huge, math.huge}, assert(safetensors.load(path)).a:totable())
    scratch.write(path, string.pack("<s8dd", header, 1, 1e300))
    local tensors, message, code = safetensors.load(path)
    assert.is_nil(tensors)
    assert.equal(path .. ": tensor 'a': holds a number that is too large for float", message)
    assert.equal(core.file.EBADMSG, code)
  end)

  -- More than the buffer that conversion goes through (4096 numbers).
  it("converts tensors of many numbers", function()
    local n = 10001
    local values = {}
    for i = 1, n do values[i] = string.pack("<d", i / 8) end
    local header = ('{"a":{"dtype":"F64","shape":[%d],"data_offsets":[0,%d]}}'):format(n, 8 * n)
    scratch.write(path, string.pack("<s8", header) .. table.concat(values))
    local a = assert(safetensors.load(path)).a
    for i = 1, n do assert(a[i] == i / 8) end
  end)

  it("can be saved again after loading", function()
    assert(safetensors.save(path, {a = core.randn(3)}, {k = "v"}))
    local first = scratch.read(path)
    assert(safetensors.save(path, assert(safetensors.load(path)), {k = "v"}))
    assert.equal(first, scratch.read(path))
    local tensors, metadata = assert(safetensors.load(path))
    assert(safetensors.save(path, tensors, metadata))
    assert.equal(first, scratch.read(path))
  end)

  describe("raises on misuse of", function()
    local t = core.zeros(1)
    for _, case in ipairs {
      {"save", "bad argument #1 to 'save_tensors': path must be a string, got nil"},
      {"save", "bad argument #1 to 'save_tensors': path must be a string, got 3", 3, {}},
      {"save", "bad argument #2 to 'save_tensors': tensors must be a table, got nil", "x"},
      {"save", "bad argument #2 to 'save_tensors': tensors must be a table, got cglow.Tensor", "x", t},
      {"save", "bad argument #2 to 'save_tensors': tensor 'a' must be a tensor, got 3", "x", {a = 3}},
      {"save", "bad argument #2 to 'save_tensors': tensor 'a' must be a tensor, got FILE*", "x", {a = io.stdout}},
      {"save", "save_tensors: tensor names must be strings, got a number", "x", {t}},
      {"save", "save_tensors: a tensor's name is no valid UTF-8", "x", {["\255"] = t}},
      {"save", "save_tensors: no tensor can be called '__metadata__'", "x", {__metadata__ = t}},
      {"save", "bad argument #3 to 'save_tensors': metadata must be a table, got 'm'", "x", {}, "m"},
      {"save", "save_tensors: metadata must be strings under strings, got a number under a string", "x", {}, {a = 1}},
      {"save", "save_tensors: metadata must be strings under strings, got a string under a number", "x", {}, {"a"}},
      {"save", "save_tensors: the metadata key 'checksums' is written by save_tensors itself", "x", {},
       {checksums = "{}"}},
      {"save", "save_tensors: metadata 'a' is no valid UTF-8", "x", {}, {a = "\255"}},
      {"load", "bad argument #1 to 'load_tensors': path must be a string, got nil"},
      {"load", "bad argument #1 to 'load_tensors': path must be a string, got table", {}},
      {"load", "path holds a zero byte", "a\0b"},
      {"save", "path holds a zero byte", "a\0b", {}},
    } do
      it(case[1] .. ": " .. case[2], function()
        local ok, message = pcall(safetensors[case[1]], table.unpack(case, 3))
        assert.is_false(ok)
        assert.matches(case[2], message, 1, true)
      end)
    end
  end)
end)

describe("a safetensors file that cannot be", function()
  local folder <const> = scratch.each(before_each, after_each)

  local t = core.randn(100, 100)

  local function refuses_to_save(path, why)
    local before = scratch.descriptors()
    local ok, message, code = safetensors.save(path, {t = t})
    assert.is_nil(ok)
    assert.equal(path .. ": " .. why, message)
    assert.equal("integer", math.type(code))
    assert.equal(before, scratch.descriptors())
  end

  it("read: none there, a folder, a device", function()
    for name, why in pairs {
      [folder .. "/none"] = "No such file or directory", [folder] = "Is a directory",
      ["/dev/zero"] = "not a regular file", [folder .. "/a/b"] = "No such file or directory",
    } do
      local tensors, message, code = safetensors.load(name)
      assert.is_nil(tensors)
      assert.equal(name .. ": " .. why, message)
      assert.equal("integer", math.type(code))
    end
  end)

  it("read: a FIFO, without waiting for a writer", function()
    local fifo = folder .. "/fifo"
    assert(os.execute("mkfifo " .. fifo))
    assert.equal(fifo .. ": not a regular file", select(2, safetensors.load(fifo)))
    refuses_to_save(fifo, "not a regular file")
    assert.equal("fifo", scratch.list(folder))
  end)

  it("written: no such folder, a folder in its place, a device", function()
    refuses_to_save(folder .. "/none/a", "No such file or directory")
    refuses_to_save(folder, "Is a directory")
    refuses_to_save(folder .. "/", "Is a directory")
    refuses_to_save("", "No such file or directory")
    refuses_to_save("/dev/null", "not a regular file")
    scratch.write(folder .. "/file", "")
    refuses_to_save(folder .. "/file/a", "Not a directory")
    refuses_to_save(folder .. "/" .. ("x"):rep(300), "File name too long")
    assert.equal("file", scratch.list(folder))
  end)

  -- Root writes where others may not, so a read-only file system stands in.
  it("written: a folder that may not be written to", function()
    local mounted = scratch.mount "1m"
    if mounted then
      finally(function() scratch.unmount(mounted) end)
      scratch.write(mounted .. "/a", "old")
      assert(os.execute("mount -o remount,ro " .. mounted))
      refuses_to_save(mounted .. "/a", "Read-only file system")
      assert.equal("old", scratch.read(mounted .. "/a"))
      return
    end
    assert(os.execute("chmod 555 " .. folder))
    finally(function() os.execute("chmod 755 " .. folder) end)
    if io.open(folder .. "/probe", "w") then return pending "this user may write anywhere and cannot mount" end
    refuses_to_save(folder .. "/a", "Permission denied")
  end)

  it("written: the disk is full", function()
    local mounted = scratch.mount "32k"
    if not mounted then return pending "this user cannot mount a small file system" end
    finally(function() scratch.unmount(mounted) end)
    local path = mounted .. "/a"
    assert(safetensors.save(path, {t = core.ones(10)}))
    local old = scratch.read(path)
    refuses_to_save(path, "No space left on device") -- 40 kB beside itself
    refuses_to_save(path, "No space left on device")
    assert.equal("a", scratch.list(mounted))
    assert.equal(old, scratch.read(path))
  end)

  -- Only root can mount a disk to fill; a limit on the size of files any user can have.
  it("written: it grows past the limit for files", function()
    local path = folder .. "/a"
    assert(safetensors.save(path, {t = core.ones(10)}))
    local old = scratch.read(path)
    local out, ok = scratch.lua([[
      local core, safetensors = require "cglow.core", require "cglow.util.safetensors"
      local ok, message, code = safetensors.save((...), {t = core.zeros(200, 100)})
      print(ok, message, code)
    ]], {prefix = "ulimit -f 64;"}, path)
    assert.is_true(ok, out)
    assert.equal(("nil\t%s: File too large\t27\n"):format(path), out)
    assert.equal("a", scratch.list(folder))
    assert.equal(old, scratch.read(path))
  end)

  it("there is the old one or the new one when a process is killed while saving", function()
    local path = folder .. "/a"
    assert(safetensors.save(path, {t = core.full({50000}, 1)}))
    for i = 1, 20 do
      -- Killed after 20 to 115 ms: in the middle of its start, or of some save.
      scratch.lua([[
        local core, safetensors = require "cglow.core", require "cglow.util.safetensors"
        while true do
          for value = 1, 3 do assert(safetensors.save((...), {t = core.full({50000}, value)})) end
        end
      ]], {prefix = ("timeout -s KILL %g env"):format(0.015 + 0.005 * i)}, path)
      local values = assert(safetensors.load(path)).t
      assert.equal(values:min(), values:max())
    end
  end)

  it("replaces a link, and keeps the mode of a file", function()
    local path, link = folder .. "/a", folder .. "/link"
    assert(safetensors.save(path, {t = t}))
    assert(os.execute("chmod 600 " .. path))
    assert(lfs.link("a", link, true))
    assert(safetensors.save(path, {t = t}))
    assert.equal("rw-------", lfs.attributes(path, "permissions"))
    assert(safetensors.save(link, {one = core.ones(1)}))
    assert.equal("file", lfs.symlinkattributes(link, "mode"))
    assert.is_truthy(assert(safetensors.load(path)).t)
    assert.equal("a link", scratch.list(folder))
  end)
end)
