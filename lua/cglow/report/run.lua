--- What a run folder holds, as the report needs it.
-- @module cglow.report.run
local lfs = require "lfs"
local base64 = require "cglow.report.base64"
local failure = require "cglow.util.failure"
local json = require "cglow.util.json"
local folder_names = require "cglow.util.folder_names"
local read_file = require "cglow.util.read_file"
local runfolder = require "cglow.run.folder"
local safetensors = require "cglow.util.safetensors"

local M = {}

local LARGEST <const> = 1 << 28 -- bytes of a contact sheet

-- A run folder may be anyone's. What is of another kind than the page relies on is
-- left out of it.

local KINDS = {
  title = "string", pictured = "string", started = "string", command = "string", parameters = "number",
  data = "table", machine = "table", settings = "table", resumed = "table",
}

local function only(list, kind)
  local kept = {}
  for _, value in ipairs(list) do if type(value) == kind then kept[#kept + 1] = value end end
  return kept
end

local function sane(config)
  local kept = {}
  for name, value in pairs(config) do
    if type(value) == (KINDS[name] or type(value)) then kept[name] = value end
  end
  kept.resumed = kept.resumed and only(kept.resumed, "string")
  return kept
end

local function numbers_in(metrics)
  local kept = {}
  for name, value in pairs(metrics) do
    if type(name) == "string" and type(value) == "number" then kept[name] = value end
  end
  return kept
end

-- Put a record of the log into the list that it belongs to.
local function sort_in(run, record)
  if math.type(record.step) ~= "integer" then return end
  run.seconds = type(record.seconds) == "number" and record.seconds or run.seconds
  run.steps = math.max(run.steps, record.step)
  if type(record.valid) == "table" then
    run.valid[#run.valid + 1] = {step = record.step, metrics = numbers_in(record.valid)}
  elseif record.skipped then
    run.skipped[#run.skipped + 1] = {step = record.step, why = tostring(record.skipped)}
  elseif type(record.nll) == "number" then
    run.train[#run.train + 1] = {record.step, record.nll}
  end
end

-- The validation of the lowest NLL.
local function best_of(valid)
  local best
  for _, v in ipairs(valid) do
    local nll = v.metrics.nll
    if type(nll) == "number" and (not best or nll < best.metrics.nll) then best = v end
  end
  return best
end

-- The validation of the model in best.safetensors, which may have been picked by another metric
-- than the NLL; nil when there is no such file, or the log does not go that far (any more).
local function kept_of(valid, folder)
  local path = folder:own "best.safetensors"
  local metadata = path and safetensors.metadata(path)
  local said = metadata and metadata.validation and json.decode(metadata.validation)
  for _, v in ipairs(type(said) == "table" and valid or {}) do
    if v.step == said.step then return v end
  end
end

local function sheets_in(folder)
  local sheets, directory = {}, folder:file("samples")
  if lfs.symlinkattributes(directory, "mode") ~= "directory" then return sheets end
  for _, name in ipairs(failure.must(folder_names(directory))) do
    local step = name:match("^step%-(%d+)%.png$")
    if step and lfs.symlinkattributes(directory .. "/" .. name, "mode") == "file" then
      sheets[#sheets + 1] = {step = math.tointeger(tonumber(step)), path = directory .. "/" .. name}
    end
  end
  table.sort(sheets, function(a, b) return a.step < b.step end)
  return sheets
end

-- At most `count` of a list, spread evenly, the last among them.
local function spread(list, count)
  if #list <= count then return list end
  if count == 1 then return {list[#list]} end
  local picked = {}
  for i = 1, count do picked[i] = list[1 + (i - 1) * (#list - 1) // (count - 1)] end
  return picked
end

-- Read the sheets that will be shown.
local function load_sheets(folder, count)
  local sheets = spread(sheets_in(folder), count)
  for _, sheet in ipairs(sheets) do
    local bytes, message, code = read_file(sheet.path, LARGEST)
    if not bytes then return nil, message, code end
    sheet.base64 = base64.encode(bytes)
  end
  return sheets
end

local MOST_IMAGES <const> = 2000 -- of an evaluation that a page lists

-- Rows of names and metrics, as far as they are such.
local function rows_of(list, key)
  local rows = {}
  for _, row in ipairs(type(list) == "table" and list or {}) do
    if type(row) == "table" and type(row[key]) == "string" and type(row.metrics) == "table" and #rows < MOST_IMAGES then
      rows[#rows + 1] = {name = row[key], metrics = numbers_in(row.metrics)}
    end
  end
  return rows
end

-- What `evaluate` has found last, if it has been asked.
local function load_evaluation(folder)
  local path = folder:own "evaluation.json"
  local found = path and lfs.attributes(path, "mode") == "file" and json.read(path)
  if type(found) ~= "table" then return nil end
  local function text(name) return type(found[name]) == "string" and found[name] or nil end
  return {
    rows = rows_of(found.results, "name"), images = rows_of(found.each, "image"), source = text "source",
    split = text "split", prediction = text "prediction", date = text "date",
    count = type(found.images) == "number" and found.images or nil,
  }
end

--- Read a run folder.
-- @tparam string path
-- @tparam integer sheets at most this many contact sheets, spread over time
-- @treturn[1] table `name`, `path`, `config`, `train` ({step, nll} each), `valid`
-- (`step` and `metrics` each), `skipped`, `best` (the validation of the lowest NLL, if any),
-- `kept` (that of best.safetensors, if any), `sheets` (`step` and `base64` each), `steps`,
-- `seconds`, `evaluation` (if there was one: `rows` and `images`, `name` and `metrics` each,
-- `source`, `split`, `prediction`, `date`, `count`)
-- @treturn[2] nil
-- @treturn[2] string message
function M.read(path, sheets)
  local folder = runfolder.at(path)
  if not folder:exists() then return nil, ("%s is no run folder: it holds no config.json"):format(path) end
  local config, message = folder:read_config()
  if not config then return nil, message end
  local records
  records, message = folder:read_log()
  if not records then return nil, message end
  local loaded
  loaded, message = load_sheets(folder, sheets)
  if not loaded then return nil, message end
  local run = {
    name = folder.path:match("([^/]+)$"), path = folder.path, config = sane(config),
    train = {}, valid = {}, skipped = {}, sheets = loaded, steps = 0, evaluation = load_evaluation(folder),
  }
  for _, record in ipairs(records) do sort_in(run, record) end
  run.best, run.kept = best_of(run.valid), kept_of(run.valid, folder)
  return run
end

return M
