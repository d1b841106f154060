--- The sub-command evaluate: the model beside baselines on held-out images.
-- @module cglow.cli.evaluate
local console = require "cglow.util.console"
local core = require "cglow.core"
local image = require "cglow.image"
local json = require "cglow.util.json"
local command = require "cglow.cli.command"
local evaluation = require "cglow.tasks.evaluation"
local format = require "cglow.run.format"
local launch = require "cglow.cli.launch"
local session_of = require "cglow.cli.session"
local validation = require "cglow.train.validation"
local ways = require "cglow.tasks.ways"

local SHOWN = 6 -- images on the contact sheet

local function print_table(results)
  local all, width = {}, 12
  for i, row in ipairs(results) do all[i], width = row.metrics, math.max(width, #row.name) end
  local names = format.metric_names(all)
  local head = (" "):rep(width)
  for _, name in ipairs(names) do head = head .. ("  %14s"):format(name) end
  console.say(head)
  for _, row in ipairs(results) do
    local line = row.name .. (" "):rep(width - #row.name)
    for _, name in ipairs(names) do
      local value = row.metrics[name]
      line = line .. (value and "  " .. format.number("%14.4f", value) or (" "):rep(16))
    end
    console.say(line)
  end
end

local function bits_per_dim(args, session, data)
  local nll = validation.new {
    data = data:dequantise(), batch = 2, cell_width = data.info.cell_width or 1, seed = args.seed or 1,
    world = launch.world(),
  }
  return command.must(nll:run(session.model)).nll
end

-- The model that makes predictions and how: a larger picture is predicted by tiles, which
-- have no samples.
local function predictions(args, session)
  local size = args.size or session.size
  if size < session.size then
    local own = session.size
    command.misuse(("--size: the model's pictures are of %dx%d, not %dx%d"):format(own, own, size, size))
  end
  local way = session.way
  way.world = launch.world()
  if size == session.size then return session.model, way end
  return session_of.tiled(session), {samples = 1, shown = 0, rng = way.rng, world = way.world}
end

local function baselines(args, session, data)
  local results, task = {}, session.task
  local train = session_of.data(args, session, "train", args.size)
  for _, baseline in ipairs(task.baselines(train)) do
    results[#results + 1] = {name = baseline.name, metrics = evaluation.score_baseline(task, baseline.predict, data)}
  end
  return results
end

local function measure(args, session, data)
  local results, task = baselines(args, session, data), session.task
  local model, way = predictions(args, session)
  if model == session.model then
    local head = evaluation.score_head(task, model, data)
    if head then results[#results + 1] = {name = "its encoder's head", metrics = head} end
  end
  local metrics = evaluation.score_samples(task, model, data, way)
  if model == session.model then metrics.bits_per_dim = bits_per_dim(args, session, data) end
  results[#results + 1] = {name = "c-Glow", metrics = metrics}
  return results
end

-- Scores of several ways to predict the same pictures, each with its time for a picture.
local function compare(args, session, data)
  local results = {}
  for _, way in ipairs(ways.all()) do
    way.rng, way.cell_width, way.world = core.Rng(args.seed or 1), session.way.cell_width, launch.world()
    local before = core.system.clock()
    local metrics = evaluation.score(session.task, session.model, data, way)
    metrics.seconds = (core.system.clock() - before) / data:size()
    results[#results + 1] = {name = way.name, metrics = metrics}
  end
  return results
end

local function draw_sheet(args, session, data)
  local model, way = predictions(args, session)
  local o = {rng = core.Rng(args.seed or 1), indices = evaluation.spread(data, SHOWN)}
  for name, value in pairs(way) do o[name] = o[name] or value end
  o.world = nil -- rank 0 draws it alone
  return evaluation.sheet(session.task, model, data, o)
end

local function say(args, session, data, found)
  local task = session.task
  local how = args.compare and "several ways" or ways.describe(task, session.way)
  if args.json then
    console.say(json.encode({task = task.name, model = session.path, images = data:size(), prediction = how,
      left_out = #found.left_out > 0 and found.left_out or nil, samples = ways.count(session.way),
      results = found.results, sheet = found.sheet}, {not_finite = "null"}))
    return
  end
  if #found.left_out > 0 then
    console.tell(("%s: %d images are left out:\n  %s"):format(task.name, #found.left_out,
      table.concat(found.left_out, "\n  ")))
  end
  if args.quiet then return end
  console.say(("%s: %d held-out images (%s)"):format(session.path, data:size(), found.source))
  console.say("prediction: " .. how)
  print_table(found.results)
  if task.notes then console.say(task.notes) end
  console.say("pictures: " .. found.sheet)
end

local function check_compare(args)
  for _, name in ipairs {"samples", "temperature", "centre", "mirror", "consensus", "size"} do
    if args[name] and args.compare then command.misuse(("--%s is not for --compare"):format(name)) end
  end
end

return function(task, args)
  check_compare(args)
  local session = session_of.load(task, args)
  local sheet = session_of.sheet(args, session, "evaluation.png")
  local all, source = session_of.data(args, session, args.split or "valid", args.size)
  if args.limit then all = all:subset(1, math.min(args.limit, all:size())) end
  local data = command.must(all:usable())
  local results = (args.compare and compare or measure)(args, session, data)
  if launch.rank() > 0 then return end
  command.must(image.save(sheet, draw_sheet(args, session, data)))
  say(args, session, data, {results = results, source = source, sheet = sheet, left_out = data:left_out()})
end
