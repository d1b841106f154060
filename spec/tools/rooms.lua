--- Checks the rooms of lua/cglow and of csrc: what each of them may require or
-- include, that no circle leads from a module back to itself, and that nothing lies
-- outside of a room.
--
--     lua5.4 spec/tools/rooms.lua [FOLDER]
--
-- FOLDER holds lua/cglow and csrc; default: the current one. Their README.md each hold a
-- table that says what a room may use. In C a room is a folder, and a module is a .c with
-- the .h of its name. In Lua a room is a folder of lua/cglow, or a file beside the folders;
-- `util` and the core in C are open to all.

local OPEN_TO_ALL <const> = {core = true, util = true}

local ROOT <const> = arg[1] or "."
local IN_ROOT <const> = "cd '" .. ROOT:gsub("'", "'\\''") .. "' && "
local faults = {}
local function fault(...) faults[#faults + 1] = string.format(...) end

local function read(path)
  local file <close> = assert(io.open(ROOT .. "/" .. path, "rb"))
  return file:read "a"
end

-- Room -> set of rooms, from the rows "| `room` | what it holds | `other`, ... |" of a page.
local function read_table(page, row)
  local all, allowed = {}, {}
  for line in read(page):gmatch "[^\n]+" do
    local room, others = line:match("^| `" .. row .. "` |.-|([^|]*)|$")
    if room then all[room], allowed[room] = others, {[room] = true} end
  end
  for room, others in pairs(all) do
    if others:find "%f[%w]all%f[%W]" then
      for other in pairs(all) do allowed[room][other] = true end
    end
    for other in others:gmatch "`([%w_/]+)`" do allowed[room][other] = true end
  end
  return allowed
end

-- The room of a module's name: "model" of "cglow.model.build", "init" of "cglow".
local function room_of(module) return module:match "^cglow%.([%w_]+)" or "init" end

-- The modules that each module requires, by name.
local function read_requires()
  local uses = {}
  local pipe <close> = assert(io.popen(IN_ROOT .. "find lua/cglow -name '*.lua' | LC_ALL=C sort"))
  for path in pipe:lines() do
    local name = path:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
    uses[name] = {}
    local code = read(path):gsub("%-%-[^\n]*", "")
    for module in code:gmatch "require%s*%(?%s*[\"'](cglow[%w_.]*)[\"']" do table.insert(uses[name], module) end
  end
  return uses
end

local function check_edges(uses)
  local allowed = read_table("lua/README.md", "cglow/([%w_]+)[%w/.]*")
  for name, modules in pairs(uses) do
    local room = room_of(name)
    if not allowed[room] then fault("%s is in no room that lua/README.md knows", name) end
    for _, module in ipairs(modules) do
      local other = room_of(module)
      if allowed[room] and not (allowed[room][other] or OPEN_TO_ALL[other]) then
        fault("%s requires %s: %s may not use %s", name, module, room, other)
      end
    end
  end
end

-- Depth first: a module that is met again while it is open closes a circle.
local function check_circles(uses)
  local state = {}
  local function visit(name, trail)
    if state[name] == "done" or not uses[name] then return end
    trail = trail .. name
    if state[name] == "open" then
      return fault("a circle: %s", trail:match("%f[^ \0]" .. name:gsub("%p", "%%%0") .. " .*"))
    end
    state[name] = "open"
    for _, module in ipairs(uses[name]) do visit(module, trail .. " -> ") end
    state[name] = "done"
  end
  local names = {}
  for name in pairs(uses) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do visit(name, "") end
end

---------------------------------------------------------------------------
-- C

-- Besides csrc/lua: the entry point of a shared object of its own.
local KNOWS_LUA <const> = {["mpi/module"] = true, ["mpi/module_check"] = true, ["mpi/module_transfers"] = true,
  ["mpi/module_window"] = true}

-- The modules that each module includes; the headers of Lua are noted at once.
local function read_includes()
  local uses = {}
  local pipe <close> = assert(io.popen(IN_ROOT .. "find csrc -name '*.[ch]' | LC_ALL=C sort"))
  for path in pipe:lines() do
    local name = path:match "^csrc/(.*)%.[ch]$"
    local code = read(path)
    if not code:find "^/%*" then fault("%s does not begin by saying what it is", path) end
    uses[name] = uses[name] or {}
    for module in code:gmatch '#include "([%w_/]+)%.h"' do
      if module ~= name then table.insert(uses[name], module) end
    end
    if not (name:find "^lua/" or KNOWS_LUA[name]) then
      local header = code:match "#include <(lua[%w]*%.h)>" or code:match "#include <(lauxlib%.h)>"
      if header then fault("%s includes %s: only csrc/lua may", path, header) end
    end
  end
  return uses
end

local function check_includes(uses)
  local allowed = read_table("csrc/README.md", "([%w/]+)/")
  local function room(module) return module:match "^(.*)/" or "" end
  for name, modules in pairs(uses) do
    local own = allowed[room(name)]
    if not own then fault("csrc/%s is in no room that csrc/README.md knows", name) end
    for _, module in ipairs(modules) do
      if own and not own[room(module)] then
        fault("csrc/%s includes %s.h: %s may not use %s", name, module, room(name), room(module))
      end
    end
  end
end

---------------------------------------------------------------------------
-- Specs

-- `busted` looks into the folders of spec/ alone.
local function check_specs()
  local pipe <close> = assert(io.popen(IN_ROOT .. "ls spec/*_spec.lua 2>/dev/null"))
  for path in pipe:lines() do fault("%s is in no room: a spec lies in a folder of spec/", path) end
end

local uses = read_requires()
check_edges(uses)
check_circles(uses)
local includes = read_includes()
check_includes(includes)
check_circles(includes)
check_specs()
table.sort(faults)
for _, text in ipairs(faults) do print(text) end
os.exit(#faults == 0)
