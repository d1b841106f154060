--- What every command shares: its exit codes, the answer to misuse, its output.
--
-- What the user got wrong is answered with one line and exit code 2; a command that
-- failed ends with 1, one that was interrupted with 130 (SIGINT) or 143 (SIGTERM).
-- @module cglow.cli.command
local console = require "cglow.util.console"
local core = require "cglow.core"
local notice = require "cglow.util.notice"
local failure = require "cglow.util.failure"
local launch = require "cglow.cli.launch"
local lfs = require "lfs"

local M = {}

-- The commands of a task.
local OF_TASKS <const> = {train = true, evaluate = true, predict = true, sample = true, score = true}

-- Exit codes of what a signal has ended, SIGINT or SIGTERM.
M.INTERRUPTED, M.TERMINATED = 130, 143

-- What lua's own program raises when Ctrl-C comes, with the place in front. A function that
-- turns errors into messages may have caught it.
local function is_interrupt(e)
  local text = failure.message(e) or e
  return type(text) == "string" and text:find "interrupted!$" ~= nil
end

-- ---- errors of the user's, and of files ------------------------------------

--- End the command with one line and exit code 2.
-- @function misuse
-- @tparam string message
M.misuse = failure.raise

--- Call a constructor; what it refuses, the user asked for.
-- @tparam function make
-- @param ... its arguments
function M.try(make, ...)
  local ok, result = pcall(make, ...)
  if not ok and is_interrupt(result) then error(result, 0) end
  if not ok then M.misuse((tostring(result):gsub("^[^:]+:%d+: ", ""))) end
  return result
end

--- Pass on the results of a call, or end the command with its message.
-- @function must
M.must = failure.must

--- Is a folder or a file there? Ends the command when it is not.
-- @tparam string path
-- @tparam string mode "file" or "directory"
-- @tparam string option that named it, for the message
function M.require_path(path, mode, option)
  local found, message = lfs.attributes(path, "mode")
  if not found then M.misuse(("%s: %s: %s"):format(option, path, (message:match("([^:]+)$"):gsub("^ ", "")))) end
  if found ~= mode then M.misuse(("%s: %s is a %s, not a %s"):format(option, path, found, mode)) end
end

-- ---- running -------------------------------------------------------------

--- Parse a command line, and do what all commands do with their options.
-- @param parser from `cglow.cli.parser`
-- @tparam {string,...} argv
-- @treturn table the parsed options, with `argv`
function M.parse(parser, argv)
  local ok, args = parser:pparse(argv)
  if not ok then M.misuse(("%s ('%s --help' shows how)"):format((args:gsub("\n", ". ")), M.usage(argv))) end
  if args.data then M.require_path(args.data, "directory", "--data") end
  if args.checkpoint then M.require_path(args.checkpoint, "file", "--checkpoint") end
  for _, path in ipairs(args.command ~= "predict" and args.file or {}) do M.require_path(path, "file", args.command) end
  local _, fewer = core.threads(args.threads)
  if fewer and fewer ~= core.threads_warning() then notice.notify(fewer) end -- that was said at the start
  launch.tell(args)
  core.seed(args.seed or 1)
  args.argv = argv
  return args
end

local function handle(e)
  if failure.message(e) or is_interrupt(e) then return e end
  return debug.traceback(tostring(e), 2)
end

local function code_of(name, ok, result)
  if ok then
    launch.leave()
    return result or 0
  end
  launch.fail()
  if is_interrupt(result) then
    console.tell(name .. ": interrupted")
    return M.INTERRUPTED
  end
  console.tell(name .. ": " .. (failure.message(result) or result))
  return failure.message(result) and 2 or 1
end

--- Run a command.
-- @tparam string name that its messages begin with
-- @tparam function execute
-- @param ... its arguments
-- @treturn integer exit code: what `execute` returns, or 0; 1 when what it said could not be written
function M.run(name, execute, ...)
  notice.notify = function(text) console.tell("cglow: " .. text) end
  local code = code_of(name, xpcall(function(...)
    M.must(launch.join())
    return execute(...)
  end, handle, ...))
  local ok, message = console.finish()
  if ok or code ~= 0 then return code end
  io.stderr:write(name, ": ", message, "\n")
  return 1
end

-- ---- words ---------------------------------------------------------------

--- A word for the shell, quoted when it needs to be.
-- @tparam string text
function M.word(text)
  if text:match("^[%w_./=:@%%+,-]+$") then return text end
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local NAME <const> = "cglow" -- of the program where it is installed

-- Is this a file that the shell finds by its name alone?
local function on_path(file, name)
  local own = lfs.attributes(file)
  for folder in (os.getenv "PATH" or ""):gmatch "[^:]+" do
    local found = lfs.attributes(folder .. "/" .. name)
    if found and found.mode == "file" and found.permissions:find "x" then
      return found.ino == own.ino and found.dev == own.dev
    end
  end
  return false
end

-- The command that LuaRocks or make install has made for the program of this file, or that make has in a
-- checkout, which tells its name; nil where Lua was called.
local function started_by(file)
  local place = file:match "^(.*)/share/lua/5%.4/cglow/cli/[^/]*$" or file:match "^(.*)/lib/luarocks/"
  local starter = place and place .. "/bin/" .. NAME or os.getenv "CGLOW_STARTER"
  if not starter or not lfs.attributes(starter) then return nil end
  return on_path(starter, NAME) and NAME or M.word(starter)
end

-- What runs Lua scripts here: the word in front of them.
local function interpreter()
  local first = 0
  while arg and arg[first - 1] do first = first - 1 end
  return first < 0 and M.word(arg[first]) or "lua5.4"
end

local prefix -- how the program's command was called; nil in a script of its own
local short -- the same in help, where the program is called by its name
local whole -- is that all, or does a task's command follow?

--- Note how a command of the program is called, before its arguments are looked at.
-- @string name of the command
-- @tparam ?boolean alone does no command of a task follow?
function M.is_called(name, alone)
  local file = arg and arg[0] or ""
  prefix = ("%s %s"):format(started_by(file) or interpreter() .. " " .. M.word(file), M.word(name))
  short, whole = NAME .. " " .. M.word(name), alone
end

--- How a command is called in help: "cglow denoising train", "lua5.4 examples/denoising.lua train".
-- @tparam[opt] {string,...} argv begins with the task's command, if that was found
-- @treturn string
function M.usage(argv)
  local text, word = short or M.called(), argv and argv[1]
  if whole or not word or not OF_TASKS[word] then return text end
  return text .. " " .. word
end

--- How the user called the command, to be typed again: "cglow denoising", "lua5.4 examples/denoising.lua".
-- @treturn string
function M.called() return prefix or interpreter() .. " " .. M.word(arg and arg[0] or NAME) end

--- Print a line, formatted, unless the user asked for silence or JSON.
function M.say(args, ...)
  if not (args.quiet or args.json) then console.say((...):format(select(2, ...))) end
end

return M
