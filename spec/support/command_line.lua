--- Scripts run as a user runs them, in a process of their own.
local lfs = require "lfs"
local scratch = require "spec.fixtures.scratch"

local M = {}

M.TOY = "spec/support/toy_task.lua"

--- A function that runs a script: it gives the exit code, standard output and error output.
-- @string folder for what it leaves; the cache is there as well
-- @treturn function (script, arguments[, environment[, out]]); `out`: a file for standard output
function M.runner(folder)
  return function(script, arguments, environment, out)
    local err = folder .. "/.err"
    out = out or folder .. "/.out"
    local setting = ("LUA_PATH='%s' LUA_CPATH='%s' OMP_NUM_THREADS=1 CGLOW_CACHE='%s/.cache' %s"):format(
      package.path, package.cpath, folder, environment or "")
    local _, _, code = os.execute(("%s lua5.4 %s %s >'%s' 2>'%s'"):format(setting, script, arguments, out, err))
    return code, out == "/dev/full" and "" or scratch.read(out), scratch.read(err)
  end
end

--- For a block of examples: a folder that each of them finds empty, a function that runs a
-- script there, and one that trains the toy there, in `folder/run`.
function M.each(before_each, after_each)
  local folder = scratch.each(before_each, after_each)
  local run = M.runner(folder)
  local function train(arguments, environment)
    return run(M.TOY, ("train --quiet --run '%s/run' %s"):format(folder, arguments or ""), environment)
  end
  return folder, run, train
end

--- The names of the tasks that have embedded samples, sorted: modules of lua/cglow/tasks that are one.
function M.tasks()
  local names = {}
  for file in lfs.dir "lua/cglow/tasks" do
    local name = file:match "^(.*)%.lua$"
    local module = name and require("cglow.tasks." .. name)
    if type(module) == "table" and module.name == name and module.samples ~= false then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

--- The lines of a text.
function M.lines_of(text)
  local lines = {}
  for line in text:gmatch "([^\n]*)\n" do lines[#lines + 1] = line end
  return lines
end

return M
