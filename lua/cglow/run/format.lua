--- Durations, sizes and metrics of a run as people read them.
-- @module cglow.run.format
local bytes = require "cglow.util.bytes"

local M = {}

--- A number, or – where there is none.
-- @function number
M.number = bytes.number

local MOST_SECONDS <const> = 1e12

--- Seconds as people read them: 9 s, 3:07, 2:03:59.
function M.duration(seconds)
  if not (seconds >= -MOST_SECONDS and seconds <= MOST_SECONDS) then return "?" end
  local s = math.floor(seconds + 0.5)
  if s < 60 then return ("%d s"):format(s) end
  if s < 3600 then return ("%d:%02d"):format(s // 60, s % 60) end
  return ("%d:%02d:%02d"):format(s // 3600, s // 60 % 60, s % 60)
end

--- Bytes as people read them: 812 MB, 1.4 GB.
function M.bytes(n)
  if n >= 1e9 then return M.number("%.1f GB", n / 1e9) end
  return ("%.0f MB"):format(n / 1e6)
end

--- Names of all metrics in some tables, in one order: the NLL first, then by bytes.
-- @tparam {table,...} list of name → number
-- @treturn {string,...}
function M.metric_names(list)
  local seen, names = {}, {}
  for _, metrics in ipairs(list) do
    for name in pairs(metrics) do
      if not seen[name] and name ~= "nll" then names[#names + 1] = name end
      seen[name] = true
    end
  end
  bytes.sort(names)
  if seen.nll then table.insert(names, 1, "nll") end
  return names
end

--- Metrics in that order.
-- @tparam table metrics name → number
-- @treturn string as in "nll 0.4712, iou 0.6632"
function M.metrics(metrics)
  local texts = {}
  for i, name in ipairs(M.metric_names {metrics}) do texts[i] = name .. " " .. M.number("%.4g", metrics[name]) end
  return table.concat(texts, ", ")
end

return M
