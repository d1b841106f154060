--- Writes lua/cglow/help/core.lua: the documentation comments of the C sources,
-- which an installed rock does not have, for `cglow.help`.
--
--     lua5.4 spec/tools/core_help.lua > lua/cglow/help/core.lua

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

-- The C files of .ldoc.ld, in its order.
local function sources()
  local config = {}
  assert(load(read ".ldoc.ld", ".ldoc.ld", "t", config))()
  local list = {}
  for _, path in ipairs(config.file) do
    if path:match "%.c$" then list[#list + 1] = path end
  end
  return list
end

-- Each module's comments, those of its submodules after its own.
local function collect()
  local modules, order = {}, {}
  for _, path in ipairs(sources()) do
    local name, submodule
    for comment in read(path):gmatch "/%*%*%*.-%*/" do
      local kind, this = comment:match "@(%l*module) (%S+)"
      if kind then name, submodule = this, kind == "submodule" end
      assert(name, path .. ": the first documentation comment must have @module or @submodule")
      if not modules[name] then modules[name], order[#order + 1] = {}, name end
      if not (kind and submodule) then table.insert(modules[name], comment) end
    end
  end
  return modules, order
end

local modules, order = collect()
print "-- Made by spec/tools/core_help.lua from the comments in csrc: do not edit."
print "return {"
for _, name in ipairs(order) do
  print(("[%q] = [====[\n%s\n]====],"):format(name, table.concat(modules[name], "\n")))
end
print "}"
