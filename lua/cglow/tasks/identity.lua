--- What a model file says of its task: the task's name, and the settings that answers depend on.
--
-- It stands under `task` in the metadata of every model file of a run, as JSON, so that a model file
-- alone is enough to predict and to score with.
-- @module cglow.tasks.identity
local json = require "cglow.util.json"

local M = {}

-- Settings that say how predictions are made.
local SETTINGS <const> = {"samples", "size", "augment.mirror"}

-- Folders and lists are of the machine that the model was trained on.
local PLACES <const> = {folder = true, file = true}

--- The text for the metadata.
-- @tparam table task
-- @tparam table s settings
-- @treturn string
function M.text(task, s)
  local kept = {}
  for _, name in ipairs(SETTINGS) do kept[name] = s[name] end
  for _, option in ipairs(task.options) do
    if not PLACES[option.kind] then kept[option.name] = s[option.name] end
  end
  return json.encode {name = task.name, settings = kept}
end

--- What a file's metadata say.
-- @tparam {[string]=string} metadata
-- @treturn[1] table `name` and `settings`; both may be missing in a file that says nothing
-- @treturn[2] nil when what stands there is damaged
-- @treturn[2] string message
function M.read(metadata)
  if not metadata.task then return {} end
  local known, message = json.decode(metadata.task)
  if type(known) ~= "table" or type(known.name) ~= "string" or type(known.settings) ~= "table" then
    return nil, "task: an object with name and settings expected" .. (message and ": " .. message or "")
  end
  return known
end

return M
