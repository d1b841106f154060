--- One thread for a spec's layers, which are so small that threads would only wait for each
-- other: `setup(threads.one)` and `teardown(threads.restore)`.
local core = require "cglow.core"

local M = {}

local before

function M.one()
  before = core.threads()
  core.threads(1)
end

function M.restore() core.threads(before) end

return M
