-- Losses and their gradients.
local core = require "cglow.core"
local losses = require "cglow.nn.losses"
local numeric = require "spec.support.numeric"

-- Float arithmetic on numbers near 1, a handful of operations each.
local CLOSE = 1e-6

-- Cross-entropy and its gradient by the definition, in Lua's doubles; `index`
-- turns n, k, i into a place in the flat list.
local function by_definition(logits, classes, mask)
  local n, k, pixels = logits:size(1), logits:size(2), logits:size(3) * logits:size(4)
  local z, class, weight = logits:totable(), classes:totable(), mask and mask:totable()
  local sum, total, gradient = 0, 0, {}
  for s = 0, n - 1 do
    for i = 1, pixels do
      local w = weight and weight[s * pixels + i] or 1
      local e = 0
      for c = 0, k - 1 do e = e + math.exp(z[(s * k + c) * pixels + i]) end
      for c = 0, k - 1 do
        local at = (s * k + c) * pixels + i
        local p, is = math.exp(z[at]) / e, class[s * pixels + i] == c + 1
        gradient[at] = w * (p - (is and 1 or 0))
        if is then sum = sum - w * math.log(p) end
      end
      total = total + w
    end
  end
  for i, g in ipairs(gradient) do gradient[i] = g / total end
  return sum / total, core.tensor(gradient):reshape(logits:size())
end

local function random_case(classes)
  local rng = core.Rng(7)
  local logits = rng:normal(3, classes, 4, 5)
  local class = (rng:uniform(3, 4, 5) * classes):floor():add(1)
  return logits, class, rng:uniform(3, 4, 5):gt(0.4)
end

describe("softmax", function()
  it("gives the probabilities of two classes by hand", function()
    local p = losses.softmax(core.tensor {math.log(3), 0}:reshape(1, 2, 1, 1))
    assert.near(0.75, p:totable()[1], CLOSE)
    assert.near(0.25, p:totable()[2], CLOSE)
  end)

  it("sums to one at each pixel, however large the logits", function()
    local logits = core.Rng(1):normal(2, 3, 4, 5)
    logits:mul(1e4)
    local sums = losses.softmax(logits):sum(2):totable()
    for _, sum in ipairs(sums) do assert.near(1, sum, CLOSE) end
  end)

  it("refuses what has no channels", function()
    assert.error_matches(function() losses.softmax(core.zeros(2, 3)) end,
      "losses.softmax: logits must be a tensor of shape NxKxHxW, got a tensor of shape 2x3")
  end)
end)

describe("cross_entropy", function()
  it("is log K, with slope 1/K − is, for equal logits", function()
    local loss, gradient = losses.cross_entropy(core.zeros(1, 4, 1, 1), core.full({1, 1, 1}, 3))
    assert.near(math.log(4), loss, CLOSE)
    for i, g in ipairs(gradient:totable()) do assert.near(i == 3 and -0.75 or 0.25, g, CLOSE) end
  end)

  for _, classes in ipairs {2, 3, 5} do
    it(("agrees with its definition for %d classes, masked and not"):format(classes), function()
      local logits, class, mask = random_case(classes)
      for _, m in ipairs {false, mask} do
        local loss, gradient = losses.cross_entropy(logits, class, {mask = m or nil})
        local want, want_gradient = by_definition(logits, class, m)
        assert.near(want, loss, CLOSE * want)
        assert.is_true(numeric.relative_to_max(gradient, want_gradient) < CLOSE)
      end
    end)
  end

  it("neither overflows nor loses a small loss among huge logits", function()
    local logits = core.tensor {3e38, -3e38, -3e38, 3e38}:reshape(1, 2, 1, 2)
    local loss, gradient = losses.cross_entropy(logits, core.tensor {1, 2}:reshape(1, 1, 2))
    assert.equal(0, loss)
    assert.is_true(gradient == core.zeros(1, 2, 1, 2))
    -- Far off, the loss grows as the difference of the logits.
    local far = core.tensor {-500, 500}:reshape(1, 2, 1, 1)
    assert.near(1000, (losses.cross_entropy(far, core.ones(1, 1, 1))), 1e-3)
  end)

  it("ignores pixels under the mask, and is 0 when none is left", function()
    local logits, class, mask = random_case(3)
    local loss, gradient = losses.cross_entropy(logits, class, {mask = mask})
    local other = logits:clone()
    for n = 1, 3 do
      for k = 1, 3 do other[n][k]:add((mask[n] - 1) * 9) end -- changed only where the mask is 0
    end
    local same, same_gradient = losses.cross_entropy(other, class, {mask = mask})
    assert.equal(loss, same)
    assert.is_true(gradient == same_gradient)
    loss, gradient = losses.cross_entropy(logits, class, {mask = core.zeros(3, 4, 5)})
    assert.equal(0, loss)
    assert.is_true(gradient == core.zeros(3, 3, 4, 5))
  end)

  it("refuses classes that are none, and other shapes", function()
    local logits = core.zeros(1, 3, 2, 2)
    for _, bad in ipairs {0, 4, 1.5, 0 / 0} do
      assert.error_matches(function() losses.cross_entropy(logits, core.full({1, 2, 2}, bad)) end,
        "losses.cross_entropy: classes must be whole numbers from 1 to 3")
    end
    assert.error_matches(function() losses.cross_entropy(logits, core.ones(1, 2, 3)) end,
      "losses.cross_entropy: classes must be a tensor of shape 1x2x2, got a tensor of shape 1x2x3")
    assert.error_matches(function() losses.cross_entropy(logits, core.ones(1, 2, 2), {mask = core.ones(2, 2)}) end,
      "losses.cross_entropy: option 'mask' must be a tensor of shape 1x2x2, got a tensor of shape 2x2")
    assert.error_matches(function()
      losses.cross_entropy(logits, core.ones(1, 2, 2), {mask = core.full({1, 2, 2}, -1)})
    end, "option 'mask' must hold finite numbers >= 0")
    assert.error_matches(function() losses.cross_entropy(logits, core.ones(1, 2, 2), {weight = 1}) end,
      "losses.cross_entropy: unknown option 'weight'")
  end)
end)

describe("squared_error", function()
  local function image(...) return core.tensor {...}:reshape(1, 2, 1, 2) end

  it("is the mean of squares over pixels and channels", function()
    local loss, gradient = losses.squared_error(image(1, 2, 3, 4), image(1, 0, 3, 1))
    assert.near((4 + 9) / 4, loss, CLOSE)
    assert.same({0, 1, 0, 1.5}, gradient:totable()) -- 2·difference/4
  end)

  it("weighs the same pixels of all channels by the mask", function()
    local mask = core.tensor {0, 0.5}:reshape(1, 1, 2)
    local loss, gradient = losses.squared_error(image(1, 2, 3, 4), image(7, 0, 3, 1), {mask = mask})
    assert.near((0.5 * 4 + 0.5 * 9) / (2 * 0.5), loss, CLOSE)
    assert.same({0, 2, 0, 3}, gradient:totable()) -- 2·mask·difference/(2·0.5)
  end)

  it("is 0 when no pixel counts", function()
    local loss, gradient = losses.squared_error(image(1, 2, 3, 4), image(0, 0, 0, 0), {mask = core.zeros(1, 1, 2)})
    assert.equal(0, loss)
    assert.is_true(gradient == image(0, 0, 0, 0))
  end)

  it("refuses other shapes", function()
    assert.error_matches(function() losses.squared_error(core.zeros(1, 2, 2, 2), core.zeros(1, 1, 2, 2)) end,
      "losses.squared_error: target must be a tensor of shape 1x2x2x2, got a tensor of shape 1x1x2x2")
  end)
end)
