-- The code in the documentation does what the documentation says.
local lfs = require "lfs"
local toy = require "spec.support.toy"
local walk = require "spec.support.walk"

-- A folder in which a reader would be: with the checkout's examples and data.
local function checkout()
  local folder, remove = toy.folder()
  for _, name in ipairs {"examples", "data"} do
    assert(lfs.link(("%s/%s"):format(lfs.currentdir(), name), ("%s/%s"):format(folder, name), true))
  end
  return folder, remove
end

-- All sessions of a file are one, typed at one prompt.
local function check_sessions(path)
  local steps = {}
  for _, block in ipairs(walk.blocks(path)) do
    if block.language == "repl" then
      for _, step in ipairs(walk.session(block.text)) do steps[#steps + 1] = step end
    end
  end
  assert(#steps > 0, path .. " has no session")
  local codes = {}
  for i, step in ipairs(steps) do codes[i] = step.code end
  local folder, remove = checkout()
  finally(remove)
  local outputs = walk.type_in(codes, folder)
  for i, step in ipairs(steps) do
    local difference = walk.difference(step.output, outputs[i])
    if difference then error(("%s: > %s\n%s"):format(path, step.code, difference), 0) end
  end
end

-- Each block of Lua prints what its "-->" comments say.
local function check_blocks(path)
  local folder, remove = checkout()
  finally(remove)
  for _, block in ipairs(walk.blocks(path)) do
    if block.language == "lua" then
      local expected = {}
      for line in block.text:gmatch "%-%->%s*([^\n]*)" do expected[#expected + 1] = line end
      local difference = walk.difference(expected, walk.run_text(block.text, folder))
      if difference then error(("%s, line %d:\n%s"):format(path, block.line, difference), 0) end
    end
  end
end

describe("documentation", function()
  it("README: the session", function() check_sessions "README.md" end)
  it("README: the code", function() check_blocks "README.md" end)
  it("the walk at the prompt", function() check_sessions "examples/repl_session.md" end)
  it("write your own", function() check_blocks "examples/own.md" end)
  it("on a cluster", function() check_blocks "examples/cluster.md" end)

  it("works at the real prompt", function()
    local folder, remove = checkout()
    finally(remove)
    local path = folder .. "/input"
    do
      local file <close> = assert(io.open(path, "w"))
      file:write "cglow.tensor {1, 2}\n#cglow.zeros(7, 2)\n"
    end
    local pipe <close> = assert(io.popen(("LUA_PATH='%s' LUA_CPATH='%s' '%s' -i -l cglow < '%s' 2>&1"):format(
      package.path, package.cpath, arg[-1] or "lua5.4", path)))
    local output = pipe:read "a"
    assert.matches("cglow.Tensor 2  min 1  mean 1.5  max 2\n  1  2\n", output, 1, true)
    assert.matches("7\n", output, 1, true)
  end)
end)

describe("the comparison", function()
  it("is exact but for the last places of fractions", function()
    assert.is_true(walk.same_line("a 1 2.00", "a 1 2.01"))
    assert.is_true(walk.same_line("x (1.000)", "x (1.019)"))
    assert.is_false(walk.same_line("a 1", "a 2"))
    assert.is_false(walk.same_line("a 2.00", "a 2.10"))
    assert.is_false(walk.same_line("a b", "a"))
    assert.is_true(walk.same_line("a …", "a b c"))
    assert.is_nil(walk.difference({"a", "…", "z"}, "a\nb\nc\nz\n"))
    assert.is_string(walk.difference({"a"}, "a\nb\n"))
    assert.is_string(walk.difference({"a", "b"}, "a\n"))
  end)
end)
