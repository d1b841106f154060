--- The affine coupling against plain loops.
local compare = require "spec.support.kernels.compare"
local core = require "cglow.core"
local nn = require "cglow.nn"
local assert = require "luassert"
local it = require("busted").it

local reference = core.reference
local close, largest, map = compare.close, compare.largest, compare.map
local on_threads, tanh = compare.on_threads, compare.tanh
local EPS <const> = compare.EPS
local POINT <const> = compare.POINT
local SAME <const> = compare.SAME

-- (h + bias)·exp(factor·logs), for the gradient's sake with the scale alone.
local function norm(h, bias, logs, factor)
  local n, c, pixels = h:size(1), h:size(2), h:size(3) * h:size(4)
  local a, b, s, out = h:totable(), bias:totable(), logs:totable(), {}
  for i = 1, n * c * pixels do
    local k = (i - 1) // pixels % c + 1
    out[i] = (a[i] + b[k]) * math.exp(factor * s[k])
  end
  return core.tensor(out):reshape(table.unpack(h:size()))
end

local function relu(h) return map(function(v) return v > 0 and v or 0 end, h) end

local function every_other(o, first)
  local list = {}
  for c = first, o:size(2), 2 do list[#list + 1] = o:narrow(2, c, 1) end
  return core.cat(list, 2)
end


-- z and σ by the equations of lua/README.md.
local function coupling_forward(p, y, hx)
  local keep = y:size(2) // 2
  local y1 = y:narrow(2, 1, keep)
  local h = (hx and core.cat({ hx, y1 }, 2) or y1):clone()
  local a1 = reference.conv(h, p.conv1, nil, table.unpack(SAME))
  local h1 = relu(norm(a1, p.bias1, p.logs1, 1))
  local a2 = reference.conv(h1, p.conv2, nil, table.unpack(POINT))
  local h2 = relu(norm(a2, p.bias2, p.logs2, 1))
  local a3 = reference.conv(h2, p.conv3, p.bias3, table.unpack(SAME))
  local o = map(tanh, norm(a3, core.zeros(p.bias3:count()), p.logs3, 3))
  local t, r = every_other(o, 1), every_other(o, 2)
  local sigma = map(function(v) return 1 / (1 + math.exp(-v - 2)) end, r)
  local y2 = y:narrow(2, keep + 1, y:size(2) - keep):clone()
  local z = core.cat({ y1, (y2 + t) * sigma }, 2)
  return z, sigma
end

local function named(layer)
  local p, keys = {}, { "conv1", "bias1", "logs1", "conv2", "bias2", "logs2", "conv3", "bias3", "logs3" }
  for i, param in ipairs(layer:parameters()) do p[keys[i]] = param.value end
  return p
end

-- channels of y, of hx, width; batch; image.
local COUPLINGS = {
  { 2, 0, 1, 1, { 1, 1 } }, { 2, 1, 1, 5, { 1, 1 } }, { 3, 0, 5, 3, { 1, 7 } }, { 4, 2, 5, 3, { 5, 1 } },
  { 7, 3, 13, 5, { 3, 5 } }, { 6, 3, 64, 1, { 7, 11 } }, { 2, 1, 67, 3, { 5, 3 } }, { 4, 1, 3, 3, { 13, 17 } },
  { 2, 1, 5, 2, { 3, 131 } }, { 12, 6, 16, 2, { 8, 8 } }, { 2, 2, 3, 1, { 2, 263 } },
  -- Large and even: in squares of 2x2 pixels.
  { 24, 12, 16, 2, { 12, 12 } }, { 5, 2, 33, 1, { 2, 130 } }, { 2, 1, 67, 3, { 128, 2 } },
  { 7, 3, 40, 5, { 8, 10 } }, { 4, 0, 13, 3, { 14, 18 } }, { 6, 2, 33, 3, { 8, 8 } },
  -- A single panel, which threads share: of squares, of pixels, of a few.
  { 26, 12, 70, 2, { 8, 8 } }, { 14, 7, 40, 2, { 4, 4 } }, { 9, 3, 35, 1, { 4, 5 } },
}

local function random_coupling(c, rng)
  local layer = core.flow.coupling(c[1], c[2], c[3])
  for _, p in ipairs(layer:parameters()) do
    local fan_in = p.value:count() // p.value:size(1)
    rng:fill_normal(p.value):mul(p.name:find("weight") and fan_in ^ -0.5 or 0.2)
  end
  local image = c[5]
  local hx = c[2] > 0 and rng:normal(c[4], c[2], image[1], image[2]) or nil
  return layer, rng:normal(c[4], c[1], image[1], image[2]), hx
end

local function check_coupling(c, rng)
  local layer, y, hx = random_coupling(c, rng)
  local want, sigma = coupling_forward(named(layer), y, hx)
  local terms = 9 * math.max(c[3], c[1] // 2 + c[2])
  local per_sample = sigma:count() // c[4]
  local logs = map(math.log, sigma):totable()
  on_threads(function()
    local z, logdet = layer:forward(y, hx)
    close("z", z, want, terms, want:clone():fill(largest(want)), 16)
    for n = 1, c[4] do
      local sum = 0
      for i = 1, per_sample do sum = sum + logs[(n - 1) * per_sample + i] end
      assert.near(sum, logdet[n], 16 * EPS * math.sqrt(terms) * math.abs(sum))
    end
    local y_scale = y:clone():fill(largest(y) + 1)
    close("y", layer:inverse(want, hx), y, terms, y_scale, 16)
    close("y, prepared", layer:inverse_prepared(want, layer:prepare(hx)), y, terms, y_scale, 16)
  end)
end

-- The coupling's backward by chaining the networks of C layers that compute the
-- same, whose own convolutions are held against the reference above.
local function check_coupling_backward(c, rng)
  local layer, y, hx = random_coupling(c, rng)
  local keep, width = c[1] // 2, c[3]
  local change = c[1] - keep
  local function conv(i, o, kernel, padding, bias)
    return nn.Conv2d { in_channels = i, out_channels = o, kernel = kernel, padding = padding, bias = bias }
  end
  local net = nn.Sequential {
    conv(c[2] + keep, width, 3, 1, false), nn.Norm { channels = width }, nn.ReLU(),
    conv(width, width, 1, 0, false), nn.Norm { channels = width }, nn.ReLU(),
    conv(width, 2 * change, 3, 1, true), nn.Norm { channels = 2 * change, factor = 3 }, nn.Tanh(),
  }
  -- conv1, norm1, conv2, norm2, conv3 + bias, and conv3's logs in a norm whose
  -- own bias stays 0.
  local own, twin = layer:parameters(), net:parameters()
  local place = { 1, 2, 3, 4, 5, 6, 7, 8, 10 }
  for i, p in ipairs(own) do twin[place[i]].value:copy(p.value) end
  local dz, g = rng:normal(table.unpack(y:size())), {}
  for n = 1, c[4] do g[n] = rng:normal() end
  local y1 = y:narrow(2, 1, keep)
  local o = net:forward((hx and core.cat({ hx, y1 }, 2) or y1):clone())
  local t, r = every_other(o, 1), every_other(o, 2)
  local y2, dz2 = y:narrow(2, keep + 1, change):clone(), dz:narrow(2, keep + 1, change):clone()
  local sigma = map(function(v) return 1 / (1 + math.exp(-v - 2)) end, r)
  local dt = dz2 * sigma
  local weights = sigma:clone()
  for n = 1, c[4] do weights[n] = weights[n] * 0 + g[n] end
  local dr = map(function(s) return 1 - s end, sigma) * (weights + dt * (y2 + t))
  local douts = {}
  for k = 1, change do
    douts[#douts + 1] = dt:narrow(2, k, 1)
    douts[#douts + 1] = dr:narrow(2, k, 1)
  end
  local dh = net:backward(core.cat(douts, 2))
  local dy1 = dh:narrow(2, c[2] + 1, keep):clone() + dz:narrow(2, 1, keep):clone()
  local want = core.cat({ dy1, dt }, 2)
  local terms = 9 * math.max(width, 2 * change, y:count() // c[1])
  local function near(what, got, expected)
    close(what, got, expected, terms, expected:clone():fill(largest(expected) + 1e-3), 16)
  end
  on_threads(function()
    for _, p in ipairs(own) do p:zero_grad() end
    layer:forward(y, hx)
    local dy, dhx = layer:backward(dz, g)
    near("dy", dy, want)
    if hx then near("dhx", dhx, dh:narrow(2, 1, c[2]):clone()) end
    for i, p in ipairs(own) do near(p.name, p.grad, twin[place[i]].grad) end
  end)
end

local function repeated(t, n)
  local list = {}
  for i = 1, t:size(1) do
    for _ = 1, n do list[#list + 1] = t:narrow(1, i, 1) end
  end
  return core.cat(list, 1)
end

-- One condition for three samples each: the condition's part computed once.
local function check_shared_condition(c, rng)
  local layer, _, hx = random_coupling(c, rng)
  local y = rng:normal(3 * c[4], c[1], c[5][1], c[5][2])
  local want = coupling_forward(named(layer), y, repeated(hx, 3))
  local terms, scale = 9 * math.max(c[3], c[1] // 2 + c[2]), y:clone():fill(largest(y) + 1)
  on_threads(function()
    close("z", layer:forward(y, hx, false), want, terms, scale, 16)
    close("y", layer:inverse(want, hx), y, terms, scale, 16)
    close("y, prepared", layer:inverse_prepared(want, layer:prepare(hx)), y, terms, scale, 16)
  end)
end

--- Define the examples.
return function(rng)
  for _, c in ipairs(COUPLINGS) do
    local name = ("coupling of %d + %d channels, width %d, %d x %dx%d"):format(c[1], c[2], c[3], c[4],
      table.unpack(c[5]))
    it(name, function() check_coupling(c, rng) end)
    it(name .. ", backward", function() check_coupling_backward(c, rng) end)
    if c[2] > 0 then
      it(name .. ", shared conditions", function() check_shared_condition(c, rng) end)
    end
  end
end
