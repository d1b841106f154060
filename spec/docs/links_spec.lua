-- Every link and every command line in the documentation leads somewhere.
local lfs = require "lfs"
local parser = require "cglow.cli.parser"

local function lines_of(command)
  local pipe <close> = assert(io.popen(command))
  local list = {}
  for line in pipe:lines() do list[#list + 1] = line end
  return list
end

local PAGES <const> = lines_of "find . -name '*.md' -not -path './build/*' | LC_ALL=C sort"

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

-- The name that a heading has in links: lower case, without marks, "-" for spaces.
local function anchor(heading)
  return (heading:lower():gsub("[^%w%s_-]", ""):gsub("%s", "-"))
end

local function anchors(path)
  local found = {}
  for heading in ("\n" .. read(path)):gmatch "\n#+ ([^\n]+)" do found[anchor(heading)] = true end
  return found
end

describe("links of", function()
  for _, path in ipairs(PAGES) do
    it(path, function()
      local folder = path:match "^(.*/)"
      for target in read(path):gmatch "%]%(([^)]+)%)" do
        if not target:match "^https?:" then
          local name, heading = target:match "^([^#]*)#?(.*)$"
          local to = name == "" and path or folder .. name
          assert(lfs.attributes(to, "mode"), ("%s links to %s"):format(path, target))
          assert(heading == "" or anchors(to)[heading], ("%s links to %s: no such heading"):format(path, target))
        end
      end
    end)
  end

  it("no page but those that are there", function() assert.is_true(#PAGES >= 9) end)
end)

-- ---- command lines -------------------------------------------------------------

-- Indented lines of a page, those that end in a backslash joined.
local function commands(path)
  local list, open = {}, nil
  for line in io.lines(path) do
    local text = line:match "^    %s*(%S.*)$"
    text = text and text:gsub("%s+# .*$", "")
    if open and text then text, open = open .. " " .. text, nil end
    if text and text:match "\\$" then open = text:gsub("%s*\\$", "")
    elseif text then list[#list + 1] = text end
  end
  return list
end

local function words(text)
  local list = {}
  for word in text:gmatch "%S+" do list[#list + 1] = word end
  return list
end

local targets = {}
for name in read("Makefile"):gmatch "\n([%l][%l-]*):" do targets[name] = true end

local function check_task(module, args)
  local ok, message = parser.task(require("cglow.tasks." .. module)):pparse(args)
  assert(ok, message)
end

-- Options that an example names in its own source.
local function check_script(path, args)
  local source = read(path)
  for _, word in ipairs(args) do
    local option = word:match "^%-%-[%w-]+"
    assert(not option or source:find(option, 1, true), ("%s knows no %s"):format(path, option))
  end
end

local checks = {}

function checks.make(args)
  assert(targets[args[1]], ("there is no target %s"):format(args[1]))
end

function checks.cglow(args)
  local name = table.remove(args, 1):gsub("-", "_")
  if name == "baseline" or name == "report" then
    local of = name == "report" and parser.report() or parser.baseline {
      "binary_segmentation", "multiclass_segmentation", "denoising", "depth_refinement", "inpainting" }
    local ok, message = of:pparse(args)
    return assert(ok, message)
  end
  local command = {evaluate = true, predict = true, sample = true, score = true}
  if command[name] then -- of any task; they differ in options of their own
    table.insert(args, 1, name)
    name = "pairs"
  end
  check_task(name, args)
end

checks["lua5.4"] = function(args)
  local path = table.remove(args, 1)
  local name = path:match "^examples/(.*)%.lua$"
  if name and lfs.attributes("lua/cglow/tasks/" .. name .. ".lua") then return check_task(name, args) end
  assert(lfs.attributes(path, "mode") == "file", path)
  check_script(path, args)
end

function checks.busted(args)
  assert(lfs.attributes(args[#args], "mode") == "file", args[#args])
end

function checks.luarocks(args)
  local rockspec = table.concat(args, " "):match "%S+%.rockspec"
  assert(lfs.attributes(rockspec, "mode") == "file", rockspec)
end

describe("command lines of", function()
  local seen = 0
  for _, path in ipairs(PAGES) do
    it(path, function()
      for _, line in ipairs(commands(path)) do
        local args = words(line)
        local check = checks[table.remove(args, 1)]
        if check then
          seen = seen + 1
          local ok, message = pcall(check, args)
          assert(ok, ("%s: %s\n%s"):format(path, line, message))
        end
      end
    end)
  end

  it("all pages are more than a few", function() assert.is_true(seen > 30) end)
end)
