--- The command `report RUN [RUN ...]`.
-- @module cglow.cli.report
local argparse = require "argparse"
local report = require "cglow.report"

local M = {}

local function parser()
  local p = argparse("report", "Write a report of a training run, or of several to compare, as one HTML page.")
    :help_max_width(80):help_description_margin(24):usage_max_width(80)
  p:argument("run"):args "+":description "Run folders."
  p:option("--out"):argname "FILE"
    :description "The page to write (RUN/report.html; report.html here for several runs)."
  return p
end

--- Run the command.
-- @tparam {string,...} argv
-- @treturn integer exit code: 0, or 2 when the arguments or a run are no good
function M.run(argv)
  local ok, args = parser():pparse(argv)
  local path, message
  if ok then
    path, message = report.save(args.run, args.out or #args.run > 1 and "report.html" or nil)
  else
    message = args:gsub("\n", ". ") .. " ('report --help' shows how)"
  end
  if not path then
    io.stderr:write("report: ", message, "\n")
    return 2
  end
  print(path)
  return 0
end

--- Run the command and leave the process.
function M.main(argv) os.exit(M.run(argv), true) end

return M
