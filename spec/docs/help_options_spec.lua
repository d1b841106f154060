-- cglow.help tells of every option that a function takes and of its default, and names nothing
-- that does not exist. What options there are is what the functions check for.
local cglow = require "cglow"
local core = require "cglow.core"
local help = require "cglow.help"
local options = require "cglow.util.options"

-- What f gives to options.check first, when it is called with a table of options after so many
-- other arguments; f goes no further.
local function checked_with(f, others)
  local check, arg, found = options.check, options.arg, nil
  options.check = function(fname, _, spec)
    found = {fname = fname, spec = spec}
    error(found)
  end
  options.arg = function(_, _, _, value) return value end
  local args = {}
  for i = 1, others do args[i] = core.zeros(1, 8, 8) end
  args[others + 1] = {}
  pcall(f, table.unpack(args))
  options.check, options.arg = check, arg
  return found
end

local function options_of(f)
  for others = 0, 3 do
    local found = checked_with(f, others)
    if found then return found end
  end
end

-- Texts that follow the name of an option, each to the end of its point of a list.
local function told_of(text, name)
  local list, from = {}, 1
  while true do
    local at, stop = text:find("[`{]" .. name .. "%f[^%w_]", from)
    if not at then return list end
    list[#list + 1] = text:sub(stop + 1):gsub("\n  %*.*", "")
    from = stop + 1
  end
end

local function says(text, default)
  if type(default) == "string" then return text:find('"' .. default .. '"', 1, true) ~= nil end
  -- of a flag that is off it is enough to say what true does
  if type(default) == "boolean" then
    return text:find(tostring(default), 1, true) or not default and text:find "true"
  end
  for number in text:gmatch "%-?%d[%d./e%-<]*" do
    local value = load("return " .. number:gsub("[./]+$", ""))
    if value and value() == default then return true end
  end
  return false
end

-- What a text does not say of the options in a description.
local function untold(text, spec)
  local list = {}
  for name, rule in pairs(spec) do
    local parts = told_of(text, name)
    if not rule.renamed and #parts == 0 then list[#list + 1] = name end
    local default, said = rule.default, false
    for _, part in ipairs(parts) do said = said or says(part, default) end
    local plain = type(default) == "number" or type(default) == "string" or type(default) == "boolean"
    if plain and #parts > 0 and not said then list[#list + 1] = ("%s: its default, %s"):format(name, default) end
  end
  table.sort(list)
  return list
end

local PARTS <const> = {"nn", "optim", "image", "data", "metrics", "train", "vision", "baselines", "feedforward",
  "losses", "task"}
local READERS <const> = {"horses", "lfw", "bsds", "celeba", "seven_scenes", "pairs"}

-- All functions that help might be asked about, by their full names.
local function functions()
  local all = {["cglow.Glow"] = cglow.Glow}
  local function add(prefix, place)
    for name, f in pairs(place) do
      if type(f) == "function" and type(name) == "string" then all[prefix .. name] = f end
    end
  end
  for _, reader in ipairs(READERS) do add("cglow.data.", {[reader] = cglow.data[reader]}) end
  for _, part in ipairs(PARTS) do add(("cglow.%s."):format(part), cglow[part]) end
  add("cglow.data.transform.", cglow.data.transform)
  add("Model:", require "cglow.model")
  return all
end

describe("cglow.help tells of every option of", function()
  local seen = 0
  for name, f in pairs(functions()) do
    local found = options_of(f)
    if found then
      seen = seen + 1
      it(name, function()
        -- plain Glow and others that hand their options on refer to those who take them
        local text = help.text(found.fname:find "^cglow%." and found.fname or name) or help.text(f)
        assert.is_string(text)
        assert.same({}, untold(text, found.spec))
      end)
    end
  end

  it("so many functions", function() assert.is_true(seen >= 40, tostring(seen)) end)

  it("tables in the options of cglow.Model", function()
    local text, configure, specs = help.text(cglow.Model), require("cglow.model.config").check, {}
    for i = 1, 50 do -- the function's own constants and those of the functions it calls
      local name, value = debug.getupvalue(configure, i)
      if not name then break end
      if name:find "^check_" then
        for k = 1, 50 do
          local inner, spec = debug.getupvalue(value, k)
          if not inner then break end
          if inner:find "^%u[%u_]+$" and type(spec) == "table" then specs[inner] = spec end
        end
      end
    end
    for _, name in ipairs {"CN", "COUPLING", "ENCODER", "ENCODED_COUPLING", "CONDITION", "HEAD"} do
      assert.same({}, untold(text, assert(specs[name], name)), name)
    end
  end)

  it("and is right when it is not", function()
    local spec = {steps = {default = 40}, kind = {default = "a"}, on = {default = true}, off = {default = false},
      x = {}}
    assert.same({},
      untold("`steps` = 40: so many; `kind` = \"a\"\n  * `on` (true), `off` = true: with; `x` what", spec))
    assert.same({"kind: its default, a", "off", "on: its default, true", "steps: its default, 40", "x"},
      untold("`steps` = 400: so many, `kind` = \"b\"\n  * `on`\n  * true", spec))
  end)
end)

describe("Names in cglow.help", function()
  local parameters = {core.Param(core.zeros(1))}
  local in_lua = {Model = require "cglow.model", Optimizer = getmetatable(cglow.optim.SGD(parameters)).__index,
    Average = getmetatable(cglow.optim.Average(parameters)).__index}

  -- What a name stands for: of a method by its class, of a function from cglow on.
  local function methods(class)
    if in_lua[class] then return in_lua[class] end
    local registered = debug.getregistry()["cglow." .. class]
    local index = registered and registered.__index
    if type(index) == "function" then index = select(2, debug.getupvalue(index, 1)) end
    return type(index) == "table" and index or registered
  end

  local function exists(name)
    local class, method = name:match "^([%w_.]+):([%w_]+)$"
    if class then
      local known = methods(class:match "[%w_]+$")
      return not known or known[method] ~= nil or method == "index" or method == "operators" or method == "shape"
    end
    local module, rest = name:match "^(cglow%.core)%.([%w_]+)$"
    if not module then module, rest = name:match "^(cglow%.util%.%w+)%.([%w_]+)$" end
    local place = module and require(module) or cglow
    for word in (rest or name:gsub("^cglow%.", "")):gmatch "[%w_]+" do
      local ok, value = pcall(function() return place[word] end)
      if not ok or value == nil then return false end
      place = value
    end
    return true
  end

  it("exist", function()
    local missing, seen = {}, 0
    for topic in help.text():gmatch "\n  ([%w_]+) +%u" do
      for name in (help.text(topic) or ""):gmatch "\n  (c?g?l?o?w?%.?[%w_.:]+)%b()" do
        if name:find "[.:]" then
          seen = seen + 1
          if not exists(name) then missing[#missing + 1] = topic .. ": " .. name end
        end
      end
    end
    assert.same({}, missing)
    assert.is_true(seen > 150, tostring(seen))
  end)

  it("cover every part of cglow", function()
    for _, part in ipairs(PARTS) do assert.is_string(help.text(cglow[part]), part) end
  end)
end)
