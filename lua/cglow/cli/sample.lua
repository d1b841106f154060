--- The sub-command sample: several samples for each image, side by side.
-- @module cglow.cli.sample
local image = require "cglow.image"
local json = require "cglow.util.json"
local command = require "cglow.cli.command"
local launch = require "cglow.cli.launch"
local evaluation = require "cglow.tasks.evaluation"
local session_of = require "cglow.cli.session"

local function inputs_of(task, args, session)
  local inputs = {}
  if #args.file > 0 then
    for i, file in ipairs(args.file) do inputs[i] = command.must(task.read_input(file, session.size)) end
    return inputs
  end
  local valid = session_of.data(task, args, session, "valid")
  for i, index in ipairs(evaluation.spread(valid, args.images or 6)) do inputs[i] = assert(valid:get(index)) end
  return inputs
end

return function(task, args)
  if launch.rank() > 0 then return end -- a few samples are no work to share
  local session = session_of.load(task, args)
  local sheet = evaluation.samples_sheet(task, session.model, inputs_of(task, args, session), {
    samples = args.count or 8, temperature = args.temperature, rng = session.way.rng,
    cell_width = session.way.cell_width,
  })
  local path = args.sheet or session.folder .. "/samples.png"
  command.must(image.save(path, sheet))
  if args.json then print(json.encode {model = session.path, sheet = path})
  elseif not args.quiet then print("samples: " .. path) end
end
