--- Settings of a run: the task's defaults, then what a resumed run was started
-- with, then the command line. One flat table, names as in `--config NAME=VALUE`.
-- @module cglow.tasks.settings
local options = require "cglow.util.options"

local M = {}

-- name → kind, what it is, default (a task may have another)
local KNOWN = {
  {"levels", "integer", "levels of the flow, L", 3},
  {"depth", "integer", "steps in a level, K", 8},
  {"cn.channels", "integer", "channels of the conditioning networks' convolutions", 64},
  {"cn.width", "integer", "width of their fully connected layers", 128},
  {"coupling.width", "integer", "channels inside the coupling networks", 256},
  {"learned_prior", "boolean", "learn the mean and scale of the last latent", false},
  {"recompute", "boolean", "compute steps again in the backward pass, to save memory", false},
  {"optimizer.lr", "number", "Adam's step size", 2e-4},
  {"optimizer.beta1", "number", "decay of its first moment", 0.9},
  {"optimizer.beta2", "number", "decay of its second moment", 0.999},
  {"optimizer.eps", "number", "added to the root of the second", 1e-8},
  {"optimizer.clip_value", "number", "clip each gradient element to ± this; 0: do not", 0.25},
  {"optimizer.clip_norm", "number", "clip the whole gradient to this norm; 0: do not", 0},
  {"optimizer.cn_step", "number", "step of conditioning networks, as a factor (live: 0.05)"},
  {"batch", "integer", "samples in a step", 2},
  {"warmup", "integer", "steps over which the step size grows to its full value", 0},
  {"cooldown", "integer", "last steps, over which the step size falls to 0", 0},
  {"samples", "integer", "samples averaged in a prediction, M", 10},
  {"log_every", "integer", "steps between log lines", 10},
  {"valid_every", "integer", "steps between validations", 250},
  {"valid_images", "integer", "held-out images used in them; 0: all", 64},
  {"checkpoint_every", "integer", "steps between checkpoints", 500},
  {"keep", "integer", "checkpoints kept, besides the best model", 3},
  {"calm", "integer", "good steps after which a halved step size grows again", 100},
  {"give_up", "integer", "refused steps in a row that end the training", 10},
}

local KIND = {}
for _, entry in ipairs(KNOWN) do KIND[entry[1]] = entry[2] end

local parse = {
  integer = function(text)
    local n = tonumber(text)
    n = n and math.tointeger(n)
    return n and n >= 0 and n or nil
  end,
  number = function(text)
    local n = tonumber(text)
    return n and n >= 0 and n < math.huge and n or nil
  end,
  boolean = function(text)
    if text == "true" then return true end
    if text == "false" then return false end
  end,
}

local EXPECTED = {integer = "an integer from 0 on", number = "a number from 0 on", boolean = "true or false",
  string = "a string"}

--- Parse one `NAME=VALUE`.
-- @tparam string text
-- @treturn[1] string name
-- @return[1] value
-- @treturn[2] nil
-- @treturn[2] string message
function M.parse(text)
  local name, value = text:match("^([%w_.]+)=(.*)$")
  if not name then return nil, ("--config expects NAME=VALUE, got '%s'"):format(text) end
  local kind = KIND[name]
  if not kind then return nil, ("--config: unknown setting '%s' (--config help lists them)"):format(name) end
  local parsed = parse[kind](value)
  if parsed == nil then return nil, ("--config: %s must be %s, got '%s'"):format(name, EXPECTED[kind], value) end
  return name, parsed
end

-- What has an option of its own, and what the baseline's command writes.
local OTHERS = {
  steps = "integer", seed = "integer", size = "integer", init = "string", data = "string",
  channels = "integer", lr = "number",
}

local function is_kind(value, kind)
  if kind == "integer" then return math.type(value) == "integer" and value >= 0 end
  if kind == "number" then return type(value) == "number" and value >= 0 end
  return type(value) == kind
end

-- Fields of config.json that are used again.
local FIELDS = {command = "string", started = "string", resumed = "table"}

--- The settings that a run was started with. Its config.json may be anyone's.
-- @tparam table config what `read_config` of a run folder gave
-- @treturn[1] table name → value
-- @treturn[2] nil
-- @treturn[2] string message
function M.saved(config)
  for name, kind in pairs(FIELDS) do
    if config[name] ~= nil and type(config[name]) ~= kind then
      return nil, ("config.json: %s must be a %s, got a %s"):format(name, kind, type(config[name]))
    end
  end
  local saved = config.settings or {}
  if type(saved) ~= "table" then return nil, "config.json: settings must be a table, got a " .. type(saved) end
  for name, value in pairs(saved) do
    local kind = KIND[name] or OTHERS[name]
    if kind and not is_kind(value, kind) then
      return nil, ("config.json: settings: %s must be %s, got %s"):format(name, EXPECTED[kind], options.show(value))
    end
  end
  return saved
end

--- The defaults of a task.
-- @tparam table task its own `defaults` win
-- @treturn table name → value
function M.defaults(task)
  local settings = {}
  for _, entry in ipairs(KNOWN) do settings[entry[1]] = entry[4] end
  for name, value in pairs(task.defaults) do settings[name] = value end
  return settings
end

--- The list that `--config help` prints.
-- @tparam table task
-- @treturn string
function M.describe(task)
  local defaults, lines = M.defaults(task), {}
  for i, entry in ipairs(KNOWN) do
    local default = defaults[entry[1]]
    lines[i] = ("  %-21s %-7s %s"):format(entry[1], default == nil and "" or ("%s"):format(default), entry[3])
  end
  return table.concat(lines, "\n")
end

-- Names without a dot, or with the given prefix, as nested options.
local function part(settings, prefix, names)
  local o = {}
  for _, name in ipairs(names) do o[name] = settings[prefix .. name] end
  return o
end

--- The trainer's part of the settings.
function M.trainer(settings)
  local o = part(settings, "", {"steps", "batch", "seed", "warmup", "cooldown", "log_every", "valid_every",
    "checkpoint_every", "keep", "calm", "give_up"})
  o.optimizer = part(settings, "optimizer.", {"lr", "beta1", "beta2", "eps", "clip_value", "clip_norm", "cn_step"})
  return o
end

--- The model's part of the settings, without the shapes.
function M.model(settings)
  local o = part(settings, "", {"levels", "depth", "learned_prior", "recompute", "init"})
  o.cn = part(settings, "cn.", {"channels", "width"})
  o.coupling = part(settings, "coupling.", {"width"})
  return o
end

return M
