--- Learning curves as a table that any program reads: curves.csv in a run folder.
-- @module cglow.run.curves
local bytes = require "cglow.util.bytes"

local M = {}

local FIRST <const> = {"step", "seconds", "epoch", "lr", "nll"} -- columns that every table has, in this order

-- Names of what the validations gave, in a fixed order.
local function metrics_in(records)
  local seen, names = {}, {}
  for _, record in ipairs(records) do
    for name in pairs(type(record.valid) == "table" and record.valid or {}) do
      if not seen[name] then names[#names + 1] = name end
      seen[name] = true
    end
  end
  return bytes.sort(names)
end

local function number(value)
  if math.type(value) == "integer" then return ("%d"):format(value) end
  return type(value) == "number" and bytes.number("%.9g", value) or ""
end

-- A name as a cell: quoted when it must be.
local function cell(text)
  return text:find '[,"\n]' and '"' .. text:gsub('"', '""') .. '"' or text
end

--- The records of a log as CSV: a line for each that has a loss or a validation. Columns:
-- step, seconds, epoch, lr, nll (of training), and valid.NAME for each metric; what a
-- record has not is empty.
-- @tparam {table,...} records as `read_log` of a run folder gives them
-- @treturn string
function M.csv(records)
  local metrics, head = metrics_in(records), table.move(FIRST, 1, #FIRST, 1, {})
  for i, name in ipairs(metrics) do head[#FIRST + i] = cell("valid." .. name) end
  local lines = {table.concat(head, ",")}
  for _, record in ipairs(records) do
    if record.nll or record.valid then
      local cells = {}
      for i, name in ipairs(FIRST) do cells[i] = number(record[name]) end
      for i, name in ipairs(metrics) do cells[#FIRST + i] = number(record.valid and record.valid[name]) end
      lines[#lines + 1] = table.concat(cells, ",")
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

return M
