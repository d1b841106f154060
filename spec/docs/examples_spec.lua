--- The example scripts that compare and show things, on the embedded samples.
local cglow = require "cglow"
local command_line = require "spec.support.command_line"

describe("example", function()
  local folder, run_script = command_line.each(before_each, after_each)

  local function run(command) return run_script("examples/" .. command, "") end

  it("show_fusion draws noisy and fused depth and their difference", function()
    local code, out, err = run(("show_fusion.lua --frames 2 --size 64 --sheet '%s/f.png'"):format(folder))
    assert.equal("", err)
    assert.equal(0, code)
    assert.equal(2, select(2, out:gsub("mm apart", "")))
    local sheet = assert(cglow.image.load(folder .. "/f.png"))
    assert.equal(3, #sheet)
    assert.equal(2 + 3 * (64 + 2), sheet:size(3))
  end)

  it("scripts are read by every Lua, so that they can say which one they need", function()
    local list <close> = assert(io.popen "ls examples/*.lua data/*.lua")
    for path in list:lines() do
      local file <close> = assert(io.open(path))
      local number = 0
      for line in path:find "benchmark_ranks" and function() end or file:lines() do -- that one is no program
        number = number + 1
        local code = line:gsub('"[^"]*"', ""):gsub("%-%-.*", "")
        for _, new in ipairs {"<const>", "<close>", "//"} do
          assert.is_nil(code:find(new, 1, true), ("%s:%d: %s"):format(path, number, line))
        end
      end
    end
  end)

  it("show_fusion says where there are no frames", function()
    local code, out, err = run(("show_fusion.lua --data '%s'"):format(folder))
    assert.equal(2, code)
    assert.equal("", out)
    assert.matches("no seq%-01 … in " .. folder:gsub("%p", "%%%0"), err)
  end)

  it("compare_inference sets sample means and gradient ascent beside each other", function()
    cglow.seed(1)
    cglow.Model({x = {3, 16, 16}, y = {3, 16, 16}, levels = 1, depth = 1, cn = {channels = 2, width = 4},
      coupling = {width = 4}}):save(folder .. "/m.safetensors")
    for _, start in ipairs {"grey", "mean"} do
      local code, out, err = run(("compare_inference.lua --checkpoint '%s/m.safetensors' --images 2 --threads 1 "
        .. "--samples 1,3 --steps 2 --start %s"):format(folder, start))
      assert.equal("", err)
      assert.equal(0, code)
      for _, name in ipairs {"mean of 1 sample ", "mean of 3 samples ", ("ascent from %s, 2 steps "):format(start)} do
        local iou, horse, ms = out:match("| " .. name .. " *| ([%d.]+) | ([%d.]+) | +([%d.]+) |")
        assert.is_true(tonumber(iou) <= 1 and tonumber(horse) <= 1 and tonumber(ms) > 0, name)
      end
    end
  end)
end)
