--- The command score, on two folders of pictures.
local command_line = require "spec.support.command_line"
local core = require "cglow.core"
local json = require "cglow.util.json"
local sets = require "spec.support.sets"
local toy = require "spec.support.toy"

describe("the command score", function()
  local folder, remove, run
  setup(function()
    folder, remove = toy.folder()
    run = command_line.runner(folder)
    for i = 1, 10 do
      local x = core.rand(3, 10, 10, core.Rng(i))
      sets.save(("%s/photos/p%02d.png"):format(folder, i), x)
      sets.save(("%s/masks/p%02d_mask.png"):format(folder, i), x:narrow(1, 1, 1):gt(0.5))
    end
    local code, _, err = run("lua/cglow/cli/program.lua", ("pairs train --x %s/photos --y %s/masks --run %s/run "
      .. "--size 8 --steps 2 --config levels=1 --config depth=1 --config encoder.channels=2,2,2 "
      .. "--config coupling.width=4 --config warmup=1 --config valid_images=2 --config samples=2"):format(
      folder, folder, folder))
    assert.equal(0, code, err)
  end)
  teardown(function() remove() end)

  local function score(arguments)
    return run("lua/cglow/cli/program.lua", ("score --run %s/run %s"):format(folder, arguments))
  end

  it("scores held-out images once, keeps these scores, and says each pair in a line", function()
    local code, out, err = score ""
    assert.equal(0, code, err)
    assert.matches("scoring 2 held-out images first", err, 1, true)
    assert.equal(3, select(2, out:gsub("\n", "")))
    assert.matches("^name +bits/dim +log p +percentile +z\n", out)
    local again, same
    again, same, err = score ""
    assert.equal(0, again)
    assert.equal(out, same)
    assert.is_nil(err:find("scoring", 1, true))
    assert.equal(2, #json.read(folder .. "/run/scores.json").bits_per_dim)
  end)

  it("scores files and their partners, and goes on past one without", function()
    sets.save(folder .. "/photos/alone.png", core.rand(3, 10, 10, core.Rng(99)))
    local files = ("%s/photos/p01.png %s/photos/alone.png %s/photos/p02.png"):format(folder, folder, folder)
    local code, out, err = score(files .. (" --json --y %s/masks"):format(folder))
    os.remove(folder .. "/photos/alone.png")
    assert.equal(1, code)
    assert.matches("alone.png has no partner in " .. folder .. "/masks", err, 1, true)
    assert.matches("1 of 3 pairs has no score", err)
    local lines = {}
    for line in out:gmatch "[^\n]+" do lines[#lines + 1] = assert(json.decode(line)) end
    assert.equal(2, #lines)
    assert.equal(folder .. "/photos/p02.png", lines[2].name)
    for _, line in ipairs(lines) do
      assert.is_number(line.log_prob)
      assert.near(-line.log_prob / (64 * math.log(2)), line.bits_per_dim, 1e-6) -- 8×8 pixels of one channel
      assert.is_number(line.percentile)
    end
  end)

  it("writes CSV, the least likely first when that is asked for", function()
    local code, out, err = score "--split all --worst 3 --csv"
    assert.equal(0, code, err)
    local rows = {}
    for line in out:gmatch "[^\n]+" do rows[#rows + 1] = line end
    assert.equal(4, #rows)
    assert.equal("image,bits_per_dim,log_prob,percentile,z", rows[1])
    local last = math.huge
    for i = 2, 4 do
      local bits = tonumber(rows[i]:match "^p%d%d,([^,]+),")
      assert.is_true(bits <= last)
      last = bits
    end
  end)

  it("scores without comparison where there is nothing to compare with", function()
    local code, out, err = run("lua/cglow/cli/program.lua", ("pairs score --checkpoint %s/run/checkpoints/"
      .. "step-00000002.safetensors %s/photos/p01.png --y %s/masks/p01_mask.png"):format(folder, folder, folder))
    assert.equal(0, code, err)
    assert.matches("nothing to compare with: --x: a folder of pictures must be named", err, 1, true)
    assert.matches("p01.png +%d[%d.]+ +%-[%d.]+ +– +–\n$", out)
  end)

  for arguments, message in pairs {
    ["photos"] = "photos", ["--csv --json"] = "--csv and --json exclude each other",
    ["README.md"] = "--y: the answer to the picture must be named, or a folder of answers",
    ["README.md CHANGELOG.md --y LICENSE"] = "--y: one file cannot belong to several pictures",
    ["README.md --y nowhere"] = "--y: nowhere", ["--draws 0"] = "--draws expects an integer from 1 to 4096, got '0'",
  } do
    it("answers '" .. arguments .. "' with one line and exit code 2", function()
      local code, out, err = score(arguments)
      assert.equal(2, code)
      assert.equal("", out)
      assert.matches(message, err, 1, true)
      assert.equal(1, select(2, err:gsub("\n", "")))
    end)
  end
end)
