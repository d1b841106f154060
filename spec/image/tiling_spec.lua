-- Whole images through a model of one size, by tiles.
local core = require "cglow.core"
local tiles = require "cglow.image.tiling"

describe("cglow.image.tiling.apply", function()
  local function identity(x) return x end

  it("gives back the image when every tile is left as it is", function()
    for _, size in ipairs { { 40, 56 }, { 16, 16 }, { 17, 33 }, { 5, 40 }, { 9, 3 } } do
      local t = core.rand(3, size[1], size[2], core.Rng(1))
      local back = tiles.apply(t, { size = 16, overlap = 5 }, identity)
      assert.same(t:size(), back:size())
      -- weighted sums of equal numbers: a few roundings of float
      assert.is_true((back - t):abs():max() < 1e-6)
    end
  end)

  it("lets neighbours fade into each other", function()
    local calls = 0
    local joined = tiles.apply(core.zeros(1, 8, 20), { size = 8, overlap = 4 }, function(x)
      calls = calls + 1
      return x + calls
    end)
    assert.equal(4, calls)
    local row = joined[1][4]
    for i = 2, 20 do
      assert.is_true(row[i] >= row[i - 1] - 1e-6)
      assert.is_true(row[i] - row[i - 1] < 0.5)
    end
  end)

  it("may change the number of channels", function()
    local y = tiles.apply(core.rand(3, 20, 20), { size = 8 }, function(x) return x:narrow(1, 1, 1) end)
    assert.same({ 1, 20, 20 }, y:size())
  end)

  it("refuses what is no image, and unknown options", function()
    assert.error_matches(function() tiles.apply({}, { size = 8 }, identity) end, "tiles.apply")
    local image = core.zeros(1, 8, 8)
    assert.error_matches(function() tiles.apply(image, { sise = 8 }, identity) end, "unknown option 'sise'")
  end)
end)
