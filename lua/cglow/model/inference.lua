--- Sampling and prediction.
-- @module cglow.model.inference
local check = require "cglow.util.check"
local core = require "cglow.core"
local options = require "cglow.util.options"

local M = {}

local Condition = {}
Condition.__index = Condition
Condition.__name = "cglow.Condition"

function Condition:__tostring()
  return ("cglow.Condition of %d samples: %d layers prepared"):format(self.n, #self.model.parts)
end

--- Is v what `condition` makes?
function M.is_condition(v) return getmetatable(v) == Condition end

-- What a part's inverse needs of its condition, or false when that is nothing.
local function prepare(part, cond)
  if not check.has(part.flow, "prepare") then return cond and cond:clone() or false end
  local ok, prepared = pcall(part.flow.prepare, part.flow, cond)
  if not ok then error(("Model:condition: %s: %s"):format(part.name, prepared), 0) end
  return prepared or false
end

--- Prepare every layer's inverse for the given conditions.
-- @tparam Model model
-- @tparam Tensor x
-- @tparam {Tensor,...} conds from the conditioning networks
-- @treturn Condition
function M.condition(model, x, conds)
  local prepared = {}
  for i, part in ipairs(model.parts) do
    prepared[i] = prepare(part, conds[i])
  end
  return setmetatable({ model = model, prepared = prepared, n = x and x:size(1) or 1 }, Condition)
end

local function invert(part, z, prepared)
  prepared = prepared or nil
  if check.has(part.flow, "prepare") then return part.flow:inverse_prepared(z, prepared) end
  return part.flow:inverse(z, prepared)
end

-- Standard normal numbers for a latent, in a buffer that the model keeps.
local function noise(model, l, n, rng)
  local buffers = model.noise or {}
  model.noise = buffers
  local shape = model.latent_shapes[l]
  if not buffers[l] or buffers[l]:size(1) ~= n then
    buffers[l] = core.empty(n, table.unpack(shape))
  end
  rng:fill_normal(buffers[l])
  return buffers[l]
end

-- Overwritten by the next call.
local function draw(model, cond, n, temperature, rng)
  local total = cond.n * n
  local top = #model.levels
  local z = model.prior:sample(noise(model, top, total, rng), temperature)
  local i = #model.parts
  for l = top, 1, -1 do
    local level = model.levels[l]
    if level.split then z = level.split:sample(z, noise(model, l, total, rng), temperature) end
    for _ = 1, #level.steps * 3 do
      z = invert(model.parts[i], z, cond.prepared[i])
      i = i - 1
    end
    z = level.squeeze:inverse(z)
  end
  return z
end

local TEMPERATURE = { type = "number", default = 1, min = 0, max = 1e9 }
local RNG = { type = "rng" }

local SAMPLE = {
  n = { type = "integer", default = 1, min = 1, max = 1 << 20 },
  temperature = TEMPERATURE,
  rng = RNG,
}

--- See `Model:sample`.
function M.sample(model, cond, opts)
  if cond.model ~= model then
    error("Model:sample: cond must come from this model's condition(x), got another model's", 3)
  end
  local o = options.check("Model:sample", opts, SAMPLE, 1)
  return draw(model, cond, o.n, o.temperature, o.rng or core.rng()):clone()
end

local PREDICT = {
  samples = { type = "integer", default = 10, min = 1, max = 1 << 20 },
  temperature = TEMPERATURE,
  rng = RNG,
}

--- See `Model:predict`.
function M.predict(model, x, opts)
  local o = options.check("Model:predict", opts, PREDICT, 1)
  local cond = model:condition(x)
  local ys = draw(model, cond, o.samples, o.temperature, o.rng or core.rng())
  local y = model.config.y
  local grouped = ys:reshape(cond.n, o.samples, y[1] * y[2] * y[3])
  return grouped:mean(2):reshape(cond.n, table.unpack(y))
end

local MAXIMIZE = {
  steps = { type = "integer", default = 200, min = 1 },
  lr = { type = "number", default = 0.01, min = 0, max = 1e9 },
  start = { type = "tensor" },
}

--- See `Model:maximize`.
function M.maximize(model, x, opts)
  local o = options.check("Model:maximize", opts, MAXIMIZE, 1)
  local n = x and x:size(1) or o.start and o.start:size(1) or 1
  if o.start then
    check.shape("Model:maximize", "option 'start'", o.start, { n, table.unpack(model.config.y) }, 1)
  end
  local y = core.Param(o.start or core.zeros(n, table.unpack(model.config.y)), "y")
  local adam = require("cglow.optim").Adam({ y }, { lr = o.lr })
  for _ = 1, o.steps do
    local loss, dy = model:loss_and_grad(x, y.value)
    model:zero_grad()
    if not loss then return nil, dy end
    y.grad:copy(dy)
    local moved, why = adam:step()
    if not moved then return nil, why end
  end
  local logp = model:log_prob(x, y.value)
  return y.value:clone(), logp:mean()
end

return M
