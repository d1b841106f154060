--- The sub-command predict: answers for a user's own pictures.
-- @module cglow.cli.predict
local console = require "cglow.util.console"
local image = require "cglow.image"
local json = require "cglow.util.json"
local command = require "cglow.cli.command"
local inputs_of = require "cglow.cli.inputs"
local meter_of = require "cglow.cli.meter"
local notice = require "cglow.util.notice"
local outputs = require "cglow.cli.outputs"
local launch = require "cglow.cli.launch"
local pictures_of = require "cglow.cli.pictures"
local session_of = require "cglow.cli.session"
local runfolder = require "cglow.run.folder"
local streams = require "cglow.util.streams"
local view_of = require "cglow.tasks.view"

local NO_ANSWER <const> = 1 -- exit code when some pictures have none

-- Where each result goes, a list for each input; two inputs may not share one.
local function targets(inputs, out, suffixes)
  local paths, taken = {}, {}
  for i, input in ipairs(inputs) do
    paths[i] = {}
    for k, suffix in ipairs(suffixes) do
      local path = ("%s/%s%s.png"):format(out, input.stem, suffix)
      if taken[path] then
        command.misuse(("%s and %s would both be written to %s"):format(taken[path], input.name, path))
      end
      paths[i][k], taken[path] = path, input.name
    end
  end
  return paths
end

-- Is the one result to be written to standard output?
local function to_stdout(args, inputs, suffixes)
  if args.out ~= "-" and (inputs[1].path or args.out) then return false end
  local count = #inputs * #suffixes
  if count > 1 then command.misuse(("-: %d pictures need a folder: name it with --out"):format(count)) end
  if args.json then command.misuse "--json: standard output is for the picture itself: name a folder with --out" end
  return true
end

-- Nothing that is read may be written over, and nothing that was there before.
local function check_paths(args, session, inputs, paths)
  local all, read = {}, {session.path, args.mask}
  for i, input in ipairs(inputs) do
    read[#read + 1] = input.path
    for _, path in ipairs(paths[i]) do all[#all + 1] = path end
  end
  outputs.check(all, read, args.force)
  return all
end

-- Very large pictures are not seen whole, which is said.
local function say_tiles(session, picture, name)
  local h, w = picture.x and picture.x:size(2), picture.x and picture.x:size(3)
  if h and session.task.tiled and session.view.unit and view_of.by_tiles(session.view, h, w) then
    notice.notify(("%s: %d×%d pixels are seen by overlapping tiles"):format(name, w, h))
  end
end

-- One picture's results: a list of pictures and how to save them; or nil and a message.
local function answer(args, session, input)
  local source = input.source or input.read()
  local picture, message = session.task.read(source, args)
  if not picture then return nil, message end
  say_tiles(session, picture, input.name)
  return pictures_of.make(args, session, picture)
end

local function write(list, paths)
  for k, picture in ipairs(list) do
    local ok, message = image.save(paths[k], picture.picture, picture.form)
    if not ok then return nil, message end
  end
  return true
end

-- What is told of an input, as text: other ranks compute some of them.
local function work(args, session, input, paths)
  local list, message = answer(args, session, input)
  local ok = list
  if list and paths then ok, message = write(list, paths) end
  if list and not paths then ok, message = console.bytes(assert(image.encode(list[1].picture, "png", list[1].form))) end
  if not ok then return json.encode {failed = message} end
  return json.encode {white = list[1].white, ok = true}
end

local function say(args, input, paths, told)
  for _, path in ipairs(paths) do
    if args.json then
      console.say(json.encode {input = input.name, output = path, what = args.what or "answer", white = told.white})
    elseif not args.quiet then
      console.say(("%s -> %s%s"):format(input.name, path, told.white and ("  (white: %.4g)"):format(told.white) or ""))
    end
  end
end

local function predict_all(args, session, inputs, paths)
  local stand_at, failed = streams.cut(session.way.rng), 0
  local meter = meter_of.new(args, "picture", #inputs)
  launch.world():texts(#inputs, function(i)
    stand_at(i)
    return work(args, session, inputs[i], paths and paths[i])
  end, function(i, text)
    local told = assert(json.decode(text))
    if told.failed then
      failed = failed + 1
      console.tell(("%s: %s"):format(session.task.name, told.failed))
    elseif paths then say(args, inputs[i], paths[i], told) end
    meter:tick()
  end)
  return failed
end

return function(task, args)
  inputs_of.check(args.file, args.command)
  local out = (args.out or "predictions"):gsub("(.)/+$", "%1")
  local inputs = inputs_of.expand(args.file)
  local session = session_of.load(task, args)
  pictures_of.check(session.task, args)
  local suffixes = pictures_of.suffixes(session.task, args)
  local paths = not to_stdout(args, inputs, suffixes) and targets(inputs, out, suffixes) or nil
  session.view = view_of.of(session.model, session.size)
  pictures_of.way(args, session.way)
  if paths then
    local all = check_paths(args, session, inputs, paths)
    command.must(runfolder.make_directory(out))
    outputs.check_writable {all[1]}
  end
  launch.meet() -- none writes before all have looked
  local failed = predict_all(args, session, inputs, paths)
  if failed == 0 then return 0 end
  if #inputs > 1 then
    console.tell(("%s: %d of %d pictures %s no answer"):format(session.task.name, failed, #inputs,
      failed == 1 and "has" or "have"))
  end
  return NO_ANSWER
end
