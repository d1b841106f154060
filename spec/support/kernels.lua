-- Specs of the fast kernels against plain loops (core.reference), in either
-- precision: every form of convolution over odd shapes, on one and two threads.
--
-- Tolerances. A sum of K products, in whatever order, is off by about √K
-- roundings of its terms; so a result may differ from the reference, which sums
-- in double, by 4·√K·eps times the same sum over absolute values. In the
-- coupling such sums feed each other, so there it is 16·√K·eps times the
-- largest number of the result, K being the longest sum.
local busted = require "busted"
local assert = require "luassert"
local core = require "cglow.core"
local nn = require "cglow.nn"

local describe, it, setup, teardown = busted.describe, busted.it, busted.setup, busted.teardown
local reference = core.reference

local EPS = core.scalar == "double" and 2.0 ^ -52 or 2.0 ^ -23

local M = {}

local function largest(t) return t:abs():max() end

-- |got − want| ≤ factor·eps·√K·scale, number by number; scale is a tensor.
local function close(what, got, want, terms, scale, factor)
  local excess = (got - want):abs() - scale * (factor * EPS * math.sqrt(terms))
  local worst, at = excess:max()
  if worst > 0 or not got:isfinite() then
    local flat = want:count()
    error(("%s: number %d is %.9g, by plain loops %.9g"):format(what, at,
      got:reshape(flat)[at], want:reshape(flat)[at]), 0)
  end
end

local function on_threads(f)
  for _, n in ipairs { 1, 2 } do
    core.threads(n)
    f()
  end
end

-- ---- convolutions ------------------------------------------------------------

-- in, out, kernel h and w, stride, padding.
local GEOMETRIES = {
  { 1, 1, 3, 3, 1, 1, 1, 1 }, { 3, 5, 3, 3, 1, 1, 1, 1 }, { 7, 1, 3, 3, 1, 1, 1, 1 }, { 2, 3, 5, 1, 1, 1, 2, 0 },
  { 1, 1, 1, 1, 1, 1, 0, 0 }, { 5, 3, 1, 1, 1, 1, 0, 0 }, { 3, 2, 1, 1, 2, 3, 0, 0 },
  { 3, 2, 2, 2, 2, 2, 0, 0 }, { 2, 3, 4, 3, 2, 1, 0, 0 }, { 1, 4, 5, 3, 2, 3, 2, 0 }, { 2, 2, 2, 2, 1, 1, 1, 1 },
  { 9, 1, 3, 5, 1, 1, 1, 2 }, { 33, 3, 3, 3, 1, 1, 1, 1 }, { 18, 20, 3, 3, 2, 2, 1, 1 },
}
-- Enough channels for Winograd's form: a block of 32 or several, whole or not. The
-- numbers of a square of 4×4 pixels share their roundings, which are 2.6 times a plain
-- sum's in the mean and more where few pixels lie inside; so the scale is the largest of
-- the result and the factor 16.
local WIDE = { { 16, 16, 3, 3, 1, 1, 1, 1 }, { 40, 33, 3, 3, 1, 1, 1, 1 }, { 70, 130, 3, 3, 1, 1, 1, 1 } }
local WIDE_IMAGES = { { 3, 4 }, { 7, 11 }, { 13, 37 }, { 2, 263 } }
local IMAGES = { { 1, 1 }, { 1, 7 }, { 5, 1 }, { 3, 4 }, { 7, 11 }, { 13, 37 }, { 2, 263 } }
local BATCHES = { 1, 3, 5 }

local function fits(g, image)
  return image[1] + 2 * g[7] >= g[3] and image[2] + 2 * g[8] >= g[4]
end

local function conv_net(g)
  return nn.Conv2d {
    in_channels = g[1], out_channels = g[2], kernel = { g[3], g[4] }, stride = { g[5], g[6] },
    padding = { g[7], g[8] },
  }
end

local function fill(params, rng)
  for _, p in ipairs(params) do rng:fill_normal(p.value) end
end

-- With `factor`, the largest number of a scale is that of all.
local function check_conv(g, batch, image, rng, factor)
  local net = conv_net(g)
  local weight, bias = table.unpack(net:parameters())
  fill({ weight, bias }, rng)
  local x = rng:normal(batch, g[1], image[1], image[2])
  local terms = g[1] * g[3] * g[4]
  local want = reference.conv(x, weight.value, bias.value, table.unpack(g, 5))
  local scale = reference.conv(x:abs(), weight.value:abs(), bias.value:abs(), table.unpack(g, 5))
  local dy = rng:normal(table.unpack(want:size()))
  local dx, dw, db = reference.conv_backward(x, weight.value, dy, table.unpack(g, 5))
  local sx, sw, sb = reference.conv_backward(x:abs(), weight.value:abs(), dy:abs(), table.unpack(g, 5))
  local pixels = dy:count() // g[2]
  if factor then
    for _, s in ipairs { scale, sx, sw, sb } do s:fill(largest(s)) end
  end
  on_threads(function()
    weight:zero_grad()
    bias:zero_grad()
    close("y", net:forward(x), want, terms, scale, factor or 4)
    close("dx", net:backward(dy), dx, g[2] * g[3] * g[4], sx, factor or 4)
    close("dweight", weight.grad, dw, pixels, sw, factor or 4)
    close("dbias", bias.grad, db, pixels, sb, factor or 4)
  end)
end

-- Three in a row: samples to channel-major, channel-major to itself and back.
local CHAINS = {
  { { 2, 3, 3, 3, 1, 1, 1, 1 }, { 3, 4, 3, 3, 1, 1, 1, 1 }, { 4, 2, 3, 3, 1, 1, 1, 1 } },
  { { 1, 1, 3, 3, 1, 1, 1, 1 }, { 1, 1, 3, 3, 1, 1, 1, 1 }, { 1, 1, 3, 3, 1, 1, 1, 1 } },
  { { 3, 5, 1, 1, 1, 1, 0, 0 }, { 5, 1, 1, 1, 1, 1, 0, 0 }, { 1, 3, 1, 1, 1, 1, 0, 0 } },
  { { 2, 3, 2, 2, 2, 2, 0, 0 }, { 3, 2, 2, 1, 1, 1, 0, 0 }, { 2, 3, 3, 3, 1, 1, 1, 1 } },
  { { 2, 5, 3, 3, 1, 1, 1, 1 }, { 5, 2, 2, 3, 2, 2, 0, 0 }, { 2, 1, 1, 1, 1, 1, 0, 0 } },
}

-- Kernels that do not overlap, run as one: in a row, after a convolution of any
-- kind, more of them and more pixels in a patch than one run takes.
local PATCHES = {
  { { 2, 3, 2, 2, 2, 2, 0, 0 }, { 3, 5, 2, 2, 2, 2, 0, 0 }, { 5, 2, 2, 2, 2, 2, 0, 0 } },
  { { 3, 2, 2, 2, 2, 2, 0, 0 }, { 2, 3, 3, 3, 1, 1, 1, 1 }, { 3, 3, 2, 2, 2, 2, 0, 0 } },
  { { 2, 7, 3, 3, 1, 1, 1, 1 }, { 7, 3, 4, 2, 4, 2, 0, 0 }, { 3, 2, 1, 4, 1, 4, 0, 0 } },
  { { 2, 3, 5, 4, 3, 2, 1, 0 }, { 3, 33, 1, 3, 1, 3, 0, 0 }, { 33, 2, 1, 1, 1, 1, 0, 0 } },
  { { 2, 40, 2, 2, 2, 2, 0, 0 }, { 40, 70, 2, 2, 2, 2, 0, 0 } },
  { { 1, 3, 8, 8, 8, 8, 0, 0 } },
  { { 1, 3, 1, 2, 1, 2, 0, 0 } },
  { { 65, 4, 8, 8, 8, 8, 0, 0 } },
  { { 1, 2, 3, 3, 1, 1, 1, 1 }, { 2, 3, 8, 8, 8, 8, 0, 0 } },
  { { 1, 2, 2, 1, 2, 1, 0, 0 }, { 2, 1, 1, 2, 1, 2, 0, 0 }, { 1, 2, 2, 2, 2, 2, 0, 0 },
    { 2, 2, 2, 1, 2, 1, 0, 0 }, { 2, 3, 1, 2, 1, 2, 0, 0 } },
  { { 1, 5, 3, 3, 1, 1, 1, 1 }, { 5, 4, 8, 8, 8, 8, 0, 0 }, { 4, 5, 1, 2, 1, 2, 0, 0 }, { 5, 4, 5, 1, 5, 1, 0, 0 } },
}
local PATCH_IMAGES = { { 8, 8 }, { 8, 24 }, { 40, 16 }, { 48, 48 } }

local function check_chain(chain, batch, image, rng, wrap)
  local list, longest, acts = {}, 45, { rng:normal(batch, chain[1][1], image[1], image[2]) }
  for i, g in ipairs(chain) do
    list[i] = conv_net(g)
    fill(list[i]:parameters(), rng)
    -- Weights of size 1/√K keep activations near 1, so eps·√K·16 of the largest
    -- number covers all three sums.
    local p = list[i]:parameters()
    longest = math.max(longest, g[1] * g[3] * g[4])
    p[1].value:mul((g[1] * g[3] * g[4]) ^ -0.5)
    acts[i + 1] = reference.conv(acts[i], p[1].value, p[2].value, table.unpack(g, 5))
  end
  local net = nn.Sequential(list)
  local grads, d = {}, rng:normal(table.unpack(acts[#acts]:size()))
  local dout = d
  for i = #chain, 1, -1 do
    local dx, dw, db = reference.conv_backward(acts[i], list[i]:parameters()[1].value, d, table.unpack(chain[i], 5))
    grads[2 * i - 1], grads[2 * i], d = dw, db, dx
  end
  local function near(what, got, want, terms)
    close(what, got, want, terms, want:clone():fill(largest(want)), 16)
  end
  local pixels = batch * image[1] * image[2]
  on_threads(function()
    for _, p in ipairs(net:parameters()) do p:zero_grad() end
    if wrap then -- columns of x shared with another network
      local bundle = core.net.group { conv_net(chain[1]), net }
      local outs = bundle:forward(acts[1])
      near("y", outs[2], acts[#acts], longest)
      bundle:backward { outs[1] * 0, dout }
    else
      near("y", net:forward(acts[1]), acts[#acts], longest)
      near("dx", net:backward(dout), d, longest)
    end
    for i, p in ipairs(net:parameters()) do near("gradient " .. i, p.grad, grads[i], pixels) end
  end)
end

-- Does every kernel of the chain fit?
local function chain_fits(chain, image)
  local h, w = image[1], image[2]
  for _, g in ipairs(chain) do
    if h + 2 * g[7] < g[3] or w + 2 * g[8] < g[4] then return false end
    h, w = (h + 2 * g[7] - g[3]) // g[5] + 1, (w + 2 * g[8] - g[4]) // g[6] + 1
  end
  return true
end

-- ---- the coupling --------------------------------------------------------------

local function tanh(v)
  local e = math.exp(-2 * math.abs(v))
  return (v < 0 and -1 or 1) * (1 - e) / (1 + e)
end

-- Element by element in Lua's doubles.
local function map(f, ...)
  local lists, out = {}, {}
  for i, t in ipairs { ... } do lists[i] = t:totable() end
  for i = 1, #lists[1] do out[i] = f(lists[1][i], lists[2] and lists[2][i], lists[3] and lists[3][i]) end
  return core.tensor(out):reshape(table.unpack((...):size()))
end

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

local SAME, POINT = { 1, 1, 1, 1 }, { 1, 1, 0, 0 }

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

-- ---- the 1×1 convolution and the linear layer -----------------------------------

local function check_invconv(c, batch, image, rng)
  local layer = core.flow.invconv(c, true)
  local cond = rng:normal(batch, c * c)
  local y = rng:normal(batch, c, image[1], image[2])
  local w = nn.Tanh():forward(cond):clone()
  local dz = rng:normal(table.unpack(y:size()))
  on_threads(function()
    local z = layer:forward(y, cond)
    local dy, dcond = layer:backward(dz, 0)
    for n = 1, batch do
      local function one(t) return t:narrow(1, n, 1):clone() end
      local weight = one(w):reshape(c, c, 1, 1)
      local dx, dw = reference.conv_backward(one(y), weight, one(dz), table.unpack(POINT))
      local sx, sw = reference.conv_backward(one(y):abs(), weight:abs(), one(dz):abs(), table.unpack(POINT))
      local scale = reference.conv(one(y):abs(), weight:abs(), nil, table.unpack(POINT))
      close("z", one(z), reference.conv(one(y), weight, nil, table.unpack(POINT)), c, scale, 4)
      close("dy", one(dy), dx, c, sx, 4)
      local slope = map(function(v) return 1 - v * v end, weight)
      -- 1 − tanh² loses what tanh rounds near ±1.
      close("dcondition", one(dcond):reshape(c, c, 1, 1), dw * slope, image[1] * image[2], sw, 4)
    end
  end)
end

-- Functions of one number, over more than the range that matters.
local FUNCTIONS = {
  { "Tanh", tanh }, { "Sigmoid", function(v) return 1 / (1 + math.exp(-v)) end },
  { "ReLU", function(v) return math.max(v, 0) end },
}

local function check_function(name, f)
  local x = {}
  for i = 0, 4096 do x[i + 1] = (i - 2048) / 64 end
  local t = core.tensor(x):reshape(1, 1, 17, 241)
  close(name, nn[name]():forward(t), map(f, t), 1, map(f, t):abs() + 0.25, 4) -- a rounding near 0
end

local function check_linear(batch, shape, out, rng)
  local features = shape[1] * shape[2] * shape[3]
  local net = nn.Linear { in_features = features, out_features = out }
  local weight, bias = table.unpack(net:parameters())
  fill({ weight, bias }, rng)
  local x = rng:normal(batch, table.unpack(shape))
  local as_image, kernel = x:reshape(batch, features, 1, 1), weight.value:reshape(out, features, 1, 1)
  local want = reference.conv(as_image, kernel, bias.value, table.unpack(POINT))
  local scale = reference.conv(as_image:abs(), kernel:abs(), bias.value:abs(), table.unpack(POINT))
  local dy = rng:normal(batch, out)
  local dx, dw, db = reference.conv_backward(as_image, kernel, dy:reshape(batch, out, 1, 1), table.unpack(POINT))
  local sx, sw, sb = reference.conv_backward(as_image:abs(), kernel:abs(), dy:abs():reshape(batch, out, 1, 1),
    table.unpack(POINT))
  on_threads(function()
    weight:zero_grad()
    bias:zero_grad()
    close("y", net:forward(x):reshape(batch, out, 1, 1), want, features, scale, 4)
    close("dx", net:backward(dy):reshape(batch, features, 1, 1), dx, out, sx, 4)
    close("dweight", weight.grad:reshape(out, features, 1, 1), dw, batch, sw, 4)
    close("dbias", bias.grad, db, batch, sb, 4)
  end)
end

local function define(level)
  describe(("with the instructions of %s, plain loops agree with"):format(level), function()
    local threads, rng = core.threads(), core.Rng(41)
    setup(function() reference.limit_isa(level) end)
    teardown(function()
      core.threads(threads)
      reference.limit_isa "AVX-512"
    end)

    for _, g in ipairs(GEOMETRIES) do
      it(("conv2d %d -> %d, kernel %dx%d, stride %dx%d, padding %dx%d"):format(table.unpack(g)), function()
        for _, image in ipairs(IMAGES) do
          for _, batch in ipairs(BATCHES) do
            if fits(g, image) then check_conv(g, batch, image, rng) end
          end
        end
      end)
    end
    for _, g in ipairs(WIDE) do
      it(("conv2d of many channels, %d -> %d"):format(g[1], g[2]), function()
        for _, image in ipairs(WIDE_IMAGES) do
          for _, batch in ipairs { 1, 3 } do check_conv(g, batch, image, rng, 16) end
        end
      end)
    end
    for i, chain in ipairs(CHAINS) do
      for _, wrap in ipairs { false, true } do
        it(("chain %d of convolutions%s"):format(i, wrap and " in a bundle" or ""), function()
          for _, image in ipairs { { 1, 1 }, { 2, 2 }, { 5, 7 }, { 13, 37 } } do
            for _, batch in ipairs(BATCHES) do
              if chain_fits(chain, image) then check_chain(chain, batch, image, rng, wrap) end
            end
          end
        end)
      end
    end
    for _, c in ipairs(COUPLINGS) do
      local name = ("coupling of %d + %d channels, width %d, %d x %dx%d"):format(c[1], c[2], c[3], c[4],
        table.unpack(c[5]))
      it(name, function() check_coupling(c, rng) end)
      it(name .. ", backward", function() check_coupling_backward(c, rng) end)
      if c[2] > 0 then
        it(name .. ", shared conditions", function() check_shared_condition(c, rng) end)
      end
    end
    it("the 1x1 convolution", function()
      for _, c in ipairs { 1, 2, 13 } do
        for _, batch in ipairs(BATCHES) do
          for _, image in ipairs { { 1, 1 }, { 3, 5 }, { 31, 37 } } do check_invconv(c, batch, image, rng) end
        end
      end
    end)
    for _, f in ipairs(FUNCTIONS) do
      it(f[1], function() check_function(f[1], f[2]) end)
    end
    it("the linear layer", function()
      for _, batch in ipairs { 1, 3, 5, 33 } do
        check_linear(batch, { 1, 1, 1 }, 1, rng)
        check_linear(batch, { 3, 5, 7 }, 13, rng)
        check_linear(batch, { 2, 1, 1 }, 131, rng)
      end
    end)
    for i, chain in ipairs(PATCHES) do
      for _, wrap in ipairs { false, true } do
        it(("chain %d of convolutions without overlap%s"):format(i, wrap and " in a bundle" or ""), function()
          for _, image in ipairs(PATCH_IMAGES) do
            for _, batch in ipairs(BATCHES) do
              if chain_fits(chain, image) then check_chain(chain, batch, image, rng, wrap) end
            end
          end
        end)
      end
    end
  end)
end

--- Define the examples, for each of the instruction sets that products are
-- compiled for; a processor takes the best that it has and is allowed.
function M.define()
  for _, level in ipairs { "any", "AVX2", "AVX-512" } do define(level) end
end

return M
