-- Modules of cglow in Lua: networks, models, optimizers, data, metrics, training.
local cglow = require "cglow"
local core = require "cglow.core"
local feedforward = require "cglow.feedforward"
local K = require "spec.support.arguments"

local optim, nn, data = cglow.optim, cglow.nn, cglow.data
local boolean = K.object(true, "boolean")
local channels = K.int(2, 1)
local function pair(good) return K.object(good, "number table", { { "a string inside", function() return { 1,
  "x" } end },
  { "one", function() return { 1 } end }, { "0.5", function() return 0.5 end }, { "NaN",
    function() return 0 / 0 end } }) end
local rng = K.object(function() return core.Rng(1) end, "cglow.Rng")
local function shape(good) return K.list(good, { { "two sizes", function() return { 4, 4 } end },
  { "{}", function() return {} end }, { "0 channels", function() return { 0, 4, 4 } end },
  { "strings", function() return { "1", 4, 4 } end }, { "-8", function() return { 1, -8, 8 } end },
  { "1.5", function() return { 1.5, 8, 8 } end }, { "2^62", function() return { 1 << 62, 1 << 62, 8 } end },
  { "2^21", function() return { 1 << 21, 8, 8 } end } }) end

local function parameters() return { core.Param(core.zeros(2), "a"), core.Param(core.zeros(3), "b") } end
local function adam() return optim.Adam(parameters()) end
local params = K.list(parameters, { { "{}", function() return {} end }, { "numbers", function() return { 1 } end },
  { "twice the same", function()
    local p = core.Param(core.zeros(2))
    return { p, p }
  end }, { "an empty group", function() return { { params = {} } } end },
  { "a group's unknown option", function() return { { params = parameters(), lr = 1 } } end },
  { "a group's scale", function() return { { params = parameters(), scale = -1 } } end } })
local params_only = K.list(parameters, { { "{}", function() return {} end },
  { "numbers", function() return { 1 } end } })
local function averaged() return optim.Average(parameters()) end
local lr = K.num(0.1, { -1, 1e10 })
local latents = K.list(function() return { core.zeros(2, 4, 2, 2) } end, {
  { "{}", function() return {} end }, { "numbers", function() return { 1 } end },
  { "another shape", function() return { core.zeros(2, 4, 4, 2) } end },
  { "two", function() return { core.zeros(2, 4, 2, 2), core.zeros(2, 4, 2, 2) } end } })
local limit = K.num(1, { -1, 1e10 })
local decay = K.num(0.9, { -0.1, 1, 2 })

local function model()
  return cglow.Model { x = { 1, 8, 8 }, y = { 1, 4, 4 }, levels = 1, depth = 1, cn = { channels = 2, width = 4 },
    coupling = { width = 4 } }
end
local m = model()
local function encoded()
  return cglow.Model { x = { 1, 8, 8 }, y = { 1, 4, 4 }, levels = 1, depth = 1, encoder = { channels = { 2, 3 } },
    coupling = { width = 4 }, head = { outputs = 2 } }
end
local enc = encoded()
local channel_list = K.list({ 2, 3 }, { { "strings", function() return { "a", "b" } end },
  { "too few", function() return { 2 } end }, { "0", function() return { 2, 0 } end } })
local encoded_options = { encoder = K.opts { channels = channel_list, make = K.object(nil, "nil function") },
  coupling = K.opts { width = K.int(2, 1), bound = K.num(1, { 0, -1, 81 }) },
  condition = K.opts { split = K.object(true, "boolean"), prior = K.object(true, "boolean"),
    injector = K.object(true, "boolean"), actnorm = K.object(true, "boolean"), invconv = K.object(true, "boolean"),
    bound = K.num(1, { 0, -1, 81 }) },
  head = K.opts { ["outputs!"] = K.int(2, 1, 4096), loss = K.word "squared_error", weight = K.num(1, { -1, 1e10 }) },
  levels = K.int(1, 1, 4), depth = K.int(1, 1, 1024), precision = K.word "fp32" }
local same = function() return m end

-- A model with a task, from a file that is gone again.
local picture = K.object(function() return core.full({ 3, 8, 8 }, 0.5) end, "string cglow.Tensor")
local sigma = K.num(25, { 0, -1, 256 })
local function open_pairs()
  local path = os.tmpname()
  assert(cglow.Model { x = { 3, 8, 8 }, y = { 1, 8, 8 }, levels = 1, depth = 1, encoder = { channels = { 2, 2 } },
    coupling = { width = 2 } }:save(path, { metadata = { cell_width = "1",
    task = '{"name": "pairs", "settings": {"kind": "mask", "samples": 1}}' } }))
  local made = assert(cglow.open(path))
  os.remove(path)
  return made
end
local pipeline
local function opened()
  pipeline = pipeline or open_pairs()
  return pipeline
end
local x = K.tensor({ 2, 1, 8, 8 }, { { 8 }, { 1, 8, 8 }, { 2, 2, 8, 8 }, { 2, 1, 4, 4 } })
local x_for_y = K.tensor({ 2, 1, 8, 8 }, { { 8 }, { 3, 1, 8, 8 }, { 2, 2, 8, 8 } })
local y = K.tensor({ 2, 1, 4, 4 }, { { 4 }, { 1, 4, 4 }, { 2, 2, 4, 4 }, { 2, 1, 8, 8 }, { 3, 1, 4, 4 } })
local temperature = K.num(1, { -1, 1e10 })
local many = K.int(2, 1, 1 << 20)
local network = K.object(function() return m.levels[1].steps[1].actnorm.cn end, "cglow.Net",
  { { "another output", function() return nn.Conv2d { in_channels = 1, out_channels = 1 } end },
    { "half a network", function() return { forward = print } end } })
local level = K.int(1, 1, 1)
local plain = cglow.Glow { y = { 1, 4, 4 }, levels = 1, depth = 1, coupling = { width = 4 } }

local cn = K.opts { channels = channels, width = channels, make = K.object(nil, "nil function") }
local coupling = K.opts { width = channels, make = K.object(nil, "nil function") }
local model_options = { levels = K.int(1, 1, 16), depth = K.int(1, 1, 1024), cn = cn, coupling = coupling,
  init = K.word "live", learned_prior = boolean, recompute = boolean, precision = K.word "fp32", rng = rng }
local function with(fields)
  local all = {}
  for k, v in pairs(model_options) do all[k] = v end
  for k, v in pairs(fields) do all[k] = v end
  return all
end

-- A sequence with a member in Lua, between two in C.
local function chain()
  return nn.Sequential { nn.ReLU(), { forward = function(_, v) return v end, backward = function(_, v) return v end,
    parameters = function() return {} end }, nn.Tanh() }
end

local function dataset(n)
  return data.Dataset { size = n or 4, get = function(i)
    return { x = core.full(1, 8, 8, i), y = core.full(1, 4, 4, i / 10), name = "sample " .. i }
  end }
end
local four = function() return dataset() end
local function trainer() return cglow.train.Trainer { model = model(), train = dataset(), progress = "quiet" } end
local a_set = K.object(four, "cglow.Dataset")

local function segmenter() return feedforward.Segmenter { x = { 1, 8, 8 }, classes = 2, channels = 2, depth = 1 } end
local seg = segmenter()
local seg_x = K.tensor({ 2, 1, 8, 8 }, { { 8 }, { 2, 2, 8, 8 }, { 2, 1, 8, 4 } })
local seg_y = K.tensor({ 2, 2, 8, 8 }, { { 8 }, { 2, 1, 8, 8 }, { 1, 2, 8, 8 } })
local seg_loss = K.opts { mask = K.tensor({ 2, 8, 8 }, { { 8, 8 }, { 1, 8, 8 } }), cell_width = K.num(1, { 0, -1 }) }

local labels = K.object(function() return core.ones(4, 4) end, "cglow.Tensor")
local labels_like = K.object(function() return core.ones(4, 4) end, "cglow.Tensor", { { "shape 4x5",
  function() return core.ones(4, 5) end } })
local function confusion() return cglow.metrics.confusion(2) end
local samples = K.object(function() return core.ones(3, 1, 4, 4) end, "cglow.Tensor table",
  { { "none", function() return {} end }, { "numbers", function() return { 1, 2 } end },
    { "a vector", function() return core.ones(3) end } })

local dir = K.str("/nonexistent", { "a\0b" }, true)
local unet = K.list(function() return { 2, 2 } end, { { "{}", function() return {} end },
  { "words", function() return { "two" } end }, { "17 scales", function()
    return { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 }
  end } })
local logits = K.tensor({ 2, 3, 4, 4 }, { { 3 }, { 3, 4, 4 } })

local rows = {
  { "cglow.nn.Conv2d", K.opts { ["in_channels!"] = channels, ["out_channels!"] = channels, kernel = pair(3),
    stride = pair(1), padding = pair(0), bias = boolean, init = K.word "zero", rng = rng }, wrong = {
      { label = "kernel 0", args = { { in_channels = 1, out_channels = 1, kernel = 0 } },
        says = "must be an integer of at least 1" },
      { label = "padding -1", args = { { in_channels = 1, out_channels = 1, padding = -1 } },
        says = "must be an integer of at least 0" } } },
  { "cglow.nn.RConv", K.opts { ["in_channels!"] = channels, ["out_channels!"] = channels,
    ["from!"] = K.list({ 8, 8 }, { { "{}", function() return {} end }, { "strings", function() return { "8",
      "8" } end },
      { "0", function() return { 0, 8 } end }, { "1.5", function() return { 8, 7.5 } end } }),
    ["to!"] = K.list({ 4, 4 }, { { "{}", function() return {} end }, { "9", function() return { 9, 9 } end },
      { "0", function() return { 0, 4 } end }, { "-1", function() return { 4, -1 } end } }),
    init = K.word "he", rng = rng } },
  { "cglow.nn.Linear", K.opts { ["in_features!"] = channels, ["out_features!"] = channels,
    init = K.word "xavier", rng = rng } },
  { "cglow.nn.Norm", K.opts { ["channels!"] = channels, factor = K.num(1) } },
  { "cglow.nn.Upsample", K.opts { factor = K.int(2, 1, 1 << 15) } },
  { "cglow.nn.ReLU" }, { "cglow.nn.Tanh" }, { "cglow.nn.Sigmoid" },
  { "cglow.nn.Sequential", K.list(function() return { "a", nn.ReLU(), nn.Tanh() } end, {
    { "{}", function() return {} end }, { "numbers", function() return { 1 } end },
    { "two of one name", function() return { "a", nn.ReLU(), "a", nn.Tanh() } end },
    { "only a name", function() return { "a" } end }, { "a tensor", function() return { core.zeros(1) } end },
    { "half a network", function() return { { forward = print } } end } }) },
  { "cglow.nn.is_net", K.any(1) },

  { "cglow.optim.Adam", params, K.opts { lr = lr, beta1 = decay, beta2 = decay, eps = K.num(1e-8, { 0, -1, 1e-46 }),
    clip_value = limit, clip_norm = limit, weight_decay = limit } },
  { "cglow.optim.SGD", params, K.opts { lr = lr, momentum = decay, clip_value = limit, clip_norm = limit } },
  { "cglow.optim.Average", params_only, K.opts { decay = decay } },
  { "Average:update", self = averaged }, { "Average:swap", self = averaged }, { "Average:state", self = averaged },
  { "Average:set_state", K.list(function() return (averaged():state()) end), K.int(1, 0), self = averaged },
  { "Optimizer:step", K.optional(K.int(1, 1, 1 << 20)), self = adam },
  { "Optimizer:set_lr", lr, self = adam },
  { "Optimizer:state", self = adam, wrong = { { label = "two of one name", says = "two called 'a'", args = {},
    self = function() return optim.SGD { core.Param(core.zeros(1), "a"), core.Param(core.zeros(1), "a") } end } } },
  { "Optimizer:set_state", K.list(function() return (adam():state()) end), K.int(1, 0), self = adam },

  { "cglow.Model", K.opts(with { x = shape { 1, 8, 8 }, ["y!"] = shape { 1, 8, 8 } }), wrong = {
    { label = "sizes that do not divide", args = { { y = { 1, 6, 8 }, levels = 2 } },
      says = "multiples of 4, got 6x8" },
    { label = "x too small", args = { { x = { 1, 4, 4 }, y = { 1, 4, 4 }, levels = 1 } },
      says = "at least 8x8 pixels" },
    { label = "x smaller than y", args = { { x = { 1, 8, 8 }, y = { 1, 32, 32 }, levels = 1 } }, says = "8x8" },
    { label = "make gives nothing", args = { { x = { 1, 8, 8 }, y = { 1, 4, 4 }, levels = 1, depth = 1,
      cn = { make = function() end } } }, says = "level 1, step 1, actnorm: option 'cn' must have methods" },
    { label = "make gives another shape", args = { { x = { 1, 8, 8 }, y = { 1, 4, 4 }, levels = 1, depth = 1,
      cn = { make = function() return nn.Linear { in_features = 64, out_features = 7 } end } } },
      says = "must be a network from 1x8x8 to 8, got 7" } } },
  { "cglow.Model", K.opts((function()
    local all = { ["x!"] = shape { 1, 16, 16 }, ["y!"] = shape { 1, 16, 16 } }
    for k, v in pairs(encoded_options) do all[k == "encoder" and "encoder!" or k] = v end
    return all
  end)()), wrong = {
    { label = "cn beside an encoder", says = "option 'cn' must be absent with an encoder",
      args = { { x = { 1, 8, 8 }, y = { 1, 8, 8 }, encoder = {}, cn = {} } } },
    { label = "head without an encoder", says = "option 'head' must be absent without an encoder",
      args = { { x = { 1, 8, 8 }, y = { 1, 8, 8 }, head = { outputs = 1 } } } },
    { label = "an encoder of no x", says = "option 'x' must be a table with an encoder, got nil",
      args = { { y = { 1, 8, 8 }, encoder = {} } } },
    { label = "x that the encoder cannot halve", says = "must be multiples of 16",
      args = { { x = { 1, 24, 24 }, y = { 1, 24, 24 }, encoder = {} } } },
    { label = "an encoder of nothing", says = "option 'encoder' must have methods forward",
      args = { { x = { 1, 8, 8 }, y = { 1, 8, 8 }, levels = 1, encoder = { make = function() return {} end } } } },
    { label = "an encoder of other features", says = "must be 1xCx4x4, got 1x1x8x8",
      args = { { x = { 1, 8, 8 }, y = { 1, 8, 8 }, levels = 1, encoder = { make = function()
        return { forward = function(_, v) return { v } end, backward = print, parameters = function() return {} end }
      end } } } } } },
  { "cglow.Model.new", K.opts(with { x = shape { 1, 8, 8 }, ["y!"] = shape { 1, 8, 8 }, encoder = K.list(),
    condition = K.list(), head = K.list() }), as = "cglow.Model" },
  { "cglow.Glow", K.opts(with { ["y!"] = shape { 1, 8, 8 }, encoder = K.list(), condition = K.list(),
    head = K.list() }), as = "cglow.Model", refuses = { x = true }, wrong = {
    { label = "an encoder", args = { { y = { 1, 8, 8 }, encoder = { channels = { 2, 2, 2, 2 } } } },
      says = "option 'x' must be a table with an encoder" },
    { label = "a condition", args = { { y = { 1, 8, 8 }, condition = { prior = true } } },
      says = "must be absent without an encoder" },
    { label = "a head", args = { { y = { 1, 8, 8 }, head = { outputs = 1 } } },
      says = "must be absent without an encoder" },
    { label = "x", args = { { x = { 1, 8, 8 }, y = { 1, 8, 8 } } }, says = "option 'x' is not for plain Glow" } } },
  { "Model:parameters", self = same }, { "Model:gradient_parts", self = same },
  { "Model:parameter_count", self = same },
  { "Model:parameter_groups", K.optional(K.num(0.5, { -1 })), self = same },
  { "Model:zero_grad", self = same },
  { "Model:replace", K.opts { ["level!"] = level, ["step!"] = level, ["part!"] = K.word "actnorm", ["cn!"] = network,
    flow = K.object(function() return core.flow.actnorm(4, true) end, "cglow.Squeeze", { { "half a layer",
      function() return { forward = print } end } }) }, self = model, wrong = { { label = "nothing to put there",
      args = { { level = 1, step = 1, part = "actnorm" } } }, { label = "cn of plain Glow",
      self = function() return plain end, args = { { level = 1, step = 1, part = "actnorm", cn = nn.ReLU() } } } } },
  { "Model:log_prob", x_for_y, y, self = same, wrong = { { label = "x for plain Glow",
    self = function() return plain end,
    args = { core.zeros(2, 1, 8, 8), core.zeros(2, 1, 4, 4) } } } },
  { "Model:loss_and_grad", x_for_y, y, K.opts { cell_width = K.num(1, { 0, -1 }), done = K.fn(print) }, self = same },
  { "Model:loss_and_grad", x_for_y, y, K.opts { cell_width = K.num(1, { 0, -1 }),
    head = K.tensor({ 2, 4, 4 }, { { 2, 8, 8 }, { 2, 2, 4, 4 } }), head_weight = K.num(1, { -1, 1e10 }) },
    self = function() return enc end },
  { "Model:head", K.tensor({ 2, 1, 8, 8 }, { { 8 }, { 2, 2, 8, 8 }, { 2, 1, 7, 8 } }), self = function() return enc end,
    wrong = { { label = "without a head", self = same, says = "made without a head",
      args = { core.zeros(2, 1, 8, 8) } } } },
  { "Model:decode", x_for_y, latents, self = same }, { "Model:decode_error", x_for_y, latents, self = same },
  { "Model:condition", x, self = same },
  { "Model:sample", K.also(x, "table"), K.opts { n = many, temperature = temperature,
    pairs = boolean, rng = rng, noise = K.list() }, self = same,
    wrong = {
    { label = "two numbers in the noise", args = function() return core.zeros(1, 1, 8, 8), { noise = { 1, 2 } } end,
      says = "noise: 1 tensors expected, got 2" },
    { label = "noise of another shape", args = function()
      return core.zeros(1, 1, 8, 8), { noise = { core.zeros(2, 4, 2, 2) } }
    end, says = "noise[1]" },
    { label = "noise and a generator", args = function()
      return core.zeros(1, 1, 8, 8), { noise = { core.zeros(1, 4, 2, 2) }, rng = core.Rng(1) }
    end, says = "options 'noise' and 'rng' exclude each other" },
    { label = "noise and pairs", args = function()
      return core.zeros(1, 1, 8, 8), { n = 2, noise = { core.zeros(2, 4, 2, 2) }, pairs = true }
    end, says = "options 'noise' and 'pairs' exclude each other" },
    { label = "another model's condition", args = function() return model():condition(core.zeros(1, 1, 8, 8)) end } } },
  { "Model:predict", x, K.opts { samples = many, temperature = temperature, pairs = boolean, mirror = boolean,
    rng = rng }, self = same },
  { "Model:mode", x, K.opts { mirror = boolean }, self = same },
  { "Model:maximize", x, K.opts { steps = K.int(1, 1), lr = lr, start = K.tensor({ 2, 1, 4, 4 }, { { 4 }, { 1, 1, 4,
    4 },
    { 2, 1, 8, 8 } }) }, self = same },
  { "Model:diagnose", x_for_y, y, self = same },
  { "Model:save", K.str("/nonexistent/x", { "a\0b" }, true), K.opts { tensors = K.list({}, { { "a parameter's name",
    function() return { [m:parameters()[1].name] = core.zeros(1) } end } }), metadata = K.list {} }, self = same },
  { "cglow.precision", K.optional(K.word "fp32") },
  { "cglow.load", dir, K.optional(K.list {}) },
  { "cglow.open", K.optional(dir), K.optional(K.opts { samples = K.int(2, 1, 4096), temperature = K.num(1, { -1 }),
    centre = boolean, mirror = boolean, consensus = boolean, seed = K.int(1, 0), task = K.list {} }) },
  { "Pipeline:predict", picture, K.optional(K.opts { mask = K.str("m.png", { "a\0b" }, true), sigma = sigma }),
    self = opened },
  { "Pipeline:sample", picture, K.optional(K.opts { n = K.int(1, 1, 4096), temperature = K.num(1, { -1 }),
    mask = K.str("m.png", { "a\0b" }, true), sigma = sigma }), self = opened },
  { "Pipeline:score", picture, picture, self = opened },
  { "Pipeline:png", K.list(function() return { picture = core.zeros(3, 4, 4) } end,
    { { "no picture", function() return {} end } }), self = opened },
  { "Chain:forward", K.tensor { 2, 3 }, self = chain, inside = true },
  { "Chain:backward", inside = true, K.tensor({ 2, 3 }, { { 3, 2 } }), self = function()
    local c = chain()
    c:forward(core.zeros(2, 3))
    return c
  end },
  { "Chain:parameters", K.optional(K.str("p.", nil, true)), self = chain },

  { "feedforward.Segmenter", K.opts { precision = K.word "fp32",
    ["x!"] = shape { 1, 8, 8 }, ["classes!"] = K.int(2, 2, 4096),
    channels = K.int(2, 1, 4096),
    depth = K.int(1, 1, 8), rng = rng, y = shape { 2, 8, 8 }, unet = unet },
    wrong = { { label = "a depth beside a U-Net",
      args = { { x = { 1, 8, 8 }, classes = 2, unet = { 2, 2 }, depth = 1 } },
      says = "'depth' makes no difference beside 'unet'" } } },
  { "feedforward.Residual", K.opts { precision = K.word "fp32",
    ["x!"] = shape { 1, 8, 8 }, y = shape { 1, 8, 8 }, channels = K.int(2, 1, 4096),
    depth = K.int(2, 2, 64), target = K.word "clean", rng = rng, unet = unet } },
  { "feedforward.load", dir },
  { "Network:loss", seg_x, seg_y, seg_loss, self = function() return seg end },
  { "Network:loss_and_grad", seg_x, seg_y, seg_loss, self = function() return seg end },
  { "Network:predict", seg_x, self = function() return seg end },
  { "Network:parameters", self = function() return seg end },
  { "Network:parameter_count", self = function() return seg end },
  { "Network:zero_grad", self = function() return seg end },
  { "Network:save", K.str("/nonexistent/x", nil, true), K.optional(K.list {}), self = function() return seg end },
  { "losses.softmax", logits },
  { "losses.cross_entropy", logits, K.object(function() return core.ones(2, 4, 4) end, "cglow.Tensor", {
    { "class 0", function() return core.zeros(2, 4, 4) end }, { "class 4", function() return core.full(2, 4, 4,
      4) end },
    { "class 1.5", function() return core.full(2, 4, 4, 1.5) end }, { "NaN", function() return core.full(2, 4, 4,
      0 / 0) end },
    { "another shape", function() return core.ones(2, 4, 5) end } }), K.opts { mask = K.tensor({ 2, 4, 4 }, { { 4,
      4 } }), gradient = K.tensor({ 2, 3, 4, 4 }, { { 2, 3, 4, 5 } }) } },
  { "losses.squared_error", logits, K.tensor({ 2, 3, 4, 4 }, { { 2, 3, 4, 5 } }), K.opts { mask = K.tensor({ 2, 4, 4 },
    { { 4, 4 } }), gradient = K.tensor({ 2, 3, 4, 4 }, { { 2, 3, 4, 5 } }) } },

  { "cglow.metrics.argmax", K.tensor({ 2, 4, 4 }, { { 4 }, { 4, 4 } }) },
  { "cglow.metrics.binarise", K.tensor({ 2, 4, 4 }, { { 4 }, { 4, 4 } }) },
  { "cglow.metrics.one_hot", labels, K.int(2, 1, 4096) },
  { "cglow.metrics.confusion", K.int(2, 2, 4096), K.opts { ignore = K.int(0) } },
  { "Confusion:add", labels, K.object(function() return core.ones(4, 4) end, "cglow.Tensor", { { "class 0",
    function() return core.zeros(4, 4) end }, { "NaN", function() return core.full(4, 4, 0 / 0) end },
    { "another shape", function() return core.ones(4, 5) end } }), self = confusion },
  { "Confusion:iou", K.int(1, 1, 2), self = confusion },
  { "Confusion:dice", K.int(1, 1, 2), self = confusion }, { "Confusion:mean_dice", self = confusion },
  { "Confusion:mean_iou", self = confusion }, { "Confusion:image_iou", self = confusion },
  { "Confusion:pixel_accuracy", self = confusion },
  { "Confusion:foreground_iou", self = confusion, wrong = { { label = "3 classes", args = {},
    self = function() return cglow.metrics.confusion(3) end } } },
  { "cglow.metrics.superpixel_accuracy", labels, labels_like, labels_like },
  { "cglow.metrics.psnr", K.tensor({ 3, 4, 4 }, { { 4 } }), K.tensor({ 3, 4, 4 }, { { 3, 4, 5 } }),
    K.opts { peak = K.num(1, { 0, -1 }), mask = K.tensor({ 4, 4 }, { { 4 }, { 4, 5 } }) } },
  { "cglow.metrics.ssim", K.tensor({ 3, 12, 12 }, { { 12 }, { 3, 10, 12 } }),
    K.tensor({ 3, 12, 12 }, { { 3, 12, 13 } }), K.opts { peak = K.num(1, { 0, -1 }) } },
  { "cglow.metrics.bits_per_dim", K.also(K.num(1, nil, true), "cglow.Tensor"), K.int(1, 1), K.optional(K.num(1, { 0,
    -1 })) },
  { "cglow.metrics.consensus", K.tensor({ 3, 4, 4 }, { { 4, 4 } }) },
  { "cglow.metrics.diversity", samples },
  { "cglow.metrics.best_of", samples, K.tensor { 1, 4, 4 }, K.fn(function() return 1 end),
    wrong = { { label = "a score that is none", args = { core.ones(2, 1), core.ones(1),
      function() return {} end } } } },
  { "baselines.mean", a_set }, { "baselines.majority", a_set }, { "baselines.zero" }, { "baselines.mean_colour" },
  { "baselines.diffusion" }, { "baselines.median_depth", K.opts { radius = K.int(2, 1, 32) } },

  { "cglow.train.Trainer", K.opts { ["model!"] = K.object(same, "table", { { "half a model", function()
      return { zero_grad = print }
    end } }), ["train!"] = K.object(four, "table", { { "half a set", function() return { size = print } end } }),
      valid = a_set,
    steps = K.int(1, 1), batch = K.int(1, 1), seed = K.int(1, 0), warmup = K.int(0, 0), cooldown = K.int(0, 0),
    accumulate = K.int(1, 1), schedule = K.object("linear", "string function", { { "another word", function()
      return "staircase"
    end } }), fall = K.num(0.5, { 0, -1, 2 }), ema = decay, metric = K.str("nll"), higher = boolean,
    patience = K.int(0, 0), on_validation = K.fn(print), stop = K.fn(print),
    optimizer = K.list {},
    cell_width = K.num(1, { 0, -1 }), validate = K.fn(print), picture = K.fn(print), on_step = K.fn(print),
    log_every = K.int(1, 1), valid_every = K.int(1, 1), checkpoint_every = K.int(1, 1),
    run = K.str("/nonexistent/x", { "a\0b" }, true),
    keep = K.int(1, 1), resume = K.object(false, "boolean"), recover_after = K.int(1, 1), max_refused = K.int(1, 1),
      config = K.list {},
    progress = K.word "quiet", head = K.list(), metadata = K.list(), read_ahead = K.int(0, 0, 64),
    reduce = K.fn(print), world = K.list() }, wrong = {
      { label = "an optimizer's unknown option", says = "unknown option 'speed'",
      args = function() return { model = model(), train = dataset(), optimizer = { speed = 1 } } end },
      { label = "resume without run", says = "needs 'run'", args = function()
        return { model = model(), train = dataset(), resume = true }
      end } } },
  { "Trainer:step_count", self = trainer }, { "Trainer:status", self = trainer },
  { "Trainer:set_lr", lr, self = trainer },
  { "Trainer:stop", K.optional(K.str("enough")), self = trainer }, { "Trainer:state", self = trainer },
  { "cglow.Model", K.any { y = { 1, 4, 4 }, levels = 1, depth = 1, coupling = { width = 4 } }, wrong = {
    { label = "too many channels", args = { { y = { 1 << 20, 8, 8 } } },
      says = "must not lead to more than 4096 channels" } } },
}
return rows
