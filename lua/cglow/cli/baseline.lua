--- The command baseline: trains a feed-forward network for one of the tasks, with
-- its data and the same trainer, and prints its score beside those of answers that
-- need no learning.
-- @module cglow.cli.baseline
local command = require "cglow.cli.command"
local console = require "cglow.util.console"
local core = require "cglow.core"
local count_of = require "cglow.util.count"
local evaluation = require "cglow.tasks.evaluation"
local feedforward = require "cglow.feedforward"
local format = require "cglow.run.format"
local image = require "cglow.image"
local init_from = require "cglow.cli.init_from"
local launch = require "cglow.cli.launch"
local json = require "cglow.util.json"
local parser = require "cglow.cli.parser"
local runfolder = require "cglow.run.folder"
local settings = require "cglow.tasks.settings"
local training = require "cglow.cli.training"

local SHOWN = 6         -- images on the contact sheet
local VALID_IMAGES = 64 -- held-out images in a validation during training

local function segmenter(options, data)
  options.classes = #data.info.classes
  return feedforward.Segmenter(options)
end

-- Both y are residuals: the noise, and the correction to the depth.
local function residual(options) return feedforward.Residual(options) end

-- Settings of the plain networks are for two cores and a few minutes at the task's own size. The hole of a photograph
-- is wider than what a plain network of convolutions at full size sees.
local NETWORKS = {
  binary_segmentation = {make = segmenter, steps = 1000, batch = 8, channels = 32, depth = 3},
  multiclass_segmentation = {make = segmenter, steps = 1000, batch = 8, channels = 32, depth = 3},
  denoising = {make = residual, steps = 1000, batch = 2, channels = 32, depth = 8},
  depth_refinement = {make = residual, steps = 1000, batch = 2, channels = 32, depth = 8},
  inpainting = {make = residual},
}
local TASKS = {"binary_segmentation", "multiclass_segmentation", "denoising", "depth_refinement", "inpainting"}

local FLAGS <const> = {"data", "size", "steps", "batch", "channels", "depth", "lr", "seed", "net"}
local OF_PLAIN <const> = {"steps", "batch", "channels", "depth"}

-- The U-Net is the encoder of the recipe of that name, trained as the recipe says, so that
-- nothing but the flow is the difference to a flow with an encoder.
local function unet_settings(task, args)
  for _, name in ipairs {"channels", "depth"} do
    if args[name] then command.misuse(("--%s makes no difference beside --net unet"):format(name)) end
  end
  local s = settings.defaults(task, "encoder")
  s.steps, s.lr, s.depth = task.steps, s["optimizer.lr"], nil
  return s
end

local function plain_settings(task)
  local s = {lr = 1e-3}
  for _, name in ipairs(OF_PLAIN) do s[name] = NETWORKS[task.name][name] end
  return s
end

-- Which kind of network, "plain" or "unet": as asked for, else that of the weights that are taken.
local function kind_of(task, args, saved, source)
  local has_plain = NETWORKS[task.name].steps ~= nil
  local of_source = source and (source.config.unet and "unet" or "plain")
  local net = args.net or saved.net or of_source or (has_plain and "plain" or "unet")
  if of_source and net ~= of_source then
    command.misuse(("--net: %s is of the kind %s, got %s"):format(source.path, of_source, net))
  end
  if net == "plain" and not has_plain then
    command.misuse "for inpainting there is --net unet alone, since a plain network does not see across the hole"
  end
  return net
end

local function settings_of(task, args, saved, source)
  local net = kind_of(task, args, saved, source)
  local s = net == "unet" and unet_settings(task, args) or plain_settings(task)
  if source then
    local from = source.config
    s["encoder.channels"], s.channels, s.depth = from.unet, from.channels or s.channels, from.depth or s.depth
  end
  s.size, s.seed, s.net = task.size, 1, net
  return training.settings(s, saved, args, FLAGS)
end

local function first(data, count) return data:subset(1, math.min(count, data:size())) end

local function make_network(task, s, data, source)
  local options = {x = task.x(s.size), y = task.y(s.size), channels = s.channels, depth = s.depth,
    unet = s["encoder.channels"], rng = core.Rng(s.seed)}
  local network = command.try(NETWORKS[task.name].make, options, data)
  if source then init_from.fill(network, source) end
  return network
end

local function prediction(data) return {samples = 1, shown = 0, indices = evaluation.spread(data, SHOWN)} end

-- The recipe's training, or a constant step size.
local function recipe(task, s, sets)
  if s.net ~= "unet" then
    return {steps = s.steps, batch = s.batch, seed = s.seed, optimizer = {lr = s.lr}}, sets.train
  end
  local o = settings.trainer(s)
  o.optimizer.lr = s.lr
  return o, training.augmented(task, s, sets.train)
end

local function trainer_options(task, args, s, network, sets)
  local valid = command.must(first(sets.valid, VALID_IMAGES):usable())
  local o, data = recipe(task, s, sets)
  o.model, o.train, o.valid, o.resume = network, data, valid, args.resume or false
  o.progress = args.json and "json" or args.quiet and "quiet" or nil
  o.validate = function(_, _, world) return evaluation.score(task, network, valid, {samples = 1, world = world}) end
  o.picture = function() return evaluation.sheet(task, network, valid, prediction(valid)) end
  return o
end

local function measure(task, network, data, train_data)
  local results = {}
  for _, baseline in ipairs(task.baselines(train_data)) do
    results[#results + 1] = {name = baseline.name, metrics = evaluation.score_baseline(task, baseline.predict, data)}
  end
  results[#results + 1] = {name = "feed-forward", metrics = evaluation.score(task, network, data, {samples = 1})}
  return results
end

local function report(task, args, s, folder, train_data)
  if launch.rank() > 0 then return end
  local path = folder:file "best.safetensors"
  local network = command.must(feedforward.load(path))
  local data, source = training.data(task, s, args.split or "valid")
  if args.limit then data = first(data, args.limit) end
  data = command.must(data:usable())
  local results, sheet = measure(task, network, data, train_data), folder:file "evaluation.png"
  command.must(image.save(sheet, evaluation.sheet(task, network, data, prediction(data))))
  if args.json then
    console.say(json.encode({task = task.name, model = path, images = data:size(), results = results, sheet = sheet},
      {not_finite = "null"}))
    return
  end
  command.say(args, "%s: %s (%s)", path, count_of(data:size(), "held-out image"), source)
  for _, row in ipairs(results) do command.say(args, "  %-20s %s", row.name, format.metrics(row.metrics)) end
  command.say(args, "pictures: %s", sheet)
end

return function(argv)
  local args = command.parse(parser.baseline(TASKS), argv)
  local task = require("cglow.tasks." .. args.task)
  local folder = runfolder.at(args.run or "runs/baseline_" .. task.name)
  local config, saved = training.saved(args, folder, "baseline", task.name)
  local source = init_from.of(args, folder, config, false)
  local s = settings_of(task, args, saved, source)
  core.seed(s.seed)
  local sets = training.sets(task, s)
  local network = make_network(task, s, sets.train, source)
  local options = trainer_options(task, args, s, network, sets)
  options.run = folder.path
  options.config = training.describe({
    baseline = task.name, title = ("Feed-forward baseline of %s"):format(task.name),
    init_from = init_from.describe(source, config),
  }, args, s, network, sets, config)
  init_from.tell(args, source)
  local code = training.run("baseline", args, options, sets)
  if code then return code end
  report(task, args, s, folder, sets.train)
end
