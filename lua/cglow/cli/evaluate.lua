--- The sub-command evaluate: the model beside baselines on held-out images.
-- @module cglow.cli.evaluate
local core = require "cglow.core"
local image = require "cglow.image"
local json = require "cglow.util.json"
local command = require "cglow.cli.command"
local evaluation = require "cglow.tasks.evaluation"
local session_of = require "cglow.cli.session"
local validation = require "cglow.train.validation"
local sort_by_bytes = require("cglow.util.bytes").sort

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
  sort_by_bytes(names)
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

local function bits_per_dim(args, session, data)
  local nll = validation.new {
    data = data:dequantise(), batch = 2, cell_width = data.info.cell_width or 1, seed = args.seed or 1,
  }
  return command.must(nll:run(session.model)).nll
end

-- The model that makes predictions and what `evaluation` is told: a larger picture
-- is predicted by tiles, which have no samples.
local function predictions(args, session)
  local size = args.size or session.size
  if size < session.size then
    local own = session.size
    command.misuse(("--size: the model's pictures are of %dx%d, not %dx%d"):format(own, own, size, size))
  end
  if size > session.size then return session_of.tiled(session), {samples = 1, shown = 0} end
  return session.model, {samples = session.samples, rng = session.rng, cell_width = session.cell_width}
end

local function measure(task, args, session, data)
  local results = {}
  local train = session_of.data(task, args, session, "train", args.size)
  for _, baseline in ipairs(task.baselines(train)) do
    results[#results + 1] = {name = baseline.name, metrics = evaluation.score_baseline(task, baseline.predict, data)}
  end
  local model, o = predictions(args, session)
  local metrics = evaluation.score_samples(task, model, data, o)
  if model == session.model then metrics.bits_per_dim = bits_per_dim(args, session, data) end
  results[#results + 1] = {name = "c-Glow", metrics = metrics}
  return results
end

local function draw_sheet(task, args, session, data)
  session.rng = core.Rng(args.seed or 1)
  local model, o = predictions(args, session)
  o.indices = evaluation.spread(data, SHOWN)
  return evaluation.sheet(task, model, data, o)
end

return function(task, args)
  local session = session_of.load(task, args)
  local data, source = session_of.data(task, args, session, args.split or "valid", args.size)
  if args.limit then data = data:subset(1, math.min(args.limit, data:size())) end
  local results = measure(task, args, session, data)

  local sheet = args.sheet or session.folder .. "/evaluation.png"
  command.must(image.save(sheet, draw_sheet(task, args, session, data)))
  if args.json then
    print(json.encode({task = task.name, model = session.path, images = data:size(), samples = session.samples,
      results = results, sheet = sheet}, {not_finite = "null"}))
  elseif not args.quiet then
    print(("%s: %d held-out images (%s), mean of %d samples"):format(session.path, data:size(), source,
      session.samples))
    print_table(results)
    if task.notes then print(task.notes) end
    print("pictures: " .. sheet)
  end
end
