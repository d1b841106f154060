--- The folder of one training run, which explains itself:
--
--     config.json       what was asked for, on which machine, with which command
--     log.jsonl         one JSON object for each logged step and each validation
--     checkpoints/      step-00001000.safetensors ...: model, optimizer and training state
--     last.safetensors  link to the newest of them
--     best.safetensors  the model that was best in a validation so far, by NLL or the metric asked for
--     samples/          contact sheets over time
--     model.safetensors the model at the end
--     curves.csv        losses, step sizes and metrics over the steps, as a table
--     report.html       all of it for a browser
--     lock              held while a process trains here
--
-- Files appear whole or not at all, so a run killed at any moment leaves a
-- folder that can be resumed.
-- @module cglow.run.folder
local lfs = require "lfs"
local curves = require "cglow.run.curves"
local file = require "cglow.core".file
local failure = require "cglow.util.failure"
local json = require "cglow.util.json"
local folder_names = require "cglow.util.folder_names"
local read_file = require "cglow.util.read_file"

local Folder = {}
Folder.__index = Folder

local M = {}

--- Make a directory and its parents.
-- @tparam string path
-- @treturn[1] boolean true when it is there now
-- @treturn[2] nil
-- @treturn[2] string message
function M.make_directory(path)
  if path == "" or lfs.attributes(path, "mode") == "directory" then return true end
  local parent = path:match("^(.*[^/])/+[^/]+/*$")
  if parent then
    local ok, message = M.make_directory(parent)
    if not ok then return nil, message end
  end
  local ok, message, code = lfs.mkdir(path)
  if not ok and lfs.attributes(path, "mode") ~= "directory" then
    return nil, ("cannot make folder %s: %s"):format(path, message), code
  end
  return true
end

--- The folder of a run; nothing is touched yet.
-- @tparam string path
-- @treturn Folder
function M.at(path)
  return setmetatable({path = (path:gsub("(.)/+$", "%1"))}, Folder)
end

--- A path inside the folder.
function Folder:file(name) return self.path .. "/" .. name end

-- A folder may come from a stranger, and a link in it may lead anywhere: to a file that a
-- report would show, to a folder that would be swept. The folder itself may be a link.
local function check_link(path)
  if lfs.symlinkattributes(path, "mode") ~= "link" then return true end
  return nil, ("%s is a link: links inside a run folder are not followed"):format(path)
end

--- A path inside the folder to a file or folder that is there itself.
-- @treturn[1] string
-- @treturn[2] nil when it is a link, or lies in a folder that is one
-- @treturn[2] string message
function Folder:own(name)
  local parent = name:match "^(.*)/"
  if parent then
    local ok, message = check_link(self:file(parent))
    if not ok then return nil, message end
  end
  local path = self:file(name)
  local ok, message = check_link(path)
  if not ok then return nil, message end
  return path
end

--- Has a run been started here?
function Folder:exists() return lfs.symlinkattributes(self:file("config.json"), "mode") ~= nil end

-- What a process that was killed while it wrote has left behind: files that
-- never came to their names.
local function sweep(directory)
  for _, name in ipairs(failure.must(folder_names(directory))) do
    if name:find("^%.cglow%-%d+%-%d+%.tmp$") or name == ".last.new" then os.remove(directory .. "/" .. name) end
  end
end

-- What a run keeps, which may be somebody's own where there has been no run: a run
-- makes its lock first.
local KEPT <const> = {"config.json", "log.jsonl", "report.html", "best.safetensors", "last.safetensors",
  "model.safetensors"}

local function check_own(self)
  if lfs.symlinkattributes(self:file "lock", "mode") or self:newest() then return true end
  for _, name in ipairs(KEPT) do
    if lfs.symlinkattributes(self:file(name), "mode") then
      return nil, ("%s holds a file %s but no run: choose another folder"):format(self.path, name)
    end
  end
  return true
end

--- Make the folder and keep other processes out until the lock is closed.
-- @treturn[1] Lock to be closed
-- @treturn[1] boolean is it held? Not where the file system has no locks
-- @treturn[2] nil when another process trains here, the folder cannot be written, or it
-- holds files of these names and no run
-- @treturn[2] string message
function Folder:open()
  local own, why = check_own(self)
  if not own then return nil, why end
  for _, name in ipairs {"checkpoints", "samples"} do
    local ok, message = self:own(name)
    if ok then ok, message = M.make_directory(self:file(name)) end
    if not ok then return nil, message end
  end
  local lock, held, code = self:own "lock"
  if lock then lock, held, code = file.lock(lock) end
  if not lock then return nil, held, code end
  for _, name in ipairs {".", "checkpoints", "samples"} do sweep(self:file(name)) end
  return lock, held
end

-- ---- checkpoints ---------------------------------------------------------

local function checkpoint_name(step)
  return ("checkpoints/step-%08d.safetensors"):format(step)
end

--- Steps that have a checkpoint, in ascending order.
function Folder:steps()
  local steps = {}
  local directory = self:file("checkpoints")
  if lfs.symlinkattributes(directory, "mode") ~= "directory" then return steps end
  for _, name in ipairs(failure.must(folder_names(directory))) do
    local step = name:match("^step%-(%d+)%.safetensors$")
    if step and lfs.symlinkattributes(directory .. "/" .. name, "mode") == "file" then
      steps[#steps + 1] = math.tointeger(tonumber(step))
    end
  end
  table.sort(steps)
  return steps
end

--- Path of the checkpoint of a step.
function Folder:checkpoint(step) return self:file(checkpoint_name(step)) end

--- The newest checkpoint.
-- @treturn ?string its path; nil when there is none
-- @treturn ?integer its step
function Folder:newest()
  local steps = self:steps()
  local step = steps[#steps]
  if step then return self:checkpoint(step), step end
end

local CHUNK <const> = 1 << 22 -- bytes

local function copy(from, to)
  local reader <close>, message, code = file.open(from)
  if not reader then return nil, message, code end
  local writer <close>, why = file.create(to)
  if not writer then return nil, why end
  local size = reader:size()
  for at = 0, size - 1, CHUNK do
    local bytes
    bytes, message = reader:read(at, math.min(CHUNK, size - at))
    if not bytes then return nil, message end
    local ok
    ok, message = writer:write(bytes)
    if not ok then return nil, message end
  end
  return writer:commit()
end

-- Let `last.safetensors` mean the checkpoint of this step: a link, symbolic or else hard, is
-- made beside it and renamed over it, so there is always one. Where the file system has
-- no links it is a copy.
local function point_last(self, step)
  local link, temporary = self:file("last.safetensors"), self:file(".last.new")
  os.remove(temporary)
  local ok, message
  if lfs.link(checkpoint_name(step), temporary, true) or lfs.link(self:checkpoint(step), temporary) then
    ok, message = os.rename(temporary, link)
  else
    ok, message = copy(self:checkpoint(step), link)
  end
  if not ok then return nil, ("cannot link %s: %s"):format(link, message) end
  return true
end

--- Announce the checkpoint that was just written and remove old ones.
-- @tparam integer step
-- @tparam integer keep how many to keep
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message
function Folder:keep(step, keep)
  local ok, message = point_last(self, step)
  if not ok then return nil, message end
  local steps = self:steps()
  for i = 1, #steps - keep do
    local path = self:checkpoint(steps[i])
    ok, message = os.remove(path)
    if not ok then return nil, ("cannot remove %s: %s"):format(path, message) end
  end
  return true
end

-- ---- config.json ---------------------------------------------------------

--- @tparam table config
function Folder:write_config(config)
  return file.write(self:file("config.json"), json.encode(config, {indent = true}) .. "\n")
end

--- @treturn[1] table what `write_config` wrote
-- @treturn[2] nil
-- @treturn[2] string message
function Folder:read_config()
  local path, message = self:own "config.json"
  if not path then return nil, message end
  local config, code
  config, message, code = json.read(path)
  if config == nil then return nil, message, code end
  if type(config) ~= "table" then return nil, ("%s: an object expected, got %s"):format(path, type(config)) end
  return config
end

-- ---- log.jsonl -----------------------------------------------------------

local LARGEST_LOG <const> = 1 << 31 -- bytes: twenty million lines

-- The text of the log and its path; nil, a message and a code.
local function log_text(self)
  local path, message = self:own "log.jsonl"
  if not path then return nil, message end
  local text, why, code = read_file(path, LARGEST_LOG)
  if not text then return nil, why, code end
  return text, path
end

--- All records of the log, oldest first. A last line that was cut short by a
-- crash is left out; any other line that is no JSON is an error.
-- @treturn[1] {table,...} records
-- @treturn[2] nil
-- @treturn[2] string message
function Folder:read_log()
  local text, path, code = log_text(self)
  if not text then return nil, path, code end
  local records = {}
  for line in text:gmatch("([^\n]*)\n") do
    local record, why = json.decode(line)
    if type(record) ~= "table" then
      return nil, ("%s, line %d: %s"):format(path, #records + 1, why or "expected an object")
    end
    records[#records + 1] = record
  end
  return records
end

--- Drop what was logged after a step, to go on from its checkpoint.
-- @tparam integer step
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message
function Folder:rewind_log(step)
  local text, path, code = log_text(self)
  if not text then return nil, path, code end
  local kept = {}
  for line in text:gmatch("[^\n]*\n") do
    local record = json.decode(line)
    if type(record) == "table" and math.type(record.step) == "integer" and record.step <= step then
      kept[#kept + 1] = line
    end
  end
  return file.write(path, table.concat(kept))
end

--- Write curves.csv from the log.
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message
function Folder:write_curves()
  local records, message = self:read_log()
  if not records then return nil, message end
  return file.write(self:file("curves.csv"), curves.csv(records))
end

--- Start the log of a new run: empty.
function Folder:clear_log() return file.write(self:file("log.jsonl"), "") end

--- The model to use: the best one, else that of the newest checkpoint.
-- @treturn[1] string path
-- @treturn[2] nil
-- @treturn[2] string message
function Folder:model()
  local best, message = self:own "best.safetensors"
  if not best then return nil, message end
  if lfs.symlinkattributes(best, "mode") == "file" then return best end
  local last = self:file "last.safetensors"
  local to = lfs.symlinkattributes(last, "target")
  if to and not (to:find "^checkpoints/step%-%d+%.safetensors$" and self:own(to)) then
    return nil, ("%s leads out of the run folder: such links are not followed"):format(last)
  end
  if lfs.attributes(last, "mode") then return last end
  return nil, ("%s holds no model yet"):format(self.path)
end

--- Open the log for appending.
-- @treturn[1] Append with `write(self, text)`, `sync` and `close`
-- @treturn[2] nil
-- @treturn[2] string message
function Folder:open_log()
  local path, message = self:own "log.jsonl"
  if not path then return nil, message end
  return file.append(path)
end

return M
