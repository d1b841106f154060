--- Where the embedded sample sets are.
-- @module cglow.data.sample_dir
local lfs = require "lfs"
local options = require "cglow.options"
local files = require "cglow.data.files"

local TASKS = {"binary_segmentation", "multiclass_segmentation", "denoising", "depth_refinement", "inpainting"}

local function absolute(path)
  if path:sub(1, 1) == "/" then return path end
  return files.join(lfs.currentdir(), path)
end

-- Of this file: TREE/lua/cglow/data in a checkout, TREE/share/lua/5.4/cglow/data installed.
local source = debug.getinfo(1, "S").source:sub(2)
local own = absolute(files.join(source)):gsub("/[^/]*$", "")

-- Folders of rocks of this name, for every version that is installed.
local function in_rocks(prefix, found)
  local rocks = files.join(prefix, "lib/luarocks/rocks-5.4/cglow")
  for _, version in ipairs(files.list(rocks, "^[^.]") or {}) do
    found[#found + 1] = files.join(rocks, version, "data")
  end
end

local function candidates()
  local found = {}
  local set = os.getenv "CGLOW_DATA"
  if set and set ~= "" then found[1] = set end
  local checkout = own:match("^(.*)/lua/cglow/data$")
  if checkout then found[#found + 1] = files.join(checkout, "data") end
  local prefix = own:match("^(.*)/share/lua/5%.4/cglow/data$")
  if prefix then
    found[#found + 1] = files.join(prefix, "share/cglow/data")
    in_rocks(prefix, found)
  end
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
    local path = files.join(dir, task)
    if files.is_folder(path) then return path end
    looked[i] = path
  end
  return nil, ("the sample set is missing: looked for %s; CGLOW_DATA may name the folder that holds it"):format(
    table.concat(looked, ", "))
end
