--- The tasks that come along, by their names.
-- @module cglow.tasks.known
local M = {}

--- The tasks' names, in the order of the program's list.
M.names = {
  "pairs", "binary_segmentation", "multiclass_segmentation", "denoising", "depth_refinement", "inpainting",
}

--- The task of a name, which may come from a file that anyone wrote.
-- @param name
-- @treturn ?table
function M.find(name)
  for _, known in ipairs(M.names) do
    if known == name then return require("cglow.tasks." .. name) end
  end
end

return M
