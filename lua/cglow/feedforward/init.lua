--- Feed-forward networks for the same tasks, to compare c-Glow with: composed
-- from the same layers, trained by the same trainer on the same data.
--
-- `Segmenter` says which class each pixel has, `Residual` what noise an image
-- holds or how it looks without. Both have the methods of a model that a trainer
-- and the tasks' evaluation use; where c-Glow averages samples, they have but one
-- answer.
--
--     local net = cglow.feedforward.Segmenter {x = {3, 32, 32}, classes = 3}
--     cglow.train.Trainer {model = net, train = data, optimizer = {lr = 1e-3}}:run()
--     local probabilities = net:predict(x)
-- @module cglow.feedforward
local core = require "cglow.core"
local check = require "cglow.util.check"
local file = require "cglow.model.file"
local losses = require "cglow.nn.losses"
local networks = require "cglow.feedforward.networks"
local options = require "cglow.util.options"
local precision = require "cglow.util.precision"
local seen = require "cglow.model.seen"

local M = {}

-- ---- what the two kinds differ in -------------------------------------------

-- A kind has `check` (of options), `build` (the network), `measure` (loss, its
-- gradient with respect to the network's output, that with respect to y) and
-- `answer` (y from the network's output).
local kinds = {}

local function shape(required)
  return {type = "table", length = 3, each = {type = "integer", min = 1, max = 1 << 20}, required = required}
end

local function integer(default, min, max) return {type = "integer", default = default, min = min, max = max} end

local UNET <const> = {type = "table", each = {type = "integer", min = 1, max = 4096}}

-- A U-Net has channels and a depth of its own.
local function check_unet(fname, given, o)
  if not o.unet then return end
  for _, name in ipairs {"channels", "depth"} do
    if given[name] then error(("%s: option '%s' makes no difference beside 'unet'"):format(fname, name), 3) end
  end
  if #o.unet < 1 or #o.unet > 16 then
    error(("%s: option 'unet' must be a list of 1 to 16 numbers of channels, got %d"):format(fname, #o.unet), 3)
  end
  o.channels, o.depth, o.unet = nil, nil, table.move(o.unet, 1, #o.unet, 1, {})
end

-- A network that halves x's sides so many times.
local function check_sides(fname, o, halvings)
  local unit = 1 << halvings
  if o.x[2] % unit == 0 and o.x[3] % unit == 0 then return end
  error(("%s: with %s height and width must be multiples of %d, got %dx%d"):format(
    fname, o.unet and ("%d scales"):format(#o.unet) or ("depth %d"):format(o.depth), unit, o.x[2], o.x[3]), 4)
end

local function same_size(fname, o)
  if o.y[2] == o.x[2] and o.y[3] == o.x[3] then return end
  error(("%s: option 'y' must have x's height and width, %dx%d, got %dx%d"):format(
    fname, o.x[2], o.x[3], o.y[2], o.y[3]), 4)
end

-- y is as large as x, or x's middle.
local function same_or_middle(fname, o)
  local h, w = o.x[2] - o.y[2], o.x[3] - o.y[3]
  if h < 0 or w < 0 or h % 2 + w % 2 > 0 then
    error(("%s: option 'y' must have x's height and width, %dx%d, or be x's middle, got %dx%d"):format(
      fname, o.x[2], o.x[3], o.y[2], o.y[3]), 4)
  end
  if h + w > 0 and o.target == "clean" then
    error(("%s: option 'target' must be \"residual\" where y is x's middle, got \"clean\""):format(fname), 4)
  end
end

-- Is y one mask in equal channels, rather than a channel for each class?
local function is_mask(config) return config.y[1] ~= config.classes end

kinds.Segmenter = {
  options = {
    x = shape(true), y = shape(), classes = {type = "integer", required = true, min = 2, max = 4096},
    channels = integer(32, 1, 4096), depth = integer(3, 1, 8), unet = UNET, rng = {type = "rng"},
    precision = precision.OPTION,
  },
}

function kinds.Segmenter.check(fname, o)
  o.y = o.y or {o.classes, o.x[2], o.x[3]}
  same_size(fname, o)
  if is_mask(o) and o.classes ~= 2 then
    error(("%s: option 'y' must have one channel for each of %d classes, got %d"):format(fname, o.classes, o.y[1]), 3)
  end
  check_sides(fname, o, o.unet and #o.unet - 1 or o.depth)
end

function kinds.Segmenter.build(c, budget)
  return networks[c.unet and "unet" or "encoder_decoder"] {
    inputs = c.x[1], outputs = c.classes, channels = c.unet or c.channels, depth = c.depth, budget = budget,
  }
end

-- The class of each pixel, N×H×W. Noise within y's cells changes none.
local function classes_of(config, y, cell_width)
  if not is_mask(config) then return y:argmax(2) end
  return y:mean(2):gt(cell_width / 2):add(1)
end

function kinds.Segmenter.measure(config, out, _, y, o)
  return losses.cross_entropy(out, classes_of(config, y, o.cell_width), {mask = o.mask})
end

function kinds.Segmenter.answer(config, out)
  local probabilities = losses.softmax(out)
  if not is_mask(config) then return probabilities end
  local inside, copies = probabilities:narrow(2, 2, 1), {}
  for c = 1, config.y[1] do copies[c] = inside end
  return core.cat(copies, 2)
end

kinds.Residual = {
  options = {
    x = shape(true), y = shape(), channels = integer(32, 1, 4096), depth = integer(8, 2, 64), unet = UNET,
    target = {type = "string", default = "residual", one_of = {"residual", "clean"}}, rng = {type = "rng"},
    precision = precision.OPTION,
  },
}

function kinds.Residual.check(fname, o)
  o.y = o.y or {o.x[1], o.x[2], o.x[3]}
  same_or_middle(fname, o)
  if o.unet then check_sides(fname, o, #o.unet - 1) end
  if o.target == "clean" and o.y[1] > o.x[1] then
    error(("%s: option 'y' may have at most x's %d channels, from which the residual is taken, got %d"):format(
      fname, o.x[1], o.y[1]), 3)
  end
end

function kinds.Residual.build(c, budget)
  local net = networks[c.unet and "unet" or "stack"] {
    inputs = c.x[1], outputs = c.y[1], channels = c.unet or c.channels, depth = c.depth, budget = budget,
  }
  if c.y[2] == c.x[2] and c.y[3] == c.x[3] then return net end
  return networks.middle(net, c.y[2], c.y[3])
end

-- For a clean y the residual is x − y, so y is x's first channels less the output.
function kinds.Residual.answer(config, out, x)
  if config.target == "residual" then return out:clone() end
  return x:narrow(2, 1, config.y[1]) - out
end

function kinds.Residual.measure(config, out, x, y, o)
  local loss, slope = losses.squared_error(kinds.Residual.answer(config, out, x), y, {mask = o.mask})
  return loss, config.target == "residual" and slope or -slope, -slope
end

-- ---- what they share ---------------------------------------------------------

local Network = {}
Network.__index = Network
Network.__name = "cglow.feedforward"

local function new(kind, opts, budget)
  local fname = "feedforward." .. kind
  local o = options.check(fname, opts, kinds[kind].options)
  check_unet(fname, opts, o)
  kinds[kind].check(fname, o)
  local rng = o.rng or core.rng()
  o.rng = nil
  o.precision = o.precision or precision.lasting()
  local _ <close> = precision.during(o.precision)
  o.x, o.y = table.move(o.x, 1, 3, 1, {}), table.move(o.y, 1, 3, 1, {}) -- the caller's may change
  local self = setmetatable({kind = kind, config = o, net = kinds[kind].build(o, budget)}, Network)
  if not budget then networks.start(self.net, rng) end -- else a file has the parameters
  self.parameter_list = self.net:parameters ""
  return self
end

--- A network for segmentation: an encoder and decoder with skip connections,
-- trained with softmax cross-entropy.
-- @tparam table opts
--
-- * `x` = {C, H, W} of the image, `classes` (required); H and W divisible by 2^depth
-- * `y` = {C, H, W} of the output: a channel for each class, 1 where a pixel has
--   that class and 0 elsewhere (the default); or, with two classes, any other number of
--   equal channels that hold the mask of the second class
-- * `channels` (32) at full size, doubled at each of `depth` (3) halvings; or
-- * `unet` = {c1, c2, …}: in place of that network the U-Net that a flow may have for its
--   encoder (`cglow.Model`), with so many channels at 1, 1/2, … of the size
-- * `precision` = "fp32" | "bf16", see `cglow.precision` (the one in force)
-- * `rng`: the generator that starts the parameters (the default one)
-- @treturn Network whose `predict` gives probabilities in y's layout, and whose
-- loss is the cross-entropy in nats per pixel
function M.Segmenter(opts) return new("Segmenter", opts) end

--- A network that restores an image by predicting what is to be taken off it,
-- trained with the squared error.
-- @tparam table opts
--
-- * `x` = {C, H, W} of the image (required), `y` of the output (x's shape), which may have fewer
--   rows and columns, an even number of each: then it is x's middle
-- * `target` = "residual": y is what is to be taken off x, such as noise; or
--   "clean": y is x's first channels without it, of x's size
-- * `channels` (32), `depth` (8): that many 3×3 convolutions; or
-- * `unet` = {c1, c2, …}, as for `Segmenter`
-- * `precision` = "fp32" | "bf16", see `cglow.precision` (the one in force)
-- * `rng`: the generator that starts the parameters (the default one)
-- @treturn Network whose loss is the mean squared error per number of y
function M.Residual(opts) return new("Residual", opts) end

local function check_x(fname, self, x, up)
  check.shape(fname, "x", x, {"N", table.unpack(self.config.x)}, up)
end

local LOSS = {cell_width = {type = "number", default = 1, above = 0}, mask = {type = "tensor"}}

-- The network's output, and the loss with its gradients.
local function measure(fname, self, x, y, opts)
  local o = options.check(fname, opts, LOSS, 1)
  check_x(fname, self, x, 2)
  check.shape(fname, "y", y, {x:size(1), table.unpack(self.config.y)}, 1)
  if o.mask then
    check.shape(fname, "option 'mask'", o.mask, {x:size(1), self.config.y[2], self.config.y[3]}, 1)
  end
  return kinds[self.kind].measure(self.config, self.net:forward(x), x, y, o)
end

-- Why a batch gives no step, if it does not.
local function refusal(self, x, y, loss)
  if not x:isfinite() then return "x is not finite" end
  if not y:isfinite() then return "y is not finite" end -- unseen by the loss of a discrete y
  if loss - loss == 0 then return nil end
  local first
  self.net:trace(x, function(name, out) first = first or not out:isfinite() and name end)
  return "loss is not finite; the first layer to blame is " .. (first or "the loss")
end

--- The mean loss over a batch.
-- @tparam Tensor x N×C×H×W
-- @tparam Tensor y N×C×H×W; noise within the cells of a discrete y does no harm
-- @tparam[opt] table opts
--
-- * `mask`: N×H×W, 1 for the pixels of y that count and 0 for the others
-- * `cell_width` (1): a mask in y is 0 or this; no other y is read by it
-- @treturn number
function Network:loss(x, y, opts)
  return (measure("Network:loss", self, x, y, opts))
end

--- The loss, and its gradient: adds to every parameter's gradient.
-- @tparam Tensor x
-- @tparam Tensor y
-- @tparam[opt] table opts as for `loss`
-- @treturn number loss; nil when x, y or the loss is not finite
-- @treturn Tensor of a Residual: d loss/d y (a Segmenter's y is discrete); or a
-- message that names what is not finite, or the first layer whose result is not,
-- and no gradient has changed
function Network:loss_and_grad(x, y, opts)
  local loss, dout, dy = measure("Network:loss_and_grad", self, x, y, opts)
  local why = refusal(self, x, y, loss)
  if why then return nil, why end
  self.net:backward(dout, false)
  seen.note(self, x)
  return loss, dy
end

--- The network's one answer for each x.
-- @tparam Tensor x N×C×H×W
-- @treturn Tensor N×C×H×W, in y's layout
function Network:predict(x)
  check_x("Network:predict", self, x, 1)
  seen.tell(self, "Network:predict", x)
  return kinds[self.kind].answer(self.config, self.net:forward(x), x)
end

--- All parameters.
-- @treturn {Param,...}
function Network:parameters() return self.parameter_list end

--- How many numbers the parameters hold.
-- @treturn int
function Network:parameter_count()
  local n = 0
  for _, p in ipairs(self.parameter_list) do n = n + p.value:count() end
  return n
end

--- Every gradient counts as zero from now on.
function Network:zero_grad()
  core.zero_grad(self.parameter_list)
end

-- ---- files -------------------------------------------------------------------

--- Write parameters and configuration as a safetensors file.
-- @string path
-- @tparam[opt] table extra `tensors` and `metadata` to write beside them, which
-- `load` ignores
-- @return true, or nil, message, code
function Network:save(path, extra)
  local config = {kind = self.kind}
  for key, value in pairs(self.config) do config[key] = value end
  if config.precision == "fp32" then config.precision = nil end -- there was no other once
  local ok, message, code = file.write("Network:save", self, path, config, {}, extra)
  if ok then return true end
  return nil, message, code
end

local function build(path, config, tensors)
  local kind = kinds[config.kind] and config.kind
  if not kind then
    return nil, ("%s: not a feed-forward network, but of kind %s"):format(path, options.show(config.kind))
  end
  config.kind = nil
  config.precision = config.precision or "fp32"
  local ok, network = pcall(new, kind, config, file.budget(tensors))
  if not ok then return nil, ("%s: %s"):format(path, network) end
  return network
end

--- Read a network.
-- @string path
-- @treturn Network or nil, message, code
-- @treturn {[string]=Tensor} all tensors of the file
-- @treturn {[string]=string} its metadata
function M.load(path)
  options.arg("feedforward.load", 1, "path", path, {type = "string", path = true})
  local tensors, config, metadata = file.read(path, "a network")
  if not tensors then return nil, config, metadata end
  local ok
  local network, why = build(path, config, tensors)
  if not network then return nil, why end
  ok, why = file.fill(network, tensors, metadata)
  if not ok then return nil, ("%s: %s"):format(path, why) end
  return network, tensors, metadata
end

-- ---- at the prompt -----------------------------------------------------------

function Network:__tostring()
  local c = self.config
  local lines = {("cglow.feedforward.%s  x %s -> y %s, %d parameters"):format(
    self.kind, table.concat(c.x, "x"), table.concat(c.y, "x"), self:parameter_count())}
  for _, piece in ipairs(self.net.pieces) do
    local layers = tostring(piece.net):gsub("^cglow%.Net%s*", ""):gsub("\n%s*", ", "):gsub("[%w_]+: ", "")
    lines[#lines + 1] = ("  %-10s %s"):format(piece.name, layers)
  end
  return table.concat(lines, "\n")
end

check.class("feedforward", Network, "net")

return M
