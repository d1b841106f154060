--- What people call, for specs that try all of it.
local cglow = require "cglow"

local M = {}

--- Modules that people require, besides what `cglow` itself holds: name in messages → module below cglow.
M.modules = {
  safetensors = "util.safetensors", json = "util.json", tiles = "image.tiling", options = "util.options",
  vision = "image.vision", losses = "nn.losses", feedforward = "feedforward", baselines = "tasks.baselines",
}

--- Parts of `cglow` whose misuse is that of a command line, which spec/cli/ holds.
M.of_commands = {task = true}

--- The parts that `cglow` loads when they are first asked for: name → module.
function M.parts()
  local index = getmetatable(cglow).__index
  for i = 1, 10 do
    local name, value = debug.getupvalue(index, i)
    if name == "parts" then return value end
  end
end

return M
