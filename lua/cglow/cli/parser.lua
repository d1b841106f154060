--- The options of a task's commands: train, evaluate, predict and sample.
-- @module cglow.cli.parser
local argparse = require "argparse"
local settings = require "cglow.tasks.settings"

local MAX_THREADS <const> = 1024 -- what cglow.threads takes

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
  c:option("--recipe"):argname "NAME":choices {"encoder", "paper"}
    :description(("Model and training: encoder or paper (%s)."):format(settings.RECIPE))
  c:option("--init"):argname "HOW":choices {"paper", "orthogonal", "live"}
    :description(("Start of the paper's model: paper, orthogonal or live (%s)."):format(task.init))
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
return function(task)
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
