--- The precision of products in networks: what is in force, and for a while another one.
-- @module cglow.util.precision
local core = require "cglow.core"
local notice = require "cglow.util.notice"
local options = require "cglow.util.options"

local M = {}

--- An option for it in a table of options. The double-precision core proves gradients by
-- differences, and a rounding has none.
M.OPTION = { type = "string", one_of = core.scalar == "double" and { "fp32" } or { "fp32", "bf16" } }

local told = false

-- Tell once in a process that bf16 is slow here: it costs time and nothing else.
local function tell(how)
  if how ~= "emulated" or told then return end
  told = true
  notice.notify("this processor has no AVX512_BF16: bf16 gives the same numbers here, but takes longer than fp32")
end

--- See `cglow.precision`.
function M.precision(name)
  options.arg("cglow.precision", 1, "name", name,
    { type = "string", optional = true, one_of = M.OPTION.one_of })
  local now, how = core.precision(name)
  tell(how)
  return now, how
end

--- What is in force where nothing is being made: what a model has that was not told.
-- @treturn string
function M.lasting() return (select(3, core.precision())) end

--- Let another precision be in force for the running coroutine, for a while: a function of
-- the user's may yield meanwhile, or fail, and others' models are not to have it.
-- @string name
-- @return a value for a `<close>` variable, at whose end things are as before
function M.during(name)
  local before = core.precision_during(name)
  tell(select(2, core.precision()))
  return setmetatable({}, { __close = function() core.precision_during(before) end })
end

return M
