--- Specs of the fast kernels against plain loops (core.reference), in either precision:
-- odd shapes, on one and two threads, with every instruction set that the processor has.
local busted = require "busted"
local compare = require "spec.support.kernels.compare"
local core = require "cglow.core"
local nn = require "cglow.nn"
local convolutions = require "spec.support.kernels.convolutions"
local couplings = require "spec.support.kernels.couplings"

local describe, it, setup, teardown = busted.describe, busted.it, busted.setup, busted.teardown
local reference = core.reference
local close, fill, map, on_threads, tanh = compare.close, compare.fill, compare.map, compare.on_threads, compare.tanh
local BATCHES <const> = compare.BATCHES
local POINT <const> = compare.POINT

local M = {}

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

local function define(isa)
  describe(("with the instructions of %s, plain loops agree with"):format(isa), function()
    local threads, rng = core.threads(), core.Rng(41)
    setup(function() reference.limit_isa(isa) end)
    teardown(function()
      core.threads(threads)
      reference.limit_isa "AVX-512"
    end)

    convolutions(rng)
    couplings(rng)
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
  end)
end

--- Define the examples, for each of the instruction sets that products are
-- compiled for; a processor takes the best that it has and is allowed.
function M.define()
  for _, isa in ipairs { "any", "AVX2", "AVX-512" } do define(isa) end
end

return M
