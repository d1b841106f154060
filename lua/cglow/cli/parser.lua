--- The options of all commands: a task's train, evaluate, predict, sample and score, and
-- the program's baseline and report.
-- @module cglow.cli.parser
local argparse = require "argparse"
local command_of = require "cglow.cli.command"
local console = require "cglow.util.console"
local settings = require "cglow.tasks.settings"

local M = {}

-- Where help goes: standard output, which may be full.
local function show_help(command)
  return function()
    console.say((command:get_help()))
    local ok, message = console.finish()
    if not ok then io.stderr:write(message, "\n") end
    os.exit(ok and 0 or 1, true)
  end
end

local function with_help(command) return command:add_help {action = show_help(command)} end

local MAX_THREADS <const> = 1024 -- what cglow.threads takes

-- ---- numbers -------------------------------------------------------------

-- Converters for argparse that check a number.
local function number(option, low)
  return function(text)
    local n = tonumber(text)
    if n and n >= low and n < math.huge then return n end
    return nil, ("%s expects a number from %d on, got '%s'"):format(option, low, text)
  end
end

local function positive(option)
  return function(text)
    local n = tonumber(text)
    if n and n > 0 and n < math.huge then return n end
    return nil, ("%s expects a number above 0, got '%s'"):format(option, text)
  end
end

local function integer(option, low, high)
  local range = high and ("from %d to %d"):format(low, high) or ("from %d on"):format(low)
  return function(text)
    local n = math.tointeger(tonumber(text))
    if n and n >= low and n <= (high or n) then return n end
    return nil, ("%s expects an integer %s, got '%s'"):format(option, range, text)
  end
end

local function count(command, option, argument, description, high)
  command:option(option):argname(argument):convert(integer(option, 1, high)):description(description)
end

-- ---- options that several commands have ------------------------------------

local function common(command)
  count(command, "--threads", "N", "Processor cores to use (all).", MAX_THREADS)
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

local function temperature(command)
  command:option("--temperature"):argname "T":convert(number("--temperature", 0))
    :description "Scale of the latents' spread (1)."
end

-- How a prediction is made.
local function prediction(command, task)
  count(command, "--samples", "M", "Samples of which a prediction is made (10).")
  temperature(command)
  command:flag("--centre"):description "One pass at the centre of the latents instead."
  command:option("--mirror"):argname "HOW":choices {"yes", "no"}
    :description "Use the mirror image, too (as it was in training)."
  if task.decide_all then command:flag("--consensus"):description "Decide by all samples, not by their mean." end
end

local OWN = {
  number = function(option) return positive(option) end,
  integer = function(option) return integer(option, 1) end,
}

-- What a command does: of a task's own options it has those whose `of` is among it.
local TRAINING <const>, DATA <const>, FILES <const> = {data = true, train = true}, {data = true}, {}

-- What the task's data need to be told.
local function own_options(command, task, does)
  for _, o in ipairs(task.options) do
    if o.argname and (not o.of or does[o.of]) then
      local name = "--" .. o.name
      local option = command:option(name):argname(o.argname):description(o.description)
      if o.choices then option:choices(o.choices) end
      if OWN[o.kind] then option:convert(OWN[o.kind](name)) end
    end
  end
end

local function data_choice(command, task, does)
  if not task or task.samples ~= false then
    command:option("--data"):argname "DIR"
      :description "The full data set as published (the embedded samples)."
  end
  if task then own_options(command, task, does or DATA) end
  command:flag("--skip-damaged"):description "Leave out what cannot be read; it is counted."
end

local function may_replace(command)
  command:flag("--force"):description "Replace files that are there already."
end

local function begin_with(command)
  command:option("--init-from"):argname "RUN":description "Begin with the weights of this run, or model file."
end

local function resume(command) command:flag("--resume"):description "Go on from the run's newest checkpoint." end

-- ---- a task's commands -----------------------------------------------------

local function sizes_of(task)
  local small = task.sample_size ~= task.size and (", samples %d"):format(task.sample_size) or ""
  return ("%s (%d%s)"):format(table.concat(task.sizes, ", "), task.size, small)
end

local function add_train(parser, task)
  local c = with_help(parser:command("train")):summary "Learn from a data set; keep all in a run folder."
  c:usage(("Usage: %s [OPTION]..."):format(command_of.usage {"train"}))
  data_choice(c, task, TRAINING)
  count(c, "--size", "N", ("Height and width, as in %s."):format(sizes_of(task)))
  count(c, "--steps", "N", ("Training steps (%d)."):format(task.steps))
  c:option("--recipe"):argname "NAME":choices {"encoder", "paper"}
    :description(("Model and training: encoder or paper (%s)."):format(settings.RECIPE))
  c:option("--init"):argname "HOW":choices {"paper", "orthogonal", "live"}
    :description(("Start of the paper's model: paper, orthogonal or live (%s)."):format(task.init))
  begin_with(c)
  c:option("--config"):argname "NAME=VALUE":count "*"
    :description "A setting, or a config.json of them; '--config help' lists all."
  c:option("--run"):argname "DIR"
    :description(("Folder for all that is kept (runs/%s)."):format(task.name))
  resume(c)
  c:flag("--dry-run"):description "Only show the model and what training would cost."
  common(c)
end

local function split_choice(command, task)
  local own = task.samples == false
  command:option("--split"):argname "NAME"
    :choices(own and {"train", "valid", "test", "all"} or {"train", "valid", "test"})
    :description(own and "Which part: valid, test, train or all (valid; all of other folders)."
      or "Which part: valid, test or train (valid).")
end

local function add_evaluate(parser, task)
  local c = with_help(parser:command("evaluate")):summary "Measure a model on held-out data, beside baselines."
  c:usage(("Usage: %s [OPTION]..."):format(command_of.usage {"evaluate"}))
  model_choice(c, task)
  prediction(c, task)
  data_choice(c, task)
  split_choice(c, task)
  count(c, "--limit", "N", "Use only the first N images.")
  count(c, "--size", "N", "Their height and width (the model's).")
  c:flag("--compare"):description "Several ways to predict, and what each of them costs."
  c:option("--sheet"):argname "FILE":description "Where the contact sheet goes (DIR/evaluation.png)."
  may_replace(c)
  common(c)
end

local function add_predict(parser, task)
  local c = with_help(parser:command("predict")):summary(task.predicts)
  c:usage(("Usage: %s [OPTION]... FILE..."):format(command_of.usage {"predict"}))
  c:argument("file"):args "+":description "Image files, folders of them, or - for standard input."
  model_choice(c, task)
  prediction(c, task)
  c:option("--what"):argname "WHAT":choices {"answer", "probability", "std", "samples"}
    :description "answer, probability, std or samples (answer)."
  count(c, "--n", "N", "How many samples to write (4).", 9999)
  c:option("--out"):argname "DIR":description "Folder for results, or - (predictions; of -: -)."
  may_replace(c)
  own_options(c, task, FILES)
  if task.predict_options then task.predict_options(c) end
  common(c)
end

local function add_sample(parser, task)
  local c = with_help(parser:command("sample")):summary "Draw samples, side by side on a contact sheet."
  c:usage(("Usage: %s [OPTION]... [FILE]..."):format(command_of.usage {"sample"}))
  c:argument("file"):args "*":description "Image files (held-out images)."
  model_choice(c, task)
  data_choice(c, task)
  count(c, "--count", "N", "Samples for each image (8).")
  count(c, "--images", "N", "Held-out images to use (6).")
  temperature(c)
  c:option("--sheet"):argname "FILE":description "Where the contact sheet goes (DIR/samples.png)."
  may_replace(c)
  common(c)
end

local function add_score(parser, task)
  local c = parser:command("score"):summary "How likely pairs are, and how unusual that is."
  c:usage(("Usage: %s [OPTION]... [FILE]..."):format(command_of.usage {"score"}))
  c:description("The log-likelihood of answers given their pictures, and bits per dimension, beside held-out images: "
    .. "a percentile and a robust z. For bad labels and odd pictures.")
  c:argument("file"):args "*":description(task.alone and "Image files (held-out images)."
    or "Image files, with --y (held-out images).")
  model_choice(c, task)
  if not task.alone and task.samples ~= false then
    c:option("--y"):argname "PATH":description "Answer to the one FILE, or a folder of the answers to all."
  end
  data_choice(c, task)
  split_choice(c, task)
  count(c, "--limit", "N", "Use only the first N images.")
  count(c, "--draws", "N", "Draws of the noise of a discrete y, for the mean (4).", 4096)
  count(c, "--worst", "N", "Say only the N least likely, these first.")
  c:flag("--csv"):description "Write CSV to standard output."
  common(c)
end

-- ---- the parsers -----------------------------------------------------------

local function new(name, title)
  return with_help(argparse(name, title)):help_max_width(80):help_description_margin(24):usage_max_width(80)
end

--- The parser of a task's commands.
-- @tparam table task from `cglow.tasks.define`
function M.task(task)
  local parser = new(command_of.usage(), task.title):command_target "command":require_command(true)
  parser:epilog "'COMMAND --help' tells more. A quick start: 'train --steps 500', then 'evaluate'."
  add_train(parser, task)
  add_evaluate(parser, task)
  add_predict(parser, task)
  add_sample(parser, task)
  add_score(parser, task)
  return parser
end

--- The parser of the command baseline.
-- @tparam {string,...} tasks that it knows
function M.baseline(tasks)
  local p = new(command_of.usage(), "Train a feed-forward network for a task, and score it beside trivial answers.")
  p:argument("task"):argname "TASK":convert(function(text)
    local name = text:gsub("-", "_")
    for _, task in ipairs(tasks) do if task == name then return name end end
    return nil, ("TASK must be one of %s, got '%s'"):format(table.concat(tasks, ", "):gsub("_", "-"), text)
  end):description((table.concat(tasks, ", "):gsub("_", "-")) .. ".")
  data_choice(p)
  count(p, "--size", "N", "Height and width (the task's).")
  p:option("--net"):argname "NAME":choices {"plain", "unet"}
    :description("A plain network, or the encoder of the recipe alone, trained as the recipe says "
      .. "(plain; inpainting unet).")
  count(p, "--steps", "N", "Training steps (1000; unet 4000).")
  count(p, "--batch", "N", "Samples in a step (segmentations and unet 8, others 2).")
  count(p, "--channels", "N", "Channels at full size (32).", 4096)
  count(p, "--depth", "N", "Halvings (segmentations, 3) or convolutions (others, 8).", 64)
  p:option("--lr"):argname "X":convert(positive "--lr"):description "Adam's step size (0.001; unet 0.002)."
  begin_with(p)
  p:option("--run"):argname "DIR":description "Folder for all that is kept (runs/baseline_TASK)."
  resume(p)
  p:option("--split"):argname "NAME":choices {"valid", "test"}:description "Part for the scores: valid or test (valid)."
  count(p, "--limit", "N", "Score only the first N images.")
  common(p)
  return p
end

--- The parser of the command report.
function M.report()
  local p = new(command_of.usage(), "Write a report of a training run, or of several to compare, as one HTML page.")
  p:argument("run"):args "+":description "Run folders."
  p:option("--out"):argname "FILE"
    :description "The page to write (RUN/report.html; report.html here for several runs)."
  p:flag("--force"):description "Replace a file that is there already and is no report."
  return p
end

return M
