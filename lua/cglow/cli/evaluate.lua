--- The sub-command evaluate: the model beside baselines on held-out images.
-- @module cglow.cli.evaluate
local console = require "cglow.util.console"
local core = require "cglow.core"
local image = require "cglow.image"
local json = require "cglow.util.json"
local command = require "cglow.cli.command"
local count_of = require "cglow.util.count"
local evaluation = require "cglow.tasks.evaluation"
local format = require "cglow.run.format"
local launch = require "cglow.cli.launch"
local meter_of = require "cglow.cli.meter"
local outputs = require "cglow.cli.outputs"
local report = require "cglow.report"
local results_of = require "cglow.cli.results"
local session_of = require "cglow.cli.session"
local validation = require "cglow.train.validation"
local version = require "cglow.util.version"
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

-- What samples are scored by, which no task need explain.
local function note_on_samples(task, results)
  local metrics = results[#results].metrics
  if not metrics.diversity then return end
  local best = metrics.best_sample and ("; best_sample: %s of the best of an image's samples"):format(task.rated) or ""
  console.say("diversity: root mean square of what two samples of an image differ by" .. best)
end

local function bits_per_dim(args, session, data)
  local meter = meter_of.new(args, "likelihood: image", data:size())
  local nll = validation.new {
    data = data:dequantise(), batch = 2, cell_width = data.info.cell_width or 1, seed = args.seed or 1,
    world = launch.world(), progress = function() meter:tick() end,
  }
  return command.must(nll:run(session.model)).nll
end

-- Can the model see pictures of this size?
local function check_size(args, session)
  local size, own = args.size or session.size, session.size
  if size == own then return end
  local unit = session.model.encoder and math.max(session.model.encoder.unit, 1 << session.model.config.levels)
  if unit and size % unit ~= 0 then
    command.misuse(("--size: the model's pictures have sides that are multiples of %d, not %d"):format(unit, size))
  elseif not unit and not session.task.tiled then
    command.misuse(("--size: without an encoder the model takes no pictures but those of %dx%d"):format(own, own))
  elseif not unit and size < own then
    command.misuse(("--size: the model's pictures are of %dx%d, not %dx%d"):format(own, own, size, size))
  end
end

-- The model that makes predictions and how: one with an encoder takes pictures of any size, by
-- others a larger picture is predicted by tiles, which have no samples.
local function predictions(args, session)
  local way = session.way
  way.world = launch.world()
  if session.model.encoder or (args.size or session.size) == session.size then return session.model, way end
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

-- The scores of the model and of what it is held against, and those of single images.
local function measure(args, session, data)
  local results, task = baselines(args, session, data), session.task
  local model, way = predictions(args, session)
  if model == session.model then
    local head = evaluation.score_head(task, model, data)
    if head then results[#results + 1] = {name = "its encoder's head", metrics = head} end
  end
  local meter, each, note = meter_of.new(args, "image", data:size()), results_of.collector(task)
  way.note = note
  way.progress = function() meter:tick() end
  local metrics = evaluation.score_samples(task, model, data, way)
  way.note, way.progress = nil, nil
  if model == session.model then metrics.bits_per_dim = bits_per_dim(args, session, data) end
  results[#results + 1] = {name = "c-Glow", metrics = metrics}
  return results, each
end

-- Scores of several ways to predict the same pictures, each with its time for a picture.
local function compare(args, session, data)
  local results = {}
  for _, way in ipairs(ways.all()) do
    local meter = meter_of.new(args, way.name .. ": image", data:size())
    way.progress = function() meter:tick() end
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

local function say(args, session, found)
  if args.json then return console.say(json.encode(found, {not_finite = "null"})) end
  local left_out = found.left_out or {}
  if #left_out > 0 then
    console.tell(("%s: %s left out:\n  %s"):format(session.task.name, count_of(#left_out, "image is", "images are"),
      table.concat(left_out, "\n  ")))
  end
  if args.quiet then return end
  console.say(("%s: %s (%s)"):format(session.path, count_of(found.images, "held-out image"), found.source))
  console.say("prediction: " .. found.prediction)
  print_table(found.results)
  if session.task.notes then console.say(session.task.notes) end
  note_on_samples(session.task, found.results)
  if session.task.pictured then console.say(session.task.pictured.note) end
  console.say("pictures: " .. found.sheet)
  if found.table then console.say("each image: " .. found.table) end
end

local function check_compare(args)
  for _, name in ipairs {"samples", "temperature", "centre", "mirror", "consensus", "size"} do
    if args[name] and args.compare then command.misuse(("--%s is not for --compare"):format(name)) end
  end
end

-- Where all that is kept goes. In a run's own folder earlier files of these names are replaced.
local function targets(args, session)
  local name = args.compare and "comparison" or "evaluation"
  local paths = {sheet = session_of.sheet(args, session, name .. ".png")}
  local kept = {session.folder .. "/" .. name .. ".json"}
  if not args.compare then kept[2] = session.folder .. "/" .. name .. ".csv" end
  outputs.check(kept, {session.path, paths.sheet}, args.force or session.own_folder)
  outputs.check_writable(kept)
  paths.json, paths.csv = kept[1], kept[2]
  return paths
end

-- What is kept, without the scores of single images.
local function describe(args, session, data, results, more)
  local left_out = data:left_out()
  return {
    task = session.task.name, model = session.path, images = data:size(), split = more.part,
    source = more.source, prediction = args.compare and "several ways" or ways.describe(session.task, session.way),
    samples = ways.count(session.way), left_out = #left_out > 0 and left_out or nil, results = results,
    sheet = more.paths.sheet, table = more.paths.csv, seed = args.seed or 1, version = version,
  }
end

local function keep(session, paths, found, each)
  if each then command.must(results_of.write_csv(paths.csv, each)) end
  local all = {each = each, date = os.date "!%Y-%m-%dT%H:%M:%SZ"}
  for name, value in pairs(found) do all[name] = value end
  command.must(results_of.write_json(paths.json, all))
  if session.own_folder then command.must(report.save {session.folder}) end
end

return function(task, args)
  check_compare(args)
  local session = session_of.load(task, args)
  check_size(args, session)
  local paths = targets(args, session)
  launch.meet() -- none writes before all have looked
  local all, source, part = session_of.data(args, session, args.split or "valid", args.size)
  if args.limit then all = all:subset(1, math.min(args.limit, all:size())) end
  local data = command.must(all:usable())
  local results, each = (args.compare and compare or measure)(args, session, data)
  if launch.rank() > 0 then return end
  local found = describe(args, session, data, results, {source = source, part = part, paths = paths})
  command.must(image.save(paths.sheet, draw_sheet(args, session, data)))
  keep(session, paths, found, each)
  say(args, session, found)
end
