--- What networks and flow layers of the user's own return is checked here, each time
-- and for all who call them, so that no wrong answer comes far: it is refused in the
-- name of the layer.
--
-- A part has `run`, its flow layer to call, and `net`, its network: the objects
-- themselves when they are in C, which check what they are given, else these with checks.
-- @module cglow.model.own
local check = require "cglow.util.check"
local core = require "cglow.core"
local options = require "cglow.util.options"

local M = {}

local function is_tensor(v) return core.type(v) == "cglow.Tensor" end

local function show(v) return is_tensor(v) and "a tensor of " .. table.concat(v:size(), "x") or options.show(v) end

local function fail(what, format, ...) error(("%s: its %s"):format(what, format:format(...)), 0) end

-- v must be a tensor of this shape.
local function check_tensor(what, method, v, shape)
  local want = table.concat(shape, "x")
  if not is_tensor(v) or table.concat(v:size(), "x") ~= want then
    fail(what, "%s must return a tensor of %s, got %s", method, want, show(v))
  end
  return v
end

-- v must be a list of n numbers, or of at least one where n is nil.
local function check_numbers(what, method, v, n)
  local ok = type(v) == "table" and getmetatable(v) == nil and (n and #v == n or not n and #v > 0)
  for i = 1, ok and #v or 0 do ok = ok and type(v[i]) == "number" end
  if not ok then fail(what, "%s must return a list of %snumbers, got %s", method, n and n .. " " or "", show(v)) end
  return v
end

local function check_parameters(what, list)
  if type(list) ~= "table" then fail(what, "parameters must return a list, got %s", show(list)) end
  for i, p in ipairs(list) do
    if core.type(p) ~= "cglow.Param" then
      fail(what, "parameters must return a list of cglow.Param, got %s as [%d]", show(p), i)
    end
  end
  return list
end

-- ---- flow layers -----------------------------------------------------------------

-- A flow layer with checks: its methods, but for those that it has not.
local function checked_flow(layer)
  local flow, name, run = layer.flow, layer.name, {}

  function run.forward(_, y, cond, keep)
    local z, logdet = flow:forward(y, cond, keep)
    if not (is_tensor(z) and type(logdet) == "table" and #logdet == y:size(1)) then
      error(("%s: its forward must return a tensor and a list of %d log-determinants, got %s and %s"):format(
        name, y:size(1), show(z), show(logdet)), 0)
    end
    run.cond_shape = cond and cond:size()
    check_tensor(name, "forward", z, y:size())
    return z, check_numbers(name, "forward", logdet, y:size(1))
  end

  function run.inverse(_, z, cond) return check_tensor(name, "inverse", flow:inverse(z, cond), z:size()) end

  function run.backward(_, dz, g, room)
    local dy, dcond = flow:backward(dz, g, room)
    check_tensor(name, "backward", dy, dz:size())
    if layer.cn or room and dcond then
      check_tensor(name, "backward, for the condition,", dcond, room and room:size() or run.cond_shape)
    end
    return dy, dcond
  end

  function run.parameters(_, prefix) return check_parameters(name, flow:parameters(prefix)) end

  if check.has(flow, "prepare") then
    function run.prepare(_, cond) return flow:prepare(cond) end
    function run.inverse_prepared(_, z, prepared)
      return check_tensor(name, "inverse_prepared", flow:inverse_prepared(z, prepared), z:size())
    end
  end
  if check.has(flow, "diagnose") then
    function run.diagnose(_, cond)
      local logdets, rconds = flow:diagnose(cond)
      return check_numbers(name, "diagnose", logdets), check_numbers(name, "diagnose", rconds)
    end
  end
  return run
end

-- ---- networks --------------------------------------------------------------------

local function checked_network(layer)
  local cn, name, net = layer.cn, layer.name, {}

  function net.forward(_, x)
    local out = cn:forward(x)
    if not is_tensor(out) then
      error(("%s: its network's forward must return a tensor, got %s"):format(name, show(out)), 0)
    end
    if out:size(1) ~= x:size(1) then
      error(("%s: its network's forward must return a tensor of %d samples, got %s"):format(
        name, x:size(1), show(out)), 0)
    end
    return out
  end

  function net.backward(_, dout) return cn:backward(dout) end
  function net.parameters(_, prefix) return check_parameters(name .. ".cn", cn:parameters(prefix)) end
  return net
end

--- Set what is called of a part: `run` and `net`.
-- @tparam table layer
function M.prepare(layer)
  layer.run = core.type(layer.flow):find "^cglow%." and layer.flow or checked_flow(layer)
  layer.net = layer.cn and (core.type(layer.cn) == "cglow.Net" and layer.cn or checked_network(layer))
end

--- Has v the methods of a flow layer? Raises when it has not.
-- @string fname the public function
-- @param v
-- @int level where the error points, as in `error`
function M.check_flow(fname, v, level)
  local methods = { "forward", "inverse", "backward", "parameters" }
  if check.has(v, "prepare") then methods[#methods + 1] = "inverse_prepared" end
  check.methods(fname, "flow", v, methods, level + 1)
end

return M
