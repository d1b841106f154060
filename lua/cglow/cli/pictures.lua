--- Pictures of the answer to an input, of probabilities, of how much samples differ, or of samples:
-- what `predict` writes as its option `what` says.
-- @module cglow.cli.pictures
local command = require "cglow.cli.command"
local pipeline = require "cglow.tasks.pipeline"
local ways = require "cglow.tasks.ways"

local M = {}

local SAMPLES <const> = 4 -- that are written, unless --n says otherwise

--- End the command when the options do not go together.
-- @tparam table task
-- @tparam table args
function M.check(task, args)
  local what = args.what
  if args.n and what ~= "samples" then command.misuse "--n: only --what samples writes samples" end
  if what == "probability" and task.kind == "image" then
    command.misuse(("--what probability: the answer of %s has no classes; --what std shows how sure it is"):format(
      task.name))
  end
  if args.centre and (what == "std" or what == "samples") then
    command.misuse(("--what %s: one pass at the centre gives no samples"):format(what))
  end
  if what == "std" and args.samples == 1 then command.misuse "--what std: one sample does not differ from itself" end
  for _, name in ipairs(what == "samples" and {"samples", "mirror", "consensus"} or {}) do
    if args[name] then command.misuse(("--%s is for answers, not for --what samples"):format(name)) end
  end
end

--- Endings of the names of an input's results, before ".png".
-- @treturn {string,...}
function M.suffixes(task, args)
  local what, list = args.what or "answer", {}
  if what == "answer" then return {""} end
  if what == "std" or what == "probability" and task.kind == "mask" then return {"_" .. what} end
  local stem = what == "samples" and "_sample_" or "_probability_"
  for k = 1, what == "samples" and (args.n or SAMPLES) or task.classes do list[k] = stem .. k end
  return list
end

--- How samples are drawn, where that is not as for an answer: each on its own.
-- @tparam table args
-- @tparam table way of the session, which is changed
function M.way(args, way)
  if args.what ~= "samples" then return end
  way.samples, way.pairs, way.mirror, way.consensus = args.n or SAMPLES, false, false, nil
end

local DEEP <const> = {bits = 16}

local make = {}

function make.answer(said) return {{picture = said.picture, form = said.form}} end

function make.probability(said)
  local list = {}
  for k = 1, #said.mean do
    list[k] = {picture = said.mean:narrow(1, k, 1):clamp(0, 1), form = DEEP}
  end
  return list
end

-- The mean over channels, with the largest of them white.
function make.std(said)
  local k, h, w = table.unpack(said.std:size())
  local map = said.std:reshape(k, h * w):mean(1):reshape(1, h, w)
  local most = (map:max())
  return {{picture = most > 0 and map / most or map, form = DEEP, white = most}}
end

function make.samples(said, task, picture)
  local list = {}
  for i, values in ipairs(said.samples) do
    local _, shown, form = task.finish(values, picture)
    list[i] = {picture = shown, form = form}
  end
  return list
end

--- The pictures to write.
-- @tparam table args
-- @tparam table session with `view`
-- @tparam table picture what the task has read
-- @treturn[1] {table,...} `picture`, `form` (options of `image.save`), `white` (what white stands for)
-- @treturn[2] nil
-- @treturn[2] string message
function M.make(args, session, picture)
  local what, task, way = args.what or "answer", session.task, session.way
  local samples = what == "samples"
  if samples then
    local ok, message = pipeline.has_samples(task, picture, session.view)
    if not ok then return nil, message end
  end
  local said = pipeline.look(task, picture, session.view, ways.drawer(session.model, way, samples),
    {consensus = way.consensus, samples = samples})
  return make[what](said, task, picture)
end

return M
