--- The sub-command evaluate: the model beside baselines on held-out images.
-- @module cglow.task.evaluate
local core = require "cglow.core"
local image = require "cglow.image"
local json = require "cglow.json"
local cli = require "cglow.cli"
local evaluation = require "cglow.task.evaluation"
local session_of = require "cglow.task.session"
local validation = require "cglow.train.validation"

local SHOWN = 6 -- images on the contact sheet

local function names_in(results)
  local seen, names = {}, {}
  for _, row in ipairs(results) do
    for name in pairs(row.metrics) do
      if not seen[name] then
        seen[name] = true
        names[#names + 1] = name
      end
    end
  end
  table.sort(names)
  return names
end

local function print_table(results)
  local names, width = names_in(results), 12
  for _, row in ipairs(results) do width = math.max(width, #row.name) end
  local head = (" "):rep(width)
  for _, name in ipairs(names) do head = head .. ("  %14s"):format(name) end
  print(head)
  for _, row in ipairs(results) do
    local line = row.name .. (" "):rep(width - #row.name)
    for _, name in ipairs(names) do
      local value = row.metrics[name]
      line = line .. (value and ("  %14.4f"):format(value) or (" "):rep(16))
    end
    print(line)
  end
end

local function measure(task, args, session, data)
  local results = {}
  local train = session_of.data(task, args, session, "train")
  for _, baseline in ipairs(task.baselines(train)) do
    results[#results + 1] = {name = baseline.name, metrics = evaluation.score_baseline(task, baseline.predict, data)}
  end
  local metrics = evaluation.score_samples(task, session.model, data, session)
  local nll = validation.new {
    data = data:dequantise(), batch = 2, cell_width = data.info.cell_width or 1, seed = args.seed or 1,
  }
  metrics.bits_per_dim = cli.must(nll:run(session.model)).nll
  results[#results + 1] = {name = "c-Glow", metrics = metrics}
  return results
end

return function(task, args)
  local session = session_of.load(task, args)
  local data, source = session_of.data(task, args, session, args.split or "valid")
  if args.limit then data = data:subset(1, math.min(args.limit, data:size())) end
  local results = measure(task, args, session, data)

  local sheet = args.sheet or session.folder .. "/evaluation.png"
  cli.must(image.save(sheet, evaluation.sheet(task, session.model, data, {
    samples = session.samples, rng = core.Rng(args.seed or 1), indices = evaluation.spread(data, SHOWN),
    cell_width = session.cell_width,
  })))
  if args.json then
    print(json.encode({task = task.name, model = session.path, images = data:size(), samples = session.samples,
      results = results, sheet = sheet}, {not_finite = "null"}))
  elseif not args.quiet then
    print(("%s: %d held-out images (%s), mean of %d samples"):format(session.path, data:size(), source,
      session.samples))
    print_table(results)
    print("pictures: " .. sheet)
  end
end
