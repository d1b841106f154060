--- Where the embedded sample sets are.
-- @module cglow.data.sample_dir
local options = require "cglow.util.options"
local files = require "cglow.data.files"
local path = require "cglow.util.path"

local TASKS = {"binary_segmentation", "multiclass_segmentation", "denoising", "depth_refinement", "inpainting"}

local function candidates()
  local found = {}
  local set = os.getenv "CGLOW_DATA"
  if set and set ~= "" then found[1] = set end
  for _, root in ipairs(path.roots()) do found[#found + 1] = files.join(root, "data") end
  return found
end

--- The folder of a task's embedded sample set, in a checkout or an installed rock.
-- @function sample_dir
-- @string task "binary_segmentation", "multiclass_segmentation", "denoising",
-- "depth_refinement" or "inpainting"
-- @treturn[1] string folder; $CGLOW_DATA is looked in first
-- @treturn[2] nil
-- @treturn[2] string message that says where it was looked for
return function(task)
  options.arg("data.sample_dir", 1, "task", task, {type = "string", one_of = TASKS})
  local looked = candidates()
  for i, dir in ipairs(looked) do
    looked[i] = files.join(dir, task)
    if files.is_folder(looked[i]) then return looked[i] end
  end
  return nil, ("the sample set is missing: looked for %s; CGLOW_DATA may name the folder that holds it"):format(
    table.concat(looked, ", "))
end
