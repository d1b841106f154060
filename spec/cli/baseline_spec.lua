-- The command `cglow baseline`, as a user runs it.
local cglow = require "cglow"
local json = require "cglow.util.json"
local lfs = require "lfs"
local scratch = require "spec.fixtures.scratch"

-- What it wrote to either stream, and its exit code.
local function baseline(arguments)
  local pipe = assert(io.popen(("%s lua/cglow/cli/program.lua baseline %s 2>&1"):format(
    os.getenv "LUA" or "lua5.4", arguments)))
  local out = pipe:read("a")
  local _, _, code = pipe:close()
  return out, code
end

-- As small and short as it gets.
local SMALL <const> = "binary_segmentation --size 8 --channels 2 --depth 1 --threads 1 --limit 5"

describe("the command baseline", function()
  local run <const> = scratch.each(before_each, after_each)

  it("trains, and prints the network's score beside those of trivial answers", function()
    local out, code = baseline(("%s --steps 3 --json --run %s"):format(SMALL, run))
    assert.equal(0, code, out)
    local last
    for line in out:gmatch("[^\n]+") do last = assert(json.decode(line), line) end
    assert.equal(5, last.images)
    local names = {}
    for i, row in ipairs(last.results) do
      names[i] = row.name
      assert.is_true(row.metrics.iou >= 0 and row.metrics.iou <= 1)
    end
    assert.same({"all background", "mean mask", "feed-forward"}, names)
    for _, name in ipairs {"best.safetensors", "config.json", "log.jsonl", "evaluation.png"} do
      assert.equal("file", lfs.attributes(run .. "/" .. name, "mode"), name)
    end
    local config = assert(json.read(run .. "/config.json"))
    assert.equal("binary_segmentation", config.baseline)
    assert.equal(2, config.settings.channels)
    -- As it was called, so that it can be given again.
    assert.equal(("%s lua/cglow/cli/program.lua baseline %s --steps 3 --json --run %s"):format(
      os.getenv "LUA" or "lua5.4", SMALL, run), config.command)
  end)

  it("goes on from a run's newest checkpoint with the run's own settings", function()
    assert.equal(0, select(2, baseline(("%s --steps 2 --lr 0.01 -q --run %s"):format(SMALL, run))))
    local out, code = baseline(("binary_segmentation --resume --steps 4 -q --limit 5 --run %s"):format(run))
    assert.equal(0, code, out)
    assert.equal("", out)
    local steps = require("cglow.run.folder").at(run):steps()
    assert.same({2, 4}, steps)
    out, code = baseline(("multiclass_segmentation --resume --run %s"):format(run))
    assert.equal(2, code)
    assert.matches("the run in .* is no baseline of multiclass_segmentation", out)
  end)

  it("trains the encoder of the recipe alone, as the recipe says", function()
    local out, code = baseline(("binary_segmentation --size 16 --net unet --threads 1 --limit 5 --steps 2 -q --run %s")
      :format(run))
    assert.equal(0, code, out)
    local s = assert(json.read(run .. "/config.json")).settings
    assert.same({"unet", 8, 0.998, 0.002, true}, {s.net, s.batch, s.ema, s.lr, s["augment.mirror"]})
    assert.equal(0, select(2, baseline(("binary_segmentation --resume --threads 1 --steps 3 -q --limit 5 --run %s")
      :format(run))))
  end)

  it("fills the hole of photographs", function()
    local out, code = baseline(("inpainting --size 16 --threads 1 --limit 2 --steps 2 --json --run %s"):format(run))
    assert.equal(0, code, out)
    local last = assert(json.decode(out:match "([^\n]+)\n$"))
    assert.equal("feed-forward", last.results[3].name)
    assert.is_true(last.results[3].metrics.psnr > 5)
    assert.same({3, 8, 8}, assert(json.read(run .. "/config.json")).model.y)
  end)

  it("begins with the weights of another network, at another size", function()
    local first, second = run .. "/a", run .. "/b"
    local SHORT <const> = "binary_segmentation --threads 1 --limit 5 -q --run"
    local out, code = baseline(("%s %s --size 8 --channels 3 --depth 2 --steps 2"):format(SHORT, first))
    assert.equal(0, code, out)
    out, code = baseline(("%s %s --size 16 --steps 1 --lr 1e-30 --init-from %s"):format(SHORT, second, first))
    assert.equal(0, code, out)
    local before = assert(cglow.load_tensors(first .. "/best.safetensors"))
    local after = assert(cglow.load_tensors(second .. "/best.safetensors"))
    local count = 0
    for name, t in pairs(before) do
      assert.is_true((t - after[name]):abs():max() < 1e-29, name) -- one step of 1e-30
      count = count + 1
    end
    assert.is_true(count > 10)
    local config = assert(json.read(second .. "/config.json"))
    assert.same({path = first .. "/best.safetensors", step = 2}, config.init_from)
    assert.same({3, 2, 3, 16, 16}, {config.model.channels, config.model.depth, table.unpack(config.model.x)})
    out, code = baseline(("%s %s --net unet --size 16 --init-from %s"):format(SHORT, run .. "/c", first))
    assert.equal(2, code)
    assert.matches("^baseline: %-%-net: [^\n]*/best.safetensors is of the kind plain, got unet\n$", out)
    out, code = baseline(("multiclass_segmentation --threads 1 --size 16 --init-from %s"):format(first))
    assert.equal(2, code)
    assert.matches("^baseline: %-%-init%-from: [^\n]* does not fit: [^\n]*\n$", out)
    assert.equal(0, select(2, baseline(("denoising --threads 1 --size 16 --channels 2 --steps 1 -q --run %s"):format(
      run .. "/d"))))
    out, code = baseline(("inpainting --threads 1 --size 16 --init-from %s"):format(run .. "/d"))
    assert.equal(2, code)
    assert.matches("^baseline: for inpainting there is %-%-net unet alone, [^\n]*\n$", out)
    out, code = baseline("binary_segmentation --init-from data/pretrained/garments.safetensors")
    assert.equal(2, code)
    assert.matches("^baseline: %-%-init%-from: [^\n]* holds a flow, not a feed%-forward network\n$", out)
  end)

  local MISUSE <const> = {
    {"binary_segmentation --net unet --depth 2", "%-%-depth makes no difference beside %-%-net unet"},
    {"painting", "TASK must be one of binary%-segmentation, [^\n]*, got 'painting'"},
    {"inpainting --net plain", "for inpainting there is %-%-net unet alone, since a plain network does not see"},
    {"inpainting --depth 3", "%-%-depth makes no difference beside %-%-net unet"},
    {"binary_segmentation --init-from /nowhere", "%-%-init%-from: /nowhere: No such file"},
    {"", "missing argument 'task'"},
    {"binary_segmentation --size 30", "with depth 3 height and width must be multiples of 8, got 30x30"},
    {"binary_segmentation --size 0", "%-%-size expects an integer from 1 on, got '0'"},
    {"binary_segmentation --channels 5000", "%-%-channels expects an integer from 1 to 4096, got '5000'"},
    {"binary_segmentation --lr 0", "%-%-lr expects a number above 0, got '0'"},
    {"binary_segmentation --data /nowhere", "%-%-data: /nowhere: "},
    {"binary_segmentation --resume --run /nowhere/at/all", "there is no run in /nowhere/at/all to resume"},
    {"binary_segmentation --frobnicate", "unknown option '%-%-frobnicate'"},
  }
  for _, case in ipairs(MISUSE) do
    it(("answers '%s' with one line and exit code 2"):format(case[1]), function()
      local out, code = baseline(case[1])
      assert.equal(2, code, out)
      assert.matches("^baseline: [^\n]*" .. case[2] .. "[^\n]*\n$", out)
    end)
  end
end)
