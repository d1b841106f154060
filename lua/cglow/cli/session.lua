--- A trained model, found from the command line, and what it was trained on.
-- @module cglow.cli.session
local core = require "cglow.core"
local count_of = require "cglow.util.count"
local files = require "cglow.data.files"
local identity = require "cglow.tasks.identity"
local Model = require "cglow.model"
local command = require "cglow.cli.command"
local notice = require "cglow.util.notice"
local outputs = require "cglow.cli.outputs"
local paths = require "cglow.util.path"
local settings = require "cglow.tasks.settings"
local task_of = require "cglow.tasks.define"
local training = require "cglow.cli.training"
local runfolder = require "cglow.run.folder"
local tiles = require "cglow.image.tiling"
local ways = require "cglow.tasks.ways"

local M = {}

local DEFAULT_SAMPLES = 10

-- The run's configuration; an empty one when there is only a checkpoint.
local function run_config(task, args, folder)
  if args.checkpoint then return {} end
  if not folder:exists() then
    command.misuse(("there is no run in %s: train one, or name it with --run or --checkpoint"):format(folder.path))
  end
  return training.config_of(folder, "task", task.name)
end

local function model_path(args, folder)
  return args.checkpoint or (command.must(folder:model()))
end

-- What a model file says of its task, which must be this one.
local function known_of(task, path, metadata)
  local known = command.must(identity.read(metadata))
  if known.name and known.name ~= task.name then
    command.misuse(("%s is a model of %s, not of %s"):format(path, known.name, task.name))
  end
  return known
end

-- The size that the model was made for; it must be a model of this task.
local function size_of(task, model, path)
  local size = task_of.size_of(task, model)
  if not size then command.misuse(("%s is no model of %s"):format(path, task.name)) end
  return size
end

-- A model that has learned from mirrored samples as well predicts better from both.
local function wants_mirror(args, saved)
  if args.mirror then return args.mirror == "yes" end
  return saved["augment.mirror"] == true
end

-- Where results go by default: beside the model, but not beside the one that came along.
local function results_of(args, path, folder)
  if not args.checkpoint then return folder.path end
  return path ~= paths.pretrained() and path:match("^(.*)/[^/]*$") or "."
end

--- Load what the options name.
-- @tparam table task
-- @tparam table args parsed command line
-- @treturn table `task` (as the run's own options have it), `own` (their values), `trained_on` (those
-- that the run was started with), `counts` of its images (`train`, `valid`, as far as it says), `model`, `path`,
-- `size`, `way` to predict (see `cglow.tasks.ways`), `folder` (where results go by default),
-- `own_folder` (is that a run's?), `settings` of the run (or {})
function M.load(task, args)
  local folder = runfolder.at(args.run or "runs/" .. task.name)
  local config = run_config(task, args, folder)
  local path = model_path(args, folder)
  local model, _, metadata = command.must(Model.load(path))
  local saved = command.must(settings.saved(args.checkpoint and known_of(task, path, metadata) or config))
  local own = task_of.own_options(task, args, saved)
  local configured = command.try(task_of.configured, task, own)
  if args.centre and (args.samples or args.temperature) then
    command.misuse "--centre: one pass at the centre has no --samples and no --temperature"
  end
  local results = results_of(args, path, folder)
  return {
    task = configured, own = own, trained_on = task_of.own_options(task, saved),
    counts = type(config.data) == "table" and config.data or {},
    model = model, path = path, settings = saved, size = size_of(configured, model, path),
    way = {
      samples = args.samples or saved.samples or DEFAULT_SAMPLES, temperature = args.temperature,
      centre = args.centre, consensus = args.consensus, mirror = wants_mirror(args, saved),
      rng = core.Rng(args.seed or 1),
      cell_width = tonumber(metadata.cell_width),
    },
    folder = results, own_folder = runfolder.at(results):exists(),
  }
end

-- Folders that the model was not trained on are held out as a whole; what is learned from
-- beside them comes from its own, or where these are elsewhere now, from those that are given.
local function part_of(args, session, split)
  local own, before = session.own, session.trained_on
  if not own.x or own.x == before.x and own.y == before.y then return split, own end
  if split ~= "train" or not before.x then return args.split or "all", own end
  local missing = not files.is_folder(before.x) and before.x or not files.is_folder(before.y) and before.y
  if not missing then return split, before end
  notice.notify(("there is no folder %s, on which the model was trained: trivial answers are those of %s"):format(
    missing, own.y))
  return args.split and args.split ~= "all" and split or "all", own
end

-- Is this part the run's own, as it was when the run was begun? Then all was told of it.
local function is_known(args, session, part, own)
  if args.data or part == "all" then return false end
  for _, name in ipairs {"x", "y", "valid", "test"} do
    if own[name] ~= session.trained_on[name] then return false end
  end
  return true
end

local function check_count(session, part, data)
  local before = session.counts[part]
  if math.type(before) ~= "integer" or before == data:size() then return end
  notice.notify(("%s for '%s' now, %d when the run was begun"):format(count_of(data:size(), "image"), part, before))
end

--- Data for a session: from `--data`, else what the run was trained on.
-- @tparam string split
-- @tparam[opt] integer size by default the model's
-- @treturn Dataset
-- @treturn string where it comes from
-- @treturn string the part that it is: of other folders than the run's all is held out
function M.data(args, session, split, size)
  local directory = args.data or session.settings.data
  if directory and not args.data then command.require_path(directory, "directory", "the run's --data") end
  local part, own = part_of(args, session, split)
  local o = {
    directory = directory, split = part, size = size or session.size, seed = session.settings.seed or 1,
    skip_damaged = args.skip_damaged, known = is_known(args, session, part, own),
  }
  for name, value in pairs(own) do o[name] = value end
  local data, source = task_of.data(session.task, o)
  if not data then command.misuse((o.known and "the run's own data: " or "") .. source) end
  if o.known then check_count(session, part, data) end
  return data, source, part
end

--- Where a contact sheet goes. Nothing is replaced but an earlier sheet in a run's own
-- folder, unless --force says so.
-- @tparam table args
-- @tparam table session
-- @string name of the file, when --sheet gives no path
-- @treturn string path
function M.sheet(args, session, name)
  local path = args.sheet or session.folder .. "/" .. name
  local own = not args.sheet and session.own_folder
  outputs.check({path}, table.move(args.file or {}, 1, #(args.file or {}), 2, {session.path}), args.force or own)
  outputs.check_picture("--sheet", path)
  outputs.check_writable {path}
  return path
end

--- The session's model for larger pictures, which it predicts by overlapping tiles.
-- @treturn table with the method `predict` alone
function M.tiled(session)
  local function mean_of(x)
    return ways.mean(session.task, (ways.draw(session.model, core.stack {x}, session.way)))
  end
  return {
    predict = function(_, x)
      local list = {}
      for i = 1, #x do list[i] = tiles.apply(x[i], {size = session.size}, mean_of) end
      return core.stack(list)
    end,
  }
end

return M
