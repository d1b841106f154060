-- Whatever a flow layer or a network of the user's answers: right, or refused in the name
-- of the layer, wherever it is asked; and the model is sound once it has gone.
local cglow = require "cglow"
local core = require "cglow.core"

local NAME <const> = "level.1.step.2.actnorm"
local C <const>, SIDE <const> = 4, 4 -- what the layer sees

local function model_of()
  cglow.seed(1)
  return cglow.Model { x = { 1, 8, 8 }, y = { 1, 8, 8 }, levels = 2, depth = 2, cn = { channels = 2, width = 4 },
    coupling = { width = 4 } }
end

local x, y = core.rand(2, 1, 8, 8), core.rand(2, 1, 8, 8)

-- A layer that does nothing, but for what `changes` says.
local function layer_with(changes)
  local L = {
    forward = function(_, z) return z, { 0.0, 0.0 } end,
    inverse = function(_, z) return z end,
    backward = function(_, dz) return dz, core.zeros(2, 2 * C) end,
    parameters = function() return {} end,
  }
  for name, f in pairs(changes) do L[name] = f end
  return L
end

local function nothing() end
local function gives(...)
  local answer = table.pack(...)
  return function() return table.unpack(answer, 1, answer.n) end
end
local function tensor(...) return core.zeros(...) end

local LIST <const> = "its forward must return a tensor and a list of 2 log-determinants, got "
local SHAPE <const> = "must return a tensor of 2x4x4x4, got "

-- What it answers, who asks, and what is said.
local CASES <const> = {
  { "forward", nothing, LIST .. "nil and nil" },
  { "forward", gives(1, { 0, 0 }), LIST .. "1 and table" },
  { "forward", gives(tensor(2, C, SIDE, SIDE), { 0, 0, 0 }), LIST },
  { "forward", gives(tensor(2, C, SIDE, SIDE), tensor(2)), LIST },
  { "forward", gives(tensor(2, C, SIDE, SIDE), { "1", "2" }), "its forward must return a list of 2 numbers, got " },
  { "forward", gives(tensor(2, 5, SIDE, SIDE), { 0, 0 }), "its forward " .. SHAPE .. "a tensor of 2x5x4x4" },
  { "forward", gives(tensor(1, C, SIDE, SIDE), { 0, 0 }), "its forward " .. SHAPE .. "a tensor of 1x4x4x4" },
  { "forward", gives(tensor(2, C, 2, 8), { 0, 0 }), "its forward " .. SHAPE .. "a tensor of 2x4x2x8" },
  { "forward", gives(tensor(128), { 0, 0 }), "its forward " .. SHAPE .. "a tensor of 128" },
  { "backward", nothing, "its backward " .. SHAPE .. "nil" },
  { "backward", gives(tensor(3), tensor(2, 2 * C)), "its backward " .. SHAPE .. "a tensor of 3" },
  { "backward", function(_, dz) return dz end,
    "its backward, for the condition, must return a tensor of 2x8, got nil" },
  { "backward", function(_, dz) return dz, tensor(2, 7) end,
    "its backward, for the condition, must return a tensor of 2x8, got a tensor of 2x7" },
  { "inverse", nothing, "its inverse " .. SHAPE .. "nil" },
  { "inverse", gives(tensor(1)), "its inverse " .. SHAPE .. "a tensor of 1" },
  { "inverse_prepared", gives "y", "its inverse_prepared " .. SHAPE .. "'y'" },
  { "parameters", nothing, "its parameters must return a list, got nil" },
  { "parameters", gives { 1 }, "its parameters must return a list of cglow.Param, got 1 as [1]" },
  { "diagnose", gives(nil, {}), "its diagnose must return a list of numbers, got nil" },
  { "diagnose", gives({ 0 }, { "x" }), "its diagnose must return a list of numbers, got " },
  { "diagnose", gives({ 0 }, {}), "its diagnose must return a list of numbers, got " },
}

-- Who asks for it.
local ASKED <const> = {
  forward = { "log_prob", "loss_and_grad", "diagnose" }, backward = { "loss_and_grad", "diagnose" },
  inverse = { "decode", "predict" }, inverse_prepared = { "predict" },
  parameters = { "parameters", "save", "diagnose", "__tostring", "parameter_count" }, diagnose = { "diagnose" },
}

local function ask(model, method)
  local sound = model_of()
  if method == "decode" then return model:decode(x, select(2, sound:log_prob(x, y))) end
  if method == "predict" then return model:predict(x, { samples = 1 }) end
  if method == "save" then return model:save(os.tmpname()) end
  return model[method](model, x, y)
end

describe("A flow layer in Lua", function()
  for i, case in ipairs(CASES) do
    it(("is refused for what its %s answers (%d)"):format(case[1], i), function()
      local changes = { [case[1]] = case[2] }
      if case[1] == "inverse_prepared" then changes.prepare = function(_, cond) return cond:clone() end end
      for _, method in ipairs(ASKED[case[1]]) do
        local model = model_of()
        model:replace { level = 1, step = 2, part = "actnorm", flow = layer_with(changes) }
        local ok, message = pcall(ask, model, method)
        assert.is_false(ok, method)
        assert.are.equal(NAME .. ": " .. case[3], message:sub(1, #NAME + 2 + #case[3]), method)
        model:replace { level = 1, step = 2, part = "actnorm", flow = layer_with {} }
        model:zero_grad()
        local sound = model_of()
        sound:replace { level = 1, step = 2, part = "actnorm", flow = layer_with {} }
        assert.are.equal((sound:loss_and_grad(x, y)), (model:loss_and_grad(x, y)))
      end
    end)
  end

  it("must know inverse_prepared when it knows prepare", function()
    assert.error_matches(function()
      model_of():replace { level = 1, step = 2, part = "actnorm", flow = layer_with { prepare = nothing } }
    end, "Model:replace: option 'flow' must have methods .*inverse_prepared; a table has no 'inverse_prepared'")
  end)

  it("may need no condition and have no network", function()
    local model = cglow.Glow { y = { 1, 8, 8 }, levels = 1, depth = 2, coupling = { width = 4 } }
    local layer = layer_with { backward = function(_, dz) return dz end }
    model:replace { level = 1, step = 2, part = "actnorm", flow = layer }
    assert.is_number(model:loss_and_grad(nil, y))
  end)
end)

describe("A network in Lua", function()
  local function network_with(changes)
    local N = { forward = function(_, z) return core.zeros(z:size(1), 2 * C) end, backward = nothing,
      parameters = function() return {} end }
    for name, f in pairs(changes) do N[name] = f end
    return N
  end

  for label, case in pairs {
    ["nothing"] = { "forward", nothing, NAME .. ": its network's forward must return a tensor, got nil" },
    ["one sample too many"] = { "forward", gives(tensor(3, 2 * C)),
      NAME .. ": its network's forward must return a tensor of 2 samples, got a tensor of 3x8" },
    ["no list of parameters"] = { "parameters", gives(3), NAME .. ".cn: its parameters must return a list, got 3" },
  } do
    it("is refused for " .. label, function()
      local model = model_of()
      assert.error_matches(function()
        model:replace { level = 1, step = 2, part = "actnorm", cn = network_with { [case[1]] = case[2] } }
        model:parameters()
        model:loss_and_grad(x, y)
      end, case[3], 1, true)
    end)
  end
end)

-- A mean of squares below 0 was a signed overflow in the optimizer's square root, and what
-- came of it a parameter of some number.
describe("Moments that nobody can have left there", function()
  for label, case in pairs {
    ["a negative mean of squares"] = { "v", -1e-20, "a mean of squares, is negative" },
    ["a NaN"] = { "m", 0 / 0, "is not finite" }, ["inf"] = { "v", math.huge, "is not finite" },
  } do
    it("are refused by the step: " .. label, function()
      local p = core.Param(core.ones(4), "p")
      local adam = cglow.optim.Adam({ p }, { lr = 0.1 })
      local function step()
        p:zero_grad()
        p.grad:fill(1)
        return adam:step()
      end
      assert(step())
      local value, moment = p.value:clone(), adam:state()["p." .. case[1]]
      local kept = moment:clone()
      moment[3] = case[2]
      for _ = 1, 2 do
        local ok, message = step()
        assert.is_nil(ok)
        assert.matches(("optimizer state 'p.%s'"):format(case[1]), message, 1, true)
        assert.matches(case[3], message, 1, true)
        assert.is_true(p.value:equal(value))
      end
      moment:copy(kept)
      assert(step())
    end)
  end
end)
