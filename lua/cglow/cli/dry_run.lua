--- What training would cost: the model is built, a few steps are measured, and
-- nothing is written.
-- @module cglow.cli.dry_run
local console = require "cglow.util.console"
local core = require "cglow.core"
local json = require "cglow.util.json"
local command = require "cglow.cli.command"
local launch = require "cglow.cli.launch"
local format = require "cglow.run.format"
local train = require "cglow.train"

local WARM, MEASURED = 2, 5 -- steps

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
  for _, name in ipairs {"model", "train", "batch", "accumulate", "seed", "optimizer", "cell_width", "ema", "head"} do
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

return function(_, args, model, options)
  if launch.rank() > 0 then return end
  local parameters = model:parameter_count()
  local step, valid = measure(options), measure_validation(options)
  local _, peak = core.system.memory()
  local validations = (options.steps + options.valid_every - 1) // options.valid_every
  local total = options.steps * step + validations * valid
  if args.json then
    console.say(json.encode {parameters = parameters, bytes = peak, seconds_per_step = step,
      seconds_per_validation = valid, seconds = total, checkpoint_bytes = 12 * parameters})
    return 0
  end
  console.say(tostring(model))
  console.say ""
  console.say(("parameters  %.2f M; a checkpoint takes %s"):format(parameters / 1e6, format.bytes(12 * parameters)))
  console.say(("memory      %s"):format(format.bytes(peak)))
  console.say(("step        %.3f s: median of %d, batch %d, %d threads"):format(step, MEASURED, options.batch,
    core.threads()))
  console.say(("time        %s: %d steps, %d validations of %.2g s each"):format(format.duration(total), options.steps,
    validations, valid))
  return 0
end
