-- Super-pixels, hole filling, depth fusion.
local core = require "cglow.core"
local vision = require "cglow.image.vision"

local tensor = core.tensor

-- A tensor of H×W from a function of row and column.
local function map_of(height, width, f)
  local t = core.empty(height, width)
  for i = 1, height do
    for j = 1, width do t:set(i, j, f(i, j)) end
  end
  return t
end

describe("vision.slic", function()
  -- Labels that a flood over equal neighbours reaches from the first pixel of each label.
  local function assert_connected(labels, count)
    local height, width = labels:size(1), labels:size(2)
    local at, seen, started, largest = labels:totable(), {}, {}, 0
    for p = 1, height * width do
      if not seen[p] then
        assert.is_nil(started[at[p]], "label in two pieces")
        started[at[p]], largest = true, largest + 1
        assert.equal(largest, at[p]) -- in order of first appearance
        local stack = {p}
        seen[p] = true
        while #stack > 0 do
          local q = table.remove(stack)
          local column = (q - 1) % width
          for _, r in ipairs {column > 0 and q - 1, column < width - 1 and q + 1, q - width, q + width} do
            if r and at[r] == at[p] and not seen[r] then
              seen[r] = true
              stack[#stack + 1] = r
            end
          end
        end
      end
    end
    assert.equal(count, largest)
  end

  it("gives connected regions, about as many as wanted, the same each time", function()
    local image = core.Rng(3):uniform(3, 60, 45)
    image:mul(0.05):add(0.3)
    local labels, count = vision.slic(image, {segments = 40})
    assert_connected(labels, count)
    assert.is_true(count >= 20 and count <= 80)
    assert.equal(labels, (vision.slic(image, {segments = 40})))
  end)

  it("follows the edge between two colours", function()
    local edge = {}
    local image = core.empty(3, 40, 50)
    for i = 1, 40 do
      edge[i] = 25 + math.floor(8 * math.sin(i / 6))
      for j = 1, 50 do
        local left = j <= edge[i]
        for c, v in ipairs(left and {0.9, 0.2, 0.1} or {0.1, 0.3, 0.8}) do image:set(c, i, j, v) end
      end
    end
    local labels, count = vision.slic(image, {segments = 30})
    local side, mixed = {}, 0
    for i = 1, 40 do
      for j = 1, 50 do
        local label, here = labels:get(i, j), j <= edge[i]
        if side[label] == nil then side[label] = here elseif side[label] ~= here then mixed = mixed + 1 end
      end
    end
    assert.equal(0, mixed)
    assert.is_true(count > 10)
  end)

  it("cuts a flat image into even squares", function()
    local labels, count = vision.slic(core.full(3, 60, 60, 0.5), {segments = 36})
    assert.equal(36, count)
    assert.is_true(labels:eq(1):sum() >= 64 and labels:eq(1):sum() <= 144) -- of 100
  end)

  it("takes images of any size and up to three channels", function()
    for _, shape in ipairs {{1, 1, 1}, {3, 1, 7}, {1, 9, 1}, {2, 2, 3}, {3, 17, 5}} do
      local image = core.Rng(1):uniform(shape)
      for _, segments in ipairs {1, 2, 1000} do
        assert_connected(vision.slic(image, {segments = segments, iterations = 3}))
      end
    end
    assert_connected(vision.slic(core.Rng(1):uniform(6, 8), {segments = 4}))
    assert_connected(vision.slic(core.full(3, 6, 8, 0 / 0), {segments = 4})) -- colours that compare to nothing
  end)

  it("is misused with an error that tells", function()
    local cases = {
      {"vision.slic.*image must be a tensor, got nil", function() vision.slic() end},
      {"at most 3 channels", function() vision.slic(core.ones(4, 3, 3)) end},
      {"CxHxW or HxW expected, got 2", function() vision.slic(core.ones(2)) end},
      {"'segments' must be an integer >= 1", function() vision.slic(core.ones(3, 3, 3), {segments = 0}) end},
      {"'compactness' must be a number > 0", function() vision.slic(core.ones(3, 3, 3), {compactness = 0}) end},
      {"unknown option 'segment' %(did you mean 'segments'", function()
        vision.slic(core.ones(3, 3, 3), {segment = 1})
      end},
    }
    for _, case in ipairs(cases) do assert.error_matches(case[2], case[1]) end
  end)
end)

describe("vision.fill_median", function()
  it("takes medians of the known pixels, from the rim inwards", function()
    local image = tensor {{1, 2, 3, 4, 0, 0}}
    local valid = tensor {{1, 1, 1, 1, 0, 0}}
    -- 5th: median of (3, 4) at radius 2; 6th, in the same wave: of (4) alone
    assert.same({1, 2, 3, 4, 3.5, 4}, vision.fill_median(image, valid):totable())
    -- radius 1: 5th from 4, then 6th from that
    assert.same({1, 2, 3, 4, 4, 4}, vision.fill_median(image, valid, {radius = 1}):totable())
    assert.same({1, 2, 3, 4, 0, 0}, image:totable())
  end)

  it("is not misled by an outlier, and fills each channel by itself", function()
    local image = core.full(2, 5, 5, 2)
    image[2]:fill(7)
    image:set(1, 2, 2, 1000)
    local valid = core.ones(5, 5)
    image:set(1, 3, 3, 0 / 0)
    valid:set(3, 3, 0)
    local filled = vision.fill_median(image, valid)
    assert.equal(2, filled:get(1, 3, 3))
    assert.equal(7, filled:get(2, 3, 3))
    assert.equal(1000, filled:get(1, 2, 2))
  end)

  it("agrees with a plain wave by wave reference", function()
    local rng = core.Rng(8)
    local image, valid = rng:uniform(13, 11), rng:uniform(13, 11):gt(0.8)
    local v, known = {}, {}
    for i = 1, 13 do
      v[i], known[i] = {}, {}
      for j = 1, 11 do v[i][j], known[i][j] = image:get(i, j), valid:get(i, j) == 1 end
    end
    repeat
      local found = {}
      for i = 1, 13 do
        for j = 1, 11 do
          local near = {}
          for a = math.max(1, i - 2), math.min(13, i + 2) do
            for b = math.max(1, j - 2), math.min(11, j + 2) do
              if known[a][b] then near[#near + 1] = v[a][b] end
            end
          end
          if not known[i][j] and #near > 0 then
            table.sort(near)
            local m = (#near + 1) / 2
            found[#found + 1] = {i, j, (near[math.floor(m)] + near[math.ceil(m)]) / 2}
          end
        end
      end
      for _, f in ipairs(found) do v[f[1]][f[2]], known[f[1]][f[2]] = f[3], true end
    until #found == 0
    local filled = vision.fill_median(image, valid)
    -- one float rounding in the mean of two
    for i = 1, 13 do
      for j = 1, 11 do assert.near(v[i][j], filled:get(i, j), 1e-7) end
    end
  end)
end)

describe("vision.fill_diffusion", function()
  it("gives a linear ramp back, which is harmonic", function()
    local ramp = map_of(20, 24, function(i, j) return 0.02 * i - 0.01 * j + 0.3 end)
    local valid = map_of(20, 24, function(i, j) return (i > 4 and i < 17 and j > 3 and j < 20) and 0 or 1 end)
    local filled, sweeps = vision.fill_diffusion(ramp * valid, valid, {tolerance = 1e-7})
    -- numbers near 0.5 have steps of 6e-8, and errors add up over the 12 rows
    assert.is_true((filled - ramp):abs():max() < 1e-5)
    assert.is_true(sweeps < 400)
  end)

  it("makes each hole pixel the mean of its neighbours, also at the image's edge", function()
    local rng = core.Rng(2)
    local image, valid = rng:uniform(3, 15, 12), rng:uniform(15, 12):gt(0.7)
    local filled = vision.fill_diffusion(image, valid, {tolerance = 1e-7})
    for c = 1, 3 do
      for i = 1, 15 do
        for j = 1, 12 do
          local sum, n = 0, 0
          for _, at in ipairs {{i - 1, j}, {i + 1, j}, {i, j - 1}, {i, j + 1}} do
            if at[1] >= 1 and at[1] <= 15 and at[2] >= 1 and at[2] <= 12 then
              sum, n = sum + filled:get(c, at[1], at[2]), n + 1
            end
          end
          local want = valid:get(i, j) == 1 and image:get(c, i, j) or sum / n
          assert.near(want, filled:get(c, i, j), 1e-6)
        end
      end
    end
  end)

  it("changes nothing where nothing is missing, and stops when told to", function()
    local image = core.Rng(1):uniform(3, 5, 5)
    local filled, sweeps = vision.fill_diffusion(image, core.ones(5, 5))
    assert.equal(image, filled)
    assert.equal(0, sweeps)
    local hole = core.ones(5, 5)
    hole:set(3, 3, 0)
    assert.equal(1, select(2, vision.fill_diffusion(image, hole, {sweeps = 1})))
  end)

  it("is misused with an error that tells", function()
    local image = core.ones(3, 4, 5)
    local cases = {
      {"no pixel is valid", function() vision.fill_diffusion(image, core.zeros(4, 5)) end},
      {"no pixel is valid", function() vision.fill_median(image, core.zeros(4, 5)) end},
      {"4x5.*got 5x4", function() vision.fill_median(image, core.ones(5, 4)) end},
      {"valid must be a tensor", function() vision.fill_median(image) end},
      {"'radius' must be an integer >= 1 and <= 32, got 33", function()
        vision.fill_median(image, core.ones(4, 5), {radius = 33})
      end},
      {"'tolerance' must be a number > 0", function()
        vision.fill_diffusion(image, core.ones(4, 5), {tolerance = 0})
      end},
    }
    for _, case in ipairs(cases) do assert.error_matches(case[2], case[1]) end
  end)
end)

local CAMERA <const> = {20, 20, 7.5, 5.5} -- of 12×16 pixels
local STILL <const> = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0}

describe("vision.reproject", function()
  it("without motion gives the same map", function()
    local depth = map_of(12, 16, function(i, j) return 2 + 0.01 * i + 0.02 * j end)
    depth:set(4, 5, 0)
    assert.equal(depth, vision.reproject(depth, {camera = CAMERA, motion = STILL}))
  end)

  it("moves a plane by whole pixels", function()
    -- 0.2 m to the right at 2 m is 20·0.2/2 = 2 pixels
    local motion = {1, 0, 0, 0.2, 0, 1, 0, 0, 0, 0, 1, 0}
    local seen = vision.reproject(core.full(12, 16, 2), {camera = CAMERA, motion = motion})
    assert.equal(0, seen:narrow(2, 1, 2):max())
    assert.equal(2, seen:narrow(2, 3, 14):min())
  end)

  it("changes depths along the line of sight", function()
    local motion = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1} -- one metre back
    local seen = vision.reproject(core.full(12, 16, 2), {camera = CAMERA, motion = motion})
    assert.equal(3, seen:max())
    -- the view shrinks to 2/3 of 12×16: some 85 of 192 pixels are hit
    local hit = seen:gt(0):sum()
    assert.is_true(hit >= 80 and hit <= 96)
    motion[12] = -2 -- onto the plane: nothing in front of the camera
    assert.equal(0, vision.reproject(core.full(12, 16, 2), {camera = CAMERA, motion = motion}):max())
  end)

  it("keeps the nearest of several points", function()
    -- a near strip at 1 m moves 4 pixels, the far wall at 2 m moves 2: the strip covers wall
    local depth = map_of(12, 16, function(_, j) return j > 3 and j < 9 and 1 or 2 end)
    local motion = {1, 0, 0, 0.2, 0, 1, 0, 0, 0, 0, 1, 0}
    local seen = vision.reproject(depth, {camera = CAMERA, motion = motion, jump = 10})
    assert.same({0, 0, 2, 2, 2, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2}, seen[6]:totable())
    -- readings beside the step are left out when the step is more than 5 %
    seen = vision.reproject(depth, {camera = CAMERA, motion = motion})
    assert.same({0, 0, 2, 2, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2}, seen[6]:totable())
  end)

  it("agrees with the pinhole equations for a turned camera", function()
    local c, s = math.cos(0.1), math.sin(0.1)
    local motion = {c, 0, s, 0.05, 0, 1, 0, -0.03, -s, 0, c, 0.1}
    local depth = core.zeros(12, 16)
    depth:set(7, 4, 1.7)
    local x, y, z = (3 - 7.5) / 20 * 1.7, (6 - 5.5) / 20 * 1.7, 1.7
    local tx, ty, tz = c * x + s * z + 0.05, y - 0.03, -s * x + c * z + 0.1
    local column, row = math.floor(tx / tz * 20 + 7.5 + 0.5) + 1, math.floor(ty / tz * 20 + 5.5 + 0.5) + 1
    local seen = vision.reproject(depth, {camera = CAMERA, motion = motion})
    assert.equal(1, seen:gt(0):sum())
    assert.near(tz, seen:get(row, column), 1e-6)
  end)

  it("survives depths and motions that lead nowhere", function()
    local depth = map_of(12, 16, function(i, j) return ({0 / 0, math.huge, -1, 1e30, 1e-30, 2})[(i + j) % 6 + 1] end)
    local nothing, huge = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, {1e300, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1e300}
    for _, motion in ipairs {STILL, nothing, huge} do
      assert.same({12, 16}, vision.reproject(depth, {camera = CAMERA, motion = motion}):size())
    end
  end)

  it("is misused with an error that tells", function()
    local depth = core.ones(12, 16)
    local cases = {
      {"option 'camera' is required", function() vision.reproject(depth, {motion = STILL}) end},
      {"'motion' must be a table of length 12, got a list of 3", function()
        vision.reproject(depth, {camera = CAMERA, motion = {1, 2, 3}})
      end},
      {"focal lengths above 0", function() vision.reproject(depth, {camera = {0, 1, 1, 1}, motion = STILL}) end},
      {"12x16.*got a tensor of shape 12x15", function()
        vision.reproject(depth, {camera = CAMERA, motion = STILL, out = core.ones(12, 15)})
      end},
      {"must not share memory", function() vision.reproject(depth, {camera = CAMERA, motion = STILL, out = depth}) end},
    }
    for _, case in ipairs(cases) do assert.error_matches(case[2], case[1]) end
  end)
end)

describe("vision.fuse", function()
  -- The readings of one pixel, as views of 1×1.
  local function fuse(readings, own, options)
    local stack = core.empty(#readings, 1, 1)
    for i, z in ipairs(readings) do stack:set(i, 1, 1, z) end
    local clean, count = vision.fuse(stack, tensor {{own}}, options)
    return clean:get(1, 1), count:get(1, 1)
  end

  local function assert_fused(z, n, ...)
    local clean, count = fuse(...)
    assert.near(z, clean, 1e-6) -- float numbers near 1
    assert.equal(n, count)
  end

  it("averages readings that agree, the frame's own included", function()
    assert_fused(1.0025, 4, {1.00, 1.005, 0.995}, 1.01)
  end)

  it("leaves out readings of other surfaces", function()
    -- spread at 1 m: 1 cm + 0.6 cm
    assert_fused(1.005, 2, {1.00, 1.01, 1.5, 3}, 0, {support = 2})
    assert_fused(1.005, 4, {1.00, 1.01, 1.5, 1.00, 1.01, 0.5}, 0)
  end)

  it("prefers the larger group, the nearer of equals", function()
    assert_fused(2, 3, {1, 1, 2, 2, 2}, 0, {support = 2})
    assert_fused(1, 2, {2, 1, 2, 1}, 0, {support = 2})
  end)

  it("lets the frame's own reading win when a third as many agree with it", function()
    assert_fused(1, 2, {2, 2, 2, 2, 2, 2, 1}, 1, {support = 2})
    assert_fused(2, 7, {2, 2, 2, 2, 2, 2, 2, 1}, 1, {support = 2})
  end)

  it("is invalid where too few agree", function()
    assert_fused(0, 0, {1, 2}, 0)
    assert_fused(0, 0, {0, 0, 0}, 0)
    assert_fused(1, 1, {0, 0, 0}, 1, {support = 1})
    assert_fused(0, 0, {0 / 0, 0 / 0, -1}, 0)
  end)

  it("gives noisy views of a wall back with less noise, whatever the number of threads", function()
    local rng = core.Rng(5)
    local wall = map_of(30, 40, function(i, j) return 2 + 0.01 * i + 0.005 * j end)
    local stack = core.empty(24, 30, 40)
    for v = 1, 24 do stack[v] = wall + rng:normal(30, 40) * 0.01 end
    local own = wall + rng:normal(30, 40) * 0.01
    local clean, count = vision.fuse(stack, own)
    assert.is_true((own - wall):std() > 0.009)
    -- 25 readings: a fifth of the noise
    assert.is_true((clean - wall):std() < 0.0025)
    assert.is_true(count:min() > 20)
    local threads = core.threads()
    core.threads(threads == 1 and 2 or 1)
    assert.equal(clean, (vision.fuse(stack, own)))
    core.threads(threads)
  end)

  it("is misused with an error that tells", function()
    local cases = {
      {"stack must be a tensor", function() vision.fuse(3, core.ones(2, 2)) end},
      {"2x2", function() vision.fuse(core.ones(3, 2, 2), core.ones(2, 3)) end},
      {"'support' must be an integer >= 1", function()
        vision.fuse(core.ones(3, 2, 2), core.ones(2, 2), {support = 0})
      end},
    }
    for _, case in ipairs(cases) do assert.error_matches(case[2], case[1]) end
  end)
end)
