--- The sub-command predict: answers for a user's own files.
-- @module cglow.cli.predict
local image = require "cglow.image"
local json = require "cglow.util.json"
local command = require "cglow.cli.command"
local session_of = require "cglow.cli.session"
local runfolder = require "cglow.run.folder"

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
  for i, file in ipairs(args.file) do
    local answer = command.must(task.predict_file(predict, file, session.size, args))
    command.must(image.save(paths[i], answer, task.save))
    if args.json then print(json.encode {input = file, output = paths[i]})
    elseif not args.quiet then print(("%s -> %s"):format(file, paths[i])) end
  end
end
