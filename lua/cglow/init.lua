--- Conditional Glow for Lua: exact p(y|x), samples and predictions.
--
-- Lu & Huang, "Structured Output Learning with Conditional Generative Flows",
-- AAAI 2020.
-- @module cglow
if _VERSION ~= "Lua 5.4" then -- before the core, which other versions cannot load
  error("cglow needs Lua 5.4, this is " .. (rawget(_G, "jit") and jit.version or _VERSION), 0) -- luacheck: ignore 113
end

local missing = require "cglow.util.rocks" {"lfs", "dkjson"}
if missing then error(missing, 0) end

local core = require "cglow.core"
local precision = require "cglow.util.precision"

local fewer = core.threads_warning()
if fewer then require("cglow.util.notice").notify(fewer) end

local M = { _VERSION = require "cglow.util.version" }

for _, name in ipairs { "tensor", "zeros", "ones", "empty", "full", "rand", "randn", "arange", "from_bytes", "cat",
  "stack", "seed", "rng", "Rng", "threads", "Param", "zero_grad", "stats", "flow" } do
  M[name] = core[name]
end

--- A conditional Glow; see the class `cglow.Model`.
-- @function Model
-- @tparam table opts `x` and `y` = {channels, height, width}, `levels`, `depth`, `cn`, `coupling`, `init` …
-- @treturn Model
M.Model = setmetatable({}, {
  __call = function(_, opts) return require("cglow.model").new(opts) end,
  __index = function(_, key) return require("cglow.model")[key] end,
  __tostring = function() return "cglow.Model: make one with cglow.Model {x = {C, H, W}, y = {C, H, W}}" end,
})

--- Plain Glow (Kingma & Dhariwal 2018): an unconditional density p(y).
-- @tparam table opts as for `cglow.Model`, without `x` and all that is about it
-- @treturn Model whose methods take nil for x
function M.Glow(opts)
  if type(opts) == "table" and opts.x ~= nil then
    error("cglow.Glow: option 'x' is not for plain Glow; use cglow.Model", 2)
  end
  return require("cglow.model").new(opts)
end

--- Read a model written by `Model:save`, or any file of the same form.
-- @function load
-- @string path
-- @tparam[opt] table override options that replace the file's, such as `cn = {make = …}`; and
--
-- * `replace`: a list of what `Model:replace` takes, for layers of one's own
-- * `strict` = true: a file that lacks a parameter of the model, or has one that the model has
--   not (a tensor whose name begins with level, prior, encoder or head; or one of a layer of
--   one's own), is not loaded, and the message names them. With false it is: missing parameters
--   start as in a new model, and `cglow.data.notify` tells of both
-- @treturn[1] Model
-- @treturn[2] nil
-- @treturn[2] string message
M.load = function(...) return require("cglow.model").load(...) end

--- Write tensors as a safetensors file. See `cglow.util.safetensors`.
-- @function save_tensors
-- @string path
-- @tparam {[string]=Tensor} tensors
-- @tparam[opt] {[string]=string} metadata
-- @return true, or nil, message, code
M.save_tensors = function(...) return require("cglow.util.safetensors").save(...) end

--- Read a safetensors file. See `cglow.util.safetensors`.
-- @function load_tensors
-- @string path
-- @treturn[1] {[string]=Tensor} tensors
-- @treturn[1] {[string]=string} metadata
-- @treturn[1] {[string]={integer,...}} shapes of the tensors that hold no numbers
-- @treturn[2] nil
-- @treturn[2] string message
M.load_tensors = function(...) return require("cglow.util.safetensors").load(...) end

--- What networks that are made from now on multiply: "fp32", or "bf16", factors rounded to
-- bfloat16, whose sums are in fp32 all the same. Processors with AVX512_BF16 or AMX train and
-- sample faster so; on others the same numbers take longer, which is said once. A model keeps what it
-- was made with, its files too; log p is as exact a density either way, and `decode` inverts
-- as closely (lua/README.md).
-- @function precision
-- @string[opt] name "fp32" (as at first) or "bf16"
-- @treturn string the one in force
-- @treturn string how it is computed here: "fp32", "AMX", "AVX512_BF16" or "emulated"
M.precision = precision.precision

-- The rest is loaded when first used, so `require "cglow"` is quick: name → module.
local parts = {
  nn = "nn", optim = "optim", image = "image", data = "data", metrics = "metrics", train = "train", report = "report",
  help = "help", show = "image.show", vision = "image.vision", baselines = "tasks.baselines",
  feedforward = "feedforward", losses = "nn.losses", task = "tasks.define", open = "open", npy = "util.npy",
}

return setmetatable(M, {
  __tostring = function() return ("cglow %s: cglow.help() tells what there is"):format(M._VERSION) end,
  __index = function(t, key)
    if not parts[key] then return nil end
    local part = require("cglow." .. parts[key])
    rawset(t, key, part)
    return part
  end,
})
