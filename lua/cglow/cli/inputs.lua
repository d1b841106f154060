--- The pictures that a command is given: files, folders of them, and - for standard input.
-- @module cglow.cli.inputs
local command = require "cglow.cli.command"
local files = require "cglow.data.files"
local source_of = require "cglow.image.source"

local M = {}

local STDIN <const> = "-"

local function of_path(path)
  return {source = source_of.of(path), name = path, path = path, stem = path:match("([^/]+)$"):gsub("%.[^.]*$", "")}
end

local function of_folder(path)
  local names, list = command.must(files.images(path)), {}
  if #names == 0 then command.misuse(path .. " holds no pictures") end
  for i, name in ipairs(names) do list[i] = of_path(files.join(path, name)) end
  return list
end

-- All of standard input, read when it is asked for.
local function of_stdin()
  local input = {name = "standard input", stem = "stdin"}
  function input.read()
    input.source = input.source or {bytes = io.stdin:read("a") or "", name = input.name}
    return input.source
  end
  return input
end

--- Every picture that is named.
-- @tparam {string,...} given paths of files and folders, or "-" alone
-- @treturn {table,...} `name` for messages, `path` (nil for standard input), `stem` (for the names of
-- results), and `source`, or `read()` that gives it (see `cglow.image.source`)
function M.expand(given)
  local list = {}
  for _, path in ipairs(given) do
    if path == STDIN then
      if #given > 1 then command.misuse "-: standard input is one picture, and goes with no others" end
      return {of_stdin()}
    end
    if files.is_folder(path) then
      for _, input in ipairs(of_folder(path)) do list[#list + 1] = input end
    else list[#list + 1] = of_path(path) end
  end
  return list
end

--- End the command unless each path is there.
-- @tparam {string,...} given
-- @string name of the command
function M.check(given, name)
  for _, path in ipairs(given) do
    if path ~= STDIN and not files.is_folder(path) then command.require_path(path, "file", name) end
  end
end

return M
