--- Learning curves as inline SVG. The numbers go along in an attribute, for the
-- read-out under the pointer.
-- @module cglow.report.chart
local html = require "cglow.report.html"
local json = require "cglow.util.json"
local number = require("cglow.util.bytes").number

local M = {}

-- In pixels at full size: a chart across the page, one of two in a row, and one across a page so
-- narrow that the first one's letters would be dust (the style shows one or the other).
local SIZES = {wide = {920, 300}, half = {448, 230}, narrow = {448, 260}}
local LEFT, RIGHT, TOP, BOTTOM = 56, 16, 12, 34
local DOT = 3
local MOST_POINTS = 500 -- in a curve; more are averaged in groups
local MOST <const> = 1e300 -- values beyond it are drawn there: differences of them stay numbers
local EXACT <const> = 1 << 53
local FINEST <const> = 1e-9 -- of a value: finer steps of an axis would not be seen, nor end

local h = html.element

local function nice_step(span, count)
  local raw = span / count
  local unit = 10 ^ math.floor(math.log(raw, 10))
  for _, factor in ipairs {1, 2, 5} do
    if unit * factor >= raw then return unit * factor end
  end
  return unit * 10
end

local function ticks(low, high, count)
  local step, list = nice_step(high - low, count), {}
  for i = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) do list[#list + 1] = i * step end
  return list
end

local function label(value)
  if math.abs(value) >= 1000 and value % 1000 == 0 then return number("%gk", value / 1000) end
  return number("%.6g", value)
end

-- A number whose differences and magnitude are numbers: those of large integers overflow, and the
-- least one has no magnitude.
local function tame(v)
  if math.type(v) == "integer" and (v > EXACT or v < -EXACT) then v = v + 0.0 end
  return math.max(-MOST, math.min(MOST, v))
end

local function clamped(points)
  local out = {}
  for i, p in ipairs(points) do out[i] = {tame(p[1]), tame(p[2])} end
  return out
end

-- Neighbouring points averaged until there are few enough.
local function thin(points)
  local group, out = math.ceil(#points / MOST_POINTS), {}
  points = clamped(points)
  if group <= 1 then return points end
  for first = 1, #points, group do
    local x, y, n = 0, 0, math.min(group, #points - first + 1)
    for i = first, first + n - 1 do x, y = x + points[i][1], y + points[i][2] end
    out[#out + 1] = {x / n, y / n}
  end
  return out
end

-- The range that shows what matters: a NLL begins far above where it ends, so
-- the first twentieth of the steps does not count when there are enough points.
local function range_of(series)
  local last, low, high = 1, math.huge, -math.huge
  for _, s in ipairs(series) do
    for _, p in ipairs(s.points) do last = math.max(last, p[1]) end
  end
  for _, s in ipairs(series) do
    for _, p in ipairs(s.points) do
      if #s.points < 20 or p[1] > last / 20 then low, high = math.min(low, p[2]), math.max(high, p[2]) end
    end
  end
  local finest = math.max(1 / MOST, FINEST * math.max(math.abs(low), math.abs(high)))
  if low == high or high - low < finest then
    local pad = math.max(0.5, finest)
    low, high = low >= 0 and math.max(0, low - pad) or low - pad, high + pad
  end
  local margin = 0.04 * (high - low)
  return last, low - margin, high + margin
end

-- The place of everything: the box of the curves, and steps and values in it.
local function scale(series, size)
  local last, low, high = range_of(series)
  local width, height = table.unpack(SIZES[size])
  local box = {left = LEFT, right = width - RIGHT, top = TOP, bottom = height - BOTTOM, width = width, height = height}
  return {
    last = last, low = low, high = high, box = box,
    x = function(step) return LEFT + (box.right - LEFT) * step / last end,
    y = function(value) return TOP + (box.bottom - TOP) * (high - value) / (high - low) end,
  }
end

local function tick(x, y, anchor, text)
  return h("text", {class = "tick", x = x, y = y, dy = "0.32em", ["text-anchor"] = anchor}, text)
end

local function axes(at)
  local parts, box = {}, at.box
  for _, v in ipairs(ticks(at.low, at.high, 5)) do
    local y = number("%.1f", at.y(v))
    parts[#parts + 1] = h("line", {class = "grid", x1 = LEFT, x2 = box.right, y1 = y, y2 = y})
    parts[#parts + 1] = tick(LEFT - 8, y, "end", label(v))
  end
  for _, v in ipairs(ticks(0, at.last, box.width // 110)) do
    local x = number("%.1f", at.x(v))
    parts[#parts + 1] = tick(x, box.bottom + 14, "middle", label(v))
  end
  parts[#parts + 1] = tick(box.right, box.height - 6, "end", "step")
  return parts
end

local function curve(s, at)
  local path, dots = {}, {}
  for i, p in ipairs(s.points) do
    local x, y = number("%.1f", at.x(p[1])), number("%.1f", at.y(p[2]))
    path[i] = (i == 1 and "M" or "L") .. x .. " " .. y
    if s.dots or #s.points == 1 then dots[i] = h("circle", {cx = x, cy = y, r = DOT}) end
  end
  return h("g", {class = ("curve c%d%s"):format(s.colour, s.dots and "" or " faint")},
    h("path", {d = table.concat(path)}), dots)
end

local function legend(series)
  local items = {}
  for i, s in ipairs(series) do
    local class = ("key c%d%s"):format(s.colour, s.dots and "" or " faint")
    items[i] = h("span", {class = class}, h("i", nil, "\u{2002}"), s.name)
  end
  return h("p", {class = "legend"}, items)
end

-- What the script needs: the scale and every curve's numbers.
local function data_of(series, at)
  local curves = {}
  for i, s in ipairs(series) do
    local points = {}
    for k, p in ipairs(s.points) do points[k] = {p[1], tonumber(("%.5g"):format(p[2]))} end
    curves[i] = {name = s.name, colour = s.colour, points = points}
  end
  return json.encode {
    box = at.box, last = at.last, low = at.low, high = at.high, curves = curves,
  }
end

-- The curves stay inside their box, but for half a dot at its edge.
local function clip_path(id, box)
  return h("defs", nil, h("clipPath", {id = id}, h("rect", {
    x = box.left - DOT, y = box.top, width = box.right - box.left + 2 * DOT, height = box.bottom - box.top + DOT,
  })))
end

--- A chart.
-- @tparam string id that no other chart on the page has
-- @tparam string title
-- @tparam {table,...} series `name`, `points` ({step, value} each, at least
-- one), `colour` (1 to 6), `dots` (true: validations; false: a thin line); with
-- `named` = true, a legend tells them apart
-- @tparam string size "wide", "half" for one of two in a row, or "narrow" for a narrow page
-- @return element
function M.chart(id, title, series, size)
  local thinned = {}
  for i, s in ipairs(series) do
    thinned[i] = {name = s.name, points = thin(s.points), colour = s.colour, dots = s.dots}
  end
  local at, curves = scale(thinned, size), {}
  for i, s in ipairs(thinned) do curves[i] = curve(s, at) end
  return h("figure", {class = "chart " .. size, ["data-chart"] = data_of(thinned, at)},
    h("figcaption", nil, title), series.named and legend(thinned),
    h("svg", {viewBox = ("0 0 %d %d"):format(at.box.width, at.box.height), role = "img", ["aria-label"] = title},
      clip_path(id, at.box), axes(at), h("g", {["clip-path"] = ("url(#%s)"):format(id)}, curves)),
    h("div", {class = "readout", hidden = "hidden"}, "\u{2002}"))
end

return M
