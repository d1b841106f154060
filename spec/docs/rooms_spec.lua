-- The check of rooms (spec/tools/rooms.lua): it accepts the tree, and refuses what it should.

local root

local function write(path, text)
  os.execute(("mkdir -p '%s/%s'"):format(root, path:match "^(.*)/"))
  local file <close> = assert(io.open(root .. "/" .. path, "wb"))
  file:write(text)
end

local function check(folder)
  local pipe = io.popen(("lua5.4 spec/tools/rooms.lua '%s'"):format(folder))
  local said = pipe:read "a"
  return pipe:close() == true, said
end

describe("The check of rooms", function()
  before_each(function()
    root = os.tmpname()
    os.remove(root)
    write("csrc/README.md", "| `base/` | numbers | |\n| `math/` | products | `base` |\n| `lua/` | bindings | all |\n")
    write("lua/README.md", "| `cglow/util/` | checks | |\n| `cglow/data/` | sets | |\n")
    write("csrc/base/real.h", "/* Numbers. */\n")
    write("csrc/math/gemm.c", '/* Products. */\n#include "base/real.h"\n')
    write("csrc/lua/core.c", '/* All. */\n#include <lua.h>\n#include "math/gemm.h"\n')
    write("lua/cglow/util/check.lua", "")
    write("lua/cglow/data/files.lua", 'require "cglow.util.check"\n')
  end)
  after_each(function() os.execute("rm -rf '" .. root .. "'") end)

  local function refused(path, text, says)
    write(path, text)
    local ok, said = check(root)
    assert.is_false(ok)
    assert.are.equal(says .. "\n", said)
  end

  it("accepts this tree", function() assert.are.same({true, ""}, {check "."}) end)
  it("accepts what is allowed", function() assert.are.same({true, ""}, {check(root)}) end)
  it("refuses an upward include", function()
    refused("csrc/base/isa.c", '/* Sets. */\n#include "math/gemm.h"\n',
      "csrc/base/isa includes math/gemm.h: base may not use math")
  end)
  it("refuses Lua outside of its room", function()
    refused("csrc/math/rng.h", "/* Chance. */\n#include <lauxlib.h>\n",
      "csrc/math/rng.h includes lauxlib.h: only csrc/lua may")
  end)
  it("refuses a circle of files", function()
    write("csrc/math/lu.c", '/* LU. */\n#include "math/gemm.h"\n')
    refused("csrc/math/gemm.h", '/* Products. */\n#include "math/lu.h"\n',
      "a circle: math/gemm -> math/lu -> math/gemm")
  end)
  it("refuses a room that no table knows", function()
    refused("csrc/attic/old.c", "/* Old. */\n", "csrc/attic/old is in no room that csrc/README.md knows")
  end)
  it("refuses a file that does not say what it is", function()
    refused("csrc/math/lu.c", "int lu;\n", "csrc/math/lu.c does not begin by saying what it is")
  end)
  it("refuses an upward require", function()
    refused("lua/cglow/util/list.lua", 'require "cglow.data.files"\n',
      "cglow.util.list requires cglow.data.files: util may not use data")
  end)
  it("refuses a room of Lua that no table knows", function()
    refused("lua/cglow/attic/old.lua", "", "cglow.attic.old is in no room that lua/README.md knows")
  end)
  it("refuses a circle of modules", function()
    write("lua/cglow/data/sets.lua", 'require "cglow.data.files"\n')
    refused("lua/cglow/data/files.lua", 'require "cglow.data.sets"\n',
      "a circle: cglow.data.files -> cglow.data.sets -> cglow.data.files")
  end)
  it("refuses a spec that busted would not find", function()
    refused("spec/old_spec.lua", "", "spec/old_spec.lua is in no room: a spec lies in a folder of spec/")
  end)
end)
