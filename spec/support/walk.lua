--- The code in the documentation: blocks of Markdown, and how a prompt answers.
local M = {}

--- Fenced blocks of a Markdown file.
-- @treturn table list of `language`, `text`, `line` (of its first line)
function M.blocks(path)
  local found, block, number = {}, nil, 0
  for line in io.lines(path) do
    number = number + 1
    local fence = line:match "^```(%w*)"
    if fence and block then
      found[#found + 1] = {language = block.language, text = table.concat(block, "\n") .. "\n", line = block.line}
      block = nil
    elseif fence then
      block = {language = fence, line = number + 1}
    elseif block then
      block[#block + 1] = line
    end
  end
  return found
end

--- A session as statements and what each one prints.
-- Lines that begin with "> " are typed, ">> " continue them, the rest is printed.
-- @treturn table list of `code`, `output` (list of lines)
function M.session(text)
  local steps = {}
  for line in text:gmatch "(.-)\n" do
    local typed, more = line:match "^> (.*)$", line:match "^>> (.*)$"
    local last = steps[#steps]
    if typed then steps[#steps + 1] = {code = typed, output = {}}
    elseif more then last.code = last.code .. "\n" .. more
    elseif last then last.output[#last.output + 1] = line end
  end
  return steps
end

local MARK = "\1" -- between the outputs of two statements

-- Run by the child: takes statements as lua.c's prompt does, prints as it does.
local PROMPT = [[
local mark, codes = ...
for _, code in ipairs(codes) do
  local chunk, message = load("return " .. code, "=stdin")
  if not chunk then chunk, message = load(code, "=stdin") end
  local result = chunk and table.pack(pcall(chunk)) or {false, message, n = 2}
  if not result[1] then print((tostring(result[2]):gsub("\n.*", "")))
  elseif result.n > 1 then print(table.unpack(result, 2, result.n)) end
  io.stdout:write(mark)
end
]]

local function temporary(text)
  local path = os.tmpname()
  local file <close> = assert(io.open(path, "wb"))
  assert(file:write(text))
  return path
end

--- Type statements at a prompt with `cglow` loaded, in a new process.
-- @tparam {string,...} codes
-- @tparam string folder to run in
-- @treturn {string,...} what each one printed
function M.type_in(codes, folder)
  local list = {}
  for i, code in ipairs(codes) do list[i] = ("%q"):format(code) end
  local path = temporary(("cglow = require 'cglow'\nlocal run = load(%q)\nrun(%q, {%s})\n"):format(PROMPT, MARK,
    table.concat(list, ",\n")))
  local output = M.run(path, folder)
  os.remove(path)
  local outputs = {}
  for text in output:gmatch("(.-)" .. MARK) do outputs[#outputs + 1] = text end
  assert(#outputs == #codes, output)
  return outputs
end

-- Paths of modules relative to a folder, made absolute.
local function absolute(path, here) return (path:gsub("%f[^;\0]%./", here .. "/")) end

--- Run a Lua file in a folder; what it prints, errors too.
function M.run(path, folder)
  local here = require "lfs".currentdir()
  -- one thread: the results are the same, and other work on the machine slows it less
  local command = ("cd '%s' && OMP_NUM_THREADS=1 LUA_PATH='%s' LUA_CPATH='%s' '%s' '%s' 2>&1"):format(folder,
    absolute(package.path, here), absolute(package.cpath, here), arg[-1] or "lua5.4", path)
  local pipe <close> = assert(io.popen(command))
  return pipe:read "a"
end

--- Run a block of Lua, in a folder.
function M.run_text(text, folder)
  local path = temporary(text)
  local output = M.run(path, folder)
  os.remove(path)
  return output
end

local NUMBER = "^[-+]?%d+%.%d+e?[-+]?%d*$"

-- A word as printed here and there: numbers with a fraction may differ by 2 %, or
-- by one in their last place, since processors round differently.
local function same_word(expected, got)
  if expected == got then return true end
  if not (expected:match(NUMBER) and tonumber(got)) then return false end
  local a, b = tonumber(expected), tonumber(got)
  local decimals = #(expected:match "%.(%d+)")
  return math.abs(a - b) <= math.max(0.02 * math.abs(a), 1.01 * 10 ^ -decimals)
end

local function words(line)
  local list = {}
  for word in line:gmatch "[^%s(),{}]+" do list[#list + 1] = word end
  return list
end

--- Does a line agree with what the documentation says? "…" at its end stands for anything.
function M.same_line(expected, got)
  local open = expected:match "^(.-)%s*…$"
  local a, b = words(open or expected), words(got)
  if not open and #a ~= #b then return false end
  for i, word in ipairs(a) do
    if not (b[i] and same_word(word, b[i])) then return false end
  end
  return true
end

--- Compare what was printed with what the documentation shows; a line of only
-- "…" stands for any number of lines.
-- @treturn ?string what differs
function M.difference(expected, got)
  local lines = {}
  for line in got:gmatch "(.-)\n" do lines[#lines + 1] = line end
  local at = 1
  for i, line in ipairs(expected) do
    if line == "…" then
      at = #lines - (#expected - i) + 1
    else
      if not (lines[at] and M.same_line(line, lines[at])) then
        return ("expected: %s\ngot:      %s"):format(line, tostring(lines[at]))
      end
      at = at + 1
    end
  end
  if at <= #lines then return "also printed: " .. lines[at] end
end

return M
