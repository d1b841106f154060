--- What a training would take of the machine's memory, counted without taking it.
--
-- Tensors lie in Lua's own memory, so a small trial tells exactly what a step keeps: a model of the
-- same make for small pictures makes steps with a few samples and with more. What grows with them
-- grows with samples and pixels; the rest goes with the parameters. Of short runs with validations
-- (horses at 32×32 and 64×64, the published model at 64×64, make demo) it counts 100, 102, 106 and
-- 102 % of what they took.
-- @module cglow.train.memory
local core = require "cglow.core"
local Model = require "cglow.model"
local optim = require "cglow.optim"

local M = {}

local SMALL <const> = 32 -- pixels of a side that a trial's pictures have at least
local FEW <const>, MORE <const> = 2, 6 -- samples
local PROGRAM <const> = 40e6 -- bytes that Lua, its libraries, threads, pictures and reports take
local FLOAT <const> = 4 -- bytes
local KEPT <const> = 4 -- numbers for each parameter: itself, its gradient, Adam's two moments

--- Numbers that the parameters may have so that a step fits into the machine.
function M.most_parameters() return math.floor(core.system.machine().memory / (KEPT * FLOAT)) end

-- The side of the trial's pictures: y must halve `levels` times, and x as often as the encoder does.
local function small_size(o)
  local whole = o.make(o.size)
  local halvings = whole.encoder and #whole.encoder.channels - 1 or 0
  local unit = 1 << math.max(whole.levels, halvings)
  unit = unit * math.max(1, whole.x[2] // whole.y[2]) -- y may be a part of x: inpainting's is the middle half
  return math.min(o.size, (SMALL + unit - 1) // unit * unit)
end

-- Bytes alive: what a finalizer holds, and what that holds, goes one collection later each.
local function live()
  for _ = 1, 4 do collectgarbage() end
  return collectgarbage "count" * 1024
end

local function random(n, shape) return core.Rng(1):uniform(n, table.unpack(shape)) end

-- What the head would be told: any classes, or numbers.
local function target_of(config, n)
  if not config.head then return nil end
  local h, w = config.y[2], config.y[3]
  if config.head.loss == "cross_entropy" then return core.ones(n, h, w) end
  return core.zeros(n, config.head.outputs, h, w)
end

-- Bytes alive after steps with n samples.
local function step_with(trial, n)
  local model = trial.model
  model:zero_grad()
  local target = target_of(model.config, n)
  assert(model:loss_and_grad(random(n, model.config.x), random(n, model.config.y), target and {head = target} or nil))
  trial.adam:step()
  return live()
end

-- Bytes in use while n samples are drawn for one x, what is dropped on the way among them.
local function draw(o, model, n)
  local before = live()
  local _ <close> = setmetatable({}, {__close = function() collectgarbage "restart" end}) -- after an error, too
  collectgarbage "stop"
  o.draw(model, random(1, model.config.x), n)
  return collectgarbage "count" * 1024 - before
end

-- A trial of a small model: bytes for a sample's pixel in training and in drawing, for an x's pixel
-- when its features are made, and all the rest of a step, with the number of its parameters.
local function try(o)
  local size, before = small_size(o), live()
  local model = Model.new(o.make(size), M.most_parameters())
  local trial = {model = model, adam = optim.Adam(model:parameters(), {})}
  trial.average = o.ema and optim.Average(model:parameters(), {})
  step_with(trial, FEW) -- what is made once, is made
  local pixels = size * size
  local few, more = step_with(trial, FEW), step_with(trial, MORE)
  local per_pixel = math.max(0, more - few) / ((MORE - FEW) * pixels)
  local one, four = draw(o, model, 2), draw(o, model, 8)
  local drawn = math.max(0, four - one) / (6 * pixels)
  return {
    per_pixel = per_pixel, drawn = drawn, features = math.max(0, one / pixels - 2 * drawn),
    rest = few - before - FEW * per_pixel * pixels, parameters = model:parameter_count(),
  }
end

-- Bytes that a validation takes beside the model: pictures and samples that are drawn at once.
local function validation(found, o)
  return o.at_once * o.size * o.size * (found.features + o.samples * found.drawn)
end

--- Count the bytes of a training.
-- @tparam table o
--
-- * `make`: function(size) that gives the options of `cglow.Model` for pictures of this size; `size`
-- * `parameters` of the whole model, `batch`, `ema` (is there an average of the weights?)
-- * `draw`: function(model, x, n) that draws n samples for x, as validations do; there `samples` for a
--   picture, and `at_once`, so many pictures
-- * `kept`: samples of the data that are kept once they have been read
-- @treturn table bytes: `step`, `validation`, `data`, `total`
function M.count(o)
  local found, whole = try(o), o.make(o.size)
  local numbers = 0
  for _, shape in ipairs {whole.x, whole.y} do numbers = numbers + shape[1] * shape[2] * shape[3] end
  local bytes = {
    step = PROGRAM + found.rest + (o.parameters - found.parameters) * (KEPT + (o.ema and 1 or 0)) * FLOAT
      + o.batch * o.size * o.size * found.per_pixel,
    validation = validation(found, o), data = o.kept * numbers * FLOAT,
  }
  for name, value in pairs(bytes) do bytes[name] = math.floor(value) end
  bytes.total = bytes.step + bytes.validation + bytes.data
  return bytes
end

return M
