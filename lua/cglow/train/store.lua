--- What a training run keeps in its folder, and how it goes on from there.
-- Without a folder it keeps nothing.
-- @module cglow.train.store
local core = require "cglow.core"
local image = require "cglow.image"
local json = require "cglow.util.json"
local report = require "cglow.report"
local checkpoint = require "cglow.train.checkpoint"
local runfolder = require "cglow.run.folder"
local stop = require "cglow.train.stop"

local must <const> = stop.must

local Store = {}
Store.__index = Store

local M = {}

--- @tparam table options of the trainer: `run`, `resume`, `keep`, `config`
function M.new(options)
  return setmetatable({
    folder = options.run and runfolder.at(options.run), resume = options.resume, count = options.keep,
    config = options.config, saved = nil, log = nil, lock = nil,
  }, Store)
end

-- ---- opening -------------------------------------------------------------

-- Nothing of the trainer is changed before all of the checkpoint was found to fit.
local function resume_from(self, path, step, trainer)
  local loaded, message = checkpoint.read(path)
  if not loaded then return nil, message end
  if loaded.state.at.step ~= step then
    return nil, ("cannot resume from %s: it is of step %d, not %d"):format(path, loaded.state.at.step, step)
  end
  local ok
  ok, message = trainer:go_on(loaded)
  self.loaded = loaded
  if not ok then return nil, ("cannot resume from %s: %s"):format(path, message) end
  self.saved = trainer:step_count()
  ok, message = self.folder:keep(self.saved, self.count) -- a crash may have come between these two
  if ok then ok, message = self.folder:rewind_log(self.saved) end
  if ok and self.config then ok, message = self.folder:write_config(self.config) end
  return ok, message
end

-- Start or go on, as asked. To resume a run that never came to its first
-- checkpoint is to start again, and is said.
local function start(self, trainer)
  local path, step = self.folder:newest()
  if path and self.resume then return resume_from(self, path, step, trainer) end
  if path then
    return nil, ("%s holds a run that has come to step %d: resume it, or choose another folder"):format(
      self.folder.path, step)
  end
  if self.resume then
    if not self.folder:exists() then return nil, ("there is no run in %s to resume"):format(self.folder.path) end
    trainer.progress:note(("%s has no checkpoint yet: starting from step 0"):format(self.folder.path))
  end
  local ok, message = self.folder:write_config(self.config or {})
  if not ok then return nil, message end
  return self.folder:clear_log()
end

--- Take the folder, and bring the trainer to where the run stands.
function Store:open(trainer)
  if not self.folder then return end
  local held
  self.lock, held = must(self.folder:open())
  if not held then
    trainer.progress:warn(("%s: the file system has no locks: see that no other process trains here"):format(
      self.folder.path))
  end
  must(start(self, trainer))
  self.log = must(self.folder:open_log())
end

--- Let the folder go.
function Store:close()
  if self.log then self.log:close() end
  if self.lock then self.lock:close() end
  self.log, self.lock = nil, nil
end

-- ---- keeping -------------------------------------------------------------

--- Append a line to the log.
function Store:write_log(line)
  if self.log then must(self.log:write(line .. "\n")) end
end

-- The name of a parameter that is not finite, which no checkpoint may hold.
local function first_not_finite(model)
  for _, p in ipairs(model:parameters()) do
    if not p.value:isfinite() then return p.name end
  end
end

-- What every model file says beside its configuration.
local function metadata_of(trainer, more)
  local metadata = more or {}
  for key, text in pairs(trainer.options.metadata) do metadata[key] = text end
  metadata.cell_width = json.encode(trainer.options.cell_width)
  return metadata
end

--- Write a checkpoint, unless this step has one.
-- @param trainer
-- @tparam[opt] boolean refused was the step? Then nothing changed, and its checkpoint would
-- only push out an older, better one
function Store:save_checkpoint(trainer, refused)
  local step = trainer:step_count()
  if not self.folder or self.saved == step then return end
  local bad = first_not_finite(trainer.model)
  if bad then stop.raise("diverged", ("%s is not finite after step %d"):format(bad, step)) end
  if refused then return end
  must(self.log:sync()) -- the log never lags behind the checkpoint
  must(checkpoint.save(self.folder:checkpoint(step), trainer.model, trainer.optimizer, trainer.averaging,
    trainer:state(), trainer.options.metadata))
  must(self.folder:keep(step, self.count))
  self.saved = step
end

--- Write the model as it is at the end of the training, without what only going on needs.
function Store:save_model(trainer)
  if not self.folder then return end
  local _ <close> = trainer.averaging:exchange()
  must(trainer.model:save(self.folder:file("model.safetensors"), {metadata = metadata_of(trainer)}))
end

--- Write the model as the best one so far.
function Store:save_best(trainer, metrics)
  if not self.folder then return end
  local validation = json.encode({step = trainer:step_count(), metrics = metrics}, {not_finite = "null"})
  must(trainer.model:save(self.folder:file("best.safetensors"), {
    metadata = metadata_of(trainer, {validation = validation}),
  }))
end

--- Keep the picture that `draw` gives.
function Store:save_picture(step, draw)
  if not self.folder then return end
  local picture = draw()
  if core.type(picture) ~= "cglow.Tensor" then
    error(("Trainer: option 'picture' must give an image, got %s"):format(core.type(picture)), 0)
  end
  must(image.save(self.folder:file(("samples/step-%08d.png"):format(step)), picture))
end

--- Bring the report and the table of curves up to date.
function Store:write_report()
  if not self.folder then return end
  must(report.save {self.folder.path})
  must(self.folder:write_curves())
end

--- Path of the newest checkpoint, or nil.
function Store:newest()
  if self.folder then return (self.folder:newest()) end
end

return M
