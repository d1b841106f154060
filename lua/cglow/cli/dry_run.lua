--- What training would cost: the model is built, a few steps are measured, and
-- nothing is written.
-- @module cglow.cli.dry_run
local console = require "cglow.util.console"
local core = require "cglow.core"
local json = require "cglow.util.json"
local command = require "cglow.cli.command"
local count_of = require "cglow.util.count"
local launch = require "cglow.cli.launch"
local format = require "cglow.run.format"
local train = require "cglow.train"

local WARM, MEASURED = 2, 5 -- steps
local TOO_LARGE <const> = 1 -- exit code

local function median(list)
  table.sort(list)
  return list[#list // 2 + 1]
end

-- Seconds of a step, the median of a few; buffers are made before.
local function measure(options)
  local times, last = {}, nil
  local o = {
    steps = WARM + MEASURED, progress = "quiet", log_every = 1000,
    on_step = function(self)
      local now = core.system.clock()
      if self:step_count() > WARM then times[#times + 1] = now - last end
      last = now
    end,
  }
  for _, name in ipairs {"model", "train", "batch", "accumulate", "seed", "optimizer", "warmup", "cell_width", "ema",
    "head"} do
    o[name] = options[name]
  end
  local outcome = command.try(train.Trainer, o):run()
  if outcome.reason ~= "done" then command.misuse("the trial steps ended early: " .. outcome.message) end
  return median(times)
end

-- One validation as the run would make it.
local function measure_validation(options)
  local before = core.system.clock()
  options.validate(options.model)
  return core.system.clock() - before
end

-- Is it more than the machine has? A run would be killed, or the machine would come to a stop.
local function refuse(args, bytes, has)
  if args.json then return TOO_LARGE end
  console.tell(("this training needs %s, and the machine has %s: take smaller pictures (--size), a smaller batch "
    .. "(--config batch=N) or a smaller model"):format(format.bytes(bytes.total), format.bytes(has)))
  return TOO_LARGE
end

local function say_memory(bytes, has)
  console.say(("memory      %s: step %s, validation %s, data up to %s; the machine has %s"):format(
    format.bytes(bytes.total), format.bytes(bytes.step), format.bytes(bytes.validation), format.bytes(bytes.data),
    format.bytes(has)))
end

return function(args, model, make_options, bytes)
  if launch.rank() > 0 then return end
  local parameters, has = model:parameter_count(), core.system.machine().memory
  local fits = bytes.total <= has
  local found = {parameters = parameters, bytes = bytes.total, bytes_of = bytes, machine_bytes = has,
    checkpoint_bytes = 12 * parameters, fits = fits}
  if not args.json then
    console.say(tostring(model))
    console.say ""
    console.say(("parameters  %s; a checkpoint takes %s"):format(format.number("%.2f M", parameters / 1e6),
      format.bytes(12 * parameters)))
    say_memory(bytes, has)
  end
  local options, step, valid, validations
  if fits then
    options = make_options() -- which reads held-out samples
    step, valid = measure(options), measure_validation(options)
    validations = (options.steps + options.valid_every - 1) // options.valid_every
    found.seconds_per_step, found.seconds_per_validation = step, valid
    found.seconds = options.steps * step + validations * valid
  end
  if args.json then console.say(json.encode(found)) end
  if not fits then return refuse(args, bytes, has) end
  if args.json then return 0 end
  console.say(("step        %s: median of %d, batch %d, %s"):format(format.number("%.3f s", step), MEASURED,
    options.batch, count_of((core.threads()), "thread")))
  console.say(("time        %s: %s, %s of %s each"):format(format.duration(found.seconds),
    count_of(options.steps, "step"), count_of(validations, "validation"), format.number("%.2g s", valid)))
  return 0
end
