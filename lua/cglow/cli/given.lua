--- Settings from elsewhere: those of the run that is resumed, or of a file that the option "config"
-- names, such as the config.json of another run.
-- @module cglow.cli.given
local command = require "cglow.cli.command"
local json = require "cglow.util.json"
local launch = require "cglow.cli.launch"
local options = require "cglow.util.options"
local settings = require "cglow.tasks.settings"
local sort_by_bytes = require("cglow.util.bytes").sort

local M = {}

-- ---- files -----------------------------------------------------------------

--- Settings from a file: a run's config.json, or an object of settings alone.
-- @string path
-- @string task that they shall be for
-- @treturn table name → value
function M.from_file(path, task)
  local config = launch.shared(function()
    local read, message = json.read(path)
    if read == nil then command.misuse("--config: " .. message) end
    if type(read) ~= "table" or #read > 0 then command.misuse(("--config: %s: an object expected"):format(path)) end
    return read
  end)
  if config.task ~= nil and config.task ~= task then
    command.misuse(("--config: %s is of a run of %s, not of %s"):format(path, options.show(config.task), task))
  end
  local whole = config.settings ~= nil or config.task ~= nil
  local saved, message = settings.saved(whole and config or {settings = config})
  if not saved then command.misuse(("--config: %s: %s"):format(path, (message:gsub("^config.json: ", "")))) end
  for name in pairs(saved) do
    if not settings.is_known(name) then
      command.misuse(("--config: %s: unknown setting '%s' (--config help lists them)"):format(path, name))
    end
  end
  return saved
end

-- ---- resumed runs ------------------------------------------------------------

-- What a run may change on its way: how long it is, how its step size ends, what is looked at
-- and kept, and where its data lie now.
local MAY_CHANGE <const> = {
  steps = true, schedule = true, fall = true, cooldown = true, ["optimizer.lr"] = true, patience = true,
  samples = true, log_every = true, valid_every = true, valid_images = true, checkpoint_every = true, keep = true,
  recover_after = true, max_refused = true, data = true, x = true, y = true, valid = true, skip_damaged = true,
}

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  if #a ~= #b then return false end
  for i, v in ipairs(a) do if v ~= b[i] then return false end end
  return true
end

local function show(value) return type(value) == "table" and table.concat(value, ",") or tostring(value) end

--- End the command when the command line asks for another run than the one to be resumed.
-- @tparam table now settings that the run would have
-- @tparam table before those that it was started with
function M.check_resumed(now, before)
  local list = {}
  for name, value in pairs(before) do
    if not MAY_CHANGE[name] and not same(value, now[name]) then
      list[#list + 1] = ("%s %s, not %s"):format(name, show(value), show(now[name]))
    end
  end
  if #list == 0 then return end
  command.misuse(("--resume: the run was started with %s; another run can begin with its weights: --init-from"):format(
    table.concat(sort_by_bytes(list), "; ")))
end

return M
