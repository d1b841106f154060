--- Checks the rooms of lua/cglow: what each of them may require, that no circle
-- leads from a module back to itself, and that nothing lies outside of a room.
--
--     lua5.4 spec/tools/rooms.lua
--
-- A room is a folder, or a file beside the folders. Each may use those of its own
-- line below; `util` and the core in C are open to all.

local ROOMS <const> = {
  util = {},
  nn = {}, optim = {}, metrics = {}, image = {},
  data = {"image", "metrics"},
  model = {"nn", "optim"},
  feedforward = {"nn", "model"},
  run = {},
  report = {"run"},
  train = {"optim", "image", "metrics", "model", "run", "report"},
  tasks = {"image", "metrics", "data"},
  cli = {"image", "data", "model", "feedforward", "run", "report", "train", "tasks"},
  help = {},
  init = {"model"}, -- the table that `require "cglow"` gives; the rest it loads by name when first used
}
local OPEN_TO_ALL <const> = {core = true, util = true}

local faults = {}
local function fault(...) faults[#faults + 1] = string.format(...) end

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

-- The room of a module's name: "model" of "cglow.model.build", "init" of "cglow".
local function room_of(module) return module:match "^cglow%.([%w_]+)" or "init" end

-- The modules that each module requires, by name.
local function read_requires()
  local uses = {}
  local pipe <close> = assert(io.popen "find lua/cglow -name '*.lua' | LC_ALL=C sort")
  for path in pipe:lines() do
    local name = path:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
    uses[name] = {}
    local code = read(path):gsub("%-%-[^\n]*", "")
    for module in code:gmatch "require%s*%(?%s*[\"'](cglow[%w_.]*)[\"']" do table.insert(uses[name], module) end
  end
  return uses
end

local function check_edges(uses)
  local allowed = {}
  for room, others in pairs(ROOMS) do
    allowed[room] = {[room] = true}
    for _, other in ipairs(others) do allowed[room][other] = true end
  end
  for name, modules in pairs(uses) do
    local room = room_of(name)
    if not allowed[room] then fault("%s is in no room that spec/tools/rooms.lua knows", name) end
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
    trail = trail .. " -> " .. name
    if state[name] == "open" then return fault("a circle: %s", trail:sub(5)) end
    state[name] = "open"
    for _, module in ipairs(uses[name]) do visit(module, trail) end
    state[name] = "done"
  end
  local names = {}
  for name in pairs(uses) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do visit(name, "") end
end

local uses = read_requires()
check_edges(uses)
check_circles(uses)
table.sort(faults)
for _, text in ipairs(faults) do print(text) end
os.exit(#faults == 0)
