-- `predict`: what it takes, what it writes, and what it refuses.
local command_line = require "spec.support.command_line"
local core = require "cglow.core"
local image = require "cglow.image"
local json = require "cglow.util.json"
local lfs = require "lfs"
local sets = require "spec.support.sets"
local scratch = require "spec.fixtures.scratch"

local TOY <const> = command_line.TOY
local DENOISING <const> = "examples/denoising.lua"
local TINY <const> = "--size 16 --steps 1 --config depth=1 --config coupling.width=4 --config valid_images=1 "
  .. "--config samples=2 --config batch=2 "

describe("predict", function()
  local folder, remove, run
  setup(function()
    folder, remove = scratch.folder()
    run = command_line.runner(folder)
    assert.equal(0, (run(TOY, ("train --quiet --run '%s/toy'"):format(folder))))
    local small = "--config encoder.channels=4,4,4,4"
    assert.equal(0, (run(DENOISING, ("train --quiet --run '%s/noise' %s %s"):format(folder, TINY, small))))
    local paper = "--recipe paper --config cn.channels=2 --config cn.width=4"
    assert.equal(0, (run(DENOISING, ("train --quiet --run '%s/paper' %s %s"):format(folder, TINY, paper))))
  end)
  teardown(function() remove() end)

  local place = 0
  local out -- a new folder for each spec
  before_each(function()
    place = place + 1
    out = ("%s/out%d"):format(folder, place)
  end)

  local function photo(name, t, options)
    local path = folder .. "/" .. name
    sets.save(path, t or core.Rng(1):uniform(3, 20, 30), options)
    return path
  end

  local function predict(name, options, environment, to)
    local script = name == "toy" and TOY or DENOISING
    return run(script, ("predict --run '%s/%s' %s"):format(folder, name, options), environment, to)
  end

  local function names()
    local list = {}
    for name in lfs.dir(out) do if name:sub(1, 1) ~= "." then list[#list + 1] = name end end
    table.sort(list)
    return list
  end

  it("takes folders, and goes on past what cannot be read", function()
    for _, name in ipairs {"in/a.png", "in/b.jpg", "in/c.PNG"} do photo(name) end
    sets.write(folder .. "/in/d.png", "no picture")
    sets.write(folder .. "/in/list.txt", "passed over")
    local single = photo "e.png"
    local code, said, err = predict("toy", ("'%s/in' '%s' --out '%s'"):format(folder, single, out))
    assert.equal(1, code)
    assert.same({"a.png", "b.png", "c.png", "e.png"}, names())
    assert.matches("/in/b.jpg %-> .*/b.png\n", said)
    assert.matches("binary_segmentation: [^\n]*/in/d.png: [^\n]*\n"
      .. "binary_segmentation: 1 of 5 pictures has no answer\n$", err)
    lfs.mkdir(folder .. "/empty")
    code, said, err = predict("toy", ("'%s/empty'"):format(folder))
    assert.equal(2, code)
    assert.equal("", said)
    assert.matches("/empty holds no pictures", err, 1, true)
  end)

  it("reads standard input and writes standard output", function()
    local path = photo "f.png"
    local code, bytes, err = predict("toy", ("- < '%s'"):format(path))
    assert.equal("", err)
    assert.equal(0, code)
    assert.equal(0, (predict("toy", ("--quiet '%s' --out '%s'"):format(path, out))))
    assert.equal(scratch.read(out .. "/f.png"), bytes)
    assert.equal(bytes, (select(2, predict("toy", ("'%s' --out -"):format(path))))) -- and makes no folder "-"
    assert.equal(0, (predict("toy", ("--quiet - --what samples --n 2 --out '%s' < '%s'"):format(out, path))))
    assert.same({"f.png", "stdin_sample_1.png", "stdin_sample_2.png"}, names())
    for _, case in ipairs {
      {"- </dev/null", 1, "standard input: "},
      {("- '%s' </dev/null"):format(path), 2, "standard input is one picture"},
      {("- --what samples < '%s'"):format(path), 2, "4 pictures need a folder: name it with --out"},
      {("- --json < '%s'"):format(path), 2, "--json: standard output is for the picture itself"},
      {("'%s' --what samples --n 2 --out -"):format(path), 2, "2 pictures need a folder: name it with --out"},
    } do
      code, bytes, err = predict("toy", case[1])
      assert.equal(case[2], code)
      assert.equal("", bytes)
      assert.matches(case[3], err, 1, true)
    end
    if lfs.attributes "/dev/full" then
      code, bytes, err = predict("toy", ("- < '%s'"):format(path), nil, "/dev/full")
      assert.equal("", bytes)
      assert.equal(1, code)
      assert.matches("standard output: No space left on device", err, 1, true)
    end
  end)

  it("writes probabilities, how much samples differ, and samples", function()
    local path = photo "g.png"
    local where = ("'%s' --samples 4 --out '%s' "):format(path, out)
    assert.equal(0, (predict("toy", "--quiet --what probability " .. where)))
    local probability = assert(image.load(out .. "/g_probability.png"))
    assert.same({1, 20, 30}, probability:size())
    assert.equal(65535, assert(image.info(out .. "/g_probability.png")).max)
    local code, said = predict("toy", "--json --what std " .. where)
    assert.equal(0, code)
    local told = json.decode(said)
    assert.is_true(told.white > 0 and told.white <= 0.5) -- of samples that are 0 or 1
    assert.equal(1, assert(image.load(out .. "/g_std.png")):max())
    assert.equal(0, (predict("toy", ("--quiet --what samples --n 3 '%s' --out '%s'"):format(path, out))))
    assert.same({"g_probability.png", "g_sample_1.png", "g_sample_2.png", "g_sample_3.png", "g_std.png"}, names())
    local first, second = assert(image.load(out .. "/g_sample_1.png")), assert(image.load(out .. "/g_sample_2.png"))
    assert.is_true((first - second):abs():max() > 0)
    for _, case in ipairs {
      {"--n 2", "--n: only --what samples writes samples"},
      {"--what std --centre", "--what std: one pass at the centre gives no samples"},
      {"--what std --samples 1", "one sample does not differ from itself"},
      {"--what samples --samples 3", "--samples is for answers, not for --what samples"},
    } do
      local status, _, err = predict("toy", ("'%s' %s"):format(path, case[1]))
      assert.equal(2, status)
      assert.matches(case[2], err, 1, true)
    end
    local status, _, err = predict("noise", ("'%s' --what probability"):format(path))
    assert.equal(2, status)
    assert.matches("the answer of denoising has no classes", err, 1, true)
  end)

  it("keeps the form of a photograph whose answer is one, seen whole or by tiles", function()
    for _, model in ipairs {"noise", "paper"} do
      for i, channels in ipairs {1, 2, 3, 4} do
        local name = ("%s%d"):format(model, channels)
        local path = photo(name .. ".png", core.Rng(i):uniform(channels, 19, 33), {bits = i % 2 == 0 and 16 or 8})
        assert.equal(0, (predict(model, ("--quiet '%s' --out '%s'"):format(path, out))))
        local before, after = assert(image.info(path)), assert(image.info(("%s/%s.png"):format(out, name)))
        assert.same(before, after)
      end
    end
  end)

  it("refuses samples of a picture that is seen by tiles", function()
    local path = photo "h.png"
    assert.equal(0, (predict("noise", ("--quiet --what samples --n 1 '%s' --out '%s'"):format(path, out))))
    local code, _, err = predict("paper", ("--what samples --n 1 '%s' --out '%s/p'"):format(path, out))
    assert.equal(1, code)
    assert.matches("30×20 pixels are seen by tiles, whose samples do not fit together: take ", err, 1, true)
  end)

  it("is told the noise of a photograph", function()
    local path = photo "i.png"
    local made = {}
    for i, sigma in ipairs {"", "--sigma 25", "--sigma 50"} do
      assert.equal(0, (predict("noise", ("--quiet --force --seed 3 %s '%s' --out '%s'"):format(sigma, path, out))))
      made[i] = assert(image.load(out .. "/i.png"))
    end
    assert.is_true((made[1] - made[2]):abs():max() <= 1 / 255) -- 25 is what it has learned, but for rounding
    assert.is_true((made[1] - made[3]):abs():max() > 2 / 255)
    local code, _, err = predict("noise", ("--sigma 0 '%s'"):format(path))
    assert.equal(2, code)
    assert.matches("--sigma expects a number above 0 and up to 255, got '0'", err, 1, true)
  end)
end)
