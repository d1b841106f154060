--- A short training run that kills itself as a power cut would: the n-th time
-- that it is about to change a file.
--
--     lua5.4 spec/support/crash_child.lua RUN N [STEPS]     (N = 0: live)
--
-- Prints how many changes there were.
local core = require "cglow.core"
local lfs = require "lfs"

local run, deadly = arg[1], math.tointeger(tonumber(arg[2]))
local steps <const> = math.tointeger(tonumber(arg[3] or 7))
local changes = 0

local function count()
  changes = changes + 1
  if changes == deadly then
    io.popen("kill -KILL $PPID"):close()
    while true do end -- never gets any further
  end
end

local function counted(f)
  return function(...)
    count()
    return f(...)
  end
end

-- A handle's methods, counted; of a checkpoint's many tensors only the first.
local function counted_handle(handle, methods)
  if not handle then return nil end
  local tensors = 0
  local proxy = {close = function() return handle:close() end}
  for _, name in ipairs(methods) do
    proxy[name] = function(_, ...)
      tensors = tensors + (name == "write_tensor" and 1 or 0)
      if name ~= "write_tensor" or tensors == 1 then count() end
      return handle[name](handle, ...)
    end
  end
  return setmetatable(proxy, {__close = proxy.close})
end

local function opener(open, methods)
  return function(...)
    count()
    local handle, message, code = open(...)
    return counted_handle(handle, methods), message, code
  end
end

local file = core.file
file.write = counted(file.write)
file.create = opener(file.create, {"write", "write_tensor", "commit"})
file.append = opener(file.append, {"write", "sync"})
os.rename, os.remove = counted(os.rename), counted(os.remove) -- luacheck: ignore 122
lfs.link, lfs.mkdir = counted(lfs.link), counted(lfs.mkdir)

local toy = require "spec.support.toy"
local train = require "cglow.train"
core.threads(1)

local started = lfs.attributes(run .. "/config.json", "mode") == "file"
local has_checkpoint = require "cglow.run.folder".at(run):newest()
local outcome = train.Trainer {
  -- another model when one is to be loaded: everything must come from the checkpoint
  model = toy.model(has_checkpoint and 99 or 3), train = toy.data(5), valid = toy.data(2), steps = steps, seed = 5,
  optimizer = {lr = 1e-3, clip_value = 0.25}, log_every = 1, valid_every = 3, checkpoint_every = 2, keep = 2,
  picture = function() return core.ones(1, 2, 2) end,
  run = run, resume = started, progress = "quiet",
}:run()
assert(outcome.reason == "done", outcome.message)
print(changes)
