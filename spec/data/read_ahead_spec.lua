-- Samples that threads read ahead of time.
local cglow = require "cglow"
local scratch = require "spec.fixtures.scratch"
local core = require "cglow.core"
local data = require "cglow.data"
local sets = require "spec.support.sets"

local PATIENCE <const> = 60 -- seconds, on machines that have much else to do

local function wait(what, condition)
  local start = core.system.clock()
  while not condition() do
    assert.is_true(core.system.clock() - start < PATIENCE, "waited in vain for " .. what)
  end
end

describe("core.readers", function()
  local CHUNK <const> = [[
    local argument = ...
    return function(i)
      if i == 3 then error "three is no good" end
      if i == 4 then return {f = print} end
      return {n = i, half = i / 2, [i] = argument, yes = true, no = false, deep = {{"x"}}}
    end
  ]]

  it("gives what the function gives, with all that a table may hold", function()
    local readers <close> = assert(core.readers(2, 4, CHUNK, "said"))
    assert.is_true(readers:ask(7))
    wait("7", function() return readers:ready(7) end)
    assert.same({n = 7, half = 3.5, [7] = "said", yes = true, no = false, deep = {{"x"}}}, readers:take(7))
    assert.is_nil(readers:take(7)) -- it was taken
    assert.is_nil(readers:take(8)) -- nobody has asked for it
    assert.is_false(readers:ready(8))
  end)

  it("moves tensors, bit for bit", function()
    local text = ("package.path, package.cpath = %q, %q\n"):format(package.path, package.cpath)
      .. "local core = require 'cglow.core'\nreturn function(i) return {core.randn(2, 3, 4, 1, core.Rng(i)), i} end"
    local readers <close> = assert(core.readers(1, 4, text))
    readers:ask(5)
    wait("5", function() return readers:ready(5) end)
    local got = readers:take(5)
    assert.same({2, 3, 4, 1}, got[1]:size())
    assert.equal(core.randn(2, 3, 4, 1, core.Rng(5)):bytes(), got[1]:bytes())
  end)

  it("says why there is no result", function()
    local readers <close> = assert(core.readers(1, 4, CHUNK))
    for i, why in pairs {[3] = "three is no good", [4] = "a function cannot go from one state to another"} do
      readers:ask(i)
      wait(i, function() return readers:ready(i) end)
      local value, message = readers:take(i)
      assert.is_nil(value)
      assert.matches(why, message, 1, true)
    end
    local odd <close> = assert(core.readers(1, 4, [[return function(i)
      error(i == 1 and setmetatable({}, {__tostring = function() return "said by a table" end}) or nil)
    end]]))
    for i, why in ipairs {"said by a table", "nil"} do
      odd:ask(i)
      wait("an error that is no text", function() return odd:ready(i) end)
      assert.equal(why, (select(2, odd:take(i))))
    end
    local broken <close> = assert(core.readers(1, 4, "this is no Lua"))
    broken:ask(1)
    wait("a state that cannot be opened", function() return broken:ready(1) end)
    assert.matches("syntax error", (select(2, broken:take(1))), 1, true)
  end)

  it("holds no more than was said: the oldest result goes that nobody took", function()
    local readers <close> = assert(core.readers(1, 2, CHUNK))
    readers:ask(1)
    wait("1", function() return readers:ready(1) end)
    readers:ask(2)
    wait("2", function() return readers:ready(2) end)
    assert.is_true(readers:ask(5))
    assert.is_false(readers:ready(1))
    assert.is_true(readers:ready(2))
  end)

  it("does nothing once it is closed", function()
    local readers = assert(core.readers(1, 2, CHUNK))
    readers:close()
    readers:close()
    assert.is_false(readers:ask(1))
    assert.is_nil(readers:take(1))
  end)
end)

describe("Dataset:read_ahead", function()
  local dir <const> = scratch.each(before_each, after_each)

  local function write(count)
    for i = 1, count do
      sets.save(("%s/x/p%02d.png"):format(dir, i), core.rand(3, 8, 8, core.Rng(i)))
      sets.save(("%s/y/p%02d.png"):format(dir, i), core.rand(1, 8, 8, core.Rng(i + 99)):gt(0.5))
    end
  end

  local function ready(ds, i)
    wait("sample " .. i, function() return ds.ahead[1].readers:ready(i) end)
  end

  it("has samples that were announced although their files are gone", function()
    write(3)
    local ds = assert(data.pairs(dir))
    local plain = assert(data.pairs(dir))[2]
    local reading <close> = ds:read_ahead(1, 8)
    assert.is_not_nil(reading)
    ds:map(function(sample) return sample end):expect {2} -- sets made of it hand it on
    ready(ds, 2)
    assert(os.remove(dir .. "/x/p02.png"))
    assert(os.remove(dir .. "/x/p03.png"))
    local sample = assert(ds:get(2))
    assert.equal("p02", sample.name)
    assert.equal(plain.x:bytes(), sample.x:bytes())
    assert.equal(plain.y:bytes(), sample.y:bytes())
    assert.matches("p03.png", (select(2, ds:get(3)))) -- that one was not announced
  end)

  it("finds its samples through parts, joins and caches, which ask for none twice", function()
    write(4)
    local ds = assert(data.pairs(dir, {cache = "none"}))
    local part = ds:subset {4, 2}:cache():concat(ds:subset {1})
    local reading <close> = part:read_ahead(2, 8)
    assert.is_not_nil(reading)
    part:expect {1, 3}
    ready(ds, 4)
    ready(ds, 1)
    assert.equal("p04", part[1].name)
    part:expect {1}
    assert.is_false(ds.ahead[1].readers:ready(4))
    assert.equal("p01", part[3].name)
  end)

  it("tells errors where the sample is, as without it", function()
    write(2)
    sets.write(dir .. "/x/p02.png", "no picture")
    local message = select(2, assert(data.pairs(dir)):get(2))
    local ds = assert(data.pairs(dir))
    local reading <close> = ds:read_ahead(1, 8)
    assert.is_not_nil(reading)
    ds:expect {2, 1}
    ready(ds, 2)
    assert.same({nil, message}, {ds:get(2)})
    assert.equal("p01", ds[1].name)
    assert.equal("p01", ds:skip_damaged():usable()[1].name)
  end)

  it("is not for sets that nothing can make again", function()
    assert.is_nil(data.Dataset {size = 1, get = function() end}:read_ahead(1, 1))
    write(1)
    assert.is_nil(assert(data.pairs(dir, {cache = "disk"})):read_ahead(1, 1))
  end)

  it("is told to make no difference in a training where nothing can be read ahead", function()
    local notice = require "cglow.util.notice"
    local notify, told = notice.notify, {}
    finally(function() notice.notify = notify end)
    function notice.notify(text) told[#told + 1] = text end
    local rng = core.Rng(1)
    local set = data.Dataset {size = 2, get = function() return {y = rng:normal(1, 4, 4)} end}
    local function train(threads)
      cglow.train.Trainer {model = cglow.Glow {y = {1, 4, 4}, levels = 1, depth = 1, rng = rng}, train = set, steps = 1,
        read_ahead = threads, progress = "quiet"}:run()
    end
    train(0)
    assert.same({}, told)
    train(2)
    assert.equal(1, #told)
    assert.matches("read_ahead makes no difference", told[1])
  end)

  it("changes no number of a training, and ends with it", function()
    write(7)
    local function train(threads)
      local ds = assert(data.pairs(dir, {kind = "mask"}))
      local model = cglow.Model {x = {3, 8, 8}, y = {1, 8, 8}, levels = 1, depth = 1, encoder = {channels = {4, 4}},
        coupling = {width = 4}, rng = core.Rng(1)}
      local losses = {}
      local outcome = cglow.train.Trainer {
        model = model, train = ds:map(data.transform.augment {mirror = true, shift = 0.2, y = "mask"}), batch = 2,
        steps = 9, read_ahead = threads, progress = "quiet",
        on_step = function(trainer) losses[#losses + 1] = trainer:status().nll end,
      }:run()
      assert.equal("done", outcome.reason)
      assert.is_nil(ds.ahead[1].readers)
      return losses
    end
    assert.same(train(0), train(3))
  end)
end)
