--- What `evaluate` keeps: `evaluation.json`, and a line for each image in `evaluation.csv`.
-- @module cglow.cli.results
local bytes = require "cglow.util.bytes"
local core = require "cglow.core"
local format = require "cglow.run.format"
local json = require "cglow.util.json"

local M = {}

--- A list of the images' own scores, and a function for `cglow.tasks.evaluation` that adds to it.
-- @tparam table task
-- @treturn {table,...} `image` (its name), `metrics` (name → number), in the order of the data
-- @treturn function called with a sample, its answer, the truth, and the spread of its samples (or nil)
function M.collector(task)
  local list = {}
  return list, function(sample, answer, truth, spread)
    local score = task.score()
    score:add(answer, truth, sample)
    local metrics = score:result()
    metrics.diversity = spread
    list[#list + 1] = {image = tostring(sample.name or #list + 1), metrics = metrics}
  end
end

local function cell(text)
  return text:find '[,"\r\n]' and '"' .. text:gsub('"', '""') .. '"' or text
end

local function value(number)
  if type(number) ~= "number" or number ~= number then return "" end
  return math.type(number) == "integer" and ("%d"):format(number) or bytes.number("%.9g", number)
end

--- The list as CSV: image, then a column for each metric; what an image has not is empty.
-- @tparam {table,...} list
-- @treturn string
function M.csv(list)
  local all = {}
  for i, row in ipairs(list) do all[i] = row.metrics end
  local names = format.metric_names(all)
  local head = {"image"}
  for _, name in ipairs(names) do head[#head + 1] = cell(name) end
  local lines = {table.concat(head, ",")}
  for _, row in ipairs(list) do
    local cells = {cell(row.image)}
    for _, name in ipairs(names) do cells[#cells + 1] = value(row.metrics[name]) end
    lines[#lines + 1] = table.concat(cells, ",")
  end
  return table.concat(lines, "\n") .. "\n"
end

--- Write what was found.
-- @string path of the JSON file
-- @tparam table found
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message
function M.write_json(path, found)
  return core.file.write(path, json.encode(found, {not_finite = "null", indent = true}) .. "\n")
end

--- Write the list of images as CSV.
-- @string path
-- @tparam {table,...} list
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message
function M.write_csv(path, list) return core.file.write(path, M.csv(list)) end

return M
