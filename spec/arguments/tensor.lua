-- Methods of tensors, generators and parameters.
local core = require "cglow.core"
local K = require "spec.support.arguments"

local function t(...)
  local shape = { ... }
  return function() return core.full(shape, 0.5) end
end
local matrix = t(3, 4)
local other = K.tensor({ 3, 4 }, { { 3 }, { 4, 3 }, { 3, 4, 1 }, { 1, 3, 4 } })
local number_or_tensor = K.also(K.also(other, "number"), "number")
-- 1x3x4 is broadcast; 4x3 and the others are not.
local operand = K.also(K.also(K.tensor({ 3, 4 }, { { 3 }, { 4, 3 }, { 2, 4 }, { 3, 4, 1 } }), "number"), "number")
local axis = K.int(2, 1, 2)
local shape = K.int(2, 1, (1 << 62) - 1)
local rng = function() return core.Rng(1) end

local rows = {
  { "Tensor:size", K.optional(axis), self = matrix },
  { "Tensor:dim", self = matrix },
  { "Tensor:count", self = matrix },
  { "Tensor:totable", self = matrix },
  { "Tensor:get", K.int(3, 1, 3), K.int(4, 1, 4), self = matrix,
    wrong = { { label = "one index", args = { 1 } }, { label = "three", args = { 1, 1, 1 } } } },
  { "Tensor:set", K.int(3, 1, 3), K.int(4, 1, 4), K.num(0, nil, true), self = matrix,
    wrong = { { label = "no value", args = { 1, 1 } }, { label = "nothing", args = {} } } },
  { "Tensor:reshape", K.int(3, -1, 12), K.int(-1, -1), self = matrix, good = false, wrong = {
    { label = "two unknown", args = { -1, -1 } }, { label = "nothing", args = {} }, { label = "{}", args = { {} } },
    { label = "product past 2^64", args = { 1 << 32, 1 << 32, 1 << 32 } }, { label = "{0}", args = { { 0, -1 } } },
    { label = "five", args = { 1, 1, 1, 3, 4 } }, { label = "{'3', 4}", args = { { {}, 4 } } } } },
  { "Tensor:narrow", axis, K.int(2, 1, 4), K.int(3, 1, 3), self = matrix,
    wrong = { { label = "past the end", args = { 2, 3, 3 } } } },
  { "Tensor:select", axis, K.int(2, 1, 4), self = matrix },
  { "Tensor:clone", self = matrix },
  { "Tensor:copy", other, self = matrix },
  { "Tensor:fill", K.num(1, nil, true), self = matrix },
  { "Tensor:zero", self = matrix },
  { "Tensor:permute", K.int(2, 1, 2), K.int(1, 1, 2), self = matrix,
    wrong = { { label = "one twice", args = { 1, 1 } }, { label = "one", args = { 1 } } } },
  { "Tensor:transpose", K.int(2, 1, 2), K.int(1, 1, 2), self = matrix },
  { "Tensor:add", number_or_tensor, K.optional(K.num(2, nil, true)), self = matrix },
  { "Tensor:mul", number_or_tensor, self = matrix },
  { "Tensor:matmul", K.tensor({ 4, 2 }, { { 3 }, { 3, 4 }, { 2, 3, 4 } }), self = matrix },
  { "Tensor:bytes", K.optional(K.word "F64"), self = matrix,
    wrong = { { args = { "U8" }, label = "U8 of 0.5" } } },
  { "Tensor:equal", K.tensor { 3, 4 }, self = matrix },
  { "Tensor:isfinite", self = matrix },
  { "Tensor:map", K.fn(function(v) return v end), self = matrix,
    wrong = { { label = "no number returned", args = { function() return {} end } } } },
  { "Tensor:clamp", K.num(0, { 0 / 0 }, true), K.num(1, { 0 / 0, -1 }, true), self = matrix },
  { "Rng:uniform", shape, shape, self = rng, wrong = { { label = "{}", args = { {} } }, { label = "nil",
    args = { nil, n = 1 } } } },
  { "Rng:normal", shape, shape, self = rng },
  { "Rng:fill_uniform", K.tensor { 2 }, self = rng },
  { "Rng:fill_normal", K.tensor { 2 }, self = rng },
  { "Rng:fill_pairs", K.tensor({ 2 }, { { 3 }, { 1, 4 } }), self = rng },
  { "Rng:integer", K.int(1), K.int(2, 1), self = rng },
  { "Rng:permutation", K.int(3, 0, (1 << 31) - 1), self = rng },
  { "Rng:block", self = rng },
  { "Rng:state", self = rng },
  { "Rng:set_state", K.str("philox4x32-10:1:2", { "", "philox4x32-10:1", "philox4x32-10:1:2:3", "philox4x32-10:-1:2",
    "philox4x32-10:99999999999999999999999:2", "philox4x32-10:1:2\0" }), self = rng },
  { "Param:zero_grad", self = function() return core.Param(core.zeros(2)) end },
  { "Param:gradient_zeros", self = function() return core.Param(core.zeros(2)) end },
  { "Param:gradient", self = function() return core.Param(core.zeros(2)) end },
}
for _, name in ipairs { "gt", "ge", "lt", "le", "eq", "ne" } do
  rows[#rows + 1] = { "Tensor:" .. name, operand, self = matrix }
end
for _, name in ipairs { "exp", "log", "abs", "sqrt", "round", "floor", "sign", "tanh", "sigmoid" } do
  rows[#rows + 1] = { "Tensor:" .. name, self = matrix }
end
for _, name in ipairs { "sum", "mean", "var", "std", "norm", "max", "min", "argmax", "argmin" } do
  rows[#rows + 1] = { "Tensor:" .. name, axis, K.also(K.optional(K.any(true)), "boolean"), self = matrix,
    wrong = { { args = { nil, true, n = 2 }, label = "no dimension to keep" }, { args = { 1, 1 }, label = "keep = 1" },
      { args = { "x" }, label = "dim = 'x'" } } }
end
return rows
