--- Sampling, and prediction by the mean of samples.
-- @module cglow.model.sample
local check = require "cglow.util.check"
local core = require "cglow.core"
local encoder = require "cglow.model.encoder"
local kinds = require "cglow.model.kinds"
local lock = require "cglow.model.lock"
local options = require "cglow.util.options"
local passes = require "cglow.model.passes"
local precision = require "cglow.model.precision"
local seen = require "cglow.model.seen"
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
  if not check.has(part.run, "prepare") then return cond and cond:clone() or false end
  local ok, prepared = pcall(part.run.prepare, part.run, cond)
  if not ok then error(("Model:condition: %s: %s"):format(part.name, prepared), 0) end
  return prepared or false
end

-- What a condition was made with: other numbers, or other layers, and it is stale.
local function state_of(model) return ("%d %d"):format(model.changes, core.fingerprint(model:parameters())) end

-- Prepare every layer's inverse for the given conditions.
local function prepare_all(model, x, conds, shapes)
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
    offset = conds.offset and conds.offset:clone(), state = state_of(model),
  }, Condition)
end

--- The latents' shapes {C, H, W} for this x, level 1 first.
function M.latent_shapes(model, x)
  if not model.encoder then return model.latent_shapes end
  local h, w = encoder.y_sides(model.config, x:size(3), x:size(4))
  local shapes = {}
  for l, shape in ipairs(model.latent_shapes) do shapes[l] = { shape[1], h >> l, w >> l } end
  return shapes
end

--- See `Model:condition`.
function M.condition(model, x)
  seen.tell(model, "Model:condition", x)
  local conds, shapes = model.config.x and passes.conditions(model, x) or {}, M.latent_shapes(model, x)
  local cond = prepare_all(model, x, conds, shapes)
  precision.tell_of_samples(model, conds, cond.n, shapes)
  return cond
end

local function fits(t, n, shape)
  return t and t:size(1) == n and t:size(3) == shape[2] and t:size(4) == shape[3]
end

-- Standard normal numbers for a latent, in a buffer that the model keeps; `s.fill` is the
-- generator's method that makes them.
local function latent(layer, s)
  if s.noise then return s.noise[layer.level] end
  local l, n, buffers = layer.level, s.total, s.model.noise or {}
  s.model.noise = buffers
  if not fits(buffers[l], n, s.shapes[l]) then buffers[l] = core.empty(n, table.unpack(s.shapes[l])) end
  return s.rng[s.fill](s.rng, buffers[l])
end

local drawing = {
  prior = function(layer, _, s) return layer.flow:sample(latent(layer, s), s.temperature, s.prepared[layer.index]) end,
  split = function(layer, z, s)
    return layer.flow:sample(z, latent(layer, s), s.temperature, s.prepared[layer.index])
  end,
  part = function(layer, z, s)
    local method = check.has(layer.run, "prepare") and "inverse_prepared" or "inverse"
    return passes.invert(s.model, layer, method, z, s.prepared[layer.index] or nil)
  end,
  squeeze = function(layer, z) return layer.flow:inverse(z) end,
}

-- n samples for each x of the condition; overwritten by the next call.
local function draw(model, cond, n, o)
  local ys = walk.down(model.layers, nil, drawing, {
    model = model, prepared = cond.prepared, shapes = cond.shapes, total = cond.n * n, temperature = o.temperature,
    rng = o.rng or core.rng(), fill = o.pairs and "fill_pairs" or "fill_normal", noise = o.noise,
  })
  if cond.offset then ys:reshape(cond.n, n, -1):add(cond.offset:reshape(cond.n, 1, -1)) end
  return ys
end

local COUNT <const> = { type = "integer", min = 1, max = 1 << 20 }
local function count(default) return { type = "integer", default = default, min = COUNT.min, max = COUNT.max } end
local TEMPERATURE = { type = "number", default = 1, min = 0, max = 1e9 }
local RNG = { type = "rng" }

local function check_pairs(fname, name, o)
  if o.pairs and o[name] % 2 ~= 0 then
    error(("%s: option '%s' must be even for pairs, got %d"):format(fname, name, o[name]), 3)
  end
end

--- Are these tensors of the latents' shapes? Raises when they are not.
-- @string fname the public function
-- @string name of the list
-- @param list
-- @param n how many samples, or "N"
-- @tparam {table,...} shapes {C, H, W} of each level
-- @int[opt=0] up how many functions lie between the public one and this call
function M.check_latents(fname, name, list, n, shapes, up)
  if #list ~= #shapes then
    error(("%s: %s: %d tensors expected, got %d"):format(fname, name, #shapes, #list), 3 + (up or 0))
  end
  for l, shape in ipairs(shapes) do
    check.shape(fname, ("%s[%d]"):format(name, l), list[l], { n, table.unpack(shape) }, 1 + (up or 0))
  end
end

local function check_noise(cond, o)
  if not o.noise then return end
  for _, name in ipairs { "rng", "pairs" } do
    if o[name] then error(("Model:sample: options 'noise' and '%s' exclude each other"):format(name), 3) end
  end
  M.check_latents("Model:sample", "noise", o.noise, cond.n * o.n, cond.shapes, 1)
end

local SAMPLE = {
  n = count(1), pairs = { type = "boolean", default = false }, temperature = TEMPERATURE, rng = RNG,
  noise = { type = "table" },
}

--- See `Model:sample`, which this and the next ones stand for: methods end in a call of them, so that they
-- are no level more for errors.
function M.sample(model, cond, opts)
  if cond.model ~= model then
    error("Model:sample: cond must come from this model's condition(x), got another model's", 2)
  end
  if cond.state ~= state_of(model) then
    error("Model:sample: cond was made before the model's parameters or layers changed: call condition(x) again", 2)
  end
  local o = options.check("Model:sample", opts, SAMPLE)
  check_pairs("Model:sample", "n", o)
  check_noise(cond, o)
  local _ <close> = lock.hold(model, "Model:sample")
  return draw(model, cond, o.n, o):clone()
end

-- The mean of n samples for each x.
local function mean_of(model, cond, n, o)
  local ys = draw(model, cond, n, o)
  local _, c, h, w = table.unpack(ys:size())
  return ys:reshape(cond.n, n, c * h * w):mean(2):reshape(cond.n, c, h, w)
end

-- The mean over x and its mirror image, turned back.
local function mean_for(model, x, n, o)
  local y = mean_of(model, M.condition(model, x), n, o)
  if not o.mirror then return y end
  local other = mean_of(model, M.condition(model, core.image.flip(x, "horizontal")), n, o)
  return y:add(core.image.flip(other, "horizontal")):mul(0.5)
end

local function check_mirror(fname, x, o)
  if o.mirror and not x then error(fname .. ": option 'mirror' is for models with an x, got true in plain Glow", 3) end
end

local MIRROR = { type = "boolean", default = false }
local PREDICT = {
  samples = count(10), pairs = { type = "boolean" }, mirror = MIRROR, temperature = TEMPERATURE, rng = RNG,
}

--- See `Model:predict`.
function M.predict(model, x, opts)
  local o = options.check("Model:predict", opts, PREDICT)
  if o.pairs == nil then o.pairs = o.samples % 2 == 0 end
  check_pairs("Model:predict", "samples", o)
  check_mirror("Model:predict", x, o)
  local _ <close> = lock.hold(model, "Model:predict")
  return mean_for(model, x, o.samples, o)
end

--- See `Model:mode`.
function M.mode(model, x, opts)
  local o = options.check("Model:mode", opts, { mirror = MIRROR })
  check_mirror("Model:mode", x, o)
  local _ <close> = lock.hold(model, "Model:mode")
  o.temperature, o.rng = 0, core.Rng(0) -- which is multiplied by 0
  return mean_for(model, x, 1, o)
end

return M
