--- Which task a run folder or a model file belongs to, for commands that are not told.
-- @module cglow.cli.task_of_run
local command = require "cglow.cli.command"
local identity = require "cglow.tasks.identity"
local lfs = require "lfs"
local runfolder = require "cglow.run.folder"
local safetensors = require "cglow.util.safetensors"

local M = {}

-- The value of an option on a command line that is not parsed yet.
local function value_of(argv, option)
  for i, word in ipairs(argv) do
    if word == option then return argv[i + 1] end
    local value = word:match("^" .. option:gsub("%-", "%%-") .. "=(.*)$")
    if value then return value end
  end
end

local function of_file(path)
  local metadata = command.must(safetensors.metadata(path))
  local name = command.must(identity.read(metadata)).name
  if not name then
    command.misuse(("%s does not say of which task it is: name the task, as in 'cglow TASK predict'"):format(path))
  end
  return name, path
end

local function of_run(path)
  local folder = runfolder.at(path)
  if not folder:exists() then command.misuse(("--run: there is no run in %s"):format(path)) end
  local config = command.must(folder:read_config())
  if type(config.task) ~= "string" then
    command.misuse(("the run in %s is of no task that has such a command"):format(path))
  end
  return config.task, path
end

--- The name of the task that a command line is about.
-- @tparam {string,...} argv
-- @treturn ?string nil when it names neither run nor model file
-- @treturn ?string where the run or the file is
function M.find(argv)
  local checkpoint, run = value_of(argv, "--checkpoint"), value_of(argv, "--run")
  if checkpoint then
    command.require_path(checkpoint, "file", "--checkpoint")
    return of_file(checkpoint)
  end
  if run and lfs.attributes(run, "mode") == "file" then
    command.misuse(("--run: %s is a file; --checkpoint names a model file"):format(run))
  end
  if run then return of_run(run) end
end

return M
