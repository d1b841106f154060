--- The command train: learns a task from a data set.
-- @module cglow.cli.train
local command = require "cglow.cli.command"
local core = require "cglow.core"
local dry_run = require "cglow.cli.dry_run"
local evaluation = require "cglow.tasks.evaluation"
local format = require "cglow.run.format"
local identity = require "cglow.tasks.identity"
local given = require "cglow.cli.given"
local init_from = require "cglow.cli.init_from"
local memory = require "cglow.train.memory"
local Model = require "cglow.model"
local runfolder = require "cglow.run.folder"
local settings = require "cglow.tasks.settings"
local task_of = require "cglow.tasks.define"
local training = require "cglow.cli.training"
local ways = require "cglow.tasks.ways"

local SHOWN <const> = 6 -- images on the contact sheets
local FLAGS <const> = {"data", "size", "steps", "init", "seed"}

-- A run that is resumed keeps its recipe, and so do settings from a file; those from before there were any
-- followed the paper.
-- One that begins with the weights of another model has the recipe for its kind.
local function recipe_of(args, saved, source)
  if source then return args.recipe or source.config.encoder and "encoder" or "paper" end
  if not next(saved) then return args.recipe end
  local recipe = saved.recipe or "paper"
  if args.recipe and args.recipe ~= recipe then
    command.misuse(("--recipe: the run%s was started with %s, not %s"):format(args.resume and "" or " of --config",
      recipe, args.recipe))
  end
  return recipe
end

-- The task's defaults, then what the model needs whose weights are taken, then the resumed
-- run's settings, then the command line and what the task has settled for its own options.
local function resolve(task, args, saved, source, own)
  local s = settings.defaults(task, recipe_of(args, saved, source))
  s.steps, s.seed = task.steps, 1
  if source then
    for name, value in pairs(settings.of_model(source.config)) do s[name] = value end
  end
  training.settings(s, saved, args, FLAGS)
  for name, value in pairs(own) do s[name] = value end
  for name, value in pairs(args.config) do s[name] = value end
  s.size = s.size or (s.data and task.size or task.sample_size)
  if not s["encoder.channels"] then s.init = s.init or task.init end
  local idle = settings.idle(args.config, s, task)
  if idle then command.misuse(idle) end
  return s
end

local function make_model(task, s, source)
  local options = task_of.model_options(task, s)
  options.rng = core.Rng(s.seed)
  local ok, model = pcall(Model.new, options, memory.most_parameters())
  if not ok and tostring(model):find("numbers that are left", 1, true) then
    command.misuse(("the parameters alone need more memory than the machine's %s"):format(
      format.bytes(core.system.machine().memory)))
  end
  model = command.try(function() return ok and model or error(model, 0) end)
  if source then init_from.fill(model, source) end
  return model
end

local function trainer_options(task, args, s, model, sets)
  local valid = sets.valid
  if s.valid_images > 0 then valid = valid:subset(1, math.min(s.valid_images, valid:size())) end
  valid = command.must(valid:usable())
  local function prediction(indices)
    return {samples = s.samples, rng = core.Rng(s.seed), indices = indices, cell_width = valid.info.cell_width,
      most = s.batch} -- so that a validation has no more pictures in memory than a step
  end
  local o = settings.trainer(s)
  o.model, o.valid = model, valid -- the trainer adds noise to a discrete y
  o.train = training.augmented(task, s, sets.train)
  if model.config.head then o.head = {target = task.head.target, weight = s["head.weight"]} end
  o.validate = function(_, _, world)
    local how = prediction()
    how.world = world
    return evaluation.score(task, model, valid, how)
  end
  o.picture = function()
    return evaluation.sheet(task, model, valid, prediction(evaluation.spread(valid, SHOWN)))
  end
  o.resume = args.resume or false
  o.progress = args.json and "json" or args.quiet and "quiet" or nil
  return o
end

local function count_memory(task, s, model, sets)
  return memory.count {
    make = function(size)
      local small = setmetatable({size = size}, {__index = s})
      return task_of.model_options(task, small)
    end,
    size = s.size, parameters = model:parameter_count(), batch = s.batch, ema = s.ema > 0,
    draw = function(of, x, n) ways.draw(of, x, {samples = n, rng = core.Rng(s.seed)}) end,
    samples = s.samples, at_once = evaluation.pictures_at_once(s.samples, s.size * s.size, s.batch),
    kept = sets.train:size() + sets.valid:size(),
  }
end

return function(task, args)
  local folder = runfolder.at(args.run or "runs/" .. task.name)
  local config, saved = training.saved(args, folder, "task", task.name)
  local source = init_from.of(args, folder, config, true)
  local own = command.must(task_of.settle(task, task_of.own_options(task, args, saved),
    args.skip_damaged or saved.skip_damaged))
  task = command.try(task_of.configured, task, own)
  local s = resolve(task, args, saved, source, own)
  if args.resume then given.check_resumed(s, saved) end
  local sets = training.sets(task, s)
  if args.resume then training.check_data(config, sets) end
  local model = make_model(task, s, source)
  local function make_options() return trainer_options(task, args, s, model, sets) end
  if args.dry_run then return dry_run(args, model, make_options, count_memory(task, s, model, sets)) end
  local options = make_options()

  options.run, options.metadata = folder.path, {task = identity.text(task, s)}
  options.config = training.describe({
    task = task.name, title = task.title, pictured = task.pictured and task.pictured.note,
    init_from = init_from.describe(source, config),
  }, args, s, model, sets, config)
  init_from.tell(args, source)
  local code = training.run(task.name, args, options, sets)
  if code then return code end
  command.say(args, "run folder: %s (report.html, samples/, best.safetensors)", folder.path)
  command.say(args, "next: %s evaluate --run %s", command.called(), command.word(folder.path))
end
