-- The check of lengths (spec/tools/lengths.lua): it finds what is too long, and only that.
local scratch = require "spec.fixtures.scratch"

describe("The check of lengths", function()
  local folder <const> = scratch.each(before_each, after_each)

  local function check(path, text)
    os.execute(("mkdir -p '%s'/csrc '%s'/lua/cglow '%s'/spec '%s'/examples"):format(folder, folder, folder, folder))
    scratch.write(folder .. "/" .. path, text)
    local pipe = io.popen(("lua5.4 spec/tools/lengths.lua '%s'"):format(folder))
    local said = pipe:read "a"
    return pipe:close() == true, said
  end

  local function lua(n) return "local function f()\n" .. ("  g()\n"):rep(n - 2) .. "end\n" end
  local function c(n) return "static void f(int a,\n              int b) {\n" .. ("  g();\n"):rep(n - 3) .. "}\n" end

  it("accepts 49 lines of a function and 400 of a file", function()
    assert.same({true, ""}, {check("lua/cglow/a.lua", lua(49))})
    assert.same({true, ""}, {check("csrc/a.c", c(49))})
    assert.same({true, ""}, {check("csrc/b.h", ("int a;\n"):rep(400))})
  end)

  it("refuses one more", function()
    assert.same({false, "lua/cglow/a.lua:1: a function of 50 lines\n"}, {check("lua/cglow/a.lua", lua(50))})
    scratch.write(folder .. "/lua/cglow/a.lua", "")
    assert.same({false, "csrc/a.c:1: a function of 50 lines\n"}, {check("csrc/a.c", c(50))})
    scratch.write(folder .. "/csrc/a.c", "")
    assert.same({false, "csrc/b.h: 401 lines\n"}, {check("csrc/b.h", ("int a;\n"):rep(401))})
  end)

  it("looks into functions within functions, and into examples of specs", function()
    local method = "  function M.f()\n" .. ("    g()\n"):rep(48) .. "  end\n"
    assert.same({false, "lua/cglow/a.lua:2: a function of 50 lines\n"},
      {check("lua/cglow/a.lua", "local function make()\n" .. method .. "end\n")})
    scratch.write(folder .. "/lua/cglow/a.lua", "")
    local example = 'describe("it", function()\n  it("is", function()\n' .. ("    g()\n"):rep(48) .. "  end)\nend)\n"
    assert.same({false, "spec/a_spec.lua:2: a function of 50 lines\n"}, {check("spec/a_spec.lua", example)})
  end)

  it("lets a function be long by the functions within it", function()
    local method = "  function M.f()\n" .. ("    g()\n"):rep(20) .. "  end\n"
    assert.same({true, ""}, {check("lua/cglow/a.lua", "local function make()\n" .. method:rep(3) .. "end\n")})
  end)
end)
