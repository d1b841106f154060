--- The command line that the task scripts share: train, evaluate, predict and
-- sample with the same options everywhere.
--
-- What the user got wrong is answered with one line and exit code 2; a run that
-- failed ends with 1, one that was interrupted with 130 (SIGINT) or 143 (SIGTERM).
-- @module cglow.cli
local argparse = require "argparse"
local lfs = require "lfs"
local core = require "cglow.core"
local settings = require "cglow.task.settings"

local M = {}

local MAX_THREADS = 1024 -- what cglow.threads takes

-- ---- errors of the user's ------------------------------------------------

local Misuse = {}

--- End the command with one line and exit code 2.
-- @tparam string message
function M.misuse(message) error(setmetatable({message = message}, Misuse), 0) end

--- Call a constructor; what it refuses, the user asked for.
-- @tparam function make
-- @param ... its arguments
function M.try(make, ...)
  local ok, result = pcall(make, ...)
  if not ok then M.misuse((tostring(result):gsub("^[^:]+:%d+: ", ""))) end
  return result
end

--- Pass on the results of a call, or end the command with its message.
function M.must(ok, message, ...)
  if not ok then M.misuse(message) end
  return ok, message, ...
end

-- ---- the parser ----------------------------------------------------------

-- A converter for argparse that checks a number.
local function number(option, low)
  return function(text)
    local n = tonumber(text)
    if n and n >= low and n < math.huge then return n end
    return nil, ("%s expects a number from %d on, got '%s'"):format(option, low, text)
  end
end

local function integer(option, low, high)
  local range = high and ("from %d to %d"):format(low, high) or ("from %d on"):format(low)
  return function(text)
    local n = tonumber(text)
    n = n and math.tointeger(n)
    if n and n >= low and n <= (high or n) then return n end
    return nil, ("%s expects an integer %s, got '%s'"):format(option, range, text)
  end
end

local function common(command)
  command:option("--threads"):argname "N":convert(integer("--threads", 1, MAX_THREADS))
    :description "Processor cores to use (all)."
  command:option("--seed"):argname "N":convert(integer("--seed", 0))
    :description "Seed of all random numbers (1)."
  command:flag("-q --quiet"):description "Say only what went wrong."
  command:flag("--json"):description "Write JSON lines for programs to standard output."
end

local function model_choice(command, task)
  command:option("--run"):argname "DIR"
    :description(("Run folder with the model (runs/%s)."):format(task.name))
  command:option("--checkpoint"):argname "FILE"
    :description "Model file (the run's best.safetensors, else its last)."
end

local function sample_count(command)
  command:option("--samples"):argname "M":convert(integer("--samples", 1))
    :description "Samples that are averaged for a prediction (10)."
end

local function data_choice(command)
  command:option("--data"):argname "DIR"
    :description "The full data set as published (the embedded samples)."
end

local function sizes_of(task)
  local small = task.sample_size ~= task.size and (", samples %d"):format(task.sample_size) or ""
  return ("%s (%d%s)"):format(table.concat(task.sizes, ", "), task.size, small)
end

local function add_train(parser, task)
  local c = parser:command("train"):summary "Learn from a data set; keep all in a run folder."
  data_choice(c)
  c:option("--size"):argname "N":convert(integer("--size", 1))
    :description(("Height and width, as in %s."):format(sizes_of(task)))
  c:option("--steps"):argname "N":convert(integer("--steps", 1))
    :description(("Training steps (%d)."):format(task.steps))
  c:option("--init"):argname "HOW":choices {"paper", "orthogonal", "live"}
    :description(("Initialisation: paper, orthogonal or live (%s)."):format(task.init))
  c:option("--config"):argname "NAME=VALUE":count "*"
    :description "Override a setting; '--config help' lists them all."
  c:option("--run"):argname "DIR"
    :description(("Folder for all that is kept (runs/%s)."):format(task.name))
  c:flag("--resume"):description "Go on from the run's newest checkpoint."
  c:flag("--dry-run"):description "Only show the model and what training would cost."
  common(c)
end

local function add_evaluate(parser, task)
  local c = parser:command("evaluate"):summary "Measure a model on held-out data, beside baselines."
  model_choice(c, task)
  sample_count(c)
  data_choice(c)
  c:option("--split"):argname "NAME":choices {"train", "valid", "test"}
    :description "Which part: valid, test or train (valid)."
  c:option("--limit"):argname "N":convert(integer("--limit", 1)):description "Use only the first N images."
  if task.tiled then
    c:option("--size"):argname "N":convert(integer("--size", 1))
      :description "Their height and width: above the model's, by tiles."
  end
  c:option("--sheet"):argname "FILE":description "Where the contact sheet goes (DIR/evaluation.png)."
  common(c)
end

local function add_predict(parser, task)
  local c = parser:command("predict"):summary(task.predicts)
  c:argument("file"):args "+":description "Image files."
  model_choice(c, task)
  sample_count(c)
  c:option("--out"):argname "DIR":description "Folder for the results (predictions)."
  if task.predict_options then task.predict_options(c) end
  common(c)
end

local function add_sample(parser, task)
  local c = parser:command("sample"):summary "Draw samples, side by side on a contact sheet."
  c:argument("file"):args "*":description "Image files (held-out images)."
  model_choice(c, task)
  data_choice(c)
  c:option("--count"):argname "N":convert(integer("--count", 1)):description "Samples for each image (8)."
  c:option("--images"):argname "N":convert(integer("--images", 1)):description "Held-out images to use (6)."
  c:option("--temperature"):argname "T":convert(number("--temperature", 0))
    :description "Scale of the latents' spread (1)."
  c:option("--sheet"):argname "FILE":description "Where the contact sheet goes (DIR/samples.png)."
  common(c)
end

--- The parser of a task script.
-- @tparam table task
function M.parser(task)
  local parser = argparse(task.name, task.title)
    :command_target "command":require_command(true)
    :help_max_width(80):help_description_margin(24):usage_max_width(80)
  parser:epilog "'COMMAND --help' tells more. A quick start: 'train --steps 500', then 'evaluate'."
  add_train(parser, task)
  add_evaluate(parser, task)
  add_predict(parser, task)
  add_sample(parser, task)
  return parser
end

-- ---- running -------------------------------------------------------------

--- Is a folder or a file there?
-- @tparam string path
-- @tparam string mode "file" or "directory"
-- @tparam string option that named it, for the message
function M.require_path(path, mode, option)
  local found, message = lfs.attributes(path, "mode")
  if not found then M.misuse(("%s: %s: %s"):format(option, path, (message:match("([^:]+)$"):gsub("^ ", "")))) end
  if found ~= mode then M.misuse(("%s: %s is a %s, not a %s"):format(option, path, found, mode)) end
end

local function check_paths(args)
  if args.data then M.require_path(args.data, "directory", "--data") end
  if args.checkpoint then M.require_path(args.checkpoint, "file", "--checkpoint") end
  for _, path in ipairs(args.file or {}) do M.require_path(path, "file", args.command) end
end

local function parse_config(args)
  local config = {}
  for _, text in ipairs(args.config or {}) do
    local name, value = settings.parse(text)
    if not name then M.misuse(value) end
    config[name] = value
  end
  args.config = config
end

local function wants_settings(args)
  for _, text in ipairs(args.config or {}) do
    if text == "help" then return true end
  end
end

local function execute(task, argv)
  local ok, args = M.parser(task):pparse(argv)
  if not ok then M.misuse(("%s ('%s --help' shows how)"):format((args:gsub("\n", ". ")), task.name)) end
  if wants_settings(args) then
    print(settings.describe(task))
    return 0
  end
  check_paths(args)
  parse_config(args)
  args.argv = argv
  if args.threads then core.threads(args.threads) end
  core.seed(args.seed or 1)
  return require("cglow.task." .. args.command)(task, args) or 0
end

--- Run a task script.
-- @tparam table task from `cglow.task.define`
-- @tparam {string,...} argv
-- @treturn integer exit code
function M.run(task, argv)
  local ok, result = xpcall(execute, function(e)
    return getmetatable(e) == Misuse and e or debug.traceback(tostring(e), 2)
  end, task, argv)
  if ok then return result end
  io.stdout:flush()
  if getmetatable(result) == Misuse then
    io.stderr:write(task.name, ": ", result.message, "\n")
    return 2
  end
  io.stderr:write(task.name, ": ", result, "\n")
  return 1
end

--- Run a task script and leave the process.
function M.main(task, argv) os.exit(M.run(task, argv), true) end

return M
