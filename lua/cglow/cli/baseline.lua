--- The command `baseline TASK`: trains a feed-forward network for one of the
-- tasks, with its data and the same trainer, and prints its score beside those of
-- answers that need no learning.
-- @module cglow.cli.baseline
local argparse = require "argparse"
local core = require "cglow.core"
local fail = require "cglow.cli.fail"
local evaluation = require "cglow.tasks.evaluation"
local feedforward = require "cglow.feedforward"
local image = require "cglow.image"
local json = require "cglow.util.json"
local format = require "cglow.run.format"
local runfolder = require "cglow.run.folder"
local settings = require "cglow.tasks.settings"
local task_of = require "cglow.tasks.define"
local train = require "cglow.train"
local version = require "cglow.util.version"

local M = {}

local SHOWN = 6         -- images on the contact sheet
local VALID_IMAGES = 64 -- held-out images in a validation during training

-- ---- the tasks and their networks -------------------------------------------

local function segmenter(options, data)
  options.classes = #data.info.classes
  return feedforward.Segmenter(options)
end

-- Both y are residuals: the noise, and the correction to the depth.
local function residual(options) return feedforward.Residual(options) end

-- Settings are for two cores and a few minutes at the task's own size.
local NETWORKS = {
  binary_segmentation = {make = segmenter, steps = 1000, batch = 8, channels = 32, depth = 3},
  multiclass_segmentation = {make = segmenter, steps = 1000, batch = 8, channels = 32, depth = 3},
  denoising = {make = residual, steps = 1000, batch = 2, channels = 32, depth = 8},
  depth_refinement = {make = residual, steps = 1000, batch = 2, channels = 32, depth = 8},
}
local TASKS = {"binary_segmentation", "multiclass_segmentation", "denoising", "depth_refinement"}

-- ---- settings ------------------------------------------------------------------

local function whole(option, low, high)
  return function(text)
    local n = math.tointeger(tonumber(text))
    if n and n >= low and n <= (high or n) then return n end
    return nil, ("%s expects an integer from %d%s, got '%s'"):format(option, low,
      high and " to " .. high or " on", text)
  end
end

local function positive(option)
  return function(text)
    local n = tonumber(text)
    if n and n > 0 and n < math.huge then return n end
    return nil, ("%s expects a number above 0, got '%s'"):format(option, text)
  end
end

local function parser()
  local p = argparse("baseline", "Train a feed-forward network for a task, and score it beside trivial answers.")
    :help_max_width(80):help_description_margin(24):usage_max_width(80)
  p:argument("task"):choices(TASKS):description(table.concat(TASKS, ", ") .. ".")
  p:option("--data"):argname "DIR":description "The full data set as published (the embedded samples)."
  p:option("--size"):argname "N":convert(whole("--size", 1)):description "Height and width (the task's)."
  p:option("--steps"):argname "N":convert(whole("--steps", 1)):description "Training steps (1000)."
  p:option("--batch"):argname "N":convert(whole("--batch", 1))
    :description "Samples in a step (segmentations 8, others 2)."
  p:option("--channels"):argname "N":convert(whole("--channels", 1, 4096)):description "Channels at full size (32)."
  p:option("--depth"):argname "N":convert(whole("--depth", 1, 64))
    :description "Halvings (segmentations, 3) or convolutions (others, 8)."
  p:option("--lr"):argname "X":convert(positive "--lr"):description "Adam's step size (0.001)."
  p:option("--run"):argname "DIR":description "Folder for all that is kept (runs/baseline_TASK)."
  p:flag("--resume"):description "Go on from the run's newest checkpoint."
  p:option("--split"):argname "NAME":choices {"valid", "test"}:description "Part for the scores: valid or test (valid)."
  p:option("--limit"):argname "N":convert(whole("--limit", 1)):description "Score only the first N images."
  p:option("--threads"):argname "N":convert(whole("--threads", 1, 1024)):description "Processor cores to use (all)."
  p:option("--seed"):argname "N":convert(whole("--seed", 0)):description "Seed of all random numbers (1)."
  p:flag("-q --quiet"):description "Say only what went wrong."
  p:flag("--json"):description "Write JSON lines for programs to standard output."
  return p
end

local FLAGS = {"data", "size", "steps", "batch", "channels", "depth", "lr", "seed"}

-- The task's defaults, then the resumed run's settings, then the command line.
local function settings_of(task, args, saved)
  local network = NETWORKS[task.name]
  local s = {size = task.size, lr = 1e-3, seed = 1}
  for _, name in ipairs {"steps", "batch", "channels", "depth"} do s[name] = network[name] end
  for name, value in pairs(saved) do s[name] = value end
  for _, name in ipairs(FLAGS) do if args[name] ~= nil then s[name] = args[name] end end
  return s
end

local function saved_settings(task, args, folder)
  if not args.resume then return {} end
  if not folder:exists() then fail.misuse(("there is no run in %s to resume"):format(folder.path)) end
  local config = fail.must(folder:read_config())
  if config.baseline ~= task.name then
    fail.misuse(("the run in %s is no baseline of %s"):format(folder.path, task.name))
  end
  return (fail.must(settings.saved(config)))
end

-- ---- training --------------------------------------------------------------------

local function data_of(task, s, split)
  if s.data then fail.require_path(s.data, "directory", "--data") end
  return fail.must(task_of.data(task, {directory = s.data, split = split, size = s.size, seed = s.seed}))
end

local function first(data, count) return data:subset(1, math.min(count, data:size())) end

local function make_network(task, s, data)
  local options = {x = task.x(s.size), y = task.y(s.size), channels = s.channels, depth = s.depth,
    rng = core.Rng(s.seed)}
  return fail.try(NETWORKS[task.name].make, options, data)
end

local function prediction(data) return {samples = 1, shown = 0, indices = evaluation.spread(data, SHOWN)} end

local function trainer_options(task, args, s, network, sets)
  local valid = first(sets.valid, VALID_IMAGES)
  return {
    model = network, train = sets.train, valid = valid, steps = s.steps, batch = s.batch, seed = s.seed,
    optimizer = {lr = s.lr}, resume = args.resume or false,
    progress = args.json and "json" or args.quiet and "quiet" or nil,
    validate = function() return evaluation.score(task, network, valid, {samples = 1}) end,
    picture = function() return evaluation.sheet(task, network, valid, prediction(valid)) end,
  }
end

local function describe(task, s, network, sets, argv)
  return {
    baseline = task.name, title = ("Feed-forward baseline of %s"):format(task.name), version = version,
    settings = s,
    command = ("lua5.4 %s %s"):format(arg and arg[0] or "baseline.lua", table.concat(argv, " ")),
    model = network.config, parameters = network:parameter_count(),
    data = {source = sets.source, train = sets.train:size(), valid = sets.valid:size()},
    machine = core.system.machine(), threads = core.threads(), started = os.date "!%Y-%m-%dT%H:%M:%SZ",
  }
end

local function say(args, ...)
  if not (args.quiet or args.json) then print((...):format(select(2, ...))) end
end

-- ---- scores ------------------------------------------------------------------------

local function measure(task, network, data, train_data)
  local results = {}
  for _, baseline in ipairs(task.baselines(train_data)) do
    results[#results + 1] = {name = baseline.name, metrics = evaluation.score_baseline(task, baseline.predict, data)}
  end
  results[#results + 1] = {name = "feed-forward", metrics = evaluation.score(task, network, data, {samples = 1})}
  return results
end

local function report(task, args, s, folder, train_data)
  local path = folder:file "best.safetensors"
  local network = fail.must(feedforward.load(path))
  local data, source = data_of(task, s, args.split or "valid")
  if args.limit then data = first(data, args.limit) end
  local results, sheet = measure(task, network, data, train_data), folder:file "evaluation.png"
  fail.must(image.save(sheet, evaluation.sheet(task, network, data, prediction(data))))
  if args.json then
    print(json.encode({task = task.name, model = path, images = data:size(), results = results, sheet = sheet},
      {not_finite = "null"}))
    return
  end
  say(args, "%s: %d held-out images (%s)", path, data:size(), source)
  for _, row in ipairs(results) do say(args, "  %-20s %s", row.name, format.metrics(row.metrics)) end
  say(args, "pictures: %s", sheet)
end

-- ---- the command -------------------------------------------------------------------

local EXIT = {failed = 2, diverged = 1, interrupted = 130}

local function execute(argv)
  local ok, args = parser():pparse(argv)
  if not ok then fail.misuse(args:gsub("\n", ". ") .. " ('baseline --help' shows how)") end
  if args.threads then core.threads(args.threads) end
  local task = require("cglow.tasks." .. args.task)
  local folder = runfolder.at(args.run or "runs/baseline_" .. task.name)
  local s = settings_of(task, args, saved_settings(task, args, folder))
  core.seed(s.seed)
  local sets = {valid = data_of(task, s, "valid")}
  sets.train, sets.source = data_of(task, s, "train")
  local network = make_network(task, s, sets.train)
  local options = trainer_options(task, args, s, network, sets)
  options.run, options.config = folder.path, describe(task, s, network, sets, argv)
  say(args, "%s: %d images to learn from, %d held out (%s)", task.name, sets.train:size(), sets.valid:size(),
    sets.source)
  say(args, "network: %.2f M parameters, %d threads; run folder: %s", network:parameter_count() / 1e6,
    core.threads(), folder.path)
  local outcome = fail.try(train.Trainer, options):run()
  if outcome.reason ~= "done" then
    io.stderr:write("baseline: ", outcome.message, "\n")
    return outcome.signal == "TERM" and 143 or EXIT[outcome.reason]
  end
  report(task, args, s, folder, sets.train)
  return 0
end

--- Run the command.
-- @tparam {string,...} argv
-- @treturn integer exit code: 0; 2 for misuse; 1 when training failed; 130 or 143
-- when it was interrupted
function M.run(argv)
  local ok, result = xpcall(execute, function(e)
    return fail.message(e) and e or debug.traceback(tostring(e), 2)
  end, argv)
  if ok then return result end
  io.stdout:flush()
  io.stderr:write("baseline: ", type(result) == "table" and result.message or result, "\n")
  return type(result) == "table" and 2 or 1
end

--- Run the command and leave the process.
function M.main(argv) os.exit(M.run(argv), true) end

return M
