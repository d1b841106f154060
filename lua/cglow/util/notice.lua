--- Where the library says what a person should know but what stops nothing.
-- @module cglow.util.notice
local M = {}

--- Called with one line of text; a function that is assigned here (or to
-- `cglow.data.notify`, which is the same) takes its place.
function M.notify(text) io.stderr:write("cglow: ", text, "\n") end

return M
