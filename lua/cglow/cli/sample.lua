--- The sub-command sample: several samples for each image, side by side.
-- @module cglow.cli.sample
local console = require "cglow.util.console"
local image = require "cglow.image"
local json = require "cglow.util.json"
local command = require "cglow.cli.command"
local launch = require "cglow.cli.launch"
local meter_of = require "cglow.cli.meter"
local evaluation = require "cglow.tasks.evaluation"
local session_of = require "cglow.cli.session"

-- The files, or held-out images; those that cannot be read are left out if that was asked for.
local function inputs_of(args, session)
  local inputs, task = {}, session.task
  for _, file in ipairs(args.file) do
    local input, message = task.read_input(file, session.size)
    if not input and not args.skip_damaged then command.misuse(message) end
    if not input then console.tell(message .. ": left out") end
    inputs[#inputs + 1] = input
  end
  if #args.file > 0 then
    if #inputs == 0 then command.misuse "none of the files can be read" end
    return inputs
  end
  local valid = command.must(session_of.data(args, session, "valid"):usable())
  for i, index in ipairs(evaluation.spread(valid, args.images or 6)) do inputs[i] = command.must(valid:get(index)) end
  return inputs
end

return function(task, args)
  if launch.rank() > 0 then return end -- a few samples are no work to share
  local session = session_of.load(task, args)
  local path = session_of.sheet(args, session, "samples.png")
  local inputs = inputs_of(args, session)
  local meter = meter_of.new(args, "picture", #inputs)
  local sheet = evaluation.samples_sheet(session.task, session.model, inputs, {
    samples = args.count or 8, temperature = args.temperature, rng = session.way.rng,
    cell_width = session.way.cell_width, progress = function() meter:tick() end,
  })
  command.must(image.save(path, sheet))
  if args.json then console.say(json.encode {model = session.path, sheet = path})
  elseif not args.quiet then console.say("samples: " .. path) end
end
