--- Files as the core opens, replaces, appends to and locks them.
local file = require "cglow.core".file
local core = require "cglow.core"
local lfs = require "lfs"
local scratch = require "spec.fixtures.scratch"

local folder, path
local before

local function fails(why, ok, message, code)
  assert.is_nil(ok)
  assert.equal(why, message)
  assert.equal("integer", math.type(code))
end

describe("cglow.core.file", function()
  before_each(function()
    folder = scratch.folder()
    path = folder .. "/a"
    before = scratch.descriptors()
  end)
  after_each(function()
    assert.equal(before, scratch.descriptors())
    scratch.remove(folder)
  end)

  describe("write", function()
    it("makes and replaces a file", function()
      assert.is_true(file.write(path, "one\0two"))
      assert.equal("one\0two", scratch.read(path))
      assert.is_true(file.write(path, "", false))
      assert.equal("", scratch.read(path))
      assert.equal("a", scratch.list(folder))
    end)

    it("lets a reader keep the old file", function()
      file.write(path, "old")
      local reader <close> = assert(io.open(path))
      file.write(path, "new")
      assert.equal("old", reader:read "a")
    end)

    it("takes paths without a folder", function()
      local here = lfs.currentdir()
      finally(function() lfs.chdir(here) end)
      lfs.chdir(folder)
      assert.is_true(file.write("a", "x"))
      assert.equal("x", scratch.read(path))
    end)

    it("says why it cannot", function()
      fails(folder .. ": Is a directory", file.write(folder, "x"))
      fails(folder .. "/: Is a directory", file.write(folder .. "/", "x"))
      fails(folder .. "/b/a: No such file or directory", file.write(folder .. "/b/a", "x"))
      fails("/dev/full: not a regular file", file.write("/dev/full", "x"))
      fails(": No such file or directory", file.write("", "x"))
      assert.equal("", scratch.list(folder))
    end)

    it("raises on misuse", function()
      assert.error_matches(function() file.write() end, "bad argument #2 to 'write' %(string expected")
      assert.error_matches(function() file.write(path, {}) end, "bad argument #2 to 'write' %(string expected")
      assert.error_matches(function() file.write({}, "") end, "bad argument #1 to 'write' %(string expected")
      assert.error_matches(function() file.write("a\0b", "") end, "path holds a zero byte")
    end)
  end)

  describe("create", function()
    it("writes over what was written, and goes on at the end", function()
      local out = assert(file.create(path))
      assert(out:write "abcdef")
      assert.is_true(out:write("CD", 2))
      assert(out:write "g")
      for _, at in ipairs {-1, 6, 7, math.mininteger, math.maxinteger} do
        assert.error_matches(function() out:write("xy", at) end, "offset of 2 among the 7 bytes written expected")
      end
      assert(out:commit())
      assert.equal("abCDefg", scratch.read(path))
    end)

    it("puts the file in its place on commit", function()
      local out = assert(file.create(path))
      assert.is_true(out:write "abc")
      local ok, crc = out:write_tensor(core.tensor {1, 2})
      assert.is_true(ok)
      assert.equal(file.crc32c(core.tensor {1, 2}), crc)
      assert.is_nil(lfs.attributes(path))
      assert.is_true(out:commit())
      assert.equal("abc", scratch.read(path):sub(1, 3))
      assert.equal("a", scratch.list(folder))
      assert.is_true(out:close())
      assert.equal("a", scratch.list(folder))
    end)

    it("leaves nothing behind when it is closed, collected or unwound past", function()
      do
        local out <close> = assert(file.create(path))
        out:write "x"
        assert.matches("^%.cglow%-%d+%-0%.tmp$", scratch.list(folder))
      end
      assert.equal("", scratch.list(folder))
      pcall(function()
        local out <close> = assert(file.create(path))
        out:write(nil)
      end)
      assert.equal("", scratch.list(folder))
      assert(file.create(path)):write "x"
      collectgarbage()
      collectgarbage()
      assert.equal("", scratch.list(folder))
    end)

    it("can write several files at once, also in one folder", function()
      local outs = {}
      for i = 1, 20 do outs[i] = assert(file.create(folder .. "/f" .. i)) end
      for i, out in ipairs(outs) do out:write(("x"):rep(i)) end
      for _, out in ipairs(outs) do assert(out:commit()) end
      for i = 1, 20 do assert.equal(("x"):rep(i), scratch.read(folder .. "/f" .. i)) end
    end)

    it("fails on commit when something took its place, and cleans up", function()
      local out = assert(file.create(path))
      out:write "x"
      lfs.mkdir(path)
      fails(path .. ": Is a directory", out:commit())
      assert.equal("a", scratch.list(folder))
      assert.error_matches(function() out:commit() end, "an open file expected, this one is closed")
    end)

    it("raises on misuse", function()
      local out = assert(file.create(path))
      assert.error_matches(function() out:write() end, "bad argument #1 to 'write' %(string expected")
      assert.error_matches(function() out:write_tensor(3) end, "cglow.Tensor expected, got number")
      assert.error_matches(function() out.write(io.stdout, "x") end, "cglow.file.Writer expected, got FILE%*")
      out:close()
      for _, method in ipairs {"write", "write_tensor", "commit"} do
        assert.error_matches(function() out[method](out, method == "write" and "x" or core.zeros(1)) end,
          "an open file expected, this one is closed")
      end
      assert.is_true(out:close())
    end)
  end)

  describe("open", function()
    it("reads at any place", function()
      scratch.write(path, "0123456789")
      local r <close> = assert(file.open(path))
      assert.equal(10, r:size())
      assert.equal("345", r:read(3, 3))
      assert.equal("", r:read(10, 0))
      assert.equal("0123456789", r:read(0, 10))
    end)

    it("reads tensors of both precisions", function()
      local bytes = "x" .. string.pack("<ffff", 1, 2, 3, 4) .. string.pack("<dd", 5, 6)
      scratch.write(path, bytes)
      local r <close> = assert(file.open(path))
      local t, crc = r:read_tensor(1, "F32", {2, 2})
      assert.same({2, 2}, t:size())
      assert.same({1, 2, 3, 4}, t:totable())
      assert.equal(file.crc32c(bytes:sub(2, 17)), crc)
      t, crc = r:read_tensor(17, "F64", {2})
      assert.same({5, 6}, t:totable())
      assert.equal(file.crc32c(bytes:sub(18)), crc)
    end)

    it("does not make room for what is not there", function()
      scratch.write(path, "0123456789")
      local r <close> = assert(file.open(path))
      local why = "the file is shorter than it was when it was opened"
      local made = core.stats().bytes
      local memory = collectgarbage "count"
      fails(why, r:read(0, 11))
      fails(why, r:read(10, math.maxinteger))
      fails(why, r:read_tensor(0, "F32", {3}))
      fails(why, r:read_tensor(0, "F32", {1 << 31, 1 << 30}))
      assert.error_matches(function() r:read_tensor(0, "F64", {1 << 31, 1 << 31}) end, "size overflows")
      assert.equal(made, core.stats().bytes)
      assert.is_true(collectgarbage "count" - memory < 100) -- kilobytes
    end)

    it("notices that a file has shrunk", function()
      scratch.write(path, ("x"):rep(100))
      local r <close> = assert(file.open(path))
      scratch.write(path, "x")
      fails("the file is shorter than it was when it was opened", r:read(0, 100))
    end)

    it("raises on misuse", function()
      scratch.write(path, "0123")
      local r = assert(file.open(path))
      for _, case in ipairs {
        {"#1 to 'read' %(place outside", "read", -1, 1}, {"#1 to 'read' %(place outside", "read", 5, 0},
        {"#2 to 'read' %(a count", "read", 0, -1}, {"#1 to 'read' %(number expected", "read"},
        {"#2 to 'read_tensor' %(one of F32, F64, .* expected, got 'F8'", "read_tensor", 0, "F8", {1}},
        {"#3 to 'read_tensor' %(table expected", "read_tensor", 0, "F32", 1},
        {"#3 to 'read_tensor' %(.*positive integer", "read_tensor", 0, "F32", {0}},
        {"#3 to 'read_tensor' %(1 to 4 dimensions", "read_tensor", 0, "F32", {1, 1, 1, 1, 1}},
        {"#1 to 'read_tensor' %(place outside", "read_tensor", -4, "F32", {1}},
      } do
        -- Written out, because a message knows a function by how it was called.
        local call = load(("local r = ... local x = r:%s(select(2, ...)) return x"):format(case[2]))
        assert.error_matches(function() call(r, table.unpack(case, 3)) end, "bad argument " .. case[1])
      end
      assert.is_true(r:close())
      for _, method in ipairs {"size", "read", "read_tensor"} do
        assert.error_matches(function() r[method](r, 0, 1) end, "an open file expected, this one is closed")
      end
    end)
  end)

  describe("append", function()
    it("adds to what is there", function()
      scratch.write(path, "one\n")
      local log <close> = assert(file.append(path))
      assert.is_true(log:write "two\n")
      assert.is_true(log:sync())
      assert.equal("one\ntwo\n", scratch.read(path))
    end)

    it("makes the file", function()
      local log <close> = assert(file.append(path))
      log:write "x"
      assert.equal("x", scratch.read(path))
    end)

    it("never takes the place of a standard stream that is closed", function()
      local other = folder .. "/other"
      local _, ok = scratch.lua([[
        local file = require "cglow.core".file
        local path, other = ...
        local log, out = assert(file.append(path)), assert(file.create(other))
        local lock = assert(file.lock(other .. ".lock"))
        assert(log:write "log\n")
        assert(out:write "out\n")
        print "this is for standard output"
        io.stdout:flush()
        io.stderr:write "this is for standard error\n"
        assert(out:commit())
        lock:close()
      ]], {suffix = "<&- >&- 2>&-"}, path, other)
      assert.is_true(ok)
      assert.equal("log\n", scratch.read(path))
      assert.equal("out\n", scratch.read(other))
      assert.equal("", scratch.read(other .. ".lock"))
    end)

    it("adds a whole line or nothing when the disk is full", function()
      local out, ok = scratch.lua([[
        local file = require "cglow.core".file
        local log = assert(file.append((...)))
        assert(log:write(("x"):rep(24000) .. "\n"))
        print(log:write(("y"):rep(48000) .. "\n"))
        assert(log:write("z\n"))
      ]], {prefix = "ulimit -f 64;"}, path) -- 32768 bytes, or twice that in a shell that counts kilobytes
      assert.is_true(ok, out)
      assert.equal(("nil\t%s: File too large\t27\n"):format(path), out)
      assert.equal(("x"):rep(24000) .. "\nz\n", scratch.read(path))
    end)

    it("says why it cannot", function()
      fails(folder .. ": Is a directory", file.append(folder))
      fails(folder .. "/b/a: No such file or directory", file.append(folder .. "/b/a"))
      fails("/dev/null: not a regular file", file.append "/dev/null")
    end)

    it("raises on misuse", function()
      local log = assert(file.append(path))
      assert.error_matches(function() log:write() end, "bad argument #1 to 'write' %(string expected")
      log:close()
      assert.error_matches(function() log:write "x" end, "an open file expected, this one is closed")
      assert.error_matches(function() log:sync() end, "an open file expected, this one is closed")
      assert.error_matches(function() file.append() end, "bad argument #1 to 'append' %(string expected")
    end)
  end)

  describe("lock", function()
    local try = [[
      local lock, message, code = require "cglow.core".file.lock((...))
      print(lock ~= nil, message, code)
    ]]
    local refused = "locked by another process"

    it("keeps others out until it is closed", function()
      local lock = assert(file.lock(path))
      assert.equal(("false\t%s: %s\t11\n"):format(path, refused), (scratch.lua(try, {}, path)))
      fails(path .. ": " .. refused, file.lock(path))
      lock:close()
      assert.equal("true\ttrue\tnil\n", (scratch.lua(try, {}, path)))
    end)

    it("ends when it is collected", function()
      assert(file.lock(path))
      collectgarbage()
      collectgarbage()
      assert(file.lock(path)):close()
    end)

    it("ends with its process, also a killed one", function()
      scratch.lua([[
        assert(require "cglow.core".file.lock((...)))
        local pid = io.open("/proc/self/stat"):read "n"
        os.execute("kill -9 " .. pid)
      ]], {}, path)
      assert(file.lock(path)):close()
    end)

    it("says why it cannot", function()
      fails(folder .. ": Is a directory", file.lock(folder))
      fails(folder .. "/b/a: No such file or directory", file.lock(folder .. "/b/a"))
      assert.error_matches(function() file.lock(3) end, "bad argument #1 to 'lock' %(string expected, got number")
    end)
  end)

  it("before is in the order of bytes, whatever the locale", function()
    local sorted = {"", "A", "B", "a", "ab", "b", "b\0", "b\0a", "ä", "\255"}
    for i, a in ipairs(sorted) do
      for k, b in ipairs(sorted) do assert.equal(i < k, file.before(a, b), a .. " and " .. b) end
    end
  end)

  describe("crc32c", function()
    it("gives the published check values", function()
      assert.equal(0xE3069283, file.crc32c "123456789") -- the usual check string
      assert.equal(0x8A9136AA, file.crc32c(("\0"):rep(32))) -- RFC 3720, B.4
      assert.equal(0x62A8AB43, file.crc32c(("\255"):rep(32)))
    end)

    it("takes tensors, and views of them, as bytes", function()
      assert.equal(file.crc32c(string.pack("<fff", 1, 2, 3)), file.crc32c(core.tensor {1, 2, 3}))
      assert.equal(file.crc32c(string.pack("<ff", 2, 3)), file.crc32c(core.tensor({1, 2, 3}):narrow(1, 2, 2)))
    end)

    it("raises on anything else", function()
      assert.error_matches(function() file.crc32c() end, "bad argument #1 to 'crc32c' %(string expected")
    end)
  end)
end)
