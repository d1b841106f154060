--- What each layer of a model does to a batch, and which of them are faulty.
--
-- Every layer is judged on its own: where one makes numbers that are not
-- finite, the next one is given what that one was given. See `Model:diagnose`.
-- @module cglow.model.diagnose
local bytes = require "cglow.util.bytes"
local core = require "cglow.core"
local kinds = require "cglow.model.kinds"
local likelihood = require "cglow.model.likelihood"
local passes = require "cglow.model.passes"
local precision = require "cglow.model.precision"
local seen = require "cglow.model.seen"
local walk = require "cglow.model.walk"

local M = {}

local EPS = core.scalar == "double" and 2.0 ^ -52 or 2.0 ^ -23

--- Limits beyond which a layer is called faulty.
-- @table LIMITS
-- @field round_trip error of inverse(forward(y)) relative to the largest |y|: half
-- of all digits are lost
-- @field rcond reciprocal condition number of W: two digits are left
-- @field scale a factor, or its reciprocal
M.LIMITS = { round_trip = math.sqrt(EPS), rcond = 100 * EPS, scale = 1e4 }

local Diagnosis = {}

function Diagnosis.__index(_, key)
  if key == "sick" then error("cglow.Diagnosis: 'sick' is called 'faulty' now", 2) end
  return Diagnosis[key]
end

Diagnosis.__name = "cglow.Diagnosis"

-- ---- measuring ---------------------------------------------------------------

local function count_bad(list)
  local bad = 0
  for _, v in ipairs(list) do
    if v - v ~= 0 then bad = bad + 1 end
  end
  return bad
end

local function count_non_finite(t) return t:isfinite() and 0 or count_bad(t:totable()) end

-- The smallest and the largest of the factors that a layer multiplies by.
local function range_of_factors(layer, y, cond)
  local factors = kinds[layer.kind].factors
  if not factors or type(layer.flow) ~= "userdata" then return nil end -- a user's own layer may do anything
  local t = factors(layer.flow, y, cond)
  return { min = (t:min()), max = (t:max()) }
end

local function round_trip(flow, y, z, cond)
  local ok, back = pcall(flow.inverse, flow, z, cond)
  if not ok then return math.huge end
  return (back - y):abs():max() / math.max(y:abs():max(), 1e-30)
end

local function copy(list) return table.move(list, 1, #list, 1, {}) end

-- Each visitor adds a row and returns what the next layer is given.
local measuring = {}

function measuring.squeeze(layer, y) return layer.flow:forward(y):clone() end

function measuring.part(layer, y, s)
  local flow, cond = layer.run, s.conds[layer.index]
  local z, logdet = flow:forward(y, cond, false)
  z = z:clone()
  local row = {
    name = layer.name, kind = layer.kind, logdet = copy(logdet),
    non_finite = count_non_finite(z) + count_bad(logdet) + (cond and count_non_finite(cond) or 0),
  }
  s.rows[#s.rows + 1] = row
  if not z:isfinite() then return y end
  row.round_trip = round_trip(flow, y, z, cond)
  row.scale = range_of_factors(layer, y, cond)
  if flow.diagnose then
    local _, rcond = flow:diagnose(cond)
    row.rcond = math.min(table.unpack(rcond))
  end
  return z
end

function measuring.split(layer, y, s)
  local cond = s.conds[layer.index]
  local z1, z2, logp = layer.flow:forward(y, cond)
  z1, z2, logp = z1:clone(), z2:clone(), copy(logp)
  s.rows[#s.rows + 1] = {
    name = layer.name, kind = layer.kind, logp = logp, non_finite = count_bad(logp),
    round_trip = (layer.flow:inverse(z1, z2) - y):abs():max(), scale = range_of_factors(layer, y, cond),
  }
  return z1
end

function measuring.prior(layer, z, s)
  local cond = s.conds[layer.index]
  local logp = copy(layer.flow:log_prob(z, cond))
  s.rows[#s.rows + 1] = {
    name = layer.name, kind = layer.kind, logp = logp, non_finite = count_bad(logp),
    scale = range_of_factors(layer, z, cond),
  }
  return z
end

local function measure(model, y, conds)
  local rows = {}
  walk.up(model.layers, y, measuring, { rows = rows, conds = conds })
  return rows
end

-- The estimate of `cglow.model.precision` for the batch, the largest of its samples.
local function error_of_decoding(model, x, y)
  local _, latents = likelihood.log_prob(model, x, y)
  local ok, _, errors = pcall(precision.decode, model, latents, passes.conditions(model, x))
  return ok and errors:isfinite() and (errors:max()) or math.huge
end

-- What is wrong with the batch itself: then no layer can be judged.
local function bad_inputs(x, y)
  local rows = {}
  for name, t in pairs { x = x, y = y } do
    if not t:isfinite() then rows[#rows + 1] = { name = name, kind = "input", non_finite = count_non_finite(t) } end
  end
  return rows
end

-- ---- parameters and gradients --------------------------------------------------

local function add_parameter(row, p, with_gradient)
  local own = p.name:sub(#row.name + 2)
  local bad = count_non_finite(p.value)
  if bad > 0 then
    row.bad_parameters[#row.bad_parameters + 1] = own
    row.non_finite = row.non_finite + bad
  end
  row.parameters = row.parameters + p.value:count()
  if p.name:find("weight$") and (p.value:min()) == 0 and (p.value:max()) == 0 then row.blank = row.blank or own end
  if not with_gradient then return end
  local zeros = p:gradient_zeros() -- no copy: the C library would keep such memory for good
  row.zeros = row.zeros + zeros
  if zeros == p.value:count() then row.dead[#row.dead + 1] = own end
end

-- Each row's parameters; they begin with its name.
local function inspect_parameters(model, rows, with_gradient)
  for _, row in ipairs(rows) do
    row.parameters, row.zeros, row.dead, row.bad_parameters = 0, 0, {}, {}
    for _, p in ipairs(model:parameters()) do
      if p.name:sub(1, #row.name + 1) == row.name .. "." then add_parameter(row, p, with_gradient) end
    end
    if with_gradient and row.parameters > 0 then row.zero_gradient = row.zeros / row.parameters end
  end
end

-- ---- the verdict ---------------------------------------------------------------

local function show(format, v) return v and bytes.pointed(format:format(v)) or "-" end

local function within(v, least, most) return v >= least and v <= most end -- NaN is not

-- What is wrong with a row's numbers: a list of reasons, empty when it is well.
local function faults(row, limits)
  local list = {}
  local function add(...) list[#list + 1] = string.format(...) end
  if #row.bad_parameters > 0 then add("%s is not finite", table.concat(row.bad_parameters, ", ")) end
  if row.rcond and not within(row.rcond, limits.rcond, 1) then
    add(row.rcond == 0 and "W is singular" or "W is nearly singular (%s)", show("%.1e", row.rcond))
  end
  if row.scale and not (within(row.scale.min, 1 / limits.scale, limits.scale)
    and within(row.scale.max, 1 / limits.scale, limits.scale)) then
    add("scales from %s to %s", show("%.1e", row.scale.min), show("%.1e", row.scale.max))
  end
  if row.round_trip and not within(row.round_trip, 0, limits.round_trip) and #list == 0 then
    add("the inverse is off by %s", show("%.1e", row.round_trip))
  end
  if row.non_finite > 0 and #list == 0 then add("%d numbers are not finite", row.non_finite) end
  return list
end

-- Gradients tell of dead ReLUs only where all layers' numbers are in order: behind
-- an exploding one, say, every tanh is flat.
local function judge(rows)
  local faulty = {}
  for _, row in ipairs(rows) do
    row.faults = faults(row, M.LIMITS)
    if #row.faults > 0 then faulty[#faulty + 1] = row.name end
  end
  if #faulty > 0 then return faulty end
  for _, row in ipairs(rows) do
    if #row.dead > 0 and not row.blank then
      row.faults[1] = ("no gradient reaches %s: dead ReLUs"):format(table.concat(row.dead, ", "))
      faulty[#faulty + 1] = row.name
    end
  end
  return faulty
end

--- Diagnose a model. Called by `Model:diagnose`.
--
-- Afterwards every gradient counts as zero.
-- @tparam Model model
-- @tparam Tensor x
-- @tparam Tensor y
-- @tparam {Tensor,...} conds conditions of all parts for x
-- @treturn Diagnosis printable; `rows` is a list with one entry for each layer:
--
-- * `name`, `kind`
-- * `round_trip`: largest |inverse(forward(y)) − y| relative to the largest |y|
--   of the layer's input; infinite when there is no inverse
-- * `logdet` (list, nats for each sample) of flow layers, `logp` of split and prior
-- * `rcond` of the 1×1: reciprocal condition number of W, the smallest of the batch
-- * `scale` = {min, max}: actnorm's e^s, the coupling's σ, a split's or prior's
--   deviations
-- * `zero_gradient`: share of its parameters (its network's too) without gradient;
--   `dead`: names of those tensors that have none at all
-- * `blank`: name of a weight that is all zero, as some are at the start, which
--   explains dead ones
-- * `non_finite`: how many numbers are not, in outputs, conditions and parameters
-- * `faults`: why it is faulty, a list of strings
--
-- with `faulty`, the list of the names of faulty layers (or of "x" and "y", when they
-- are not finite and no layer can be judged); `loss`, in bits per dim, or
-- `message`, why there is none and so no gradient; `decode_error`, how far what `decode` and
-- `sample` give may be off (`Model:decode_error`), in which each layer has its part; `why`, a
-- string, where x is to blame for that
function M.run(model, x, y, conds)
  local rows = bad_inputs(x, y)
  local judged = #rows == 0
  if judged then rows = measure(model, y, conds) end
  local self = setmetatable({ rows = rows }, Diagnosis)
  if judged then self.decode_error, self.why = error_of_decoding(model, x, y), seen.why(model, x) end
  core.zero_grad(model:parameters())
  local loss, dy = likelihood.loss_and_grad(model, x, y, { cell_width = 1 })
  self.loss, self.message = loss, not loss and dy or nil
  if not judged then self.message = "the layers cannot be judged by a batch that is not finite" end
  inspect_parameters(model, rows, loss ~= nil)
  core.zero_grad(model:parameters())
  self.faulty = judge(rows)
  return self
end

-- ---- printing --------------------------------------------------------------------

local function mean(list)
  local sum = 0
  for _, v in ipairs(list) do sum = sum + v end
  return sum / #list
end

local COLUMNS = {
  { "layer", function(r) return r.name end },
  { "round trip", function(r) return show("%.1e", r.round_trip) end },
  { "log|det|", function(r) return show("%.4g", r.logdet and mean(r.logdet)) end },
  { "log p", function(r) return show("%.4g", r.logp and mean(r.logp)) end },
  { "rcond(W)", function(r) return show("%.1e", r.rcond) end },
  { "scales", function(r)
    return r.scale and show("%.2g", r.scale.min) .. ".." .. show("%.2g", r.scale.max) or "-"
  end },
  { "zero grad", function(r) return show("%.0f%%", r.zero_gradient and 100 * r.zero_gradient) end },
  { "non-finite", function(r) return show("%d", r.non_finite) end },
}

-- Cells in columns; the first to the left, numbers to the right.
local function align(cells)
  local width = {}
  for _, row in ipairs(cells) do
    for c, text in ipairs(row) do width[c] = math.max(width[c] or 0, #text) end
  end
  local lines = {}
  for i, row in ipairs(cells) do
    local parts = {}
    for c, text in ipairs(row) do
      local pad = (" "):rep(width[c] - #text)
      parts[c] = c == 1 and text .. pad or pad .. text
    end
    lines[i] = table.concat(parts, "  ")
  end
  return lines
end

-- How many layers have a network that a blank weight keeps from learning.
local function count_blank(rows)
  local n = 0
  for _, r in ipairs(rows) do
    if r.blank and #r.dead > 0 then n = n + 1 end
  end
  return n
end

function Diagnosis:__tostring()
  local cells = { {} }
  for c, column in ipairs(COLUMNS) do cells[1][c] = column[1] end
  for i, row in ipairs(self.rows) do
    cells[i + 1] = {}
    for c, column in ipairs(COLUMNS) do cells[i + 1][c] = column[2](row) end
  end
  local lines = align(cells)
  for i, row in ipairs(self.rows) do
    if #row.faults > 0 then lines[i + 1] = lines[i + 1] .. "  <- faulty" end
  end
  lines[#lines + 1] = self.loss and show("loss %.4g bits per dim", self.loss) or "no gradients: " .. self.message
  if self.decode_error then
    lines[#lines + 1] = ("decode may be off by %s%s"):format(show("%.1e", self.decode_error),
      self.decode_error > precision.LIMIT
        and ": " .. (self.why or "the layers together magnify rounding errors too much") or "")
  end
  local blank = count_blank(self.rows)
  if blank > 0 then
    lines[#lines + 1] = ("%d layers hold a weight that is all zero, which keeps gradient from other parameters"):format(
      blank)
  end
  for _, row in ipairs(self.rows) do
    if #row.faults > 0 then lines[#lines + 1] = ("faulty: %s: %s"):format(row.name, table.concat(row.faults, "; ")) end
  end
  if #self.faulty == 0 then
    local lossy = self.decode_error and self.decode_error > precision.LIMIT
    lines[#lines + 1] = lossy and "no layer is faulty by itself" or "no layer is faulty"
  end
  return table.concat(lines, "\n")
end

return M
