-- What a user reads when a Lua module that cglow needs is not installed.
local rocks = require "cglow.util.rocks"
local scratch = require "spec.fixtures.scratch"

local MESSAGE <const> = "cglow needs the Lua module dkjson: luarocks --lua-version 5.4 install dkjson "
  .. "(on Debian: apt-get install lua-dkjson)"

describe("a module that is missing", function()
  local folder <const> = scratch.each(before_each, after_each)

  -- What a command says that finds lfs and cglow, and nothing else.
  local function say(command)
    local lfs = package.searchpath("lfs", package.cpath):gsub("/lfs%.so$", "/?.so")
    local pipe <close> = assert(io.popen(
      ("LUA_PATH='./lua/?.lua;./lua/?/init.lua' LUA_CPATH='./lua/?.so;%s' lua5.4 %s 2>&1"):format(lfs, command)))
    return pipe:read "a"
  end

  it("is named by the program", function()
    assert.equal(MESSAGE .. "\n", say "lua/cglow/cli/program.lua --version")
  end)

  it("is named by require", function()
    assert.equal("false\t" .. MESSAGE .. "\n", say [[-e 'print(pcall(require, "cglow"))']])
  end)

  it("is not one that does not load", function()
    scratch.write(folder .. "/dkjson.lua", "?")
    local text = say(([[-e 'package.path = package.path .. ";%s/?.lua"; require "cglow"']]):format(folder))
    assert.matches("unexpected symbol near '?'", text, 1, true)
  end)

  it("is none when all are there", function() assert.is_nil(rocks {"lfs", "dkjson", "argparse"}) end)
end)
