-- Data sets: samples, batches, parts, caches.
local scratch = require "spec.fixtures.scratch"
local core = require "cglow.core"
local data = require "cglow.data"
local safetensors = require "cglow.util.safetensors"
local sets = require "spec.support.sets"

local transform = data.transform

-- Sample i: x = i everywhere (2x4x6), y = 10·i (1x4x6), or random when asked.
local function numbers(n, options)
  options = options or {}
  local reads = {count = 0}
  return data.Dataset {
    size = n, name = "numbers", random = options.random, recipe = options.recipe, info = {cell_width = options.width},
    get = function(i, rng)
      reads.count = reads.count + 1
      if i == options.bad then return nil, "sample " .. i .. " is broken" end
      local x = options.random and rng:uniform(2, 4, 6) or core.full(2, 4, 6, i)
      return {x = x, y = core.full(1, 4, 6, 10 * i), name = "n" .. i, size = i}
    end,
  }, reads
end

local function names(ds)
  local list = {}
  for _, sample in ds:samples(core.Rng(1)) do list[#list + 1] = sample.name end
  return table.concat(list, " ")
end

describe("data.Dataset", function()
  it("has a size, samples and a readable form", function()
    local ds = numbers(3)
    assert.equal(3, #ds)
    assert.equal(3, ds:size())
    assert.equal("n2", ds:get(2).name)
    assert.equal("n2", ds[2].name)
    assert.is_nil(ds[4])
    assert.equal("cglow.Dataset numbers: 3 samples, x 2x4x6, y 1x4x6", tostring(ds))
    assert.equal("n1 n2 n3", names(ds))
    assert.is_true(data.is_dataset(ds))
    assert.is_false(data.is_dataset({}))
  end)

  it("leaves the default generator alone when it is printed", function()
    core.seed(5)
    local before = core.rng():state()
    assert.matches("random", tostring(numbers(2, {random = true})))
    assert.equal(before, core.rng():state())
  end)

  it("maps, picks, splits and joins", function()
    local ds = numbers(5)
    local doubled = ds:map(function(s) return {x = s.x * 2, y = s.y, name = s.name .. "'"} end)
    assert.equal(8, doubled:get(4).x:max())
    assert.equal(4, ds:get(4).x:max())
    assert.equal("n2' n3' n4'", names(doubled:subset(2, 4)))
    assert.equal("n4 n5", names(ds:subset(4)))
    assert.equal("n5 n1 n5", names(ds:subset {5, 1, 5}))
    local a, b = ds:split(0.4)
    assert.equal("n1 n2 | n3 n4 n5", names(a) .. " | " .. names(b))
    a, b = ds:split(3)
    assert.equal("n1 n2 n3 | n4 n5", names(a) .. " | " .. names(b))
    assert.equal("n4 n5 n1", names(b:concat(ds:subset(1, 1))))
    assert.equal(0, #ds:subset(3, 2))
  end)

  it("deals samples out at random, each to one part, the same for a seed", function()
    local ds = numbers(20)
    local a, b = ds:split(0.5, 7)
    local a2 = ds:split(0.5, 7)
    assert.equal(names(a), names(a2))
    assert.not_equal(names(a), names((ds:split(0.5, 8))))
    local seen = {}
    for name in (names(a) .. " " .. names(b)):gmatch("%S+") do
      assert.is_nil(seen[name])
      seen[name] = true
    end
    assert.equal(10, #a)
  end)

  it("makes batches in new tensors or in given ones, without allocating tensors", function()
    local ds = numbers(4, {width = 1}):cache():dequantise()
    local x, y = ds:batch({3, 1}, nil, nil, core.Rng(1))
    assert.same({2, 2, 4, 6}, x:size())
    assert.equal(3, x[1]:max())
    assert.equal(1, x[2]:max())
    assert.is_true(y[1]:min() >= 29.5 and y[1]:max() < 30.5)
    local before = core.stats().tensors
    for _ = 1, 50 do assert.equal(x, (ds:batch({1, 3}, x, y, core.Rng(2)))) end
    -- samples 1 and 3 were read above; a batch's views have no memory of their own
    assert.equal(before, core.stats().tensors)
  end)

  it("passes on what cannot be read", function()
    local ds = numbers(3, {bad = 2}):map(function(s) return s end):cache()
    assert.same({nil, "sample 2 is broken"}, {ds:get(2)})
    assert.same({nil, "sample 2 is broken"}, {ds:batch({1, 2})})
    assert.has_error(function() return ds[2] end, "sample 2 is broken")
    assert.matches("the first cannot be read: sample 2", tostring(ds:subset(2, 3)))
  end)

  it("draws the same from equal generators, and fixes the draws when seeded", function()
    local ds = numbers(3, {random = true}):map(transform.random_crop {height = 2, width = 3})
    local a, b = ds:get(1, core.Rng(4)), ds:get(1, core.Rng(4))
    assert.equal(a.x, b.x)
    assert.not_equal(a.x, ds:get(1, core.Rng(5)).x)
    local fixed = ds:seeded(9)
    assert.equal(fixed:get(2).x, fixed:get(2).x)
    assert.equal(ds:get(2, core.Rng(11)).x, fixed:get(2).x)
    assert.not_equal(fixed:get(1).x, fixed:get(2).x)
    assert.equal(fixed:get(3).x, fixed:cache():get(3).x)
  end)

  it("keeps samples in memory up to a limit", function()
    local ds, reads = numbers(3)
    local kept = ds:cache()
    for _ = 1, 4 do kept:get(2) end
    assert.equal(1, reads.count)
    local tight = ds:cache {limit = 4 * 72} -- one sample has 48 + 24 numbers of 4 bytes
    for _ = 1, 3 do tight:get(1); tight:get(2) end
    assert.equal(1 + 1 + 3, reads.count)
  end)

  it("is misused with an error that tells", function()
    local ds, random = numbers(3), numbers(3, {random = true})
    local cases = {
      {"bad argument #1 to 'Dataset:get': i must be an integer >= 1 and <= 3, got 4", function() ds:get(4) end},
      {"'Dataset:get'.*got 1.5", function() ds:get(1.5) end},
      {"Dataset:batch.*indices must be a table, got nil", function() ds:batch() end},
      {"at least one index", function() ds:batch {} end},
      {"Dataset:batch.*indices%[1%] must be an integer", function() ds:batch {"a"} end},
      {"x must be a tensor of shape 2x2x4x6 %(as n1 has it%), got 2x4x6", function()
        ds:batch({1, 2}, core.zeros(2, 4, 6))
      end},
      {"y must be a tensor of shape 1x1x4x6", function()
        ds:batch({1}, core.zeros(1, 2, 4, 6), core.zeros(2, 1, 4, 6))
      end},
      {"draws random numbers", function() random:cache() end},
      {"draws random numbers", function() random:disk_cache() end},
      {"option 'recipe' is required", function() ds:disk_cache() end},
      {"Dataset:cache: unknown option 'limt'", function() ds:cache {limt = 3} end},
      {"transform must be a function or table", function() ds:map(3) end},
      {"indices%[2%] must be an integer >= 1 and <= 3, got 9", function() ds:subset {1, 9} end},
      {"last must be an integer <= 3", function() ds:subset(1, 4) end},
      {"share must be a fraction below 1 or an integer", function() ds:split(1.5) end},
      {"a data set expected", function() ds:concat({}) end},
      {"data.Dataset: option 'get' is required", function() data.Dataset {size = 1} end},
    }
    for _, case in ipairs(cases) do assert.error_matches(case[2], case[1]) end
  end)
end)

describe("Dataset:disk_cache", function()
  local dir <const> = scratch.each(before_each, after_each)

  local function the_file()
    local found
    for name in require "lfs".dir(dir) do
      if name:find("safetensors$") then found = dir .. "/" .. name end
    end
    return found
  end

  it("reads everything once, also in a later process", function()
    local ds, reads = numbers(3, {recipe = "numbers 1"})
    assert.equal("n2", ds:disk_cache {dir = dir}:get(2).name)
    assert.equal(3, reads.count)
    local again = ds:disk_cache {dir = dir}
    local sample = again:get(3)
    assert.equal(3, reads.count)
    assert.equal(ds:get(3).x, sample.x)
    assert.equal(ds:get(3).y, sample.y)
    assert.equal(3, sample.size)
  end)

  it("keeps samples of different shapes", function()
    local ds = data.Dataset {size = 2, recipe = "shapes", get = function(i)
      local valid = i == 2 and core.ones(2) or nil
      return {x = core.full(1, i, 3, i), y = core.full(1, 2, 2, i), name = "s" .. i, valid = valid}
    end}
    ds:disk_cache {dir = dir}:get(1)
    local again = ds:disk_cache {dir = dir}
    assert.same({1, 2, 3}, again:get(2).x:size())
    assert.is_nil(again:get(1).valid)
    assert.same({1, 1}, again:get(2).valid:totable())
  end)

  it("makes another file when the recipe or a file changes", function()
    local path = dir .. "/source"
    sets.write(path, "one")
    local function make(recipe)
      local reads = 0
      local ds = data.Dataset {size = 1, recipe = recipe, files = {path}, get = function()
        reads = reads + 1
        return {x = core.ones(1, 1, 1), y = core.ones(1, 1, 1), name = "a"}
      end}
      return function()
        ds:disk_cache {dir = dir}:get(1)
        return reads
      end
    end
    local one, two = make("a"), make("b")
    assert.equal(1, one())
    assert.equal(1, one())
    assert.equal(1, two())
    sets.write(path, "longer")
    assert.equal(2, one())
  end)

  it("makes a damaged file again and says so", function()
    local ds, reads = numbers(2, {recipe = "numbers 2"})
    ds:disk_cache {dir = dir}:get(1)
    local whole = sets.read(the_file())
    for _, damaged in ipairs {whole:sub(1, #whole // 2), "", whole:sub(1, -2) .. "\255"} do
      sets.write(the_file(), damaged)
      local before = reads.count
      local notes, sample = sets.notes(function() return ds:disk_cache {dir = dir}:get(2) end)
      assert.equal(1, #notes)
      assert.matches("making it again", notes[1])
      assert.equal(2, sample.x:max())
      assert.equal(before + 2, reads.count)
      assert.equal(whole, sets.read(the_file()))
    end
  end)

  it("makes a file again that is sound and holds something else", function()
    local ds = numbers(2, {recipe = "numbers 5"})
    ds:disk_cache {dir = dir}:get(1)
    local whole = sets.read(the_file())
    local tensors, metadata = assert(safetensors.load(the_file()))
    for label, other in pairs {
      ["no samples"] = {tensors, {}}, ["a number"] = {tensors, {samples = "7"}},
      ["no list"] = {tensors, {samples = "{}"}},
      ["numbers for samples"] = {tensors, {samples = "[1,2]"}}, ["another count"] = {tensors, {samples = "[{}]"}},
      ["a name that is none"] = {tensors, {samples = '[{"name":{}},{"name":"b"}]'}},
      ["too many rows"] = {{x = core.ones(3, 2)}, metadata}, ["no rows"] = {{x = core.ones(2)}, metadata},
      ["a third sample"] = {{["x.3"] = core.ones(2)}, metadata}, ["sample 0"] = {{["x.0"] = core.ones(2)}, metadata},
      ["a sample past all numbers"] = {{["x." .. ("9"):rep(400)] = core.ones(2)}, metadata},
    } do
      assert(safetensors.save(the_file(), other[1], other[2]))
      local notes, sample = sets.notes(function() return ds:disk_cache {dir = dir}:get(2) end)
      assert.equal(1, #notes, label)
      assert.matches("making it again", notes[1])
      assert.equal(2, sample.x:max())
      assert.equal(whole, sets.read(the_file()))
    end
  end)

  it("does without when the folder cannot be made, and says so", function()
    sets.write(dir .. "/file", "no folder")
    local notes, sample = sets.notes(function()
      return numbers(2, {recipe = "numbers 3"}):disk_cache {dir = dir .. "/file/below"}:get(1)
    end)
    assert.equal("n1", sample.name)
    assert.matches("the cache is not kept", notes[1])
  end)

  it("passes on what cannot be read, and is not made then: the others are read one by one", function()
    local ds = numbers(2, {recipe = "numbers 4", bad = 2}):disk_cache {dir = dir}
    assert.same({nil, "sample 2 is broken"}, {ds:get(2)})
    assert.equal("n1", ds:get(1).name)
    assert.is_nil(the_file())
  end)

  it("is done without where there is no place for it", function()
    local getenv, samples = os.getenv, nil
    os.getenv = function() return nil end -- luacheck: ignore
    local notes = sets.notes(function() samples = {numbers(2, {recipe = "numbers 5"}):disk_cache():get(2)} end)
    os.getenv = getenv -- luacheck: ignore
    assert.equal("n2", samples[1].name)
    assert.same({"the cache is not kept: no folder for caches: set CGLOW_CACHE"}, notes)
  end)
end)
