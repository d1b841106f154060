--- Where the library says what a person should know but what stops nothing.
-- @module cglow.util.notice
local console = require "cglow.util.console"

local M = {}

--- Called with one line of text; a function that is assigned here (or to
-- `cglow.data.notify`, which is the same) takes its place.
function M.notify(text)
  console.clear() -- or it would land inside a bar
  io.stderr:write("cglow: ", text, "\n")
end

return M
