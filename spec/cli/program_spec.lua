-- The program `cglow` as it is called in a checkout; spec/docs/install_spec.lua
-- calls it where it was installed.
local command_line = require "spec.support.command_line"
local json = require "cglow.util.json"
local sets = require "spec.support.sets"

describe("the program cglow", function()
  local folder, run = command_line.each(before_each, after_each)

  local function cglow(arguments) return run("lua/cglow/cli/program.lua", arguments) end

  it("lists the tasks, its commands and the examples, each once", function()
    for _, how in ipairs {"", "--help"} do
      local code, out, err = cglow(how)
      assert.equal("", err)
      assert.equal(0, code)
      for _, name in ipairs {"inpainting", "multiclass-segmentation", "baseline", "report", "own-task", "benchmark"} do
        assert.equal(1, select(2, out:gsub("\n  " .. name:gsub("%-", "%%-") .. " ", "")), name)
      end
      for line in out:gmatch "[^\n]+" do assert.is_true(#line <= 110, line) end
    end
  end)

  it("lists what can be run, and no parts of scripts", function()
    for _, arguments in ipairs {"help", "--help", ""} do
      local _, out = cglow(arguments)
      assert.matches("How fast training steps and ten-sample predictions are\n", out, 1, true)
      assert.is_nil(out:find("benchmark-ranks", 1, true))
    end
  end)

  it("says how to ask for the help of what was called", function()
    for arguments, says in pairs {
      ["pairs train --steps x"] = "('cglow pairs train --help' shows how)",
      ["pairs"] = "('cglow pairs --help' shows how)", ["report"] = "('cglow report --help' shows how)",
      ["evaluate --samples 0"] = "('cglow evaluate --help' shows how)",
      ["baseline chess"] = "denoising, depth-refinement, inpainting, got 'chess' ('cglow baseline --help' shows how)",
    } do
      local code, _, err = cglow(arguments)
      assert.equal(2, code)
      assert.matches(says, err, 1, true)
    end
    assert.equal(0, (cglow "baseline depth-refinement --help"))
  end)

  it("hands arguments on to tasks, commands and examples", function()
    for arguments, usage in pairs {
      ["depth-refinement evaluate --help"] = "Usage: cglow depth-refinement evaluate ",
      ["depth_refinement train --help"] = "Usage: cglow depth_refinement train ",
      ["report --help"] = "Usage: cglow report ", ["compare-inference --help"] = "Usage: compare_inference.lua ",
    } do
      local code, out, err = cglow(arguments)
      assert.equal("", err)
      assert.equal(0, code)
      assert.matches(usage, out, 1, true)
    end
  end)

  it("notes in a run how it was called, and says so to go on", function()
    local code, out, err = cglow(("binary-segmentation train --steps 1 --size 8 --run '%s/r' --config levels=1 "
      .. "--config depth=1 --config encoder.channels=2,2,2 --config coupling.width=4 "
      .. "--config valid_images=2 --config samples=1"):format(folder))
    assert.equal("", err)
    assert.equal(0, code)
    local called = "lua5.4 lua/cglow/cli/program.lua binary-segmentation "
    assert.matches("next: " .. called .. "evaluate --run " .. folder, out, 1, true)
    assert.equal(1, json.read(folder .. "/r/config.json").command:find(called .. "train --steps 1 ", 1, true))
    local starter = folder .. "/a starter"
    sets.write(starter, "#!/bin/sh\n")
    local _, again = run("lua/cglow/cli/program.lua",
      ("binary-segmentation train --resume --steps 2 --run '%s/r'"):format(folder),
      ("CGLOW_STARTER='%s'"):format(starter))
    assert.matches(("next: '%s' binary-segmentation evaluate --run %s"):format(starter, folder), again, 1, true)
    code, out, err = cglow(("report '%s/r'"):format(folder))
    assert.equal("", err)
    assert.equal(0, code)
    assert.equal(folder .. "/r/report.html\n", out)
  end)

  for arguments, message in pairs {
    ["frobnicate"] = "cglow: there is no command 'frobnicate'; 'cglow' alone lists them\n",
    ["../evil"] = "cglow: there is no command '../evil'; 'cglow' alone lists them\n",
    ["report /nowhere"] = "report: /nowhere is no run folder: it holds no config.json\n",
  } do
    it("answers '" .. arguments .. "' with one line and exit code 2", function()
      local code, out, err = cglow(arguments)
      assert.equal(2, code)
      assert.equal("", out)
      assert.equal(message, err)
    end)
  end
end)
