-- Settings from elsewhere, runs that are resumed, and commands to be typed again.
local command_line = require "spec.support.command_line"
local core = require "cglow.core"
local json = require "cglow.util.json"
local lfs = require "lfs"
local scratch = require "spec.fixtures.scratch"

local TOY <const> = command_line.TOY
local PROGRAM <const> = "lua/cglow/cli/program.lua"

local folder, run = command_line.each(before_each, after_each)

local function train(name, options)
  return run(TOY, ("train --quiet --run '%s/%s' %s"):format(folder, name, options or ""))
end

local function settings_of(name) return assert(json.read(("%s/%s/config.json"):format(folder, name))).settings end

describe("train --config FILE", function()
  it("takes the settings of another run, and NAME=VALUE and options before them", function()
    assert.equal(0, (train("a", "--steps 4 --seed 7 --recipe paper --config coupling.width=6 --config cn.width=4")))
    assert.equal(0, (train("b", ("--config '%s/a/config.json'"):format(folder))))
    assert.same(settings_of "a", settings_of "b")
    assert.equal(scratch.read(folder .. "/a/model.safetensors"), scratch.read(folder .. "/b/model.safetensors"))
    assert.equal(0, (train("c", ("--config batch=3 --config '%s/a/config.json' --steps 2"):format(folder))))
    local s = settings_of "c"
    assert.same({3, 2, 6, "paper"}, {s.batch, s.steps, s["coupling.width"], s.recipe})
  end)

  it("takes an object of settings alone", function()
    assert(core.file.write(folder .. "/s.json", '{"coupling.width": 6, "recipe": "encoder", "steps": 2}'))
    assert.equal(0, (train("a", ("--config '%s/s.json'"):format(folder))))
    assert.equal(6, settings_of("a")["coupling.width"])
  end)

  it("names what is wrong with a file, in one line", function()
    for text, message in pairs {
      ["no JSON"] = "--config: .*/s.json",
      ["[1]"] = "/s.json: an object expected",
      ['{"settings": 7}'] = "/s.json: settings must be a table, got a number",
      ['{"deep": 7}'] = "/s.json: unknown setting 'deep' %(%-%-config help lists them%)",
      ['{"depth": "x"}'] = "/s.json: settings: depth must be an integer from 0 on, got 'x'",
      ['{"task": "denoising", "settings": {}}'] = "/s.json is of a run of 'denoising', not of binary_segmentation",
    } do
      assert(core.file.write(folder .. "/s.json", text))
      local code, _, err = train("a", ("--config '%s/s.json'"):format(folder))
      assert.equal(2, code)
      assert.equal(1, #command_line.lines_of(err), err)
      assert.matches(message, err)
    end
    assert(core.file.write(folder .. "/s.json", '{"depth": 1}'))
    local code, _, err = train("a", ("--config '%s/s.json' --recipe encoder"):format(folder))
    assert.equal(2, code)
    assert.matches("--recipe: the run of --config was started with paper, not encoder", err, 1, true)
    code, _, err = train("a", ("--config '%s/s.json' --config '%s/s.json'"):format(folder, folder))
    assert.equal(2, code)
    assert.matches("--config: one file expected", err, 1, true)
  end)
end)

describe("train --resume", function()
  it("says what the command line would have otherwise, and rewrites nothing", function()
    assert.equal(0, (train("a", "--steps 4")))
    local before = scratch.read(folder .. "/a/config.json")
    for _, case in ipairs {
      {"--size 16", "size 8, not 16; another run can begin with its weights: --init-from"},
      {"--seed 2 --config depth=2 --config encoder.channels=4,8,8",
        "the run was started with depth 1, not 2; encoder.channels 4,4,8, not 4,8,8; seed 1, not 2;"},
      {"--config augment.mirror=true", "augment.mirror false, not true"},
      {"--config '" .. folder .. "/a/config.json'", "a run that is resumed has settings of its own"},
    } do
      local code, _, err = train("a", "--resume --steps 8 " .. case[1])
      assert.equal(2, code)
      assert.equal(1, #command_line.lines_of(err), err)
      assert.matches(case[2], err, 1, true)
      assert.equal(before, scratch.read(folder .. "/a/config.json"))
    end
    -- what a run may change, and what is the same
    assert.equal(0, (train("a", "--resume --steps 8 --size 8 --config depth=1 --config log_every=1 --config keep=2")))
    assert.equal(2, settings_of("a").keep)
  end)
end)

describe("commands that are to be typed again", function()
  -- What follows "next: " is run as it stands.
  local function next_of(out)
    local line = assert(out:match "\nnext: ([^\n]*)")
    local setting = ("LUA_PATH='%s' LUA_CPATH='%s' OMP_NUM_THREADS=1"):format(package.path, package.cpath)
    local _, _, code = os.execute(("%s %s --limit 1 >/dev/null 2>&1"):format(setting, line))
    return code, line
  end

  local TINY <const> = "train --size 16 --steps 1 --config depth=1 --config encoder.channels=4,4,4 "
    .. "--config coupling.width=4 --config valid_images=1 --config samples=2 --config batch=2 --config levels=2"

  it("work as printed, of a script and of the program, whatever the folder is called", function()
    for _, script in ipairs {"examples/denoising.lua", PROGRAM .. " denoising"} do
      local code, out = run(script, ("%s --run \"%s/it's a run %d\""):format(TINY, folder, #script))
      assert.equal(0, code)
      local again, line = next_of(out)
      assert.equal(0, again, line)
      local config = assert(json.read(("%s/it's a run %d/config.json"):format(folder, #script)))
      assert.matches("^lua5.4 " .. script:gsub("%p", "%%%0") .. " train %-%-size 16", config.command)
    end
  end)

  it("name the program where it is installed, alone where the shell finds it", function()
    local rock = folder .. "/tree/lib/luarocks/rocks-5.4/cglow/1/bin"
    os.execute(("mkdir -p '%s' '%s/tree/bin'; cp lua/cglow/cli/program.lua '%s/cglow'"):format(rock, folder, rock))
    local starter = ("#!/bin/sh\nexec lua5.4 '%s/cglow' \"$@\"\n"):format(rock)
    assert(core.file.write(folder .. "/tree/bin/cglow", starter))
    os.execute(("chmod +x '%s/tree/bin/cglow'"):format(folder))
    for i, case in ipairs {
      {("PATH='%s/tree/bin':\"$PATH\""):format(folder), "cglow"}, {"", folder .. "/tree/bin/cglow"},
    } do
      local code, out = run(rock .. "/cglow", ("denoising %s --run '%s/%d'"):format(TINY, folder, i), case[1])
      assert.equal(0, code)
      assert.matches(("\nnext: %s denoising evaluate --run "):format(case[2]), out, 1, true)
    end
  end)
end)

it("help that cannot be written is an error", function()
  if not lfs.attributes "/dev/full" then return pending "no /dev/full here" end
  local commands = {"denoising --help", "denoising train --help", "baseline -h", "report --help", "--help", ""}
  for _, command in ipairs(commands) do
    local code, _, err = run(PROGRAM, command, nil, "/dev/full")
    assert.equal(1, code, command)
    assert.matches("standard output: No space left on device", err, 1, true)
  end
end)
