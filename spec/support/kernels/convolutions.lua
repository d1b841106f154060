--- Convolutions, alone and in chains, against plain loops.
local compare = require "spec.support.kernels.compare"
local core = require "cglow.core"
local nn = require "cglow.nn"
local it = require("busted").it

local reference = core.reference
local close, fill, largest, on_threads = compare.close, compare.fill, compare.largest, compare.on_threads

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
local BATCHES <const> = compare.BATCHES

local function fits(g, image)
  return image[1] + 2 * g[7] >= g[3] and image[2] + 2 * g[8] >= g[4]
end

local function conv_net(g)
  return nn.Conv2d {
    in_channels = g[1], out_channels = g[2], kernel = { g[3], g[4] }, stride = { g[5], g[6] },
    padding = { g[7], g[8] },
  }
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
-- kind, more of them and more pixels under one output than one run takes.
local TILINGS = {
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
local TILED_IMAGES = { { 8, 8 }, { 8, 24 }, { 40, 16 }, { 48, 48 } }

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
      local group = core.net.group { conv_net(chain[1]), net }
      local outs = group:forward(acts[1])
      near("y", outs[2], acts[#acts], longest)
      group:backward { outs[1] * 0, dout }
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

--- Define the examples.
return function(rng)
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
  local function check_chains(chains, images, kind)
    for i, chain in ipairs(chains) do
      for _, wrap in ipairs { false, true } do
        it(("chain %d of convolutions%s%s"):format(i, kind, wrap and " in a group" or ""), function()
          for _, image in ipairs(images) do
            for _, batch in ipairs(BATCHES) do
              if chain_fits(chain, image) then check_chain(chain, batch, image, rng, wrap) end
            end
          end
        end)
      end
    end
  end
  check_chains(CHAINS, { { 1, 1 }, { 2, 2 }, { 5, 7 }, { 13, 37 } }, "")
  check_chains(TILINGS, TILED_IMAGES, " without overlap")
end
