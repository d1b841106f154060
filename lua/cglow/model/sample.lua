--- Sampling, and prediction by the mean of samples.
-- @module cglow.model.sample
local check = require "cglow.util.check"
local core = require "cglow.core"
local kinds = require "cglow.model.kinds"
local options = require "cglow.util.options"
local walk = require "cglow.model.walk"

local M = {}

local Condition = {}
Condition.__index = Condition
Condition.__name = "cglow.Condition"

function Condition:__tostring()
  return ("cglow.Condition of %d samples: %d layers prepared"):format(self.n, self.count)
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
-- @tparam {table,...} shapes of the latents
-- @treturn Condition
function M.condition(model, x, conds, shapes)
  local prepared, count = {}, 0
  for _, layer in ipairs(model.layers) do
    local cond = conds[layer.index]
    if kinds[layer.kind].role == "part" then
      prepared[layer.index], count = prepare(layer, cond), count + 1
    elseif cond then
      prepared[layer.index] = cond:clone()
    end
  end
  return setmetatable({
    model = model, prepared = prepared, count = count, shapes = shapes, n = x and x:size(1) or 1,
  }, Condition)
end

local function invert(part, z, prepared)
  prepared = prepared or nil
  if check.has(part.flow, "prepare") then return part.flow:inverse_prepared(z, prepared) end
  return part.flow:inverse(z, prepared)
end

local function fits(t, n, shape)
  return t and t:size(1) == n and t:size(3) == shape[2] and t:size(4) == shape[3]
end

-- Standard normal numbers for a latent, in a buffer that the model keeps.
local function noise(model, l, n, shape, rng)
  local buffers = model.noise or {}
  model.noise = buffers
  if not fits(buffers[l], n, shape) then buffers[l] = core.empty(n, table.unpack(shape)) end
  rng:fill_normal(buffers[l])
  return buffers[l]
end

local function latent(layer, s) return noise(s.model, layer.level, s.total, s.shapes[layer.level], s.rng) end

local drawing = {
  prior = function(layer, _, s) return layer.flow:sample(latent(layer, s), s.temperature, s.prepared[layer.index]) end,
  split = function(layer, z, s)
    return layer.flow:sample(z, latent(layer, s), s.temperature, s.prepared[layer.index])
  end,
  part = function(layer, z, s) return invert(layer, z, s.prepared[layer.index]) end,
  squeeze = function(layer, z) return layer.flow:inverse(z) end,
}

-- Overwritten by the next call.
local function draw(model, cond, n, temperature, rng)
  return walk.down(model.layers, nil, drawing, {
    model = model, prepared = cond.prepared, shapes = cond.shapes, total = cond.n * n, temperature = temperature,
    rng = rng,
  })
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
  local _, c, h, w = table.unpack(ys:size())
  local grouped = ys:reshape(cond.n, o.samples, c * h * w)
  return grouped:mean(2):reshape(cond.n, c, h, w)
end

return M
