--- The sub-command score: how likely given pairs are, and how unusual that is.
-- @module cglow.cli.score
local bytes = require "cglow.util.bytes"
local command = require "cglow.cli.command"
local console = require "cglow.util.console"
local count_of = require "cglow.util.count"
local evaluation = require "cglow.tasks.evaluation"
local files = require "cglow.data.files"
local json = require "cglow.util.json"
local kept = require "cglow.run.scores"
local launch = require "cglow.cli.launch"
local notice = require "cglow.util.notice"
local partners = require "cglow.data.partners"
local results = require "cglow.cli.results"
local scores = require "cglow.tasks.scores"
local session_of = require "cglow.cli.session"
local task_of = require "cglow.tasks.define"

local before <const> = require("cglow.core").file.before

local MOST_HELD_OUT <const> = 256 -- samples to compare with, evenly spread

-- ---- what is scored --------------------------------------------------------

local function stem_of(path) return files.stem(path:match "[^/]+$") end

-- The partner of each file: the file or the folder that --y names.
local function answers_of(args)
  if files.is_file(args.y) then
    if #args.file > 1 then command.misuse "--y: one file cannot belong to several pictures; name a folder" end
    return {args.y}
  end
  command.require_path(args.y, "directory", "--y")
  local names, xs, ys, paths, list = command.must(files.images(args.y)), {}, {}, {}, {}
  for i, name in ipairs(names) do ys[i], paths[files.stem(name)] = files.stem(name), files.join(args.y, name) end
  for i, file in ipairs(args.file) do xs[i] = stem_of(file) end
  local partner = command.must(partners.match(xs, ys))
  for i, x in ipairs(xs) do list[i] = partner[x] and paths[partner[x]] or false end
  return list
end

-- A list of what is to be scored: `name` and `get`, which gives a sample, or nil and a message.
local function of_files(args, session)
  local task, list = session.task, {}
  if not (task.alone or args.y) then
    command.misuse "--y: the answer to the picture must be named, or a folder of answers"
  end
  if task.alone and args.y then command.misuse "--y is not for this task: the picture has the answer" end
  local ys = args.y and answers_of(args)
  for i, file in ipairs(args.file) do
    list[i] = {name = file, get = function()
      if ys and not ys[i] then return nil, ("%s has no partner in %s"):format(file, args.y) end
      return task.pair(file, ys and ys[i], session.size)
    end}
  end
  return list
end

local function of_data(args, session)
  local data, list = session_of.data(args, session, args.split or "valid"), {}
  for i = 1, math.min(data:size(), args.limit or data:size()) do
    list[i] = {get = function() return data:get(i) end}
  end
  return list
end

-- ---- what it is compared with --------------------------------------------------

-- Scores of held-out samples, which are made once. Without the data there is no comparison.
local function held_out(session, way)
  local known = kept.read(session.path:match "^(.*)/[^/]*$" or ".", session.path, way)
  if known then return known end
  local o = {directory = session.settings.data, split = "valid", size = session.size,
    seed = session.settings.seed or 1, known = true}
  for name, value in pairs(session.trained_on) do o[name] = value end
  local data, source = task_of.data(session.task, o)
  if not data then
    notice.notify(("nothing to compare with: %s"):format(source))
    return {}
  end
  local bits, indices = {}, evaluation.spread(data, MOST_HELD_OUT)
  notice.notify(("scoring %s first, to compare with (%s)"):format(count_of(#indices, "held-out image"), source))
  for _, i in ipairs(indices) do
    local sample = data:get(i)
    if sample then bits[#bits + 1] = scores.of(session.model, sample, way).bits_per_dim end
  end
  if session.own_folder then command.must(kept.write(session.folder, session.path, way, bits, source)) end
  return bits
end

-- ---- what is said --------------------------------------------------------------

local function row_of(score)
  local none <const> = 0 / 0
  return ("%s  %s  %s  %s%s"):format(bytes.number("%10.4f", score.bits_per_dim), bytes.number("%12.1f", score.log_prob),
    bytes.number("%10.1f", score.percentile or none), bytes.number("%8.2f", score.z or none),
    (score.z or 0) >= scores.UNUSUAL and "  unusual" or "")
end

local HEAD <const> = ("%10s  %12s  %10s  %8s"):format("bits/dim", "log p", "percentile", "z")

local function most_unusual(list, count)
  local order = table.move(list, 1, #list, 1, {})
  table.sort(order, function(a, b)
    if a.metrics.bits_per_dim ~= b.metrics.bits_per_dim then return a.metrics.bits_per_dim > b.metrics.bits_per_dim end
    return before(a.image, b.image)
  end)
  return table.move(order, 1, math.min(count, #order), 1, {})
end

local function say(args, list)
  if args.worst then list = most_unusual(list, args.worst) end
  if args.csv then return console.say((results.csv(list):gsub("\n$", ""))) end
  local width = 4
  for _, row in ipairs(list) do width = math.max(width, #row.image) end
  if not args.json then console.say(("%-" .. width .. "s%s"):format("name", HEAD)) end
  for _, row in ipairs(list) do
    if args.json then
      local line = {name = row.image}
      for name, value in pairs(row.metrics) do line[name] = value end
      console.say(json.encode(line, {not_finite = "null"}))
    else
      console.say(("%-" .. width .. "s%s"):format(row.image, row_of(row.metrics)))
    end
  end
end

return function(task, args)
  if launch.rank() > 0 then return end
  if args.csv and args.json then command.misuse "--csv and --json exclude each other" end
  local session = session_of.load(task, args)
  local way = {cell_width = session.way.cell_width, draws = args.draws or 4, seed = args.seed or 1}
  local todo = #args.file > 0 and of_files(args, session) or of_data(args, session)
  local reference = scores.reference(held_out(session, way))
  local list, failed = {}, 0
  for i, item in ipairs(todo) do
    local sample, message = item.get()
    if sample then
      local score = scores.compare(scores.of(session.model, sample, way), reference)
      list[#list + 1] = {image = item.name or tostring(sample.name or i), metrics = score}
    else
      failed = failed + 1
      console.tell(("%s: %s"):format(task.name, message))
    end
  end
  if #list > 0 then say(args, list) end
  if failed > 0 and #todo > 1 then
    console.tell(("%s: %d of %d pairs %s no score"):format(task.name, failed, #todo, failed == 1 and "has" or "have"))
  end
  return failed > 0 and 1 or 0
end
