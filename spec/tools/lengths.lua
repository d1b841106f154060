--- Checks how long files and functions are: a file has at most 400 lines, a function fewer
-- than 50.
--
--     lua5.4 spec/tools/lengths.lua [FOLDER]
--
-- It reads the .c, .h and .lua files of csrc, lua, spec and examples below FOLDER (default:
-- the current one). A function ends where `end` or `}` stands as far left as its first line.
-- A `describe` of specs may be longer, and a Lua function that has fewer than 25 lines of its
-- own, outside of the functions within it.

local FILE_MOST <const>, FUNCTION_MOST <const>, OWN_MOST <const> = 400, 49, 24
local ROOT <const> = arg[1] or "."
local IN_ROOT <const> = "cd '" .. ROOT:gsub("'", "'\\''") .. "' && "

local faults = {}
local function fault(...) faults[#faults + 1] = string.format(...) end

local function lines_of(path)
  local lines = {}
  for line in io.lines(ROOT .. "/" .. path) do lines[#lines + 1] = line end
  return lines
end

-- Does a line of Lua leave open a block that it begins?
local function is_open(line)
  local code, depth = line:gsub('"[^"]*"', ""):gsub("%-%-.*", ""), 0
  for word in code:gmatch "%f[%w_]%a+%f[^%w_]" do
    if word == "function" or word == "do" or word == "then" then depth = depth + 1 end
    if word == "end" then depth = depth - 1 end
  end
  return depth > 0
end

-- Where a function begins: how far its first line is indented, and what ends it.
local function begins(line, lua)
  if not lua then return line:match "^[%w_][^;]*[{(,]$" and not line:match "^enum" and 0, "^}" end
  local indent = line:match "^(%s*).*%f[%w_]function[%s(]"
  if not indent or not is_open(line) or line:match "^%s*describe%(" then return nil end
  return #indent, "^" .. indent .. "end"
end

-- The line that ends the function that begins at `first`; nil where a function stands in the
-- middle of an expression.
local function ending(lines, first, pattern, indent)
  for i = first + 1, #lines do
    if lines[i]:match(pattern) then return i end
    if indent > 0 and #lines[i]:match "^%s*" <= indent and lines[i]:match "%S" then return nil end
  end
end

-- Lines of a Lua function that lie in no function within it.
local function own_length(lines, first, last)
  local own, i = 2, first + 1
  while i < last do
    local indent, pattern = begins(lines[i], true)
    local stop = indent and ending(lines, i, pattern, indent)
    own, i = own + (stop and 0 or 1), (stop and stop < last and stop or i) + 1
  end
  return own
end

local function check_functions(path, lines)
  local lua = path:match "%.lua$" ~= nil
  for i, line in ipairs(lines) do
    local indent, pattern = begins(line, lua)
    local last = indent and ending(lines, i, pattern, indent)
    local length = last and last - i + 1 or 0
    if length > FUNCTION_MOST and (not lua or own_length(lines, i, last) > OWN_MOST) then
      fault("%s:%d: a function of %d lines", path, i, length)
    end
  end
end

local pipe <close> = assert(io.popen(IN_ROOT
  .. "find csrc lua spec examples -name '*.[ch]' -o -name '*.lua' | grep -v lua/cglow/help/core.lua | LC_ALL=C sort"))
for path in pipe:lines() do
  local lines = lines_of(path)
  if #lines > FILE_MOST then fault("%s: %d lines", path, #lines) end
  check_functions(path, lines)
end

for _, message in ipairs(faults) do print(message) end
os.exit(#faults == 0)
