-- Where the embedded sample sets are found.
local scratch = require "spec.fixtures.scratch"
local data = require "cglow.data"
local lfs = require "lfs"

local TASKS = {"binary_segmentation", "multiclass_segmentation", "denoising", "depth_refinement", "inpainting"}

describe("data.sample_dir", function()
  local dir <const> = scratch.each(before_each, after_each)

  local here = lfs.currentdir()

  -- What a process elsewhere finds, with the Lua modules under `modules`.
  local function found_from(modules, environment)
    local command = ("cd '%s' && LUA_PATH='%s/?.lua;%s/?/init.lua;;' LUA_CPATH='%s/lua/?.so;;' %s lua5.4 -e "
      .. "'print(require \"cglow.data\".sample_dir \"denoising\")'"):format(
      dir, modules, modules, here, environment or "CGLOW_DATA=")
    local pipe <close> = assert(io.popen(command))
    return (pipe:read("a"):gsub("%s+$", ""))
  end

  it("finds the five sets and refuses other names", function()
    for _, task in ipairs(TASKS) do assert.is_string((assert(data.sample_dir(task)))) end
    assert.error_matches(function() data.sample_dir "horses" end, "task must be one of")
    assert.error_matches(function() data.sample_dir() end, "task must be one of")
  end)

  it("finds them from any folder", function()
    assert.equal(here .. "/data/denoising", found_from(here .. "/lua"))
  end)

  it("finds those of an installed rock, or of make install, and says where it looked", function()
    local modules = dir .. "/share/lua/5.4"
    assert(os.execute(("mkdir -p '%s' && cp -r '%s/lua/cglow' '%s'"):format(modules, here, modules)))
    assert.equal(("nil\tthe sample set is missing: looked for %s/share/cglow/data/denoising; "
      .. "CGLOW_DATA may name the folder that holds it"):format(dir), found_from(modules))
    local rock = dir .. "/lib/luarocks/rocks-5.4/cglow/scm-1/data/denoising"
    assert(os.execute(("mkdir -p '%s'"):format(rock)))
    assert.equal(rock, found_from(modules))
    assert(os.execute(("mkdir -p '%s/share/cglow/data/denoising'"):format(dir)))
    assert.equal(dir .. "/share/cglow/data/denoising", found_from(modules))
  end)

  it("looks in CGLOW_DATA first", function()
    assert(os.execute(("mkdir -p '%s/mine/denoising'"):format(dir)))
    assert.equal(dir .. "/mine/denoising", found_from(here .. "/lua", ("CGLOW_DATA='%s/mine'"):format(dir)))
    assert.equal(here .. "/data/denoising", found_from(here .. "/lua", "CGLOW_DATA=/nowhere"))
  end)
end)
