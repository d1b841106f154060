-- IoU, accuracy, PSNR, bits per dimension, diversity.
local core = require "cglow.core"
local metrics = require "cglow.metrics"

local tensor = core.tensor

-- ---- independent calculations, one number after the other ------------------

local function naive_confusion(classes, pairs_of_images)
  local n = {}
  for t = 1, classes do
    n[t] = {}
    for p = 1, classes do n[t][p] = 0 end
  end
  for _, pair in ipairs(pairs_of_images) do
    local pred, truth = pair[1]:totable(), pair[2]:totable()
    for i = 1, #pred do n[truth[i] // 1][pred[i] // 1] = n[truth[i] // 1][pred[i] // 1] + 1 end
  end
  return n
end

local function naive_iou(n, class)
  local tp, fp, fn = n[class][class], 0, 0
  for other = 1, #n do
    if other ~= class then fp, fn = fp + n[other][class], fn + n[class][other] end
  end
  return tp / (tp + fp + fn)
end

local function random_labels(classes, rng, ...)
  return (rng:uniform(...) * classes):floor():add(1)
end

describe("metrics.confusion", function()
  -- truth 1 1 2 2, predicted 1 2 2 2: background 1/2, foreground 2/3
  it("counts a case worked by hand", function()
    local c = metrics.confusion(2):add(tensor {{1, 2}, {2, 2}}, tensor {{1, 1}, {2, 2}})
    assert.same({{1, 1}, {0, 2}}, c.counts)
    assert.near(1 / 2, c:iou(1), 1e-12)
    assert.near(2 / 3, c:iou(2), 1e-12)
    assert.near(2 / 3, c:foreground_iou(), 1e-12)
    assert.near(7 / 12, c:mean_iou(), 1e-12)
    assert.near(3 / 4, c:pixel_accuracy(), 1e-12)
    assert.near(7 / 12, c:image_iou(), 1e-12)
  end)

  -- A second image, all background and predicted so. Summed counts: background
  -- 5 of 6, foreground 2 of 3; its own mean IoU is 1 (the class that it has).
  it("sums counts over images, but averages each image's own IoU", function()
    local c = metrics.confusion(2):add(tensor {{1, 2}, {2, 2}}, tensor {{1, 1}, {2, 2}})
    c:add(core.ones(2, 2), core.ones(2, 2))
    assert.near((5 / 6 + 2 / 3) / 2, c:mean_iou(), 1e-12)
    assert.near((7 / 12 + 1) / 2, c:image_iou(), 1e-12)
    assert.near(7 / 8, c:pixel_accuracy(), 1e-12)
    assert.equal(2, c.images)
  end)

  it("leaves out classes that never occur", function()
    local c = metrics.confusion(3):add(core.ones(2, 2), core.ones(2, 2))
    assert.equal(1, c:mean_iou())
    local none = c:iou(3)
    assert.is_true(none ~= none)
  end)

  it("agrees with a count one by one", function()
    local rng = core.Rng(11)
    for classes = 2, 5 do
      local images, c = {}, metrics.confusion(classes)
      for i = 1, 3 do
        images[i] = {random_labels(classes, rng, 7, 9), random_labels(classes, rng, 7, 9)}
        c:add(images[i][1], images[i][2])
      end
      local n = naive_confusion(classes, images)
      assert.same(n, c.counts)
      local sum = 0
      for class = 1, classes do
        assert.near(naive_iou(n, class), c:iou(class), 1e-12)
        sum = sum + naive_iou(n, class)
      end
      assert.near(sum / classes, c:mean_iou(), 1e-12)
      local own = 0
      for i = 1, 3 do
        local one = naive_confusion(classes, {images[i]})
        for class = 1, classes do own = own + naive_iou(one, class) / classes end
      end
      assert.near(own / 3, c:image_iou(), 1e-12)
    end
  end)

  it("takes several images at once", function()
    local rng = core.Rng(12)
    local pred, truth = random_labels(2, rng, 4, 5, 6), random_labels(2, rng, 4, 5, 6)
    local at_once, one_by_one = metrics.confusion(2):add(pred, truth), metrics.confusion(2)
    for i = 1, 4 do one_by_one:add(pred[i], truth[i]) end
    assert.same(one_by_one, at_once)
  end)

  it("reads well at the prompt", function()
    local text = tostring(metrics.confusion(2):add(tensor {{1, 2}, {2, 2}}, tensor {{1, 1}, {2, 2}}))
    assert.equal([[cglow.Confusion of 1 images, rows = truth, columns = predicted
         1         1
         0         2
mean IoU 0.5833, pixel accuracy 0.7500]], text)
  end)

  it("is misused with an error that tells", function()
    local c = metrics.confusion(3)
    local cases = {
      {"classes must be an integer >= 2 and <= 4096, got 1", function() metrics.confusion(1) end},
      {"Confusion:add: truth must be a tensor of shape 2x2, got 2x3", function()
        c:add(core.ones(2, 2), core.ones(2, 3))
      end},
      {"labels must be integers from 1 to 3", function() c:add(core.ones(2, 2), core.zeros(2, 2)) end},
      {"labels must be integers from 1 to 3", function() c:add(core.full(2, 2, 1.5), core.ones(2, 2)) end},
      {"labels must be integers from 1 to 3", function() c:add(core.ones(2, 2), core.full(2, 2, 4)) end},
      {"class must be an integer >= 1 and <= 3, got 4", function() c:iou(4) end},
      {"is for 2 classes, not 3", function() c:foreground_iou() end},
      {"pred must be a tensor, got a?%s?table", function() c:add({1}, core.ones(1)) end},
    }
    for _, case in ipairs(cases) do assert.error_matches(case[2], case[1]) end
    assert.equal(0, c.images) -- nothing of a refused image was counted
    assert.equal(0, c.counts[1][1])
  end)
end)

describe("metrics: labels", function()
  it("argmax takes the largest channel, the first of equals", function()
    local y = tensor {{{0.1, 0.9, 5}}, {{0.2, -1, 5}}, {{0.05, 0.95, 4}}}
    assert.same({2, 3, 1}, metrics.argmax(y):totable())
    assert.same({1, 1, 3}, metrics.argmax(y:reshape(1, 3, 1, 3)):size())
  end)

  it("binarise cuts the mean of the channels at one half", function()
    local y = tensor {{{0.9, 0.4, 0.5}}, {{0.2, 0.4, 0.5}}, {{0.9, 0.9, 0.5}}}
    assert.same({2, 2, 1}, metrics.binarise(y):totable())
    assert.same({2, 1, 3}, metrics.binarise(core.stack {y, y}):size())
  end)

  it("one_hot undoes argmax", function()
    local labels = random_labels(4, core.Rng(3), 5, 6)
    local y = metrics.one_hot(labels, 4)
    assert.same({4, 5, 6}, y:size())
    assert.equal(30, y:sum())
    assert.equal(labels, metrics.argmax(y))
  end)

  it("refuse flat tensors", function()
    assert.error_matches(function() metrics.argmax(core.ones(2, 2)) end,
      "metrics.argmax: y must be C×H×W or N×C×H×W, got 2x2")
    assert.error_matches(function() metrics.binarise(3) end, "y must be a tensor, got 3")
  end)
end)

describe("metrics.superpixel_accuracy", function()
  -- regions a a b / a b b: a is 1 1 2 in truth (majority 1), b is 3 3 1 (3);
  -- predicted a = 1 2 1 (1: right), b = 1 1 3 (1: wrong)
  it("compares majorities, worked by hand", function()
    local regions = tensor {{1, 1, 2}, {1, 2, 2}}
    local truth = tensor {{1, 1, 3}, {2, 3, 1}}
    local pred = tensor {{1, 2, 1}, {1, 1, 3}}
    assert.same({0.5, 1, 2}, {metrics.superpixel_accuracy(pred, truth, regions)})
    assert.same({1, 2, 2}, {metrics.superpixel_accuracy(truth, truth, regions)})
  end)

  it("breaks ties towards the smaller label, in both", function()
    local regions = core.ones(1, 2)
    assert.same({1, 1, 1}, {metrics.superpixel_accuracy(tensor {{2, 1}}, tensor {{1, 1}}, regions)})
    assert.same({0, 0, 1}, {metrics.superpixel_accuracy(tensor {{3, 2}}, tensor {{3, 3}}, regions)})
  end)

  it("is pixel accuracy when each pixel is a region of its own", function()
    local rng, regions = core.Rng(4), core.empty(6, 7)
    for i = 1, 6 do
      for j = 1, 7 do regions:set(i, j, 10 * i + j) end
    end
    local pred, truth = random_labels(3, rng, 6, 7), random_labels(3, rng, 6, 7)
    local accuracy = metrics.superpixel_accuracy(pred, truth, regions)
    assert.near(metrics.confusion(3):add(pred, truth):pixel_accuracy(), accuracy, 1e-12)
  end)

  it("refuses shapes that differ", function()
    local one = core.ones(2, 2)
    assert.error_matches(function() metrics.superpixel_accuracy(one, one, core.ones(3)) end,
      "superpixels must be a tensor of shape 2x2, got 3")
  end)
end)

describe("metrics.psnr", function()
  it("is 20 dB for an error of a tenth of the peak", function()
    local a = core.full(3, 4, 5, 0.5)
    assert.near(20, metrics.psnr(a, a + 0.1), 1e-5) -- float differences of 0.1 have 6 digits
    assert.near(20, metrics.psnr(a * 7, a * 7 + 0.7, {peak = 7}), 1e-5)
    assert.equal(math.huge, metrics.psnr(a, a))
  end)

  it("looks at the mask's pixels alone", function()
    local a, b = core.zeros(2, 1, 3), tensor {{{0.1, 9, 0.3}}, {{0.2, 9, 0.4}}}
    local mask = tensor {{1, 0, 1}}
    local mse = (0.01 + 0.09 + 0.04 + 0.16) / 4
    assert.near(-10 * math.log(mse, 10), metrics.psnr(a, b, {mask = mask}), 1e-5)
    assert.near(-10 * math.log((0.01 + 0.09) / 2, 10), metrics.psnr(a[1], b[1], {mask = mask}), 1e-5)
    local none = metrics.psnr(a, b, {mask = core.zeros(1, 3)})
    assert.is_true(none ~= none)
  end)

  it("agrees with a sum one by one", function()
    local rng = core.Rng(6)
    local a, b = rng:uniform(3, 7, 5), rng:uniform(3, 7, 5)
    local sum, u, v = 0, a:totable(), b:totable()
    for i = 1, #u do sum = sum + (u[i] - v[i]) ^ 2 end
    assert.near(-10 * math.log(sum / #u, 10), metrics.psnr(a, b), 1e-5)
  end)

  it("is misused with an error that tells", function()
    local a = core.ones(3, 4, 5)
    local cases = {
      {"b must be a tensor of shape 3x4x5, got 3x4x6", function() metrics.psnr(a, core.ones(3, 4, 6)) end},
      {"option 'mask' must be H×W for images of 3x4x5, got 5x4", function()
        metrics.psnr(a, a, {mask = core.ones(5, 4)})
      end},
      {"option 'peak' must be a number > 0, got 0", function() metrics.psnr(a, a, {peak = 0}) end},
      {"a must be C×H×W or H×W, got 3", function() metrics.psnr(core.ones(3), core.ones(3)) end},
      {"unknown option 'maks'", function() metrics.psnr(a, a, {maks = 1}) end},
    }
    for _, case in ipairs(cases) do assert.error_matches(case[2], case[1]) end
  end)
end)

describe("metrics.bits_per_dim", function()
  it("is 0 for a certain mask and 8 for uniform bytes", function()
    assert.near(0, metrics.bits_per_dim(0, 12), 1e-12)
    -- density 1 over [0, 1): log p = 0, cells of 1/256: 8 bits each
    assert.near(8, metrics.bits_per_dim(0, 12, 1 / 256), 1e-12)
    -- log p = D·ln 2 halves the volume: one bit less
    assert.near(7, metrics.bits_per_dim(12 * math.log(2), 12, 1 / 256), 1e-12)
  end)

  it("averages a tensor of log-densities", function()
    assert.near(-1.5 / 3 / math.log(2), metrics.bits_per_dim(tensor {1, 2}, 3), 1e-7)
  end)

  it("passes NaN and infinities on", function()
    assert.equal(math.huge, metrics.bits_per_dim(-math.huge, 4))
    local nan = metrics.bits_per_dim(0 / 0, 4)
    assert.is_true(nan ~= nan)
  end)
end)

describe("metrics of samples", function()
  -- three samples of two numbers: distances (3,4)→√12.5, (0,0)→0, (3,4)→√12.5
  it("diversity is the mean distance of pairs, worked by hand", function()
    local samples = tensor {{0, 0}, {3, 4}, {0, 0}}
    assert.near(2 * math.sqrt(12.5) / 3, metrics.diversity(samples), 1e-6)
    assert.near(2 * math.sqrt(12.5) / 3, metrics.diversity {samples[1], samples[2], samples[3]}, 1e-6)
    assert.equal(0, metrics.diversity(core.ones(4, 2, 3, 3)))
  end)

  it("diversity of independent normal samples is √2", function()
    -- distance² is 2·χ²(D)/D: with D = 3000 each pair is within 2.6 % (1 sigma of the root is 1.3 %)
    assert.near(math.sqrt(2), metrics.diversity(core.Rng(9):normal(6, 3, 40, 25)), 0.02)
  end)

  it("best_of finds the best score and its sample", function()
    local samples = tensor {{{0, 0}}, {{1, 1}}, {{0.9, 1}}}
    local score, which = metrics.best_of(samples, tensor {{1, 1}}, metrics.psnr)
    assert.same({math.huge, 2}, {score, which})
    score, which = metrics.best_of({samples[1], samples[3]}, tensor {{1, 1}}, metrics.psnr)
    assert.equal(2, which)
    assert.near(-10 * math.log(0.005, 10), score, 1e-4)
  end)

  it("are misused with errors that tell", function()
    assert.error_matches(function() metrics.diversity(core.ones(1, 2)) end, "samples must be at least 2, got 1")
    assert.error_matches(function() metrics.best_of({}, core.ones(1), print) end, "at least 1, got 0")
    assert.error_matches(function() metrics.best_of({core.ones(1)}, core.ones(1), 3) end,
      "score must be a function, got 3")
  end)
end)

describe("Dice's coefficient", function()
  it("is twice what both have over what each has", function()
    local c = metrics.confusion(3)
    c:add(tensor {{1, 1, 2, 2, 3}}, tensor {{1, 2, 2, 2, 2}})
    assert.equal(2 * 1 / (2 + 1), c:dice(1))
    assert.equal(2 * 2 / (2 + 4), c:dice(2))
    assert.equal(0, c:dice(3))
    assert.near((2 / 3 + 2 / 3 + 0) / 3, c:mean_dice(), 1e-15)
    local none = metrics.confusion(2)
    none:add(tensor {{1}}, tensor {{1}})
    assert.is_true(none:dice(2) ~= none:dice(2))
    assert.equal(1, none:mean_dice())
    assert.is_true(metrics.confusion(2):mean_dice() ~= metrics.confusion(2):mean_dice())
  end)
end)

describe("pixels of the label that is ignored", function()
  it("count nowhere", function()
    local all, some = metrics.confusion(2), metrics.confusion(2, {ignore = 256})
    all:add(tensor {{1, 2, 2}}, tensor {{1, 1, 2}})
    some:add(tensor {{1, 2, 2, 1, 2}}, tensor {{1, 1, 2, 256, 256}})
    assert.same(all.counts, some.counts)
    assert.same({all:pixel_accuracy(), all:mean_iou(), all:image_iou(), all:dice(2)},
      {some:pixel_accuracy(), some:mean_iou(), some:image_iou(), some:dice(2)})
  end)

  it("may fill a whole image, which then is none", function()
    local c = metrics.confusion(2, {ignore = 0})
    c:add(tensor {{{1, 2}}, {{1, 2}}}, tensor {{{0, 0}}, {{1, 1}}})
    assert.equal(1, c.images)
    assert.equal(0.25, c:image_iou()) -- (1/2 + 0)/2
  end)

  it("are no classes, and are an error where nothing is ignored", function()
    assert.error_matches(function() metrics.confusion(2, {ignore = 2}) end,
      "option 'ignore' must be none of the labels 1 to 2, got 2")
    assert.error_matches(function() metrics.confusion(2):add(tensor {{1}}, tensor {{0}}) end, "others in truth")
    assert.error_matches(function() metrics.confusion(2, {ignore = 0}):add(tensor {{1}}, tensor {{3}}) end,
      "others in truth")
    assert.error_matches(function() metrics.confusion(2, {ignore = 0}):add(tensor {{3}}, tensor {{1}}) end, "others")
  end)
end)

describe("metrics.ssim", function()
  -- The definition, window by window, weight by weight.
  local function by_definition(a, b, peak)
    local height, width, sum = a:size(1), a:size(2), 0
    local p, q = a:totable(), b:totable()
    local c1, c2 = (0.01 * peak) ^ 2, (0.03 * peak) ^ 2
    for y = 0, height - 11 do
      for x = 0, width - 11 do
        local w, ma, mb = 0, 0, 0
        local function each(f)
          for i = 0, 10 do
            for j = 0, 10 do
              local at = (y + i) * width + x + j + 1
              f(math.exp(-((i - 5) ^ 2 + (j - 5) ^ 2) / (2 * 1.5 ^ 2)), p[at], q[at])
            end
          end
        end
        each(function(g, u, v) w, ma, mb = w + g, ma + g * u, mb + g * v end)
        ma, mb = ma / w, mb / w
        local va, vb, ab = 0, 0, 0
        each(function(g, u, v)
          va, vb, ab = va + g * (u - ma) ^ 2, vb + g * (v - mb) ^ 2, ab + g * (u - ma) * (v - mb)
        end)
        sum = sum + (2 * ma * mb + c1) * (2 * ab / w + c2) / ((ma ^ 2 + mb ^ 2 + c1) * ((va + vb) / w + c2))
      end
    end
    return sum / ((height - 10) * (width - 10))
  end

  it("is what the paper defines", function()
    local rng = core.Rng(5)
    for _, size in ipairs {{11, 11}, {13, 24}, {30, 12}} do
      local a = rng:uniform(size[1], size[2])
      for _, b in ipairs {rng:uniform(size[1], size[2]), a + rng:normal(size[1], size[2]) * 0.1, a * 0, a * -1} do
        -- both sum in double precision; variances lose digits as means grow
        assert.near(by_definition(a, b, 1), metrics.ssim(a, b), 1e-11)
        assert.near(by_definition(a, b, 7), metrics.ssim(a, b, {peak = 7}), 1e-11)
        assert.near(metrics.ssim(a, b), metrics.ssim(b, a), 1e-12)
      end
    end
  end)

  it("is 1 for equal images, and the mean over channels", function()
    local a, b = core.Rng(1):uniform(3, 20, 16), core.Rng(2):uniform(3, 20, 16)
    assert.near(1, metrics.ssim(a, a), 1e-12)
    assert.near(1, metrics.ssim(a * 0, a * 0), 1e-12)
    local sum = 0
    for c = 1, 3 do sum = sum + metrics.ssim(a[c], b[c]) end
    assert.near(sum / 3, metrics.ssim(a, b), 1e-12)
  end)

  it("refuses what it is not for", function()
    local a = core.ones(3, 12, 12)
    for _, case in ipairs {
      {"b must be a tensor of shape 3x12x12, got 3x12x13", function() metrics.ssim(a, core.ones(3, 12, 13)) end},
      {"at least 11×11 pixels, got 3x10x12", function() metrics.ssim(core.ones(3, 10, 12), core.ones(3, 10, 12)) end},
      {"at least 11×11 pixels, got 12", function() metrics.ssim(core.ones(12), core.ones(12)) end},
      {"option 'peak' must be a number > 0", function() metrics.ssim(a, a, {peak = 0}) end},
    } do assert.error_matches(case[2], case[1]) end
  end)
end)
