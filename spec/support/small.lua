--- A small conditional model for specs of faults, and what they ask of it.
local cglow = require "cglow"
local core = require "cglow.core"

local M = {}

--- A model with few parameters, always the same; `opts` replace parts of its configuration.
function M.model(opts)
  cglow.seed(7)
  local o = { x = { 1, 8, 8 }, y = { 1, 8, 8 }, levels = 2, depth = 2, cn = { channels = 2, width = 4 },
    coupling = { width = 4 } }
  for key, value in pairs(opts or {}) do o[key] = value end
  return cglow.Model(o)
end

--- x and y for it.
function M.batch(n)
  return core.randn(n or 2, 1, 8, 8), core.randn(n or 2, 1, 8, 8)
end

--- The parameter of this name.
function M.parameter(model, name)
  for _, p in ipairs(model:parameters()) do
    if p.name == name then return p end
  end
  error("no parameter " .. name)
end

--- All numbers of all parameters' values or gradients, as bytes: NaN equals NaN.
function M.bytes(model, field)
  local parts = {}
  for i, p in ipairs(model:parameters()) do parts[i] = core.file.crc32c(p[field]) end
  return table.concat(parts, " ")
end

return M
