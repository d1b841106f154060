-- bfloat16, and convolutions of it in plain loops.
local core = require "cglow.core"

local M = {}

--- The bfloat16 next to x, the even one of two as near; below 2^-126 it is 0.
function M.round(x)
  if x == 0 or x ~= x or math.abs(x) == math.huge then return x end
  if math.abs(x) < 2.0 ^ -126 then return 0.0 end
  local bits = string.unpack("<I4", string.pack("<f", x))
  bits = bits + 0x7fff + (bits >> 16 & 1)
  return (string.unpack("<f", string.pack("<I4", bits & 0xffff0000)))
end

--- A tensor of these shapes with every number rounded.
function M.rounded(t)
  local list = t:reshape(-1):totable()
  for i, v in ipairs(list) do list[i] = M.round(v) end
  return core.tensor(list):reshape(table.unpack(t:size()))
end

--- Run f with products of this precision in what it makes.
function M.with(name, f, ...)
  local before = core.precision()
  core.precision(name)
  local results = table.pack(pcall(f, ...))
  core.precision(before)
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

-- The numbers of a tensor by four indices from 0; 0 outside.
local function reader(t)
  local _, c, h, w = table.unpack(t:size())
  local list = t:reshape(-1):totable()
  return function(n, k, y, x)
    if y < 0 or x < 0 or y >= h or x >= w then return 0 end
    return list[((n * c + k) * h + y) * w + x + 1]
  end
end

--- A convolution without bias in double precision, and the sum of the magnitudes of what
-- each number is the sum of.
-- @treturn Tensor
-- @treturn Tensor
function M.conv(x, weight, stride, pad)
  local size, kernel = x:size(), weight:size()
  local at, w_at = reader(x), reader(weight)
  local oh, ow = (size[3] + 2 * pad - kernel[3]) // stride + 1, (size[4] + 2 * pad - kernel[4]) // stride + 1
  local sums, sizes = {}, {}
  for n = 0, size[1] - 1 do
    for o = 0, kernel[1] - 1 do
      for y = 0, oh - 1 do
        for z = 0, ow - 1 do
          local sum, magnitude = 0.0, 0.0
          for c = 0, kernel[2] - 1 do
            for i = 0, kernel[3] - 1 do
              for j = 0, kernel[4] - 1 do
                local v = w_at(o, c, i, j) * at(n, c, y * stride + i - pad, z * stride + j - pad)
                sum, magnitude = sum + v, magnitude + math.abs(v)
              end
            end
          end
          sums[#sums + 1], sizes[#sizes + 1] = sum, magnitude
        end
      end
    end
  end
  local shape = { size[1], kernel[1], oh, ow }
  return core.tensor(sums):reshape(table.unpack(shape)), core.tensor(sizes):reshape(table.unpack(shape))
end

return M
