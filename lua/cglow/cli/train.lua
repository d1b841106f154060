--- The sub-command train.
-- @module cglow.cli.train
local core = require "cglow.core"
local Model = require "cglow.model"
local fail = require "cglow.cli.fail"
local dry_run = require "cglow.cli.dry_run"
local evaluation = require "cglow.tasks.evaluation"
local runfolder = require "cglow.run.folder"
local settings = require "cglow.tasks.settings"
local task_of = require "cglow.tasks.define"
local transform = require "cglow.data.transform"
local train = require "cglow.train"
local version = require "cglow.util.version"

local SHOWN = 6        -- images on the contact sheets
local FLAGS = {"data", "size", "steps", "init", "seed"}

-- A run that is resumed keeps its recipe; those from before there were any followed the paper.
local function recipe_of(args, saved)
  if not args.resume then return args.recipe end
  local recipe = saved.recipe or "paper"
  if args.recipe and args.recipe ~= recipe then
    fail.misuse(("--recipe: the run was started with %s, not %s"):format(recipe, args.recipe))
  end
  return recipe
end

-- The task's defaults, then the resumed run's settings, then the command line.
local function resolve(task, args, saved)
  local s = settings.defaults(task, recipe_of(args, saved))
  s.steps, s.seed = task.steps, 1
  for name, value in pairs(saved) do s[name] = value end
  for _, name in ipairs(FLAGS) do if args[name] ~= nil then s[name] = args[name] end end
  for name, value in pairs(args.config) do s[name] = value end
  s.size = s.size or (s.data and task.size or task.sample_size)
  if not s["encoder.channels"] then s.init = s.init or task.init end
  local idle = settings.idle(args.config, s)
  if idle then fail.misuse(idle) end
  return s
end

local function saved_config(task, args, folder)
  if not args.resume then return {} end
  if not folder:exists() then fail.misuse(("there is no run in %s to resume"):format(folder.path)) end
  local config = fail.must(folder:read_config())
  if config.task ~= task.name then
    fail.misuse(("the run in %s is one of %s"):format(folder.path, tostring(config.task)))
  end
  return config
end

local function data_of(task, s)
  local data = {}
  for _, split in ipairs {"train", "valid"} do
    data[split], data.source = fail.must(task_of.data(task, {
      directory = s.data, split = split, size = s.size, seed = s.seed,
    }))
  end
  return data
end

local function make_model(task, s)
  local options = task_of.model_options(task, s)
  options.rng = core.Rng(s.seed)
  return fail.try(Model.new, options)
end

-- A word for the shell, quoted when it needs to be.
local function word(text)
  if text:match("^[%w_./=:@%%+,-]+$") then return text end
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local function command_line(task, args)
  local words = {"lua5.4", word(arg and arg[0] or task.name)}
  for _, text in ipairs(args.argv) do words[#words + 1] = word(text) end
  return table.concat(words, " ")
end

-- Commands that went on with the run, this one among them.
local function resumed(task, args, saved)
  if not args.resume then return nil end
  local commands = table.move(saved.resumed or {}, 1, #(saved.resumed or {}), 1, {})
  commands[#commands + 1] = command_line(task, args)
  return commands
end

-- What config.json says.
local function describe(task, args, s, model, data, saved)
  return {
    task = task.name, title = task.title, version = version,
    command = saved.command or command_line(task, args), resumed = resumed(task, args, saved), settings = s,
    model = model.config, parameters = model:parameter_count(),
    data = {source = data.source, train = data.train:size(), valid = data.valid:size()},
    machine = core.system.machine(), threads = core.threads(),
    started = saved.started or os.date("!%Y-%m-%dT%H:%M:%SZ"),
  }
end

local function trainer_options(task, args, s, model, data)
  local valid = data.valid
  if s.valid_images > 0 then valid = valid:subset(1, math.min(s.valid_images, valid:size())) end
  local function prediction(indices)
    return {samples = s.samples, rng = core.Rng(s.seed), indices = indices, cell_width = valid.info.cell_width}
  end
  local o, augment = settings.trainer(s), settings.augment(s)
  o.model, o.train, o.valid = model, data.train, valid -- the trainer adds noise to a discrete y
  if augment then
    augment.y = task.augment_y
    o.train = o.train:map(fail.try(transform.augment, augment))
  end
  if model.config.head then o.head = {target = task.head.target, weight = s["head.weight"]} end
  o.validate = function() return evaluation.score(task, model, valid, prediction()) end
  o.picture = function()
    return evaluation.sheet(task, model, valid, prediction(evaluation.spread(valid, SHOWN)))
  end
  o.resume = args.resume or false
  o.progress = args.json and "json" or args.quiet and "quiet" or nil
  return o
end

local function say(args, ...)
  if not (args.quiet or args.json) then print((...):format(select(2, ...))) end
end

local EXIT = {done = 0, stopped = 0, failed = 2, diverged = 1, interrupted = 130}

local function conclude(task, args, folder, outcome)
  if outcome.message and outcome.reason ~= "stopped" then io.stderr:write(task.name, ": ", outcome.message, "\n") end
  if outcome.reason == "stopped" then say(args, "%s", outcome.message) end
  local script = arg and arg[0] or task.name
  if outcome.reason == "interrupted" then
    io.stderr:write(("saved %s; go on with\n  lua5.4 %s train --resume --run %s\n"):format(
      outcome.checkpoint, script, word(folder.path)))
    return outcome.signal == "TERM" and 143 or 130
  end
  if outcome.reason == "done" or outcome.reason == "stopped" then
    say(args, "run folder: %s (report.html, samples/, best.safetensors)", folder.path)
    say(args, "next: lua5.4 %s evaluate --run %s", script, word(folder.path))
  end
  return EXIT[outcome.reason]
end

return function(task, args)
  local folder = runfolder.at(args.run or "runs/" .. task.name)
  local saved = saved_config(task, args, folder)
  local s = resolve(task, args, fail.must(settings.saved(saved)))
  local data = data_of(task, s)
  local model = make_model(task, s)
  local options = trainer_options(task, args, s, model, data)
  if args.dry_run then return dry_run(task, args, model, options) end

  options.run, options.config = folder.path, describe(task, args, s, model, data, saved)
  local trainer = fail.try(train.Trainer, options)
  say(args, "%s: %d images to learn from, %d held out (%s)", task.name, data.train:size(), data.valid:size(),
    data.source)
  say(args, "model: %.1f M parameters, %d threads; run folder: %s", model:parameter_count() / 1e6, core.threads(),
    folder.path)
  return conclude(task, args, folder, trainer:run())
end
