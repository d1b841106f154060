--- What the training state in a checkpoint must look like. Checksums tell that the file
-- is as it was written, not that what was written makes sense: it may come from another
-- version, another program or a stranger.
-- @module cglow.train.state
local core = require "cglow.core"
local options = require "cglow.util.options"

local M = {}

local MOST <const> = 1 << 53 -- of what is counted; more is no integer to JavaScript

local function count(required) return {type = "integer", min = 0, max = MOST, required = required} end
local NUMBER <const> = {type = "number", required = true}
local STRING <const> = {type = "string", required = true}

local function fields(t) return {type = "table", required = true, fields = t} end

local TRAINING = {
  optimizer_steps = count(true), average_updates = count(false),
  state = fields {
    batch = NUMBER, seed = NUMBER, cell_width = NUMBER, noise = STRING,
    accumulate = count(false), ranks = count(false),
    ema = {type = "number", min = 0, below = 1}, metric = {type = "string"},
    shuffle = fields {count = count(true), epoch = count(true), position = count(true), origin = STRING},
    policy = fields {halvings = count(true), good = count(true), in_a_row = count(true), refused = count(true)},
    at = fields {
      step = count(true), seconds = {type = "number", min = 0, max = 1e12, required = true},
      smooth = NUMBER, weight = {type = "number", min = 0, max = 1, required = true},
      sum = NUMBER, count = count(true),
      best_nll = {type = "number"}, best_step = count(false), valid = {type = "table"},
      best_value = {type = "number"}, stale = count(false), lr = {type = "number", min = 0},
    },
  },
}

local function is_generator(text)
  local probe = core.Rng(0)
  return (pcall(probe.set_state, probe, text))
end

local function check_meaning(state)
  for name, text in pairs {noise = state.noise, origin = state.shuffle.origin} do
    if not is_generator(text) then return nil, ("%s is no state of a generator"):format(name) end
  end
  local shuffle, at = state.shuffle, state.at
  if shuffle.position > shuffle.count then
    return nil, ("position %d is beyond the %d samples of an epoch"):format(shuffle.position, shuffle.count)
  end
  if (at.best_nll == nil) ~= (at.best_step == nil) then return nil, "best_nll and best_step belong together" end
  for name, value in pairs(at.valid or {}) do
    if type(name) ~= "string" or type(value) ~= "number" then
      return nil, ("valid: a number under a name expected, got %s under %s"):format(
        options.show(value), options.show(name))
    end
  end
  return true
end

--- Check what `cglow.train.checkpoint` has read.
-- @param training anything
-- @treturn[1] table the same
-- @treturn[2] nil
-- @treturn[2] string message that names the field
function M.check(training)
  if type(training) ~= "table" then return nil, "a table expected, got " .. options.show(training) end
  local checked, message = options.fields(training, TRAINING)
  local ok = checked
  if ok then ok, message = check_meaning(checked.state) end
  if not ok then return nil, message end
  return checked
end

return M
