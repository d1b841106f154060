-- What functions and methods of tensors refuse, and what they say.
local core = require "cglow.core"
local tensors = require "spec.support.tensors"

local raises = tensors.raises

describe("misuse of tensors", function()
  local t, row, rng = core.zeros(2, 3), core.zeros(3), core.Rng(1)
  local cases = {
    -- making
    { "table expected, got number", function() core.tensor(3) end },
    { "nothing expected after the table", function() core.tensor({ 1, 2 }, { 2 }) end },
    { "1 to 4 dimensions expected, got 0", function() core.zeros() end },
    { "1 to 4 dimensions expected, got 5", function() core.ones { 1, 1, 1, 1, 1 } end },
    { "dimension 2 must be a positive integer, got 0", function() core.zeros(2, 0) end },
    { "dimension 1 must be a positive integer, got 2.5", function() core.zeros(2.5) end },
    { "dimension 1 must be a positive integer, got -1", function() core.empty { -1 } end },
    { "dimension 2 must be a positive integer, got table", function() core.zeros { 2, {} } end },
    { "nothing expected after the list of dimensions", function() core.zeros({ 2 }, 3) end },
    { "number expected after the shape, got no value", function() core.full(3) end },
    { "number expected, got table", function() core.full(3, {}) end },
    { "overflows", function() core.zeros(1 << 40, 1 << 40) end },
    { "overflows", function() core.zeros(math.maxinteger) end },
    { "not enough memory", function() core.zeros(1 << 45) end },
    { "nothing expected after the list", function() core.rand({ 2 }, 3) end },
    -- access
    { "index from 1 to 2 expected, got 4", function() return t[4] end },
    { "index from 1 to 2 expected, got 0", function() return t[0] end },
    { "index from 1 to 2 expected, got -9223372036854775808", function() return t[math.mininteger] end },
    { "number has no integer representation", function() return t[1.5] end },
    { "number has no integer representation", function() return t[0 / 0] end },
    { "cglow.Tensor has no field 'foo'", function() return t.foo end },
    { "cglow.Tensor has no field 'foo'", function() t:foo() end },
    { "cglow.Tensor has no field 'nil'", function() return t[nil] end },
    { "cglow.Tensor has no field '__index'", function() return t.__index end },
    { "cglow.Tensor has no field 'shape' to set", function() t.shape = { 3, 2 } end },
    { "cglow.Tensor has no field 'size' to set", function() t.size = 1 end },
    { "index from 1 to 2 expected, got 3", function() t[3] = 1 end },
    { "number expected, got string", function() row[1] = "x" end },
    { "number expected, got nil", function() row[1] = nil end },
    { "number expected, got cglow.Tensor", function() row[1] = row end },
    { "tensor of shape 3 expected, got 2x3", function() t[1] = t end },
    { "cglow.Tensor expected, got string", function() t[1] = "x" end },
    { "get: 2 indices expected for a tensor of shape 2x3, got 1", function() t:get(1) end },
    { "index from 1 to 3 expected, got 4", function() t:get(1, 4) end },
    { "set: 2 indices expected for a tensor of shape 2x3, got 1", function() t:set(1, 2) end },
    { "number expected, got table", function() t:set(1, 2, {}) end },
    { "dimension from 1 to 2 expected, got 3", function() t:size(3) end },
    { "cglow.Tensor expected, got cglow.Rng", function() t.size(rng) end },
    { "cglow.Tensor expected, got no value", function() t.sum() end },
    -- shape
    { "shape of 6 numbers expected (positive sizes, one may be -1), got 4", function() t:reshape(4) end },
    { "(positive sizes, one may be -1), got 4x-1", function() t:reshape(4, -1) end },
    { "(positive sizes, one may be -1), got 7x-1", function() t:reshape(7, -1) end },
    { "(positive sizes, one may be -1), got -1x-1", function() t:reshape(-1, -1) end },
    { "(positive sizes, one may be -1), got 0x-1", function() t:reshape(0, -1) end },
    { "(positive sizes, one may be -1), got -2x-3", function() t:reshape { -2, -3 } end },
    { "got 4294967296x4294967296x6", function() t:reshape(1 << 32, 1 << 32, 6) end },
    { "1 to 4 dimensions expected, got 0", function() t:reshape() end },
    { "1 to 4 dimensions expected, got 5", function() t:reshape(1, 1, 1, 1, 6) end },
    { "number expected, got string", function() t:reshape("x") end },
    { "dimension 2 must be an integer, got string", function() t:reshape { 2, "x" } end },
    { "dimension from 1 to 2 expected, got 0", function() t:narrow(0, 1, 1) end },
    { "index from 1 to 3 expected, got 4", function() t:narrow(2, 4, 1) end },
    { "length from 1 to 2 expected, got 3", function() t:narrow(2, 2, 3) end },
    { "length from 1 to 2 expected, got 0", function() t:narrow(1, 1, 0) end },
    { "length from 1 to 2 expected, got " .. math.maxinteger, function() t:narrow(1, 1, math.maxinteger) end },
    { "index from 1 to 2 expected, got 3", function() t:select(1, 3) end },
    { "permute: 2 dimensions expected, got 1", function() t:permute(1) end },
    { "each dimension once expected, got one twice", function() t:permute(1, 1) end },
    { "dimension from 1 to 2 expected, got 3", function() t:transpose(1, 3) end },
    { "tensor of shape 2x3 expected, got 3", function() t:copy(row) end },
    { "cglow.Tensor expected, got number", function() t:copy(1) end },
    { "number expected, got no value", function() t:fill() end },
    { "at least one tensor expected, got an empty list", function() core.cat {} end },
    { "table expected, got cglow.Tensor", function() core.cat(t, t) end },
    { "element [2]: cglow.Tensor expected, got number", function() core.cat { t, 2 } end },
    { "element [2]: shape ?x3 expected, got 3", function() core.cat { t, row } end },
    { "element [3]: shape 2x? expected, got 1x3", function() core.cat({ t, t, core.zeros(1, 3) }, 2) end },
    { "dimension from 1 to 2 expected, got 3", function() core.cat({ t }, 3) end },
    { "element [2]: shape 2x3 expected, got 3", function() core.stack { t, row } end },
    { "tensors of at most 3 dimensions expected, got 1x1x1x1", function() core.stack { core.zeros(1, 1, 1, 1) } end },
    -- arithmetic
    { "tensor of shape 2x3 expected, or one that is broadcast with it, got 2", function() return t + core.ones(2) end },
    { "number or cglow.Tensor expected, got string", function() return t * "2" end },
    { "number or cglow.Tensor expected, got string", function() return "2" * t end },
    { "number or cglow.Tensor expected, got nil", function() return nil / t end },
    { "number or cglow.Tensor expected, got cglow.Rng", function() return t - rng end },
    { "attempt to", function() return t .. "x" end },
    { "attempt to", function() return t < t end },
    { "attempt to", function() return t() end },
    { "cglow.Tensor expected, got number", function() t.gt(1, 2) end },
    { "number or cglow.Tensor expected, got no value", function() t:gt() end },
    { "number or cglow.Tensor expected, got table", function() t:add {} end },
    { "tensor of shape 2x3 expected, got 1x2x3", function() t:add(core.ones(1, 2, 3)) end },
    { "number expected, got string", function() t:add(1, "x") end },
    { "tensor of shape 2x3 expected, got 1x2x3", function() t:mul(core.ones(1, 2, 3)) end },
    { "number expected, got no value", function() t:clamp(1) end },
    { "number of at least 2.0 expected, got 1.0", function() t:clamp(2, 1) end },
    { "number expected, got NaN", function() t:clamp(0 / 0, 1) end },
    { "number of at least 0.0 expected", function() t:clamp(0, 0 / 0) end },
    { "function expected, got no value", function() t:map() end },
    { "map: the function must return a number, got string", function() t:map(function() return "1" end) end },
    { "map: the function must return a number, got nil for number 1", function() t:map(function() end) end },
    { "cglow.Tensor expected, got number", function() t:equal(1) end },
    { "dimension from 1 to 2 expected, got 3", function() t:sum(3) end },
    { "dimension from 1 to 1 expected, got 2", function() row:max(2) end },
    { "number expected, got string", function() t:mean("x") end },
    { "boolean expected, got number", function() t:mean(1, 1) end },
    { "dimension to keep expected, got no value", function() t:max(nil, true) end },
    { "finite number other than 0 expected, got 0", function() core.arange(1, 2, 0) end },
    { "number that is reached from 1.0 by steps of 1.0 expected, got 0", function() core.arange(0) end },
    { "number that is reached from 1.0 by steps of -1.0 expected, got 2", function() core.arange(1, 2, -1) end },
    { "number that is reached from 1.0 by steps of 1.0 expected, got inf", function() core.arange(math.huge) end },
    { "nan by steps of 1.0 expected, got 1", function() core.arange(0 / 0, 1) end },
    { "number expected, got no value", function() core.arange() end },
  }
  for i, case in ipairs(cases) do
    it(i .. ": " .. case[1], function() raises(case[1], case[2]) end)
  end

  it("changes nothing", function()
    assert.is_true(t == core.zeros(2, 3))
    assert.is_true(row == core.zeros(3))
  end)

  it("names the function and the argument", function()
    raises("bad argument #1 to 'copy' (tensor of shape 2x3 expected, got 3)", function() t:copy(row) end)
    raises("bad argument #2 to 'add' (tensor of shape 2x3 expected, or one that is broadcast with it, got 2)",
      function() return t + core.ones(2) end)
    raises("bad argument #3 to 'narrow' (length from 1 to 2 expected, got 9)", function() t:narrow(1, 1, 9) end)
  end)

  it("passes on errors of mapped functions", function()
    raises("inside", function() t:map(function() error "inside" end) end)
  end)

  it("cannot reach the metatable", function()
    assert.is_false(getmetatable(t))
    assert.is_false(pcall(setmetatable, t, {}))
  end)
end)
