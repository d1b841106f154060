--- The command line that the task scripts share: train, evaluate, predict and
-- sample with the same options everywhere.
--
-- What the user got wrong is answered with one line and exit code 2; a run that
-- failed ends with 1, one that was interrupted with 130 (SIGINT) or 143 (SIGTERM).
-- @module cglow.cli
local core = require "cglow.core"
local fail = require "cglow.cli.fail"
local parser = require "cglow.cli.parser"
local settings = require "cglow.tasks.settings"

local M = {}

local function check_paths(args)
  if args.data then fail.require_path(args.data, "directory", "--data") end
  if args.checkpoint then fail.require_path(args.checkpoint, "file", "--checkpoint") end
  for _, path in ipairs(args.file or {}) do fail.require_path(path, "file", args.command) end
end

local function parse_config(args)
  local config = {}
  for _, text in ipairs(args.config or {}) do
    local name, value = settings.parse(text)
    if not name then fail.misuse(value) end
    config[name] = value
  end
  args.config = config
end

local function wants_settings(args)
  for _, text in ipairs(args.config or {}) do
    if text == "help" then return true end
  end
end

local function execute(task, argv)
  local ok, args = parser(task):pparse(argv)
  if not ok then fail.misuse(("%s ('%s --help' shows how)"):format((args:gsub("\n", ". ")), task.name)) end
  if wants_settings(args) then
    print(settings.describe(task, args.recipe))
    return 0
  end
  check_paths(args)
  parse_config(args)
  args.argv = argv
  if args.threads then core.threads(args.threads) end
  core.seed(args.seed or 1)
  return require("cglow.cli." .. args.command)(task, args) or 0
end

--- Run a task script.
-- @tparam table task from `cglow.tasks.define`
-- @tparam {string,...} argv
-- @treturn integer exit code
function M.run(task, argv)
  local ok, result = xpcall(execute, function(e)
    return fail.message(e) and e or debug.traceback(tostring(e), 2)
  end, task, argv)
  if ok then return result end
  io.stdout:flush()
  if fail.message(result) then
    io.stderr:write(task.name, ": ", result.message, "\n")
    return 2
  end
  io.stderr:write(task.name, ": ", result, "\n")
  return 1
end

--- Run a task script and leave the process.
function M.main(task, argv) os.exit(M.run(task, argv), true) end

return M
