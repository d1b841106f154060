-- What a model sees of a picture at once.
local core = require "cglow.core"
local image = require "cglow.image"
local view_of = require "cglow.tasks.view"

describe("cglow.tasks.view", function()
  local whole <const> = view_of.WHOLE
  after_each(function() view_of.WHOLE = whole end)

  it("shows a picture whole, its sides continued by reflection to multiples of the unit", function()
    local x = core.rand(3, 13, 30, core.Rng(1))
    local calls = 0
    local back = view_of.apply({size = 8, unit = 16}, x, function(t)
      calls = calls + 1
      assert.same({3, 16, 32}, t:size())
      -- one row above, two below: 3 added, half of them above
      assert.equal(0, (image.crop(t, 2, 2, 13, 30) - x):abs():max())
      assert.equal(0, (image.crop(t, 1, 2, 1, 30) - image.crop(x, 2, 1, 1, 30)):abs():max())
      assert.equal(0, (image.crop(t, 16, 2, 1, 30) - image.crop(x, 11, 1, 1, 30)):abs():max())
      return t * 2
    end)
    assert.equal(1, calls)
    assert.equal(0, (back - x * 2):abs():max())
  end)

  it("takes pictures with less to reflect than is missing", function()
    for _, size in ipairs {{1, 1}, {1, 40}, {5, 3}} do
      local x = core.rand(1, size[1], size[2], core.Rng(2))
      local back = view_of.apply({size = 8, unit = 16}, x, function(t)
        assert.equal(0, t:size(2) % 16 + t:size(3) % 16)
        return t
      end)
      assert.equal(0, (back - x):abs():max())
    end
  end)

  it("shows very large pictures by tiles of multiples of the unit", function()
    view_of.WHOLE = 600 * 600
    local x, calls = core.rand(1, 600, 700, core.Rng(3)), 0
    local view = {size = 8, unit = 48}
    assert.is_true(view_of.by_tiles(view, 600, 700))
    assert.is_false(view_of.by_tiles(view, 600, 600))
    local back = view_of.apply(view, x, function(t)
      calls = calls + 1
      assert.same({1, 528, 528}, t:size())
      return t
    end)
    assert.equal(4, calls)
    assert.is_true((back - x):abs():max() < 1e-6) -- weights that add up to one, in floats
  end)

  it("shows tiles of the model's size where it takes no other", function()
    local view = view_of.of({config = {levels = 2}}, 16)
    assert.is_nil(view.unit)
    local back = view_of.apply(view, core.ones(1, 20, 16), function(t)
      assert.same({1, 16, 16}, t:size())
      return t
    end)
    assert.is_true((back - 1):abs():max() < 1e-6) -- as above
  end)

  it("takes larger tiles where a unit is as large as a tile", function()
    view_of.WHOLE = 1024 * 1024
    for unit, count in pairs {[256] = 5 * 5, [512] = 2 * 2} do
      local calls = 0
      view_of.apply({size = 8, unit = unit}, core.zeros(1, 1536, 1536), function(t)
        calls = calls + 1
        assert.is_true(calls <= count, "more tiles than there are places for") -- thousands, a pixel apart
        assert.same({0, 0}, {t:size(2) % unit, t:size(3) % unit})
        return t
      end)
      assert.equal(count, calls)
    end
  end)

  it("takes the unit of an encoder, or what the levels need", function()
    local function unit(encoder, levels)
      return view_of.of({encoder = {unit = encoder}, config = {levels = levels}}, 8).unit
    end
    assert.equal(16, unit(16, 3))
    assert.equal(32, unit(16, 5))
    assert.is_nil(unit(nil, 3)) -- a network of somebody's own that does not say
  end)
end)
