-- Every public function, in C and in Lua, with everything that it must refuse:
-- nothing, other types, shapes, ranges, unknown options. A refusal names the
-- function, what was expected and what came; the object works on afterwards. A
-- function that is exported but stands in no table here fails.
local cglow = require "cglow"
local core = require "cglow.core"
local K = require "spec.support.arguments"
local public = require "spec.support.public"

local TABLES = { "core", "tensor", "layers", "files", "data", "lua" }

local roots = { core = core, cglow = cglow }
for name, module in pairs(public.modules) do roots[name] = require("cglow." .. module) end

local rows = {}
for _, file in ipairs(TABLES) do
  for _, row in ipairs(require("spec.arguments." .. file)) do rows[#rows + 1] = row end
end

local function names_in_tables()
  local names = {}
  for _, row in ipairs(rows) do names[row[1]] = true end
  return names
end

local function lines(command)
  local pipe <close> = assert(io.popen(command))
  local list = {}
  for line in pipe:lines() do list[#list + 1] = line end
  return list
end

-- Functions in a table and the tables in it, as "path.name"; `seen` ones not again.
local function functions_in(t, path, seen, found)
  if seen[t] then return found end
  seen[t] = true
  for key, value in pairs(t) do
    if type(key) == "string" and not key:find "^_" then
      if type(value) == "function" and not seen[value] then
        seen[value] = true
        found[#found + 1] = path .. "." .. key
      elseif type(value) == "table" then
        functions_in(value, path .. "." .. key, seen, found)
      end
    end
  end
  return found
end

-- Methods of the core's userdata: their metatables lie in the registry, out of
-- the reach of anything but the debug library.
local function methods_of_core()
  local found = {}
  for name, meta in pairs(debug.getregistry()) do
    if type(name) == "string" and name:find "^cglow%." then
      local methods = meta.__index
      if type(methods) == "function" then
        methods = select(2, debug.getupvalue(methods, 1)) or meta
      end
      for method in pairs(methods or meta) do
        if not method:find "^__" then found[#found + 1] = ("%s:%s"):format(name:match "[^.]+$", method) end
      end
    end
  end
  return found
end

-- Objects of each class that Lua code makes with a __name, and its methods.
local CLASSES = {
  Model = function() return require "cglow.model" end,
  Optimizer = function() return getmetatable(cglow.optim.Adam { core.Param(core.zeros(1)) }) end,
  Average = function() return getmetatable(cglow.optim.Average { core.Param(core.zeros(1)) }) end,
  Dataset = function()
    local methods, meta = {}, getmetatable(cglow.data.Dataset { size = 0, get = print })
    for i = 1, 10 do -- the methods are an upvalue of __index
      local _, t = debug.getupvalue(meta.__index, i)
      if type(t) == "table" and t.batch then methods = t end
    end
    return methods
  end,
  Confusion = function() return getmetatable(cglow.metrics.confusion(2)) end,
  feedforward = function()
    return getmetatable(require("cglow.feedforward").Residual { x = { 1, 4, 4 }, channels = 1, depth = 2 })
  end,
  Chain = function()
    local f = function(_, v) return v end
    return getmetatable(cglow.nn.Sequential { { forward = f, backward = f, parameters = function() return {} end } })
  end,
}
local METHOD_PREFIX = { feedforward = "Network" }
-- Classes without methods to call with arguments of one's own, or that users do not make.
local SILENT = { Condition = true, Transform = true, Diagnosis = true, Trainer = true, EncoderDecoder = true,
  Stack = true, Pipeline = true } -- Pipeline: open_spec, and the tables

describe("The tables of arguments", function()
  it("name every function of the core", function()
    local names, missing = names_in_tables(), {}
    for _, name in ipairs(functions_in(core, "core", {}, {})) do
      if not names[name] then missing[#missing + 1] = name end
    end
    assert.same({}, missing)
  end)

  it("name every method of the core", function()
    local names, missing = names_in_tables(), {}
    for _, name in ipairs(methods_of_core()) do
      if not (names[name] or names["core_" .. name]) then missing[#missing + 1] = name end
    end
    table.sort(missing)
    assert.same({}, missing)
  end)

  it("name every function of cglow", function()
    for part in pairs(public.parts()) do
      assert.is_truthy(public.of_commands[part] or cglow[part], part) -- loads it
    end
    for _, reader in ipairs { "horses", "lfw", "bsds", "celeba", "seven_scenes", "pairs" } do
      assert.is_function(cglow.data[reader])
    end
    local seen, names, missing = {}, names_in_tables(), {}
    functions_in(core, "core", seen, {})
    for root, holder in pairs(roots) do
      for _, name in ipairs(functions_in(holder, root, seen, {})) do
        -- a function may stand in the tables under any one of its names
        local other = name:gsub("^cglow%.", "")
        if not names[name] and not names[other] then
          missing[#missing + 1] = name
        end
      end
    end
    table.sort(missing)
    assert.same({}, missing)
  end)

  it("name every method of classes in Lua", function()
    local names, missing = names_in_tables(), {}
    for class, methods in pairs(CLASSES) do
      for method, f in pairs(methods()) do
        local name = ("%s:%s"):format(METHOD_PREFIX[class] or class, method)
        local maker = method == "new" or method == "load" -- `cglow.Model` and `cglow.load`
        if type(f) == "function" and not method:find "^__" and not maker and not names[name] then
          missing[#missing + 1] = name
        end
      end
    end
    table.sort(missing)
    assert.same({}, missing)
  end)

  it("name every option", function() assert.same({}, K.options_left_out(roots, rows)) end)

  it("know every class", function()
    local unknown = {}
    for _, path in ipairs(lines "find lua/cglow -name '*.lua'") do
      local file <close> = assert(io.open(path))
      for class in file:read("a"):gmatch '__name%s*=%s*"cglow%.(%w+)"' do
        if not CLASSES[class] and not SILENT[class] then unknown[#unknown + 1] = class end
      end
    end
    assert.same({}, unknown)
  end)
end)

describe("Bad arguments of", function()
  local threads
  setup(function()
    threads = core.threads()
    core.threads(1) -- everything is tiny
  end)
  teardown(function() core.threads(threads) end)

  for _, row in ipairs(rows) do
    it(row[1], function() assert.same({}, K.try(roots, row)) end)
  end

  it("methods called on something else", function()
    local faults, tried = {}, {}
    for _, row in ipairs(rows) do
      local object = row.self and not tried[row[1]] and row.self()
      tried[row[1]] = true
      if object then table.move(K.foreign_self(row[1], object), 1, 20, #faults + 1, faults) end
    end
    assert.same({}, faults)
  end)
end)
