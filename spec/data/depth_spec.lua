-- Depth frames, their fused references, and the reader of 7-Scenes.
local scratch = require "spec.fixtures.scratch"
local core = require "cglow.core"
local baselines = require "cglow.tasks.baselines"
local data = require "cglow.data"
local depth = require "cglow.data.depth"
local lfs = require "lfs"
local metrics = require "cglow.metrics"
local reference = require "cglow.data.reference"
local sets = require "spec.support.sets"

local HEIGHT <const>, WIDTH <const>, FOCAL <const> = 24, 32, 40
local CAMERA = ("%d 0 16\n0 %d 12\n0 0 1\n"):format(FOCAL, FOCAL)

-- A wall at z = 2 m with a box before it, at 1.4 m between x = -0.1 and 0.2 m, seen
-- from a camera at (x, 0, 0): depth of each pixel in metres.
local function view(x)
  local t = core.empty(HEIGHT, WIDTH)
  for j = 1, WIDTH do
    local ray = (j - 1 - 16) / FOCAL
    local on_box = x + ray * 1.4
    for i = 1, HEIGHT do t:set(i, j, on_box > -0.1 and on_box < 0.2 and 1.4 or 2) end
  end
  return t
end

local function pose_text(x) return ("1 0 0 %.9f\n0 1 0 0\n0 0 1 0\n0 0 0 1\n"):format(x) end

local function write_frame(dir, i, x, rng)
  local noisy = (view(x) + rng:normal(HEIGHT, WIDTH) * 0.01) * 1000
  local path = ("%s/frame-%06d"):format(dir, i)
  noisy = noisy:round()
  for hole = 1, 20 do noisy:set(rng:integer(1, HEIGHT), rng:integer(1, WIDTH), hole % 2 * 65535) end
  sets.save(path .. ".depth.png", noisy, {bits = 16, raw = true})
  sets.write(path .. ".pose.txt", pose_text(x))
end

local function write_sequence(dir, n)
  local rng = core.Rng(77)
  for i = 0, n - 1 do write_frame(dir, i, 0.02 * math.sin(i), rng) end
end

describe("data.depth", function()
  local dir <const> = scratch.each(before_each, after_each)

  it("reads millimetres as metres, 0 and 65535 as no reading", function()
    sets.save(dir .. "/d.png", core.tensor {{0, 65535, 1, 2500}}, {bits = 16, raw = true})
    local t = assert(depth.load(dir .. "/d.png"))
    assert.same({1, 4}, t:size())
    for i, want in ipairs {0, 0, 0.001, 2.5} do assert.near(want, t:get(1, i), 1e-7) end
    sets.save(dir .. "/c.png", core.ones(3, 2, 2))
    assert.same({nil, dir .. "/c.png: a depth map has one channel"}, {depth.load(dir .. "/c.png")})
  end)

  it("reads cameras and poses, and refuses what is none", function()
    sets.write(dir .. "/c.txt", "5.850000000000000000e+02 0 3.2e2\n0 586 240\n0 0 1\n")
    assert.same({585, 586, 320, 240}, depth.read_camera(dir .. "/c.txt"))
    sets.write(dir .. "/p.txt", pose_text(0.25))
    assert.equal(0.25, depth.read_pose(dir .. "/p.txt")[4])
    for _, bad in ipairs {"", "1 2 3", pose_text(1) .. "7", pose_text(1):gsub("1 0 0", "2 0 0"), pose_text(0 / 0),
                          pose_text(1):gsub("^1", "x")} do
      sets.write(dir .. "/p.txt", bad)
      local pose, message = depth.read_pose(dir .. "/p.txt")
      assert.is_nil(pose)
      assert.matches("p.txt: ", message)
    end
    sets.write(dir .. "/c.txt", "-585 0 320 0 585 240 0 0 1")
    assert.matches("focal lengths must be above 0", select(2, depth.read_camera(dir .. "/c.txt")))
  end)

  it("motion takes points from one camera to the other by way of the world", function()
    local function turned(angle, x, y, z)
      local c, s = math.cos(angle), math.sin(angle)
      return {c, 0, s, x, 0, 1, 0, y, -s, 0, c, z, 0, 0, 0, 1}
    end
    local function apply(m, p)
      local q = {}
      for i = 1, 3 do q[i] = m[4 * i - 3] * p[1] + m[4 * i - 2] * p[2] + m[4 * i - 1] * p[3] + m[4 * i] end
      return q
    end
    local from, to, point = turned(0.3, 1, 2, 3), turned(-0.5, 0.5, 0, 1), {0.2, -0.4, 2}
    local world = apply(from, point)
    local again = apply(to, apply(depth.motion(from, to), point))
    for i = 1, 3 do assert.near(world[i], again[i], 1e-12) end
  end)
end)

describe("data.seven_scenes", function()
  local dir, remove, kept
  before_each(function()
    dir, remove = sets.folder()
    kept = dir .. "/kept"
    write_sequence(dir .. "/kitchen/seq-01", 20)
    sets.write(dir .. "/kitchen/camera-intrinsics.txt", CAMERA)
  end)
  after_each(function() remove() end)

  local function open(o)
    o.references, o.size, o.radius = kept, o.size or 16, o.radius or 2
    return data.seven_scenes(dir, o)
  end

  it("makes a reference that is nearer to the truth than the reading", function()
    local frames = {}
    for i = 0, 19 do
      local path = ("%s/kitchen/seq-01/frame-%06d"):format(dir, i)
      frames[i + 1] = {number = i, depth = path .. ".depth.png", pose = path .. ".pose.txt"}
    end
    local sequence = {name = "kitchen", camera = {FOCAL, FOCAL, 16, 12}, frames = frames}
    local clean = assert(reference.new(sequence, 9, kept):get(10))
    local noisy, truth = depth.load(frames[10].depth), view(0.02 * math.sin(9))
    -- where the frame itself has a reading of the same surface, and the reference one at all
    local known = noisy:gt(0) * clean:gt(0)
    assert.is_true(known:mean() > 0.75) -- readings at the box's two edges are left out
    local surface = known * (clean - truth):abs():lt(0.3)
    assert.is_true(surface:sum() / known:sum() > 0.95) -- edges lie half a pixel away at most
    local function rms(t) return math.sqrt((((t - truth) * (t - truth)) * surface):sum() / surface:sum()) end
    assert.near(0.01, rms(noisy), 0.001)
    assert.is_true(rms(clean) < 0.01 / 3) -- 19 readings, most of them counted: 0.01/√19 = 0.0023
  end)

  it("cuts a sequence in time, parts a radius away from each other", function()
    local numbers = {}
    for _, split in ipairs {"train", "valid", "test"} do
      local list = {}
      for _, sample in assert(open {split = split, radius = 1}):samples(core.Rng(1)) do
        list[#list + 1] = tonumber(sample.name:match("%d+$"))
      end
      numbers[split] = table.concat(list, " ")
    end
    assert.equal("0 1 2 3 4 5 6 7 8 9 10 11 12 13", numbers.train) -- 70 % of 20
    assert.equal("15", numbers.valid)
    assert.equal("17 18 19", numbers.test)
  end)

  it("splits by the sequences that the scene names", function()
    write_sequence(dir .. "/kitchen/seq-02", 4)
    sets.write(dir .. "/kitchen/TrainSplit.txt", "sequence1\r\n")
    sets.write(dir .. "/kitchen/TestSplit.txt", "sequence2\n")
    assert.equal(4, #assert(open {split = "test"}))
    assert.equal(18, #assert(open {split = "train"}))
    assert.equal(9, #assert(open {split = "train", frames = 9}))
    sets.write(dir .. "/kitchen/TestSplit.txt", "seq-02")
    assert.matches("'sequence1' or the like expected, got 'seq%-02'", select(2, open {split = "test"}))
    sets.write(dir .. "/kitchen/TestSplit.txt", "")
    assert.matches("the list is empty", select(2, open {split = "test"}))
  end)

  it("takes a clean frame where there is one", function()
    for i = 0, 19 do
      sets.save(("%s/kitchen/seq-01/frame-%06d.clean.png"):format(dir, i), core.full(HEIGHT, WIDTH, 2000 + i),
        {bits = 16, raw = true})
    end
    local ds = assert(open {split = "test"})
    assert.equal(4, #ds) -- no gap is needed
    assert.near(2.016 / 4, ds[1].y:mean(), 1e-6)
    assert.equal(1, ds[1].valid:min())
    assert.is_nil(lfs.attributes(kept))
  end)

  it("keeps references, makes damaged ones again, and new ones when a frame changes", function()
    local first = assert(open {split = "test"})[1]
    local folder, file
    for name in lfs.dir(kept) do folder = name:find("^depth") and kept .. "/" .. name or folder end
    for name in lfs.dir(folder) do file = name:find("png$") and folder .. "/" .. name or file end
    assert.equal(first.y, assert(open {split = "test"})[1].y)
    local whole = sets.read(file)
    for _, damaged in ipairs {whole:sub(1, 40), whole:sub(1, -3) .. "x" .. whole:sub(-1), ""} do
      sets.write(file, damaged)
      local notes, sample = sets.notes(function() return open {split = "test"}[1] end)
      assert.equal(1, #notes)
      assert.matches("making it again", notes[1])
      assert.equal(first.y, sample.y)
      assert.equal(whole, sets.read(file))
    end
    sets.write(dir .. "/kitchen/seq-01/frame-000019.pose.txt", pose_text(0.123) .. "\n") -- of another size
    assert(open {split = "test"}:get(1))
    local folders = 0
    for name in lfs.dir(kept) do folders = folders + (name:find("^depth") and 1 or 0) end
    assert.equal(2, folders)
  end)

  it("draws the same crops in the test part, others in training", function()
    local test = assert(open {split = "test"})
    assert.is_false(test.random)
    assert.equal(test[1].y, assert(open {split = "test"})[1].y)
    local train, seen, n = assert(open {split = "train"}), {}, 0
    for seed = 1, 30 do
      local key = train:get(1, core.Rng(seed)).x:sum()
      if not seen[key] then seen[key], n = true, n + 1 end
    end
    assert.is_true(n > 10)
  end)

  it("leaves holes of x, fills them, or tells where they are", function()
    local zero = assert(open {split = "test"})[1]
    local median = assert(open {split = "test", holes = "median"})[1]
    local mask = assert(open {split = "test", holes = "mask"})[1]
    local known = zero.x[1]:gt(0)
    assert.is_true(known:sum() < known:count())
    assert.equal(median.x, baselines.median_depth()(zero))
    assert.is_true(median.x:min() > 0)
    assert.same({2, 16, 16}, mask.x:size())
    assert.equal(median.x, mask.x:narrow(1, 1, 1))
    assert.equal(known, mask.x[2])
    assert.is_true(zero.y:min() > 0) -- y is filled in every case
  end)

  it("counts what lies beyond the range as no reading", function()
    local ds = assert(open {split = "test", range = 1.8, valid = 0})
    assert.is_true(ds[1].x:max() <= 1)
    assert.near(1.4 / 1.8, ds[1].y:max(), 0.02) -- the box alone
    assert.is_true(ds[1].valid:mean() < 0.9)
  end)

  it("says what is missing or malformed", function()
    local function message(o) return (select(2, open(o or {}))) end
    assert.equal("seven_scenes: there is no folder " .. dir .. "/no", (select(2, data.seven_scenes(dir .. "/no"))))
    assert.matches("no seq%-01 … in .*/seq%-01 or", (select(2, data.seven_scenes(dir .. "/kitchen/seq-01"))))
    os.remove(dir .. "/kitchen/seq-01/frame-000003.pose.txt")
    assert.equal(("seven_scenes: 1 of 20 poses are missing: %s/kitchen/seq-01/frame-000003.pose.txt"):format(dir),
      message())
    sets.write(dir .. "/kitchen/seq-01/frame-000003.pose.txt", "1 2 3")
    assert.matches("frame%-000003.pose.txt: 16 numbers expected, got 3", (select(2, open {radius = 4}:get(1))))
    sets.write(dir .. "/kitchen/seq-01/frame-000003.pose.txt", pose_text(0))
    sets.save(dir .. "/kitchen/seq-01/frame-000002.depth.png", core.ones(4, 4), {bits = 16})
    assert.matches("not of the size of its neighbours", (select(2, open {radius = 4}:get(1))))
    sets.write(dir .. "/kitchen/camera-intrinsics.txt", "1 2")
    assert.matches("9 numbers expected, got 2", message())
    os.execute(("mkdir -p '%s/empty/seq-01'"):format(dir))
    assert.matches("no frame%-XXXXXX.depth.png in", (select(2, data.seven_scenes(dir .. "/empty"))))
  end)

  it("leaves out frames without a reference, from batches and from means, and says which", function()
    for i = 0, 19 do
      local value = (i == 3 or i == 18) and 0 or 2000 + i
      sets.save(("%s/kitchen/seq-01/frame-%06d.clean.png"):format(dir, i), core.full(HEIGHT, WIDTH, value),
        {bits = 16, raw = true})
    end
    local train, test
    local notes = sets.notes(function()
      train, test = assert(open {radius = 1}), assert(open {split = "test"})
      local none, message, left_out = train:get(4, core.Rng(1))
      assert.is_nil(none)
      assert.matches("frame%-000003: no pixel has a reference", message)
      assert.is_true(left_out)
      local _, y = train:batch({3, 4, 5}, nil, nil, core.Rng(1))
      for place, i in ipairs {2, 4, 4} do assert.near((2 + i / 1000) / 4, y[place]:mean(), 1e-5) end -- 5 in place of 4
      assert.equal(#test - 1, #assert(test:usable()))
      local count = 0
      for _ in test:samples() do count = count + 1 end
      assert.equal(#test - 1, count)
    end)
    assert.equal(2, #notes)
    for _, note in ipairs(notes) do assert.matches("no pixel has a reference: left out$", note) end
    assert.equal(1, #train:left_out())
    assert.matches("frame%-000018", test:left_out()[1])
  end)

  it("reads other units, and no files of 8 bits without one", function()
    local path = dir .. "/d.png"
    sets.save(path, core.full({1, 4, 4}, 250.0), {raw = true})
    assert.matches("samples of 8 bits are no millimetres", select(2, depth.load(path)))
    assert.near(2.5, depth.load(path, 0.01):mean(), 1e-6)
    sets.save(path, core.full({1, 4, 4}, 10000.0), {bits = 16, raw = true})
    assert.near(10, depth.load(path):mean(), 1e-5)
    assert.near(2, depth.load(path, 1 / 5000):mean(), 1e-6)
    -- at half a millimetre all lies half as far away, so twice as much of the range is left
    local sample = assert(open {split = "test", unit = 0.0005})[1]
    assert.is_true(sample.x:max() > 0 and sample.x:max() <= 0.5 * assert(open {split = "test"})[1].x:max() + 0.1)
  end)

  it("goes on without keeping when there is no place for it", function()
    local getenv = os.getenv
    os.getenv = function() return nil end -- luacheck: ignore
    local notes, sample = sets.notes(function() return assert(data.seven_scenes(dir, {size = 16, radius = 2}))[1] end)
    os.getenv = getenv -- luacheck: ignore
    assert.is_table(sample)
    assert.equal("the fused depth is not kept: no folder for caches: set CGLOW_CACHE", notes[#notes])
  end)

  it("goes on without keeping when the folder cannot be made", function()
    sets.write(kept, "a file")
    local notes, sample = sets.notes(function() return assert(open {split = "test"})[1] end)
    assert.is_table(sample)
    assert.matches("the fused depth is not kept", notes[1])
  end)

  it("reads the embedded sample set", function()
    local root = assert(data.sample_dir "depth_refinement")
    assert.equal(36, #assert(data.seven_scenes(root)))
    local ds, sum = assert(data.seven_scenes(root, {split = "test"})), 0
    assert.equal(12, #ds)
    for _, sample in ds:samples() do
      sum = sum + metrics.psnr(sample.x, sample.y, {mask = sample.valid * sample.x[1]:gt(0)}) / #ds
    end
    -- data/README.md: 31.4 dB where there is a reading, whole frames and peak 4096 mm
    assert.near(31.4, sum, 2)
  end)

  it("reads the published set", function()
    local real = sets.real "7scenes"
    if not real then return pending("7-Scenes is not here") end
    assert.equal(200, #assert(data.seven_scenes(real)))
    local ds = assert(data.seven_scenes(real, {split = "test", frames = 3, references = kept}))
    -- the reference is smoother: second differences along a row, steps left out
    local function roughness(t)
      local bend = (t:narrow(3, 1, 94) - t:narrow(3, 2, 94) * 2 + t:narrow(3, 3, 94)):abs()
      local small = bend:lt(0.01)
      return (bend * small):sum() / small:sum()
    end
    local before, after = 0, 0
    for _, sample in ds:samples() do
      assert.same({1, 96, 96}, sample.y:size())
      assert.is_true(sample.valid:mean() > 0.9)
      local known = sample.valid * sample.x[1]:gt(0)
      local near = (sample.x - sample.y):abs():lt(0.01)[1] * known -- within 4 cm
      assert.is_true(near:sum() > 0.9 * known:sum())
      before, after = before + roughness(sample.x), after + roughness(sample.y)
    end
    assert.is_true(after < 0.6 * before)
  end)
end)

describe("a depth map of floating-point numbers", function()
  local dir <const> = scratch.each(before_each, after_each)

  it("needs a unit, and has no reading where it is infinite or below 0", function()
    local image = require "cglow.image"
    local path = dir .. "/a.pfm"
    assert(image.save(path, core.tensor {1.5, 1 / 0, -1, 0}:reshape(1, 2, 2)))
    assert.matches("floating%-point numbers are no millimetres", select(2, depth.load(path)))
    assert.same({3, 0, 0, 0}, depth.load(path, 2):totable())
  end)
end)
