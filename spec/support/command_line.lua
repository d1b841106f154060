--- Scripts run as a user runs them, in a process of their own.
local toy = require "spec.support.toy"

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
    return code, out == "/dev/full" and "" or toy.read(out), toy.read(err)
  end
end

return M
