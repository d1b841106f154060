--- The command train: learns a task from a data set.
-- @module cglow.cli.train
local command = require "cglow.cli.command"
local core = require "cglow.core"
local dry_run = require "cglow.cli.dry_run"
local evaluation = require "cglow.tasks.evaluation"
local Model = require "cglow.model"
local runfolder = require "cglow.run.folder"
local settings = require "cglow.tasks.settings"
local task_of = require "cglow.tasks.define"
local training = require "cglow.cli.training"
local transform = require "cglow.data.transform"

local SHOWN <const> = 6 -- images on the contact sheets
local FLAGS <const> = {"data", "size", "steps", "init", "seed"}

-- A run that is resumed keeps its recipe; those from before there were any followed the paper.
local function recipe_of(args, saved)
  if not args.resume then return args.recipe end
  local recipe = saved.recipe or "paper"
  if args.recipe and args.recipe ~= recipe then
    command.misuse(("--recipe: the run was started with %s, not %s"):format(recipe, args.recipe))
  end
  return recipe
end

-- The task's defaults, then the resumed run's settings, then the command line.
local function resolve(task, args, saved)
  local s = settings.defaults(task, recipe_of(args, saved))
  s.steps, s.seed = task.steps, 1
  training.settings(s, saved, args, FLAGS)
  for name, value in pairs(task_of.own_options(task, args)) do s[name] = value end
  for name, value in pairs(args.config) do s[name] = value end
  s.size = s.size or (s.data and task.size or task.sample_size)
  if not s["encoder.channels"] then s.init = s.init or task.init end
  local idle = settings.idle(args.config, s, task)
  if idle then command.misuse(idle) end
  return s
end

local function make_model(task, s)
  local options = task_of.model_options(task, s)
  options.rng = core.Rng(s.seed)
  return command.try(Model.new, options)
end

local function trainer_options(task, args, s, model, sets)
  local valid = sets.valid
  if s.valid_images > 0 then valid = valid:subset(1, math.min(s.valid_images, valid:size())) end
  valid = command.must(valid:usable())
  local function prediction(indices)
    return {samples = s.samples, rng = core.Rng(s.seed), indices = indices, cell_width = valid.info.cell_width}
  end
  local o, augment = settings.trainer(s), settings.augment(s)
  o.model, o.train, o.valid = model, sets.train, valid -- the trainer adds noise to a discrete y
  if augment then
    augment.y = task.augment_y
    o.train = o.train:map(command.try(transform.augment, augment))
  end
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

return function(task, args)
  local folder = runfolder.at(args.run or "runs/" .. task.name)
  local config, saved = training.saved(args, folder, "task", task.name)
  local s = resolve(task, args, saved)
  task = task_of.configured(task, task_of.own_options(task, s))
  local sets = training.sets(task, s)
  local model = make_model(task, s)
  local options = trainer_options(task, args, s, model, sets)
  if args.dry_run then return dry_run(task, args, model, options) end

  options.run = folder.path
  options.config = training.describe({task = task.name, title = task.title}, task.name, args, s, model, sets, config)
  local code = training.run(task.name, args, options, sets)
  if code then return code end
  command.say(args, "run folder: %s (report.html, samples/, best.safetensors)", folder.path)
  command.say(args, "next: %s evaluate --run %s", command.called(task.name), folder.path)
end
