--- A picture as somebody has it: a path, the bytes of a file, or a tensor.
-- @module cglow.image.source
local core = require "cglow.core"
local holds_picture = require "cglow.image.signature"
local image = require "cglow.image"

local M = {}

-- A path may begin like a PNM file, but hardly holds the end of a line.
local function is_file(bytes)
  return holds_picture(bytes) and (bytes:sub(1, 1) ~= "P" or bytes:find("\n", 1, true) ~= nil)
end

-- In messages a source stands for its name.
local Source = {__tostring = function(source) return source.name end}
function Source.__concat(a, b) return tostring(a) .. tostring(b) end

local function make(source) return setmetatable(source, Source) end

--- Make a source of what was given.
-- @tparam string|Tensor|table what a path; the bytes of a file that `cglow.image` reads, which are told
-- from a path by how they begin; C×H×W or H×W numbers; or a source
-- @treturn ?table source: `name` for messages and one of `path`, `bytes`, `tensor`; nil for anything else
function M.of(what)
  if core.type(what) == "cglow.Tensor" then
    local flat = what:dim() == 2
    return (flat or what:dim() == 3) and
      make {tensor = flat and what:reshape(1, what:size(1), what:size(2)) or what, name = "the picture"} or nil
  end
  if type(what) == "table" then return (what.path or what.bytes or what.tensor) and what or nil end
  if type(what) ~= "string" or what == "" then return nil end
  if is_file(what) then return make {bytes = what, name = "the picture"} end
  return not what:find("\0", 1, true) and make {path = what, name = what} or nil
end

local function named(source, t, message, code)
  if t then return t end
  return nil, source.name .. ": " .. message, code
end

--- What `cglow.image.info` says of a source; nothing of a tensor.
function M.info(source)
  if source.path then return image.info(source.path) end
  if source.bytes then return named(source, core.image.describe(source.bytes)) end
  return nil
end

-- 1 to 4 channels of any other number of them.
local function with_channels(t, channels)
  if #t > 4 or not channels or channels == #t then return t end
  local colours = #t % 2 == 0 and t:narrow(1, 1, #t - 1):clone() or t
  local alpha = #t % 2 == 0 and t:narrow(1, #t, 1) or core.ones(1, t:size(2), t:size(3))
  colours = channels > 2 and image.rgb(colours) or image.grey(colours)
  return channels % 2 == 0 and core.cat({colours, alpha}, 1) or colours
end

--- The picture of a source.
-- @tparam table source
-- @tparam[opt] table opts as for `cglow.image.load`; of a tensor only `channels` is looked at
-- @treturn[1] Tensor C×H×W
-- @treturn[2] nil
-- @treturn[2] string message
-- @treturn[2] ?integer code
function M.load(source, opts)
  if source.path then return image.load(source.path, opts) end
  if source.bytes then return named(source, image.decode(source.bytes, opts)) end
  if not source.tensor:isfinite() then return nil, source.name .. ": a number of it is not finite" end
  return with_channels(source.tensor, opts and opts.channels)
end

return M
