--- The command line: the commands of the task scripts and the program `cglow`.
--
--     require("cglow.cli").main(cglow.task.define {name = …}, arg)
--
-- makes a script with the commands train, evaluate, predict, sample and score. What the
-- user got wrong is answered with one line and exit code 2; a run that failed ends
-- with 1, one that was interrupted with 130 (SIGINT) or 143 (SIGTERM).
-- @module cglow.cli
local command = require "cglow.cli.command"
local console = require "cglow.util.console"
local lfs = require "lfs"
local folder_names = require "cglow.util.folder_names"
local known = require "cglow.tasks.known"
local notice = require "cglow.util.notice"
local parser = require "cglow.cli.parser"
local path = require "cglow.util.path"
local settings = require "cglow.tasks.settings"
local task_of = require "cglow.tasks.define"
local task_of_run = require "cglow.cli.task_of_run"
local version = require "cglow.util.version"
local sort_by_bytes = require("cglow.util.bytes").sort

local M = {}

local TASKS <const> = known.names

-- Commands of a task that the program has, too: then the run or the model file says which task.
local OF_RUNS <const> = {"evaluate", "predict", "sample", "score"}

-- Commands of the program besides the tasks and the example scripts.
local COMMANDS <const> = {
  {"evaluate", "Measure the model of a run (--run DIR), or the pretrained one"},
  {"predict", "Answers of such a model for files"},
  {"sample", "Samples of such a model on a contact sheet"},
  {"score", "How likely pairs are by such a model, and how unusual that is"},
  {"baseline", "A feed-forward network for one of the tasks, to hold c-Glow's figures against"},
  {"report", "A report of a training run, or of several to compare, as one HTML page"},
}

-- ---- a task's commands -----------------------------------------------------

local function parse_config(args)
  local config = {}
  for _, text in ipairs(args.config or {}) do
    local name, value = settings.parse(text)
    if not name and lfs.attributes(text, "mode") == "file" then
      if args.config_file then
        command.misuse(("--config: one file expected, got %s and %s"):format(args.config_file, text))
      end
      args.config_file = text
    elseif not name then command.misuse(value)
    else config[name] = value end
  end
  args.config = config
end

local function wants_settings(args)
  for _, text in ipairs(args.config or {}) do
    if text == "help" then return true end
  end
end

-- The task as it would be trained: what pairs are decides about some defaults.
local function as_told(task, args)
  local own = task_of.own_options(task, args)
  return command.try(task_of.configured, task, task_of.settle(task, own, args.skip_damaged) or own)
end

local function execute(task, argv)
  local args = command.parse(parser.task(task), argv)
  if wants_settings(args) then
    console.say(settings.describe(as_told(task, args), args.recipe))
    return 0
  end
  parse_config(args)
  return require("cglow.cli." .. args.command)(task, args)
end

--- Run one of a task's commands.
-- @tparam table task from `cglow.task.define`
-- @tparam {string,...} argv
-- @treturn integer exit code
function M.run(task, argv) return command.run(task.name, execute, task, argv) end

--- Run one of a task's commands and leave the process.
-- @tparam table task from `cglow.task.define`
-- @tparam {string,...} argv
function M.main(task, argv) os.exit(M.run(task, argv), true) end

-- ---- the program -----------------------------------------------------------

local function member(list, name)
  for _, entry in ipairs(list) do
    if entry == name or entry[1] == name then return true end
  end
  return false
end

-- The first sentence of the comment that opens a script.
local function summary(file)
  local text = {}
  for line in io.lines(file) do
    local comment = line:match "^%-%-+ ?(.*)"
    if comment then text[#text + 1] = comment elseif #text > 0 then break end
  end
  return (table.concat(text, " "):match "^[^.:?(]*")
end

-- Is this a script, and not a part of one?
local function is_script(path_of_file)
  local file <close> = io.open(path_of_file, "rb")
  return file ~= nil and file:read(2) == "#!"
end

local function example_names(folder)
  local names = {}
  for _, name in ipairs(folder_names(folder) or {}) do
    name = name:match("^(.*)%.lua$")
    local example = name and not member(TASKS, name) and is_script(("%s/%s.lua"):format(folder, name))
    if example then names[#names + 1] = name end
  end
  sort_by_bytes(names)
  return names
end

local function list()
  local folder = command.must(path.examples())
  local function line(name, text) console.say(("  %-26s %s"):format(name:gsub("_", "-"), text)) end
  console.say(("cglow %s\n\nusage: cglow NAME [ARGUMENT ...]; 'cglow NAME --help' tells more\n"):format(version))
  console.say "Tasks, each with the commands train, evaluate, predict, sample and score:"
  for _, name in ipairs(TASKS) do line(name, require("cglow.tasks." .. name).title) end
  console.say "\nOther commands:"
  for _, entry in ipairs(COMMANDS) do line(entry[1], entry[2]) end
  console.say "\nExamples:"
  for _, name in ipairs(example_names(folder)) do line(name, summary(("%s/%s.lua"):format(folder, name))) end
  console.say(("\nexamples: %s\nsamples:  %s"):format(folder, path.data() or "none"))
end

-- Where no run is named the pretrained model answers, and that is said.
local function pretrained(name, argv)
  local file = path.pretrained()
  if not file then command.misuse(("%s: which run? Name it with --run or --checkpoint"):format(name)) end
  table.insert(argv, 1, "--checkpoint")
  table.insert(argv, 2, file)
  local help = false
  for _, word in ipairs(argv) do help = help or word == "--help" or word == "-h" end
  if not help then
    notice.notify "no --run or --checkpoint: the pretrained model answers, which knows garments on photographs"
  end
  return task_of_run.find(argv)
end

-- A task's command without the task's name.
local function run_of_run(name, argv)
  local task, where = task_of_run.find(argv)
  if not task then task, where = pretrained(name, argv) end
  if not member(TASKS, task) then
    command.misuse(("%s is of the task '%s', which the program does not know: call the script that made it"):format(
      where, task))
  end
  table.insert(argv, 1, name)
  return M.run(require("cglow.tasks." .. task), argv)
end

local function run_example(name, argv)
  local script = not name:find("[^%w_-]") and path.script(name)
  if not script then command.misuse(("there is no command '%s'; 'cglow' alone lists them"):format(name)) end
  argv[0] = script
  dofile(script) -- which finds its arguments in the global `arg`
end

local function execute_program(argv)
  local name = table.remove(argv, 1)
  if not name or name == "--help" or name == "-h" or name == "help" then return list() end
  if name == "--version" then return console.say("cglow " .. version) end
  command.is_called(name, member(OF_RUNS, name))
  local module = name:gsub("-", "_")
  if member(TASKS, module) then return M.run(require("cglow.tasks." .. module), argv) end
  if member(OF_RUNS, name) then return run_of_run(name, argv) end
  if member(COMMANDS, name) then return command.run(name, require("cglow.cli." .. name), argv) end
  return run_example(name, argv)
end

--- Run the program `cglow` and leave the process.
-- @tparam {string,...} argv the global `arg`: what names an example goes on to it
function M.program(argv) os.exit(command.run("cglow", execute_program, argv), true) end

return M
