-- What `evaluate` keeps, what it looks at before it computes, and how far it says it has come.
local command_line = require "spec.support.command_line"
local console = require "cglow.util.console"
local core = require "cglow.core"
local image = require "cglow.image"
local json = require "cglow.util.json"
local lfs = require "lfs"
local meter_of = require "cglow.cli.meter"
local toy = require "spec.support.toy"

local TOY <const> = command_line.TOY

local folder, remove, run
before_each(function()
  folder, remove = toy.folder()
  run = command_line.runner(folder)
end)
after_each(function() remove() end)

local function train() assert.equal(0, (run(TOY, ("train --quiet --run '%s/run'"):format(folder)))) end

local function evaluate(options, environment)
  return run(TOY, ("evaluate --run '%s/run' %s"):format(folder, options or ""), environment)
end

describe("evaluate", function()
  it("keeps what it found, and a line for each image, and the report shows both", function()
    train()
    local code, out = evaluate()
    assert.equal(0, code)
    assert.matches("each image: " .. folder .. "/run/evaluation.csv", out, 1, true)
    assert.matches("\ndiversity: root mean square of what two samples of an image differ by", out, 1, true)
    local found = assert(json.read(folder .. "/run/evaluation.json"))
    assert.equal("binary_segmentation", found.task)
    assert.equal("valid", found.split)
    assert.equal(5, found.images)
    assert.equal("c-Glow", found.results[2].name)
    local head, lines, sum = nil, {}, 0
    for line in io.lines(folder .. "/run/evaluation.csv") do
      if head then lines[#lines + 1] = line else head = line end
    end
    assert.equal("image,diversity,iou", head)
    assert.equal(5, #lines)
    assert.matches("^toy 101,", lines[1])
    for i, each in ipairs(found.each) do
      assert.equal("toy " .. 100 + i, each.image)
      sum = sum + each.metrics.diversity
    end
    assert.near(found.results[2].metrics.diversity, sum / 5, 1e-9) -- both are sums of the same five numbers
    local page = toy.read(folder .. "/run/report.html")
    assert.matches("<h2>Evaluation</h2>", page, 1, true)
    assert.matches("toy 103", page, 1, true)
    -- again, with fewer: the old files are the run's own, and are replaced
    assert.equal(0, (evaluate "--quiet --limit 2"))
    assert.equal(2, assert(json.read(folder .. "/run/evaluation.json")).images)
  end)

  it("is shown in no report that somebody's file is in its place", function()
    train()
    local rows = '{"results": [7, {"name": {}, "metrics": 1}], "each": "a"}'
    for _, text in ipairs {"no JSON", "7", '{"results": 7}', rows} do
      assert(core.file.write(folder .. "/run/evaluation.json", text))
      assert.equal(0, (run("lua/cglow/cli/program.lua", ("report '%s/run'"):format(folder))))
      assert.is_nil(toy.read(folder .. "/run/report.html"):find("<h2>Evaluation", 1, true))
    end
  end)

  it("keeps a comparison of ways beside an evaluation", function()
    train()
    assert.equal(0, (evaluate "--quiet --compare --limit 1"))
    assert.equal(9, #assert(json.read(folder .. "/run/comparison.json")).results)
    assert.is_nil(lfs.attributes(folder .. "/run/evaluation.json"))
  end)

  it("replaces nothing beside a checkpoint that is in no run", function()
    train()
    os.execute(("mkdir '%s/alone' && cp '%s/run/best.safetensors' '%s/alone'"):format(folder, folder, folder))
    assert(core.file.write(folder .. "/alone/evaluation.csv", "mine"))
    local alone = ("evaluate -q --checkpoint '%s/alone/best.safetensors'"):format(folder)
    local code, _, err = run(TOY, alone)
    assert.equal(2, code)
    assert.matches("alone/evaluation.csv is there already", err, 1, true)
    assert.equal("mine", toy.read(folder .. "/alone/evaluation.csv"))
    assert.is_nil(lfs.attributes(folder .. "/alone/evaluation.png"))
  end)

  it("looks at where its results go before it computes anything", function()
    train()
    for _, case in ipairs {
      {"--sheet /none/x.png", "/none/x.png: No such file or directory"},
      {"--sheet x.bmp", "--sheet: x.bmp must end in .png, .jpg, .jpeg or .ppm"},
      {"--sheet x", "--sheet: x must end in"},
    } do
      for _, command in ipairs {"evaluate", "sample"} do
        -- the first sample that is read would end it otherwise
        local code, _, err = run(TOY, ("%s --run '%s/run' %s"):format(command, folder, case[1]), "TOY_INTERRUPT=1")
        assert.equal(2, code)
        assert.matches(case[2], err, 1, true)
      end
    end
  end)

  it("ends with one line and 130 wherever Ctrl-C comes", function()
    train()
    for _, command in ipairs {"evaluate", "evaluate --compare", "sample", "train --dry-run"} do
      for _, reads in ipairs {1, 3} do
        local code, out, err = run(TOY, ("%s --run '%s/run'"):format(command, folder), "TOY_INTERRUPT=" .. reads)
        assert.equal(130, code, command .. err)
        -- A dry run has said what it knew before the steps that it measures.
        if command == "train --dry-run" then assert.is_nil(out:find "\nstep ")
        else assert.equal("", out) end
        assert.equal("binary_segmentation: interrupted\n", err)
      end
    end
    assert.is_nil(lfs.attributes(folder .. "/run/evaluation.json"))
  end)
end)

describe("a line that is drawn again in place", function()
  local written, stderr, stdout
  local function file()
    return {write = function(_, ...) written = written .. table.concat({...}) return true end,
      flush = function() return true end}
  end
  before_each(function()
    written, stderr, stdout = "", io.stderr, io.stdout
    io.stderr, io.stdout = file(), file() -- luacheck: ignore
  end)
  after_each(function() io.stderr, io.stdout = stderr, stdout end) -- luacheck: ignore

  it("is taken away by whatever is said or told", function()
    console.live "1 of 2"
    console.live "2 of 2"
    console.say "said"
    console.live "3"
    console.tell "told"
    console.live()
    assert.equal("1 of 2\r\27[K2 of 2\r\27[Ksaid\n3\r\27[Ktold\n", written)
  end)

  it("is none where there is no terminal, or quiet is asked for", function()
    for _, args in ipairs {{quiet = true}, {json = true}, {}} do
      local meter = meter_of.new(args, "image", 3)
      for _ = 1, 3 do meter:tick() end
    end
    assert.equal("", written)
  end)
end)

it("a contact sheet may be a JPEG", function()
  train()
  assert.equal(0, (evaluate(("--quiet --sheet '%s/x.JPG'"):format(folder))))
  assert.equal("JPEG", assert(image.info(folder .. "/x.JPG")).format)
end)
