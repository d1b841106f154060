--- Settings of a run: the task's defaults, then what a resumed run was started
-- with, then the command line. One flat table, names as in `--config NAME=VALUE`.
-- @module cglow.tasks.settings
local options = require "cglow.util.options"
local recipes = require "cglow.tasks.recipes"

local M = {}

-- name → kind, what it is, default of the recipe "paper" (a task may have another)
local KNOWN = {
  {"levels", "integer", "levels of the flow, L", 3},
  {"depth", "integer", "steps in a level, K", 8},
  {"cn.channels", "integer", "channels of the conditioning networks' convolutions", 64},
  {"cn.width", "integer", "width of their fully connected layers", 128},
  {"encoder.channels", "integers", "channels of one encoder of x at 1, 1/2, 1/4 … of its size"},
  {"head.weight", "number", "weight of the loss of the encoder's head; 0: no head"},
  {"head.residual", "boolean", "the flow models what the head leaves of y, not y"},
  {"coupling.width", "integer", "channels inside the coupling networks", 256},
  {"coupling.bound", "number", "with an encoder: their log-scales lie within ± this (1)"},
  {"condition.split", "boolean", "with an encoder: splits see the features of x (true)"},
  {"condition.prior", "boolean", "with an encoder: so does the prior (true)"},
  {"condition.injector", "boolean", "with an encoder: steps have an affine injector (false)"},
  {"condition.actnorm", "boolean", "with an encoder: actnorm reads its pooled features (false)"},
  {"condition.invconv", "boolean", "with an encoder: so does the 1x1 convolution (false)"},
  {"learned_prior", "boolean", "learn the mean and scale of the last latent", false},
  {"recompute", "boolean", "compute steps again in the backward pass, to save memory", false},
  {"precision", "word", "of the products in networks: fp32, or bf16 (see cglow.precision)", "fp32"},
  {"optimizer.lr", "number", "Adam's step size", 2e-4},
  {"optimizer.beta1", "number", "decay of its first moment", 0.9},
  {"optimizer.beta2", "number", "decay of its second moment", 0.999},
  {"optimizer.eps", "number", "added to the root of the second", 1e-8},
  {"optimizer.clip_value", "number", "clip each gradient element to ± this; 0: do not", 0.25},
  {"optimizer.clip_norm", "number", "clip the whole gradient to this norm; 0: do not", 0},
  {"optimizer.weight_decay", "number", "what a step takes off the weights, times the step size", 0},
  {"optimizer.cn_step", "number", "step of conditioning networks, as a factor (live: 0.05)"},
  {"batch", "integer", "samples in a batch", 2},
  {"accumulate", "integer", "batches in a step", 1},
  {"schedule", "word", "how the step size falls: constant, linear or cosine", "linear"},
  {"warmup", "integer", "steps over which the step size grows to its full value", 0},
  {"fall", "number", "share of the steps, the last ones, over which it falls to 0", 0},
  {"cooldown", "integer", "the same as a number of steps, in place of fall", 0},
  {"ema", "number", "what a step keeps of the average of the weights; 0: no average", 0},
  {"metric", "word", "what picks the best model: nll or one of the task's metrics", "nll"},
  {"higher", "boolean", "is more of it better?", false},
  {"patience", "integer", "validations without a better one that end it; 0: none do", 0},
  {"augment.mirror", "boolean", "exchange left and right of every second sample", false},
  {"augment.transpose", "boolean", "exchange rows and columns of every second sample", false},
  {"augment.shift", "number", "move samples by up to this share of their sides", 0},
  {"augment.zoom", "number", "make them larger or smaller by up to this share", 0},
  {"augment.stretch", "number", "and wider or narrower besides", 0},
  {"augment.rotate", "number", "turn them by up to so many degrees", 0},
  {"augment.contrast", "number", "change the contrast of x by up to this share", 0},
  {"augment.brightness", "number", "make x brighter or darker by up to this much", 0},
  {"augment.gain", "number", "multiply each channel of x by 1 ± this", 0},
  {"augment.tint", "number", "add up to ± this to each channel of x", 0},
  {"samples", "integer", "samples averaged in a prediction, M", 10},
  {"read_ahead", "integer", "threads that read the next batches beforehand; 0: none", 0},
  {"log_every", "integer", "steps between log lines", 10},
  {"valid_every", "integer", "steps between validations", 250},
  {"valid_images", "integer", "held-out images used in them; 0: all", 64},
  {"checkpoint_every", "integer", "steps between checkpoints", 500},
  {"keep", "integer", "checkpoints kept, besides the best model", 3},
  {"recover_after", "integer", "good steps after which a halved step size grows again", 100},
  {"max_refused", "integer", "refused steps in a row that end the training", 10},
}

-- Names that settings had before; runs that were started with them can be resumed.
local RENAMED <const> = {calm = "recover_after", give_up = "max_refused"}

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
  word = function(text) return text:match("^[%l_][%w_]*$") end,
  integers = function(text)
    local list = {}
    for part in (text .. ","):gmatch "([^,]*)," do
      local n = math.tointeger(tonumber(part) or 0)
      if not n or n < 1 then return nil end
      list[#list + 1] = n
    end
    return list
  end,
  boolean = function(text)
    if text == "true" then return true end
    if text == "false" then return false end
  end,
}

local EXPECTED = {integer = "an integer from 0 on", number = "a number from 0 on", boolean = "true or false",
  string = "a string", word = "a word", integers = "a list like 32,64,128"}

--- Parse one `NAME=VALUE`.
-- @tparam string text
-- @treturn[1] string name
-- @return[1] value
-- @treturn[2] nil
-- @treturn[2] string message
function M.parse(text)
  local name, value = text:match("^([%w_.]+)=(.*)$")
  if not name then return nil, ("--config expects NAME=VALUE or a file, got '%s'"):format(text) end
  local kind = KIND[name]
  if RENAMED[name] then return nil, ("--config: '%s' is called '%s' now"):format(name, RENAMED[name]) end
  if not kind then return nil, ("--config: unknown setting '%s' (--config help lists them)"):format(name) end
  local parsed = parse[kind](value)
  if parsed == nil then return nil, ("--config: %s must be %s, got '%s'"):format(name, EXPECTED[kind], value) end
  return name, parsed
end

-- What has an option of its own, and what the baseline's command writes.
local OTHERS = {
  range = "number", unit = "number", crop = "integer", skip_damaged = "boolean",
  steps = "integer", seed = "integer", size = "integer", init = "string", data = "string", recipe = "string",
  channels = "integer", lr = "number", net = "word",
  x = "string", y = "string", kind = "string", valid = "string", colours = "string", classes = "integer",
  grey = "boolean", test = "string", ignore = "string",
}

--- Is there a setting of this name?
-- @string name
function M.is_known(name) return KIND[name] ~= nil or OTHERS[name] ~= nil end

local function is_kind(value, kind)
  if kind == "integer" then return math.type(value) == "integer" and value >= 0 end
  if kind == "number" then return type(value) == "number" and value >= 0 end
  if kind == "word" then kind = "string" end
  if kind ~= "integers" then return type(value) == kind end
  for _, element in ipairs(type(value) == "table" and value or {}) do
    if math.type(element) ~= "integer" or element < 1 then return false end
  end
  return type(value) == "table" and #value > 0
end

-- What runs were trained with before there was such a setting.
local BEFORE <const> = {["head.residual"] = false}

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
  local settings = {}
  for name, value in pairs(saved) do
    name = RENAMED[name] or name
    local kind = KIND[name] or OTHERS[name]
    if kind and not is_kind(value, kind) then
      return nil, ("config.json: settings: %s must be %s, got %s"):format(name, EXPECTED[kind], options.show(value))
    end
    settings[name] = value
  end
  for name, value in pairs(settings["head.weight"] and BEFORE or {}) do
    if settings[name] == nil then settings[name] = value end
  end
  return settings
end

--- The recipe of new runs.
M.RECIPE = "encoder"

--- The defaults of a task.
-- @tparam table task its own `defaults` win, and its `recipe` for the recipe "encoder"
-- @tparam[opt] string recipe by default `RECIPE`
-- @treturn table name → value
function M.defaults(task, recipe)
  recipe = recipe or M.RECIPE
  local settings = {recipe = recipe}
  for _, entry in ipairs(KNOWN) do settings[entry[1]] = entry[4] end
  for _, of in ipairs {task.defaults, recipes[recipe], recipe == "encoder" and task.recipe or {}} do
    for name, value in pairs(of) do settings[name] = value end
  end
  return settings
end

local function show(value)
  if value == nil then return "" end
  return type(value) == "table" and table.concat(value, ",") or ("%s"):format(value)
end

-- What makes no difference: patterns of names, what must hold for it to make one, and what to say.
local IDLE <const> = {
  {"^cn%.", function(s) return not s["encoder.channels"] end, "an encoder takes the place of these networks"},
  {"^optimizer%.cn_step$", function(s) return not s["encoder.channels"] end, "an encoder takes the place of theirs"},
  {"^head%.", function(s) return s["encoder.channels"] end, "only an encoder has a head (--recipe encoder)"},
  {"^head%.", function(_, task) return task.head end, "the task does not say what a head should learn"},
  {"^head%.residual$", function(_, task) return task.head.scale end, "what the task's head says is no multiple of y"},
  {"^condition%.", function(s) return s["encoder.channels"] end, "only with an encoder (--recipe encoder)"},
  {"^coupling%.bound$", function(s) return s["encoder.channels"] end, "only with an encoder (--recipe encoder)"},
}

-- The same of settings that help lists all the same, since one of the others changes that.
local IDLE_ALONE <const> = {
  {"^schedule$", function(s) return s.schedule == "constant" or s.fall > 0 or s.cooldown > 0 end,
    "the step size does not fall unless fall or cooldown says over how many steps"},
  {"^fall$", function(s) return s.fall == 0 or s.cooldown == 0 end, "cooldown says over how many steps"},
  {"^fall$", function(s) return s.fall == 0 or s.schedule ~= "constant" end, "with schedule=constant nothing falls"},
}

-- Why a setting makes no difference beside the others, or nil.
local function idle(rules, name, settings, task)
  for _, rule in ipairs(rules) do
    if name:find(rule[1]) and not rule[2](settings, task) then return rule[3] end
  end
end

--- Is one of these settings without effect beside the others?
-- @tparam table given those that were asked for
-- @tparam table settings all of them
-- @tparam table task
-- @treturn ?string a message that names the first one
function M.idle(given, settings, task)
  for _, entry in ipairs(KNOWN) do
    local name = entry[1]
    local why = given[name] ~= nil and (idle(IDLE, name, settings, task) or idle(IDLE_ALONE, name, settings, task))
    if why then return ("--config: %s makes no difference: %s"):format(name, why) end
  end
end

--- The list that `--config help` prints: what makes a difference.
-- @tparam table task
-- @tparam[opt] string recipe
-- @treturn string
function M.describe(task, recipe)
  local defaults, lines = M.defaults(task, recipe), {}
  for _, entry in ipairs(KNOWN) do
    local name, _, meaning = table.unpack(entry)
    if not idle(IDLE, name, defaults, task) then
      lines[#lines + 1] = ("  %-22s %-7s %s"):format(name, show(defaults[name]), meaning)
    end
  end
  return table.concat(lines, "\n")
end

-- Names without a dot, or with the given prefix, as nested options.
local function part(settings, prefix, names)
  local o = {}
  for _, name in ipairs(names) do o[name] = settings[prefix .. name] end
  return o
end

local AUGMENT <const> = {"mirror", "transpose", "shift", "zoom", "stretch", "rotate", "contrast", "brightness", "gain",
  "tint"}

--- Options of `transform.augment`, without the kind of y; nil when nothing is to be done.
function M.augment(settings)
  local o, any = part(settings, "augment.", AUGMENT), false
  for _, value in pairs(o) do any = any or value == true or value ~= false and value > 0 end
  return any and o or nil
end

--- The trainer's part of the settings.
function M.trainer(settings)
  local o = part(settings, "", {"steps", "batch", "accumulate", "seed", "warmup", "cooldown", "metric", "higher",
    "patience", "read_ahead", "log_every", "valid_every", "checkpoint_every", "keep", "recover_after",
    "max_refused"})
  o.ema = settings.ema > 0 and settings.ema or nil
  local constant, by_share = settings.schedule == "constant", settings.cooldown == 0 and settings.fall > 0
  if constant or by_share or settings.cooldown > 0 then o.schedule = settings.schedule end
  if by_share and not constant then o.fall = settings.fall end
  o.optimizer = part(settings, "optimizer.", {"lr", "beta1", "beta2", "eps", "clip_value", "clip_norm", "weight_decay",
    "cn_step"})
  return o
end

--- The model's part of the settings, without the shapes.
-- @tparam table settings
-- @tparam ?table head the task's: `outputs`, `loss`
function M.model(settings, head)
  local o = part(settings, "", {"levels", "depth", "learned_prior", "recompute", "precision", "init"})
  o.coupling = part(settings, "coupling.", {"width", "bound"})
  if not settings["encoder.channels"] then
    o.cn = part(settings, "cn.", {"channels", "width"})
    return o
  end
  o.encoder = {channels = settings["encoder.channels"]}
  o.condition = part(settings, "condition.", {"split", "prior", "injector", "actnorm", "invconv"})
  local weight = settings["head.weight"] or 0
  if head and weight > 0 then
    o.head = {outputs = head.outputs, loss = head.loss, weight = weight}
    if settings["head.residual"] and head.scale then o.head.residual = 1 / head.scale end
  end
  return o
end

-- Tables of a model's configuration, whose fields are settings with the table's name in front.
local PARTS <const> = {"cn", "encoder", "coupling", "condition", "head"}

--- The settings that give a model of the same make, for runs that begin with its weights:
-- the inverse of `model`. What its file does not tell, or tells in another form, is left out.
-- @tparam table config the model's
-- @treturn table name → value
function M.of_model(config)
  local flat, settings = {["head.weight"] = 0}, {}
  for name, value in pairs(config) do flat[name] = value end
  for _, prefix in ipairs(PARTS) do
    local fields = type(config[prefix]) == "table" and config[prefix] or {}
    for name, value in pairs(fields) do flat[prefix .. "." .. name] = value end
  end
  flat["head.residual"] = flat["head.residual"] ~= nil
  for name, kind in pairs(KIND) do
    if flat[name] ~= nil and is_kind(flat[name], kind) then settings[name] = flat[name] end
  end
  return settings
end

return M
