-- Installs in each way that the README promises, and uses what was installed
-- from another folder.  Nothing is fetched: the rocks that cglow needs come from
-- the system's packages here, so LuaRocks is told not to look at them.
local scratch = require "spec.fixtures.scratch"
local lfs = require "lfs"
local cglow = require "cglow"
local path = require "cglow.util.path"

local checkout <const> = lfs.currentdir()
local LUAROCKS <const> = "luarocks --lua-version=5.4 "
local OFFLINE <const> = " --deps-mode=none "

-- Runs a shell command in a folder; what it wrote, and whether it succeeded.
-- Sanitizers must not follow into compilers and LuaRocks.
local function shell(folder, command)
  local pipe <close> = assert(io.popen(("cd '%s' && unset LD_PRELOAD && ( %s ) 2>&1 </dev/null; echo $?"):format(
    folder, command)))
  local text, code = pipe:read("a"):match("^(.-)(%d+)\n$")
  return text, code == "0"
end

local function must(folder, command)
  local text, ok = shell(folder, command)
  assert(ok, command .. ":\n" .. text)
  return text
end

-- Files below a folder, but for LuaRocks' own lists.
local function count_files(folder)
  return tonumber(must(folder, "find . -type f ! -name 'manifest*' | wc -l"))
end

describe("an installed cglow", function()
  local folder <const> = scratch.each(before_each, after_each)

  -- Every way ends with a command; with it, train from a folder of one's own.
  local function use(command)
    assert.equal("cglow " .. cglow._VERSION .. "\n", must(folder, command .. " --version"))
    local list = must(folder, command)
    for _, script in ipairs {"binary%-segmentation", "multiclass%-segmentation", "denoising", "depth%-refinement",
      "inpainting", "report"} do
      assert.matches("\n  " .. script .. " ", list)
    end
    must(folder, command .. " binary-segmentation train --steps 2 --run run -q --config depth=1 --config levels=1"
      .. " --config encoder.channels=2,2,2 --config coupling.width=4 --config valid_images=2")
    must(folder, command .. " binary-segmentation evaluate --run run --limit 2 --samples 1")
    assert.is_truthy(lfs.attributes(folder .. "/run/evaluation.png"))
    local said = must(folder, command .. (" predict '%s/data/binary_segmentation/rgb/valid001.jpg' --out p"):format(
      checkout))
    assert.matches("the pretrained model answers", said)
    assert.is_truthy(lfs.attributes(folder .. "/p/valid001.png"))
    local text, ok = shell(folder, command .. " no-such-script")
    assert.is_false(ok)
    assert.matches("no command 'no%-such%-script'", text)
  end

  it("is a rock made from the checkout, and can be removed", function()
    local tree = folder .. "/tree"
    must(checkout, LUAROCKS .. "make" .. OFFLINE .. "--tree " .. tree .. " cglow-scm-1.rockspec")
    use(tree .. "/bin/cglow")
    local modules = must(folder, ("eval \"$(%s path --tree %s)\" && lua5.4 -l cglow -e '%s'"):format(LUAROCKS, tree,
      "print(package.searchpath(\"cglow.core\", package.cpath), require \"cglow.util.path\".data())"))
    assert.equal(("%s/lib/lua/5.4/cglow/core.so\t%s/lib/luarocks/rocks-5.4/cglow/scm-1/data\n"):format(tree, tree),
      modules)
    -- what luarocks doc shows first, and a picture that it links to
    for _, name in ipairs {"README.md", "lua/README.md", "data/contact_sheet.png"} do
      assert.is_truthy(lfs.attributes(("%s/lib/luarocks/rocks-5.4/cglow/scm-1/doc/%s"):format(tree, name)), name)
    end
    must(checkout, LUAROCKS .. "remove --tree " .. tree .. " cglow")
    assert.equal(0, count_files(tree))
  end)

  it("is not built for another Lua, which is said before anything is compiled", function()
    local text, ok = shell(checkout, ("make -s LUA=false BUILD='%s/build' all"):format(folder))
    assert.is_false(ok)
    local message = "cglow needs Lua 5.4, and false is another (with LuaRocks: luarocks --lua-version 5.4 make)"
    assert.matches(message, text, 1, true)
    assert.is_nil(text:find("  cc", 1, true))
  end)

  it("is a rock built from a packed source rock", function()
    if not lfs.attributes(".git") then return pending("only a clone can be packed") end
    -- Compiled without optimisation: this is about what the rock contains.
    must(checkout, "make -s rock BUILD='" .. folder .. "'")
    local rock = ("%s/rock/cglow-%s-1.src.rock"):format(folder, cglow._VERSION)
    must(folder, ("OPT=-O0 %s install %s --tree tree %s"):format(LUAROCKS, OFFLINE, rock))
    use "./tree/bin/cglow"
  end)

  it("lies below PREFIX after make install, and is gone after make uninstall", function()
    local prefix = folder .. "/prefix"
    must(checkout, "make -s install PREFIX='" .. prefix .. "'")
    use(prefix .. "/bin/cglow")
    must(checkout, "make -s uninstall PREFIX='" .. prefix .. "'")
    assert.equal(0, count_files(prefix))
  end)
end)

describe("the rockspecs", function()
  local function load_spec(name)
    local spec = {}
    assert(loadfile(name, "t", spec))()
    return spec
  end

  it("agree with each other and with the version", function()
    local released = load_spec(("cglow-%s-1.rockspec"):format(cglow._VERSION))
    local current = load_spec "cglow-scm-1.rockspec"
    assert.equal(cglow._VERSION .. "-1", released.version)
    released.version, released.source, current.version, current.source = nil, nil, nil, nil
    assert.same(current, released)
  end)

  it("let LuaRocks run busted", function()
    local text = must(checkout, LUAROCKS .. "test cglow-scm-1.rockspec -- spec/util/json_spec.lua")
    assert.matches("0 failures / 0 errors", text)
  end)
end)

describe("cglow.util.path", function()
  it("finds the checkout's data and scripts", function()
    assert.equal(checkout .. "/data", path.data())
    assert.equal(checkout .. "/examples", path.examples())
    assert.equal(checkout .. "/examples/depth_refinement.lua", path.script "depth-refinement")
    assert.same({checkout}, path.roots())
  end)

  it("says where it looked", function()
    local found, message = path.script "no_such_script"
    assert.is_nil(found)
    assert.equal("examples/no_such_script.lua is not among what came with cglow; looked in " .. checkout, message)
    assert.error_matches(function() path.script(1) end, "'path.script': name must be a string, got 1")
  end)
end)
