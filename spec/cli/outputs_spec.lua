--- What commands write, what they leave alone, and how they go on past what cannot be read.
local command_line = require "spec.support.command_line"
local core = require "cglow.core"
local image = require "cglow.image"
local json = require "cglow.util.json"
local lfs = require "lfs"
local png = require "spec.fixtures.image.png"
local sets = require "spec.support.sets"

local TOY <const> = command_line.TOY
local TINY <const> = "--recipe paper --config depth=1 --config levels=2 --config cn.channels=2 --config cn.width=4 "
  .. "--config coupling.width=4 --config valid_images=0 --config samples=2 --steps 2 --size 16"

local folder, run = command_line.each(before_each, after_each)

local function train() assert.equal(0, (run(TOY, ("train --quiet --run '%s/run'"):format(folder)))) end

local function with_run(command) return ("%s --run '%s/run'"):format(command, folder) end

local function photo(name)
  local path = folder .. "/" .. name
  sets.save(path, core.Rng(1):uniform(3, 16, 16))
  return path
end

describe("predict", function()
  it("replaces nothing: not the photograph itself, not an earlier result", function()
    train()
    local path = photo "photos/a.png"
    local before = sets.read(path)
    local code, _, err = run(TOY, with_run(("predict '%s' --out '%s/photos'"):format(path, folder)))
    assert.equal(2, code)
    assert.equal(("binary_segmentation: %s would be written over itself, which is read: choose another place, or say "
      .. "--force\n"):format(path), err)
    assert.equal(before, sets.read(path))

    lfs.mkdir(folder .. "/out")
    lfs.link(path, folder .. "/out/a.png") -- another name of the same file
    code, _, err = run(TOY, with_run(("predict '%s' --out '%s/out'"):format(path, folder)))
    assert.equal(2, code)
    assert.matches("out/a.png would be written over .*/photos/a.png, which is read", err)
    assert.equal(before, sets.read(path))

    local again = with_run(("predict --quiet '%s' --out '%s/fresh'"):format(path, folder))
    assert.equal(0, (run(TOY, again)))
    code, _, err = run(TOY, again)
    assert.equal(2, code)
    assert.matches("fresh/a.png is there already: choose another place, or say --force to replace it", err, 1, true)
    assert.equal(0, (run(TOY, again .. " --force")))
  end)

  it("does not follow or replace a link, even one that leads nowhere", function()
    train()
    local path = photo "a.png"
    lfs.mkdir(folder .. "/out")
    lfs.link(folder .. "/nowhere", folder .. "/out/a.png", true)
    local code, _, err = run(TOY, with_run(("predict '%s' --out '%s/out'"):format(path, folder)))
    assert.equal(2, code)
    assert.matches("out/a.png is there already", err)
    assert.is_nil(lfs.attributes(folder .. "/nowhere"))
  end)

  it("goes on past what cannot be read, and says so at the end", function()
    train()
    local good, other = photo "a.png", photo "b.png"
    sets.write(folder .. "/bad.png", sets.read(good):sub(1, 60))
    local code, out, err = run(TOY, with_run(("predict '%s' '%s/bad.png' '%s' --out '%s/out'"):format(
      good, folder, other, folder)))
    assert.equal(1, code)
    assert.matches("/a.png %-> .*/b.png %-> ", out)
    assert.matches("^binary_segmentation: .*/bad.png: damaged PNG: [^\n]*\n"
      .. "binary_segmentation: 1 of 3 pictures has no answer\n$", err)
    assert(image.load(folder .. "/out/a.png"))
    assert(image.load(folder .. "/out/b.png"))
    assert.is_nil(lfs.attributes(folder .. "/out/bad.png"))
  end)
end)

describe("contact sheets", function()
  it("replace earlier ones in the run's own folder, and nothing else", function()
    train()
    local path = photo "mine.png"
    local before = sets.read(path)
    for _, command in ipairs {"evaluate --limit 2", "sample --count 1 --images 1"} do
      for _ = 1, 2 do assert.equal(0, (run(TOY, with_run(command .. " --quiet")))) end
      local code, _, err = run(TOY, with_run(("%s --sheet '%s'"):format(command, path)))
      assert.equal(2, code)
      assert.matches("mine.png is there already", err)
      code, _, err = run(TOY, with_run(("%s --sheet '%s/run/best.safetensors'"):format(command, folder)))
      assert.equal(2, code)
      assert.matches("would be written over itself", err)
    end
    assert.equal(before, sets.read(path))
    -- beside a checkpoint on its own, a sheet may be somebody's
    os.execute(("mkdir '%s/alone' && cp '%s/run/best.safetensors' '%s/alone'"):format(folder, folder, folder))
    sets.save(folder .. "/alone/evaluation.png", core.ones(3, 2, 2))
    local code, _, err = run(TOY, ("evaluate --limit 2 --checkpoint '%s/alone/best.safetensors'"):format(folder))
    assert.equal(2, code)
    assert.matches("alone/evaluation.png is there already", err)
    local forced = ("evaluate -q --limit 2 --force --checkpoint '%s/alone/best.safetensors'"):format(folder)
    assert.equal(0, (run(TOY, forced)))
  end)
end)

it("a report replaces reports, and no other file", function()
  train()
  sets.write(folder .. "/mine.html", "<p>mine</p>")
  local both = ("'%s/run' '%s/run' --out"):format(folder, folder)
  local code, _, err = run("lua/cglow/cli/program.lua", ("report %s '%s/mine.html'"):format(both, folder))
  assert.equal(2, code)
  assert.matches("mine.html is there already and is no report", err)
  assert.equal("<p>mine</p>", sets.read(folder .. "/mine.html"))
  for _ = 1, 2 do
    assert.equal(0, (run("lua/cglow/cli/program.lua", ("report %s '%s/new.html'"):format(both, folder))))
  end
  assert.equal(0, (run("lua/cglow/cli/program.lua", ("report %s '%s/mine.html' --force"):format(both, folder))))
end)

it("a folder with somebody's files is not taken for a run", function()
  for name, text in pairs {["config.json"] = "{}", ["log.jsonl"] = "mine", ["report.html"] = "mine"} do
    local path = ("%s/%s/%s"):format(folder, name, name)
    sets.write(path, text)
    local code, _, err = run(TOY, ("train --quiet --run '%s/%s'"):format(folder, name))
    assert.equal(2, code)
    assert.matches(name .. " but no run: choose another folder", err, 1, true)
    assert.equal(text, sets.read(path))
  end
end)

it("a command whose output cannot be written fails", function()
  if not lfs.attributes "/dev/full" then return pending "no /dev/full here" end
  train()
  for _, command in ipairs {
    with_run "evaluate --limit 2 --json", with_run "evaluate --limit 2", with_run "sample --images 1 --json",
    "train --config help",
  } do
    local code, _, err = run(TOY, command, nil, "/dev/full")
    assert.equal(1, code, command)
    assert.matches("standard output: No space left on device", err)
  end
end)

-- Eight photographs and masks; the third photograph and the first held-out mask are damaged.
local function damaged_set()
  local names = {train = {}, valid = {}}
  for i = 1, 8 do
    local split = i <= 5 and "train" or "valid"
    sets.save(("%s/set/rgb/p%d.png"):format(folder, i), core.Rng(i):uniform(3, 20, 20))
    local mask = image.paste(core.zeros(1, 20, 20), core.ones(1, 8, 8), i, 4)
    sets.save(("%s/set/figure_ground/p%d.png"):format(folder, i), mask)
    table.insert(names[split], ("p%d.png"):format(i))
  end
  for split, list in pairs(names) do sets.write(("%s/set/%s.txt"):format(folder, split), table.concat(list, "\n")) end
  for _, path in ipairs {folder .. "/set/rgb/p3.png", folder .. "/set/figure_ground/p6.png"} do
    sets.write(path, sets.read(path):sub(1, 70))
  end
end

describe("damaged files of a set", function()
  local SCRIPT <const> = "examples/binary_segmentation.lua"
  local function data(command) return ("%s --data '%s/set'"):format(with_run(command), folder) end

  it("end a command with their name, and training with a checkpoint", function()
    damaged_set()
    local code, _, err = run(SCRIPT, data "train --quiet " .. " " .. TINY)
    assert.equal(2, code)
    assert.equal(("binary_segmentation: %s/set/figure_ground/p6.png: damaged PNG: the file ends too early\n"):format(
      folder), err)
    sets.write(folder .. "/set/valid.txt", "p7.png\np8.png\n")
    code, _, err = run(SCRIPT, data "train --quiet " .. " " .. TINY:gsub("steps 2", "steps 50"))
    assert.equal(2, code)
    assert.matches("^binary_segmentation: .*/rgb/p3.png: damaged PNG: [^\n]*\n"
      .. "saved .*step%-%d+%.safetensors; go on with\n", err)
    assert.is_nil(err:find "traceback")
    sets.write(folder .. "/set/valid.txt", "p6.png\np7.png\np8.png\n")
    for _, command in ipairs {"evaluate", "sample"} do
      code, _, err = run(SCRIPT, data(command))
      assert.equal(2, code)
      assert.matches("^binary_segmentation: [^\n]*figure_ground/p6.png: damaged PNG: [^\n]*\n$", err)
    end
  end)

  it("are left out and counted with --skip-damaged", function()
    damaged_set()
    local code, _, err = run(SCRIPT, data "train --quiet --skip-damaged " .. " " .. TINY:gsub("steps 2", "steps 9"))
    assert.equal(0, code)
    assert.matches("2 images were left out:\n  [^\n]*p6.png: damaged [^\n]*\n  [^\n]*p3.png: damaged", err)
    local out
    code, out = run(SCRIPT, data "evaluate --json --skip-damaged")
    assert.equal(0, code)
    local found = json.decode(out)
    assert.equal(2, found.images)
    assert.equal(1, #found.left_out)
    assert.matches("p6.png: damaged", found.left_out[1])
    code, _, err = run(SCRIPT, data "evaluate --quiet --skip-damaged")
    assert.equal(0, code)
    assert.matches("1 image is left out:\n  [^\n]*p6.png", err)
    assert.equal(0, (run(SCRIPT, data "sample --quiet --skip-damaged --count 1")))
    code, _, err = run("lua/cglow/cli/program.lua", ("baseline binary_segmentation --quiet --skip-damaged --size 8 "
      .. "--channels 2 --depth 1 --steps 2 --threads 1 --data '%s/set' --run '%s/baseline'"):format(folder, folder))
    assert.equal(0, code, err)
    -- what goes on from it still leaves them out
    assert.equal(0, (run(SCRIPT, with_run "train --quiet --resume --steps 12")))
  end)
end)

it("a data set and a run in folders whose names are no UTF-8 train, evaluate and resume", function()
  damaged_set()
  sets.write(folder .. "/set/train.txt", "p1.png\np2.png\n")
  sets.write(folder .. "/set/valid.txt", "p7.png\np8.png\n")
  assert(os.rename(folder .. "/set", folder .. "/s\xe9t"))
  local script, where = "examples/binary_segmentation.lua", ("--run '%s/r\xff\x80n'"):format(folder)
  local code, _, err = run(script, ("train --quiet %s --data '%s/s\xe9t' %s"):format(where, folder, TINY))
  assert.equal("", err)
  assert.equal(0, code)
  assert.equal(0, (run(script, ("train --quiet --resume --steps 4 %s"):format(where)))) -- finds its data again
  local out
  code, out = run(script, "evaluate --json " .. where)
  assert.equal(0, code)
  assert.matches("r\xff\x80n", json.decode(out).model, 1, true)
  assert.matches("s\\xe9t", sets.read(folder .. "/r\xff\x80n/report.html"), 1, true)
end)

it("names that are no UTF-8 and control characters are shown harmlessly", function()
  train()
  local path = folder .. "/a\x1b[31m\xe9.png"
  sets.write(path, png.SIGNATURE)
  local code, _, err = run(TOY, with_run(("predict '%s' --out '%s/out'"):format(path, folder)))
  assert.equal(1, code)
  assert.matches("/a\\x1b[31m\\xe9.png: damaged PNG", err, 1, true)
end)
