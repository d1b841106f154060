--- The range of x that a model has learned from, and a word when it is asked of another:
-- pictures in 0 … 255 where it knows 0 … 1, say.
--
-- The range is kept with the parameters (metadata key `x_range` of a checkpoint: for each
-- channel of x its smallest and its largest number, in a JSON list). Also for the
-- feed-forward networks.
-- @module cglow.model.seen
local json = require "cglow.util.json"
local notice = require "cglow.util.notice"

local M = {}

local KEY <const> = "x_range"
local LARGE <const> = 64 -- pictures in 0 … 1, normalised ones and metres are below

-- The smallest and the largest number of each channel: {low 1, high 1, low 2, …}.
local function range_of(x)
  local range, channels = {}, x:size(2)
  for n = 1, x:size(1) do
    local sample = x[n]
    for c = 1, channels do
      local low, high = (sample[c]:min()), (sample[c]:max())
      range[2 * c - 1] = n == 1 and low or math.min(low, range[2 * c - 1])
      range[2 * c] = n == 1 and high or math.max(high, range[2 * c])
    end
  end
  return range
end

--- Note that a model learns from x.
-- @param model
-- @tparam ?Tensor x N×C×H×W of finite numbers
function M.note(model, x)
  if not x then return end
  local range, now = model.x_range or {}, range_of(x)
  for i, v in ipairs(now) do
    range[i] = math[i % 2 == 1 and "min" or "max"](range[i] or v, v)
  end
  model.x_range = range
end

--- Do something of which the model learns nothing, and from which its actnorms do not start.
-- @param model
-- @tparam function f
-- @param ... its arguments
-- @return what it returns
function M.without(model, f, ...)
  local range, unstarted = model.x_range, model.unstarted
  model.x_range, model.unstarted = range and table.move(range, 1, #range, 1, {}), nil
  local result = table.pack(pcall(f, ...))
  model.x_range, model.unstarted = range, unstarted
  if not result[1] then error(result[2], 0) end
  return table.unpack(result, 2, result.n)
end

--- Tell a person, once for a model, when x lies far outside of the range: by more than
-- half of the range's width, or of its largest number.
-- @param model
-- @string fname the public function that was given x
-- @tparam ?Tensor x
function M.tell(model, fname, x)
  local range = model.x_range
  if not x or not range or model.told_of_x then return end
  local now = range_of(x)
  for c = 1, #range // 2 do
    local low, high = range[2 * c - 1], range[2 * c]
    local margin = math.max(high - low, math.abs(low), math.abs(high)) / 2
    if now[2 * c - 1] < low - margin or now[2 * c] > high + margin then
      model.told_of_x = true
      notice.notify(("%s: channel %d of x goes from %.4g to %.4g, but the model has learned from %.4g to %.4g: what it "
        .. "says of such an x means little"):format(fname, c, now[2 * c - 1], now[2 * c], low, high))
      return
    end
  end
end

--- Why a layer may be ill-conditioned: because of x?
-- @param model
-- @tparam ?Tensor x nil: what the model has learned from
-- @treturn ?string
function M.why(model, x)
  if model.told_of_x then return "x is not like what the model has learned from" end
  local range = x and range_of(x) or model.x_range
  if not range then return nil end
  local low, high = math.min(table.unpack(range)), math.max(table.unpack(range))
  if math.max(-low, high) <= LARGE then return nil end
  return ("x goes from %.4g to %.4g, and networks begin with numbers of about 1 in mind: scale it"):format(low, high)
end

--- Put the range into a checkpoint's metadata.
-- @param model
-- @tparam {[string]=string} metadata
function M.save(model, metadata)
  if model.x_range then metadata[KEY] = json.encode(model.x_range) end
end

--- Take the range from a checkpoint's metadata.
-- @param model
-- @tparam {[string]=string} metadata
-- @return true, or nil and a message
function M.load(model, metadata)
  model.x_range = nil
  if not metadata[KEY] or not model.config.x then return true end
  local range = json.decode(metadata[KEY])
  local ok = type(range) == "table" and #range == 2 * model.config.x[1]
  for i = 1, ok and #range or 0 do ok = ok and type(range[i]) == "number" and range[i] - range[i] == 0 end
  if not ok then
    return nil, ("%s: a JSON list of %d numbers expected, two for each channel of x"):format(KEY, 2 * model.config.x[1])
  end
  model.x_range = range
  return true
end

return M
