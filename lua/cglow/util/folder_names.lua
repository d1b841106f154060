--- The names in a folder.
-- @module cglow.util.folder_names
local lfs = require "lfs"

--- Names in a folder, in no order, without "." and "..".
-- @function folder_names
-- @string directory
-- @treturn[1] {string,...}
-- @treturn[2] nil when it cannot be read
-- @treturn[2] string message
return function(directory)
  local ok, iterate, state, first, close = pcall(lfs.dir, directory)
  if not ok then return nil, (tostring(iterate):gsub("^cannot open ", "", 1)) end
  local names = {}
  for name in iterate, state, first, close do
    if name ~= "." and name ~= ".." then names[#names + 1] = name end
  end
  return names
end
