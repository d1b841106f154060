--- The command report: a page about a training run, or about several to compare.
-- @module cglow.cli.report
local command = require "cglow.cli.command"
local console = require "cglow.util.console"
local parser = require "cglow.cli.parser"
local report = require "cglow.report"

return function(argv)
  local args = command.parse(parser.report(), argv)
  local to = args.out or #args.run > 1 and "report.html" or nil
  console.say((command.must(report.save(args.run, to, {replace = args.force}))))
end
