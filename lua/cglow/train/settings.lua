--- The trainer's options: what they may be and what they are by default.
-- @module cglow.train.settings
local check = require "cglow.util.check"
local options = require "cglow.util.options"

local M = {}

local function integer(min, default) return {type = "integer", min = min, default = default} end
local FUNCTION <const> = {type = "function"}

local SPEC = {
  model = {required = true}, train = {required = true}, valid = {},
  steps = integer(1, 1000), batch = integer(1, 2), accumulate = integer(1, 1), seed = integer(0, 1),
  schedule = {type = "string|function"}, warmup = integer(0, 0), cooldown = integer(0, 0),
  fall = {type = "number", above = 0, max = 1}, ema = {type = "number", min = 0, below = 1},
  optimizer = {type = "table", default = {}}, cell_width = {type = "number", above = 0},
  head = {type = "table", fields = {
    target = {type = "function", required = true}, weight = {type = "number|function", default = 0.1, min = 0},
  }},
  world = {type = "table"}, reduce = FUNCTION,
  validate = FUNCTION, picture = FUNCTION, on_step = FUNCTION, on_validation = FUNCTION, stop = FUNCTION,
  metric = {type = "string", default = "nll"}, higher = {type = "boolean", default = false}, patience = integer(0, 0),
  read_ahead = {type = "integer", default = 0, min = 0, max = 64},
  log_every = integer(1, 10), valid_every = integer(1, 250), checkpoint_every = integer(1, 500),
  run = {type = "string", path = true}, keep = integer(1, 3), resume = {type = "boolean", default = false},
  recover_after = integer(1, 100), max_refused = integer(1, 10),
  calm = {renamed = "recover_after"}, give_up = {renamed = "max_refused"},
  config = {type = "table"}, metadata = {type = "table", default = {}},
  progress = {type = "string", one_of = {"bar", "lines", "json", "quiet"}},
}

local MODEL = {"zero_grad", "loss_and_grad", "parameters", "save"}
local DATA = {"size", "get", "batch"}

--- A checked copy of the options with the defaults filled in.
-- @tparam table given
-- @treturn table
-- @raise naming the option, what was expected and what came
function M.check(given)
  local o = options.check("Trainer", given, SPEC, 1)
  check.methods("Trainer", "model", o.model, MODEL, 4)
  check.methods("Trainer", "train", o.train, DATA, 4)
  if o.head then check.methods("Trainer", "train", o.train, {"map"}, 4) end
  if o.valid ~= nil then check.methods("Trainer", "valid", o.valid, DATA, 4) end
  o.cell_width = o.cell_width or o.train.info and o.train.info.cell_width or 1
  if o.resume and not o.run then error("Trainer: option 'resume' needs 'run', the folder to go on from", 3) end
  if o.world and o.reduce then error("Trainer: options 'world' and 'reduce' exclude each other", 3) end
  if o.patience > 0 and not o.valid then error("Trainer: option 'patience' needs 'valid', a data set", 3) end
  return o
end

return M
