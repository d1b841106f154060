--- The options of `cglow.Model`.
-- @module cglow.model.config
local core = require "cglow.core"
local options = require "cglow.util.options"
local precision = require "cglow.util.precision"

local M = {}

local CN = {
  channels = { type = "integer", default = 64, min = 1 },
  width = { type = "integer", default = 128, min = 1 },
  make = { type = "function" },
}
local COUPLING = {
  width = { type = "integer", default = 256, min = 1 },
  make = { type = "function" },
}
-- Options that are there with an encoder only.
local ENCODER = {
  channels = { type = "table", default = { 32, 64, 96, 128, 128 }, each = { type = "integer", min = 1, max = 4096 } },
  make = { type = "function" },
}
local ENCODED_COUPLING = {
  width = { type = "integer", default = 64, min = 1 },
  bound = { type = "number", default = 1, above = 0, max = 80 },
}
local CONDITION = {
  split = { type = "boolean", default = true },
  prior = { type = "boolean", default = true },
  injector = { type = "boolean", default = false },
  actnorm = { type = "boolean", default = false },
  invconv = { type = "boolean", default = false },
  bound = { type = "number", default = 2, above = 0, max = 80 },
}
local HEAD = {
  outputs = { type = "integer", required = true, min = 1, max = 4096 },
  loss = { type = "string", default = "cross_entropy", one_of = { "cross_entropy", "squared_error" } },
  weight = { type = "number", default = 0.1, min = 0, max = 1e9 },
  residual = { type = "number", above = 0, max = 1e9 },
}
local MODEL = {
  x = { type = "table" },
  y = { type = "table", required = true },
  levels = { type = "integer", default = 3, min = 1, max = 16 },
  depth = { type = "integer", default = 8, min = 1, max = 1024 },
  cn = { type = "table" },
  encoder = { type = "table" },
  condition = { type = "table" },
  head = { type = "table" },
  coupling = { type = "table", default = {} },
  init = { type = "string", one_of = { "paper", "orthogonal", "live" } },
  learned_prior = { type = "boolean", default = false },
  recompute = { type = "boolean", default = false },
  precision = precision.OPTION,
  rng = { type = "rng" },
}

local MOST_SIDE = 1 << 20 -- so that no product of sizes overflows
local MOST_CHANNELS = 4096 -- of an invertible 1×1 convolution

local function check_shape(key, shape)
  local ok = #shape == 3
  for i = 1, 3 do ok = ok and math.type(shape[i]) == "integer" and shape[i] >= 1 and shape[i] <= MOST_SIDE end
  if not ok then
    local got = {}
    for i = 1, #shape do got[i] = tostring(shape[i]) end
    error(("cglow.Model: option '%s' must be {channels, height, width}, three integers from 1 to %d, got {%s}")
      :format(key, MOST_SIDE, table.concat(got, ", ")), 4)
  end
end

local function must_be_absent(o, keys, why)
  for _, key in ipairs(keys) do
    if o[key] ~= nil then
      error(("cglow.Model: option '%s' must be absent %s, got %s"):format(key, why, options.show(o[key])), 5)
    end
  end
end

local function check_residual(o)
  local head = o.head
  if head.residual and (head.loss ~= "squared_error" or head.outputs ~= o.y[1]) then
    error(("cglow.Model: option 'head.residual' must be absent unless the head says y, %d outputs by squared_error,"
      .. " got %g with %d outputs by %s"):format(o.y[1], head.residual, head.outputs, head.loss), 5)
  end
end

local function check_encoder(o)
  if not o.x then error("cglow.Model: option 'x' must be a table with an encoder, got nil", 4) end
  must_be_absent(o, { "cn", "init" }, "with an encoder")
  -- A tail call, so no level more for errors.
  local function sub(key, spec) return options.check(("cglow.Model: option '%s'"):format(key), o[key], spec, 2) end
  o.encoder, o.coupling = sub("encoder", ENCODER), sub("coupling", ENCODED_COUPLING)
  o.condition = sub("condition", CONDITION)
  if o.head then
    o.head = sub("head", HEAD)
    check_residual(o)
  end
  if o.learned_prior then o.condition.prior = false end
  local unit = o.encoder.make and 1 << o.levels or 1 << math.max(#o.encoder.channels - 1, o.levels)
  for i = 2, 3 do
    local rest = o.x[i] - o.y[i]
    if o.x[i] % unit ~= 0 or rest < 0 or rest % (2 << o.levels) ~= 0 then
      error(("cglow.Model: option 'x': with this encoder its sides must be multiples of %d, and longer than y's by"
        .. " multiples of %d, got %dx%d for y of %dx%d"):format(unit, 2 << o.levels, o.x[2], o.x[3], o.y[2], o.y[3]), 4)
    end
  end
end

local function check_published(o)
  must_be_absent(o, { "condition", "head" }, "without an encoder")
  o.cn = options.check("cglow.Model: option 'cn'", o.cn, CN, 2)
  o.coupling = options.check("cglow.Model: option 'coupling'", o.coupling, COUPLING, 2)
  o.init = o.init or "live"
end

local function copy(list) return table.move(list, 1, #list, 1, {}) end

--- Check a model's options.
-- @tparam table opts
-- @treturn table configuration with defaults
-- @treturn Rng
function M.check(opts)
  local o = options.check("cglow.Model", opts, MODEL, 1)
  check_shape("y", o.y)
  if o.x then check_shape("x", o.x) end
  local unit = 1 << o.levels
  if o.y[2] % unit ~= 0 or o.y[3] % unit ~= 0 then
    error(("cglow.Model: option 'y': with %d levels height and width must be multiples of %d, got %dx%d")
      :format(o.levels, unit, o.y[2], o.y[3]), 3)
  end
  local widest = o.y[1] << (o.levels + 1) -- a level doubles the channels, the last one splits none off
  if widest > MOST_CHANNELS then
    error(("cglow.Model: option 'y' must not lead to more than %d channels, got %d after %d levels")
      :format(MOST_CHANNELS, widest, o.levels), 3)
  end
  if o.encoder then check_encoder(o) else check_published(o) end
  o.precision = o.precision or precision.lasting()
  -- Copies, because the caller may go on to use its own lists for another model.
  o.x, o.y = o.x and copy(o.x), copy(o.y)
  if o.encoder then o.encoder.channels = copy(o.encoder.channels) end
  local rng = o.rng or core.rng()
  o.rng = nil
  return o, rng
end

return M
