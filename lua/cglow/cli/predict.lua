--- The sub-command predict: answers for a user's own files.
-- @module cglow.cli.predict
local console = require "cglow.util.console"
local image = require "cglow.image"
local json = require "cglow.util.json"
local command = require "cglow.cli.command"
local outputs = require "cglow.cli.outputs"
local launch = require "cglow.cli.launch"
local session_of = require "cglow.cli.session"
local runfolder = require "cglow.run.folder"
local streams = require "cglow.util.streams"

-- Where each result goes; two inputs may not share one.
local function targets(files, out)
  local paths, taken = {}, {}
  for i, file in ipairs(files) do
    local stem = file:match("([^/]+)$"):gsub("%.[^.]*$", "")
    local path = ("%s/%s.png"):format(out, stem)
    if taken[path] then command.misuse(("%s and %s would both be written to %s"):format(taken[path], file, path)) end
    paths[i], taken[path] = path, file
  end
  return paths
end

local function inputs_of(args, session)
  local inputs = table.move(args.file, 1, #args.file, 2, {session.path})
  inputs[#inputs + 1] = args.mask
  return inputs
end

-- Write one file's answer; what went wrong, or "".
local function answer_file(task, args, session, predict, file, path)
  local answer, how = task.predict_file(predict, file, session.size, args)
  if not answer then return how end
  local ok, message = image.save(path, answer, how)
  return ok and "" or message
end

return function(task, args)
  local out = (args.out or "predictions"):gsub("(.)/+$", "%1")
  local paths = targets(args.file, out)
  local session = session_of.load(task, args)
  outputs.check(paths, inputs_of(args, session), args.force)
  local predict, failed = session_of.predictor(session), 0
  command.must(runfolder.make_directory(out))
  launch.meet() -- none writes before all have looked
  local stand_at = streams.cut(session.way.rng)
  local function answer(i)
    stand_at(i)
    return answer_file(session.task, args, session, predict, args.file[i], paths[i])
  end
  launch.world():texts(#args.file, answer, function(i, message)
    if message ~= "" then
      failed = failed + 1
      console.tell(("%s: %s"):format(task.name, message))
    elseif args.json then
      console.say(json.encode {input = args.file[i], output = paths[i]})
    elseif not args.quiet then
      console.say(("%s -> %s"):format(args.file[i], paths[i]))
    end
  end)
  if failed == 0 then return 0 end
  if #args.file > 1 then
    console.tell(("%s: %d of %d files have no answer"):format(task.name, failed, #args.file))
  end
  return 2
end
