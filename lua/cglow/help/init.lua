--- Help at the prompt.
--
--     cglow.help()                  what there is
--     cglow.help "Model"            a topic; also cglow.help(cglow.Model), cglow.help(a_model)
--     cglow.help "Model:sample"     one function; also cglow.help(cglow.image.resize)
--
-- The texts are the documentation comments of the sources.
-- @module cglow.help
local core = require "cglow.core"
local comments = require "cglow.help.comments"
local version = require "cglow.util.version"

local M = {}

-- name, prefix of its functions, the modules whose comments tell of it (in Lua or in the core), and names of
-- types and modules whose values are about it
local TOPICS = {
  {"cglow", "cglow.", {"cglow"}},
  {"Tensor", "cglow.", {"cglow.Tensor"}},
  {"Model", "cglow.Model.", {"cglow.model"}},
  {"Pipeline", "cglow.", {"cglow.open"}, {"cglow.Pipeline"}},
  {"train", "cglow.train.", {"cglow.train"}, {"cglow.Trainer"}},
  {"optim", "cglow.optim.", {"cglow.optim"}, {"cglow.Optimizer"}},
  {"data", "cglow.data.", {"cglow.data", "cglow.data.pairs", "cglow.data.horses", "cglow.data.lfw", "cglow.data.bsds",
    "cglow.data.seven_scenes", "cglow.data.celeba", "cglow.data.sample_dir"}},
  {"Dataset", "cglow.data.", {"cglow.data.dataset"}},
  {"transform", "cglow.data.transform.", {"cglow.data.transform"}, {"cglow.Transform"}},
  {"image", "cglow.image.", {"cglow.image", "cglow.image.sheet"}},
  {"metrics", "cglow.metrics.", {"cglow.metrics"}},
  {"nn", "cglow.nn.", {"cglow.nn"}, {"cglow.Chain"}},
  {"Net", "", {"cglow.Net"}},
  {"flow", "cglow.flow.", {"cglow.flow"}, {"cglow.ActNorm", "cglow.InvConv", "cglow.Coupling", "cglow.Squeeze",
    "cglow.Split", "cglow.Prior"}},
  {"Param", "cglow.", {"cglow.Param"}},
  {"Rng", "cglow.", {"cglow.Rng"}},
  {"report", "cglow.report.", {"cglow.report"}},
  {"task", "cglow.task.", {"cglow.tasks.define"}},
  {"losses", "cglow.losses.", {"cglow.nn.losses"}},
  {"feedforward", "cglow.feedforward.", {"cglow.feedforward"}, {"cglow.feedforward"}},
  {"vision", "cglow.vision.", {"cglow.image.vision"}},
  {"baselines", "cglow.baselines.", {"cglow.tasks.baselines"}},
  {"safetensors", "cglow.util.safetensors.", {"cglow.util.safetensors"}},
  {"npy", "cglow.npy.", {"cglow.util.npy"}},
  {"show", "cglow.show.", {"cglow.image.show"}},
  {"help", "cglow.help.", {"cglow.help"}},
}

-- The table of the whole library, which loads this module and so is not required by it.
local function cglow() return package.loaded.cglow or {} end

local NAME, PREFIX, MODULES, TYPES = 1, 2, 3, 4

-- Comments of a module: kept in the core's table, or read from its Lua source.
local function read_module(name)
  local text = require("cglow.help.core")[name]
  if text then return comments.read(text, "c") end
  local path = package.searchpath(name, package.path)
  local file <close> = path and io.open(path, "rb")
  return file and comments.read(file:read "a", "lua") or {}
end

-- As one calls it: methods keep their class, functions get the module's name, what is called
-- `new` there is the class itself, and what is called as the topic is what one calls.
local function full_name(topic, name)
  if name:find ":" then return name end
  local prefix, short = topic[PREFIX], name:gsub("^.*%.", "")
  local class = short == "new" and topic[NAME] or short
  if prefix:sub(-#class - 2) == "." .. class .. "." then return (prefix:gsub("%.$", "")) end
  if prefix == "cglow." and cglow()[class] == nil and core[class] then prefix = "cglow.core." end
  return prefix .. class
end

-- The documented functions of a topic, and its introduction.
local function contents(topic)
  local list, intro = {}, nil
  for _, name in ipairs(topic[MODULES]) do
    local found = read_module(name)
    intro = intro or found.module
    for _, entry in ipairs(found) do
      entry.full = full_name(topic, entry.name)
      list[#list + 1] = entry
    end
  end
  return list, intro or {}
end

-- ---- finding ---------------------------------------------------------------

local function same(a, b) return a:lower() == b:lower() end

local function find_topic(name)
  name = name:gsub("^cglow%.", "")
  for _, topic in ipairs(TOPICS) do
    if same(topic[NAME], name) then return topic end
  end
end

-- The functions of that full name or, failing these, of that last name.
local function find_functions(name)
  local short, exact, alike = name:gsub("^cglow%.", ""), {}, {}
  for _, topic in ipairs(TOPICS) do
    for _, entry in ipairs((contents(topic))) do
      if same(entry.full:gsub("^cglow%.", ""), short) then exact[#exact + 1] = entry end
      if same(entry.name:match "[^.:]+$", short) then alike[#alike + 1] = entry end
    end
  end
  return #exact > 0 and exact or alike
end

local function topic_of_type(name)
  for _, topic in ipairs(TOPICS) do
    if "cglow." .. topic[NAME] == name then return topic end
    for _, known in ipairs(topic[TYPES] or {}) do
      if known == name then return topic end
    end
  end
end

-- The topic whose module is this table.
local function topic_of_module(value)
  if value == cglow().Model then return find_topic "Model" end
  if value == core.flow then return find_topic "flow" end
  for _, topic in ipairs(TOPICS) do
    for _, name in ipairs(topic[MODULES]) do
      if package.loaded[name] == value then return topic end
    end
  end
end

-- "cglow.image.resize" for that function.
local function name_of_function(value)
  local function search(prefix, place)
    for name, member in pairs(place) do
      if member == value then return prefix .. name end
    end
  end
  local found = search("cglow.", cglow()) or search("cglow.flow.", core.flow)
  for _, topic in ipairs(TOPICS) do
    for _, name in ipairs(topic[MODULES]) do
      local place = package.loaded[name]
      if place == value then return name end
      if not found and type(place) == "table" then found = search(topic[PREFIX], place) end
    end
  end
  return found
end

-- ---- writing -----------------------------------------------------------------

local WIDTH, SIGNATURE = 100, 34 -- of lines, and of signatures before a line is broken

local function wrapped(text, width, indent)
  local lines, line = {}, ""
  for word in text:gmatch "%S+" do
    if line ~= "" and utf8.len(line) + 1 + utf8.len(word) > width then
      lines[#lines + 1], line = line, word
    else
      line = line == "" and word or line .. " " .. word
    end
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n" .. (" "):rep(indent))
end

-- Two columns.
local function aligned(rows)
  local left = 0
  for _, row in ipairs(rows) do left = math.max(left, math.min(#row[1], SIGNATURE)) end
  local lines, indent = {}, left + 4
  for i, row in ipairs(rows) do
    local gap = #row[1] > left and "\n" .. (" "):rep(indent) or (" "):rep(indent - 2 - #row[1])
    lines[i] = "  " .. row[1] .. gap .. wrapped(row[2], WIDTH - indent, indent)
  end
  return table.concat(lines, "\n")
end

local function overview()
  local rows = {}
  for _, topic in ipairs(TOPICS) do
    local _, intro = contents(topic)
    rows[#rows + 1] = {topic[NAME], comments.summary(intro)}
  end
  return ("cglow %s, conditional Glow: an exact density p(y|x) of images, its samples and predictions\n\n%s\n\n"
    .. "cglow.help 'Model' tells of a topic, cglow.help 'Model:sample' of one function;\n"
    .. "values do as well: cglow.help(cglow.image.resize)\n"):format(version, aligned(rows))
end

-- The comment as a person reads it.
local function readable(lines)
  local kept = {}
  for _, line in ipairs(lines) do kept[#kept + 1] = comments.describe(line) end
  return "  " .. table.concat(kept, "\n  ")
end

local function about_function(entry)
  return ("%s%s\n%s\n"):format(entry.full, entry.args, readable(entry.lines))
end

-- A topic that is a class begins with how one is made.
local function about_topic(topic)
  local list, intro = contents(topic)
  local rows, made = {}, ""
  for _, entry in ipairs(list) do
    if entry.name:match "[^.]+$" == "new" then
      made = "\n" .. about_function(entry)
    else
      rows[#rows + 1] = {entry.full .. entry.args, entry.summary}
    end
  end
  local functions = #rows > 0 and "\n" .. aligned(rows) .. "\n" or ""
  return ("%s\n%s\n%s%s"):format(topic[NAME], readable(intro), made, functions)
end

local function about_name(name)
  local topic = find_topic(name)
  if topic then return about_topic(topic) end
  local texts = {}
  for i, entry in ipairs(find_functions(name)) do texts[i] = about_function(entry) end
  return #texts > 0 and table.concat(texts, "\n") or nil
end

local function about(value)
  if value == nil then return overview() end
  if type(value) == "string" then return about_name(value) end
  if type(value) == "function" then
    local name = name_of_function(value)
    return name and about_name(name)
  end
  local meta = getmetatable(value)
  local topic = topic_of_module(value) or topic_of_type(type(meta) == "table" and meta.__name or core.type(value))
  return topic and about_topic(topic)
end

--- The text that `help` prints.
-- @param[opt] value a topic or a function, by name or itself; nil: what there is
-- @treturn[1] string
-- @treturn[2] nil when nothing is known of it
function M.text(value) return about(value) end

--- Print what there is, or tell of a topic, a function or an object.
-- @function help
-- @param[opt] value a topic or a function, by name or itself
-- @usage cglow.help "Tensor"
local function help(value)
  io.stdout:write(about(value) or ("nothing is known of %s; cglow.help() lists what there is\n"):format(
    type(value) == "string" and "'" .. value .. "'" or tostring(value)))
end

return setmetatable(M, {__call = function(_, value) help(value) end})
