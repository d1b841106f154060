--- What the commands that train share, `train` and `baseline`: from the settings to
-- the exit code.
-- @module cglow.cli.training
local bytes = require "cglow.util.bytes"
local command = require "cglow.cli.command"
local console = require "cglow.util.console"
local core = require "cglow.core"
local count_of = require "cglow.util.count"
local given = require "cglow.cli.given"
local launch = require "cglow.cli.launch"
local notice = require "cglow.util.notice"
local settings = require "cglow.tasks.settings"
local task_of = require "cglow.tasks.define"
local train = require "cglow.train"
local transform = require "cglow.data.transform"
local version = require "cglow.util.version"

local M = {}

local EXIT <const> = {failed = 2, diverged = 1, interrupted = command.INTERRUPTED}

--- The configuration of a run; it must be of this kind.
-- @param folder from `cglow.run.folder`
-- @tparam string field of the configuration that names the task: "task" or "baseline"
-- @tparam string name of the task
-- @treturn table
function M.config_of(folder, field, name)
  local config = command.must(folder:read_config())
  if config[field] ~= name then
    local other = tostring(config.task or config.baseline and "baseline of " .. tostring(config.baseline))
    command.misuse(("the run in %s is no %s%s: it is one of %s"):format(folder.path,
      field == "baseline" and "baseline of " or "run of ", name, other))
  end
  return config
end

--- The configuration of the run that --resume goes on with, and its settings; for a new run an
-- empty table, and the settings of the file that --config names.
function M.saved(args, folder, field, name)
  if args.config_file and args.resume then
    command.misuse "--config: a run that is resumed has settings of its own; NAME=VALUE may change some of them"
  end
  if not args.resume then return {}, args.config_file and given.from_file(args.config_file, name) or {} end
  local config = launch.shared(function()
    if not folder:exists() then command.misuse(("there is no run in %s to resume"):format(folder.path)) end
    return M.config_of(folder, field, name)
  end)
  return config, (command.must(settings.saved(config)))
end

--- Settings: the defaults, then the resumed run's, then the command line's.
-- @tparam table defaults changed and returned
-- @tparam table saved
-- @tparam table args
-- @tparam {string,...} flags names of options that are settings
function M.settings(defaults, saved, args, flags)
  for name, value in pairs(saved) do defaults[name] = value end
  for _, name in ipairs(flags) do if args[name] ~= nil then defaults[name] = args[name] end end
  if args.skip_damaged then defaults.skip_damaged = true end
  return defaults
end

--- A part of the task's data, as the settings name it.
-- @tparam table task
-- @tparam table s settings
-- @tparam string split
-- @treturn Dataset
-- @treturn string where it comes from
function M.data(task, s, split)
  local o = task_of.own_options(task, s)
  o.directory, o.split, o.size, o.seed, o.skip_damaged = s.data, split, s.size, s.seed, s.skip_damaged
  return command.must(task_of.data(task, o))
end

--- The sets that training needs: `train`, `valid` and `source`, where they come from.
function M.sets(task, s)
  local sets = {}
  for _, split in ipairs {"train", "valid"} do sets[split], sets.source = M.data(task, s, split) end
  return sets
end

-- What is trained on, in words.
local function in_words(count, source) return ("%s (%s)"):format(count_of(count, "image"), source) end

--- Is the data of a resumed run that which it was started with? Ends the command when there is another number of
-- images, and tells when they come from elsewhere.
-- @tparam table config the run's configuration
-- @tparam table sets from `sets`
function M.check_data(config, sets)
  local before = config.data
  if type(before) ~= "table" or math.type(before.train) ~= "integer" or type(before.source) ~= "string" then return end
  if before.train ~= sets.train:size() then
    command.misuse(("--resume: the run learns from %s, not from %s; another run can begin with its weights: "
      .. "--init-from"):format(in_words(before.train, before.source), in_words(sets.train:size(), sets.source)))
  end
  if before.source ~= sets.source then
    notice.notify(("the run goes on with the images of %s in place of %s"):format(sets.source, before.source))
  end
end

--- Training data, varied as the settings say.
-- @tparam table task
-- @tparam table s settings
-- @tparam Dataset data
-- @treturn Dataset
function M.augmented(task, s, data)
  local augment = settings.augment(s)
  if not augment then return data end
  augment.y = task.augment_y
  return data:map(command.try(transform.augment, augment))
end

local function command_line(args)
  local words = {command.called()}
  for _, text in ipairs(args.argv) do words[#words + 1] = command.word(text) end
  return table.concat(words, " ")
end

--- What config.json says.
-- @tparam table config what is the command's own: `title`, and `task` or `baseline`
-- @tparam table args
-- @tparam table s settings
-- @param model
-- @tparam table sets from `sets`
-- @tparam table saved the resumed run's configuration
-- @treturn table
function M.describe(config, args, s, model, sets, saved)
  local line = command_line(args)
  config.version, config.settings, config.command = version, s, saved.command or line
  config.model, config.parameters = model.config, model:parameter_count()
  config.data = {source = sets.source, train = sets.train:size(), valid = sets.valid:size()}
  config.machine, config.threads, config.ranks = core.system.machine(), core.threads(), launch.world().size
  config.started = saved.started or os.date "!%Y-%m-%dT%H:%M:%SZ"
  if args.resume then -- all commands that went on with the run, this one among them
    config.resumed = table.move(saved.resumed or {}, 1, #(saved.resumed or {}), 1, {})
    table.insert(config.resumed, line)
  end
  return config
end

local function say_left_out(name, sets)
  local seen, list = {}, {}
  for _, set in ipairs {sets.train, sets.valid} do
    for _, message in ipairs(set:left_out()) do
      if not seen[message] then list[#list + 1] = message end
      seen[message] = true
    end
  end
  if #list == 0 then return end
  bytes.sort(list)
  console.tell(("%s: %s left out:\n  %s"):format(name, count_of(#list, "image was", "images were"),
    table.concat(list, "\n  ")))
end

--- Train, and say what came of it.
-- @tparam string name of the command
-- @tparam table args
-- @tparam table options of the trainer, with `run` and `config`
-- @tparam table sets
-- @treturn ?integer exit code; nil when training came to its end
function M.run(name, args, options, sets)
  options.world = launch.mpi()
  local trainer = command.try(train.Trainer, options)
  command.say(args, "%s: %s to learn from, %d held out (%s)", name, count_of(sets.train:size(), "image"),
    sets.valid:size(), sets.source)
  local ranks = launch.world().size
  command.say(args, "model: %s parameters, %s%s; run folder: %s",
    bytes.number("%.2f M", options.model:parameter_count() / 1e6),
    ranks > 1 and ranks .. " ranks of " or "", count_of((core.threads()), "thread"), options.run)
  local outcome = trainer:run()
  say_left_out(name, sets)
  if outcome.reason == "done" then return nil end
  if outcome.reason == "stopped" then return command.say(args, "%s", outcome.message) end
  console.tell(name .. ": " .. outcome.message)
  if outcome.reason ~= "diverged" and outcome.began and outcome.checkpoint then
    console.tell(("saved %s; go on with\n  %s --resume --run %s"):format(outcome.checkpoint,
      command.called() .. (args.command and " " .. args.command or " " .. args.task), command.word(options.run)))
  end
  return outcome.signal == "TERM" and command.TERMINATED or EXIT[outcome.reason]
end

return M
