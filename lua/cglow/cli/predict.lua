--- The sub-command predict: answers for a user's own files.
-- @module cglow.cli.predict
local image = require "cglow.image"
local json = require "cglow.util.json"
local command = require "cglow.cli.command"
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

return function(task, args)
  local out = (args.out or "predictions"):gsub("(.)/+$", "%1")
  local paths = targets(args.file, out)
  local session = session_of.load(task, args)
  local predict = session_of.predictor(session)
  command.must(runfolder.make_directory(out))
  local stand_at = streams.cut(session.way.rng)
  local function predict_one(i)
    stand_at(i)
    local answer = command.must(task.predict_file(predict, args.file[i], session.size, args))
    command.must(image.save(paths[i], answer, task.save))
    return paths[i]
  end
  launch.world():texts(#args.file, predict_one, function(i, path)
    if args.json then print(json.encode {input = args.file[i], output = path})
    elseif not args.quiet then print(("%s -> %s"):format(args.file[i], path)) end
  end)
end
