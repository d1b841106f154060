--- Reports: a run folder, or several to compare, as one HTML page that needs no
-- network and no other file.
-- @module cglow.report
local lfs = require "lfs"
local file = require "cglow.core".file
local options = require "cglow.util.options"
local page = require "cglow.report.page"
local run = require "cglow.report.run"

local M = {}

local SHEETS = 8 -- contact sheets of a single run; of several only the last each

--- The report of one or several runs.
-- @tparam {string,...} paths run folders
-- @treturn[1] string HTML
-- @treturn[2] nil
-- @treturn[2] string message
function M.render(paths)
  options.arg("report.render", 1, "paths", paths, {type = "table", each = {type = "string", path = true}})
  if #paths == 0 then error("report.render: paths: at least one run folder expected, got none", 2) end
  local runs = {}
  for i, path in ipairs(paths) do
    local found, message = run.read(path, #paths == 1 and SHEETS or 1)
    if not found then return nil, message end
    runs[i] = found
  end
  return page.render(runs)
end

-- Is there something at the path that no report of ours can be?
local function holds_another(path)
  local mode = lfs.attributes(path, "mode")
  if mode ~= "file" then return mode ~= nil end
  local reader <close> = io.open(path, "rb")
  return not (reader and (reader:read(page.HEAD) or ""):find(page.GENERATOR, 1, true))
end

--- Write a report.
-- @tparam {string,...} paths run folders
-- @tparam[opt] string to file to write; by default report.html in the only run's folder
-- @tparam[opt] table opts `replace` = true: also a file that is no report
-- @treturn[1] string the path that was written
-- @treturn[2] nil
-- @treturn[2] string message
function M.save(paths, to, opts)
  options.arg("report.save", 1, "paths", paths, {type = "table", each = {type = "string", path = true}})
  if #paths == 0 then error("report.save: paths: at least one run folder expected, got none", 2) end
  options.arg("report.save", 2, "to", to, {type = "string", path = true, optional = true})
  local o = options.check("report.save", opts, {replace = {type = "boolean"}})
  if to and not o.replace and holds_another(to) then
    return nil, ("%s is there already and is no report: choose another place, or say --force to replace it"):format(to)
  end
  local text, message = M.render(paths)
  if not text then return nil, message end
  to = to or paths[1] .. "/report.html"
  local ok, why, code = file.write(to, text)
  if not ok then return nil, why, code end
  return to
end

return M
