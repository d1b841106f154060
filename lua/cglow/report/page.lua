--- The sections of a report.
-- @module cglow.report.page
local html = require "cglow.report.html"
local assets = require "cglow.report.assets"
local chart = require "cglow.report.chart"
local format = require "cglow.run.format"
local bytes = require "cglow.util.bytes"

local M = {}

local h = html.element

--- What tells a report of ours, within its first bytes.
M.GENERATOR = '<meta content="cglow" name="generator"/>'
M.HEAD = 1024
local COLOURS = 6
local DASH = "\u{2013}"

-- ---- numbers and names ---------------------------------------------------

local TITLES = {
  nll = "Negative log-likelihood", iou = "Mean IoU over the classes", foreground_iou = "IoU of the foreground",
  image_iou = "Mean IoU of single images", psnr = "PSNR in dB", ssim = "Structural similarity (SSIM)",
  dice = "Dice coefficient", bits_per_dim = "Bits per dimension", diversity = "Difference of two samples (RMS)",
  best_sample = "Best of an image's samples",
  psnr_whole = "PSNR of the whole picture in dB", error_mm = "Mean distance in mm",
  pixel_accuracy = "Pixel accuracy", superpixel_accuracy = "Super-pixel accuracy",
}

local function title_of(metric) return TITLES[metric] or (metric:gsub("_", " ")) end

local function number(value)
  if type(value) ~= "number" then return value == nil and DASH or tostring(value) end
  if math.type(value) == "integer" then return ("%d"):format(value) end
  return (format.number("%#.4g", value):gsub("%.$", "")) -- as many digits for each, zeros too
end

local function short(value)
  if type(value) == "number" then return bytes.pointed(tostring(value)) end
  if type(value) ~= "table" then return tostring(value) end
  local parts = {}
  for i, each in ipairs(value) do parts[i] = short(each) end
  return table.concat(parts, "\u{00d7}")
end

-- Names of all metrics that any run has.
local function metrics_of(runs)
  local all = {}
  for _, run in ipairs(runs) do
    for _, v in ipairs(run.valid) do all[#all + 1] = v.metrics end
  end
  return format.metric_names(all)
end

-- ---- tables --------------------------------------------------------------

local function data_table(head, rows, classes, kind)
  local body = {}
  for i, row in ipairs(rows) do
    local cells = {}
    for k = 1, #head do cells[k] = h("td", nil, row[k]) end
    body[i] = h("tr", classes and classes[i] and {class = classes[i]}, cells)
  end
  local heads = {}
  for k, text in ipairs(head) do heads[k] = h("th", nil, text) end
  return h("div", {class = "scroll"},
    h("table", kind and {class = kind}, h("thead", nil, h("tr", nil, heads)), h("tbody", nil, body)))
end

local function section(title, ...) return h("section", nil, h("h2", nil, title), ...) end

-- ---- the head ------------------------------------------------------------

local function facts_of(run)
  local list = {}
  local function fact(name, value, detail)
    if value == nil then return end
    list[#list + 1] = h("div", nil, h("dt", nil, name), h("dd", nil, value, detail and h("small", nil, " " .. detail)))
  end
  local best, last = run.best, run.valid[#run.valid]
  fact("steps", number(run.steps), run.seconds and format.duration(run.seconds))
  fact("best validation NLL", best and number(best.metrics.nll), best and "at step " .. best.step)
  for _, name in ipairs(metrics_of {run}) do
    if name ~= "nll" and last then fact(title_of(name), number(last.metrics[name]), "at the end") end
  end
  fact("parameters", run.config.parameters and format.number("%.2f M", run.config.parameters / 1e6))
  return h("dl", {class = "facts"}, list)
end

local function head_of_one(run)
  local config = run.config
  local sub = {run.name}
  if config.started then sub[#sub + 1] = "started " .. config.started:gsub("T", " "):gsub("Z", " UTC") end
  local data = config.data
  if data then
    sub[#sub + 1] = ("%s images to learn from, %s held out"):format(number(data.train), number(data.valid))
  end
  return h("header", nil, h("h1", nil, config.title or run.name),
    h("p", {class = "sub"}, table.concat(sub, " \u{00b7} ")), facts_of(run))
end

local function head_of_many(runs)
  local names = metrics_of(runs)
  local head, rows = {"run", "steps", "time", "best NLL", "at step"}, {}
  for _, name in ipairs(names) do if name ~= "nll" then head[#head + 1] = title_of(name) end end
  for i, run in ipairs(runs) do
    local last = run.valid[#run.valid]
    local row = {
      h("span", {class = "key c" .. (i - 1) % COLOURS + 1}, h("i", nil, "\u{2002}"), run.name), number(run.steps),
      run.seconds and format.duration(run.seconds) or DASH,
      number(run.best and run.best.metrics.nll), number(run.best and run.best.step),
    }
    for _, name in ipairs(names) do
      if name ~= "nll" then row[#row + 1] = number(last and last.metrics[name]) end
    end
    rows[i] = row
  end
  return h("header", nil, h("h1", nil, ("%d runs compared"):format(#runs)),
    h("p", {class = "sub"}, "Metrics besides the NLL are those of the last validation."), data_table(head, rows))
end

-- ---- curves --------------------------------------------------------------

-- A curve of a metric over validations; nil when there is none.
local function validations(run, metric, name, colour)
  local points = {}
  for _, v in ipairs(run.valid) do
    local value = v.metrics[metric]
    if type(value) == "number" then points[#points + 1] = {v.step, value} end
  end
  return #points > 0 and {name = name, points = points, colour = colour, dots = true} or nil
end

local function nll_series(runs)
  local alone = #runs == 1
  local series = {named = true}
  for i, run in ipairs(runs) do
    local colour = (i - 1) % COLOURS + 1
    if #run.train > 0 then
      series[#series + 1] = {name = alone and "training" or run.name .. ", training", points = run.train,
        colour = colour, dots = false}
    end
    series[#series + 1] = validations(run, "nll", alone and "validation" or run.name .. ", validation",
      alone and 2 or colour)
  end
  return series
end

local function metric_series(runs, metric)
  local series = {named = #runs > 1}
  for i, run in ipairs(runs) do
    series[#series + 1] = validations(run, metric, run.name, (i - 1) % COLOURS + 1)
  end
  return series
end

local function curves(runs)
  local nll, small = nll_series(runs), {}
  for _, metric in ipairs(metrics_of(runs)) do
    local series = metric ~= "nll" and metric_series(runs, metric) or {}
    if #series > 0 then small[#small + 1] = chart.chart("clip-" .. #small, title_of(metric), series, "half") end
  end
  if #nll + #small == 0 then
    return section("Learning curves", h("p", {class = "note"}, "Nothing has been logged yet."))
  end
  local title = TITLES.nll .. " (bits per dimension for flows), lower is better"
  return section("Learning curves", #nll > 0 and chart.chart("clip-nll", title, nll, "wide"),
    #nll > 0 and chart.chart("clip-nll-narrow", title, nll, "narrow"),
    #small > 0 and h("div", {class = "pair"}, small))
end

local function skipped(runs)
  local items = {}
  for _, run in ipairs(runs) do
    for _, s in ipairs(run.skipped) do
      items[#items + 1] = h("li", nil, ("%s, step %d: %s"):format(run.name, s.step, s.why))
    end
  end
  return #items > 0 and section("Skipped steps", h("ul", nil, items))
end

-- ---- validations ---------------------------------------------------------

local function validation_table(run)
  if #run.valid == 0 then return nil end
  local names = metrics_of {run}
  local head, rows, classes = {"step"}, {}, {}
  for _, name in ipairs(names) do head[#head + 1] = title_of(name) end
  for i, v in ipairs(run.valid) do
    rows[i] = {number(v.step)}
    for _, name in ipairs(names) do table.insert(rows[i], number(v.metrics[name])) end
    classes[i] = v == run.kept and "best" or nil
  end
  local note = h("p", {class = "note"}, "The best model, best.safetensors, is that of the marked step.")
  return section("Validations", run.kept and note, data_table(head, rows, classes))
end

-- ---- evaluation ----------------------------------------------------------

-- Names and metrics as a table.
local function metric_table(first, list)
  local all = {}
  for i, row in ipairs(list) do all[i] = row.metrics end
  local names, head, rows = format.metric_names(all), {first}, {}
  for _, name in ipairs(names) do head[#head + 1] = title_of(name) end
  for i, row in ipairs(list) do
    rows[i] = {row.name}
    for _, name in ipairs(names) do table.insert(rows[i], number(row.metrics[name])) end
  end
  return data_table(head, rows)
end

local FEW <const> = 5 -- predictions that fit beside each other on a phone

-- The same with a row for each metric: of a few predictions there are more metrics than columns that fit.
local function turned_table(list)
  local all, head = {}, {"metric"}
  for i, row in ipairs(list) do all[i], head[i + 1] = row.metrics, row.name end
  local rows = {}
  for k, name in ipairs(format.metric_names(all)) do
    rows[k] = {title_of(name)}
    for i, row in ipairs(list) do rows[k][i + 1] = number(row.metrics[name]) end
  end
  return data_table(head, rows, nil, "turned")
end

local function evaluation(run)
  local found = run.evaluation
  if not found or #found.rows == 0 then return nil end
  local notes = {}
  if found.count then notes[1] = ("%s images of the part %s"):format(number(found.count), found.split or DASH) end
  notes[#notes + 1] = found.source
  notes[#notes + 1] = found.prediction and "prediction: " .. found.prediction
  notes[#notes + 1] = found.date and found.date:gsub("T", " "):gsub("Z", " UTC")
  return section("Evaluation", h("p", {class = "note"}, table.concat(notes, " \u{00b7} ")),
    #found.rows > FEW and metric_table("prediction", found.rows) or turned_table(found.rows),
    #found.images > 0 and h("details", {}, h("summary", nil, "each image, as in evaluation.csv"),
      metric_table("image", found.images)))
end

-- ---- pictures ------------------------------------------------------------

local function sheet(s, caption)
  return h("figure", {class = "sheet"}, h("figcaption", nil, caption),
    h("div", {class = "scroll"},
      h("img", {src = "data:image/png;base64," .. s.base64, alt = "contact sheet, " .. caption})))
end

-- What the pictures of tasks show, where they say so, once each.
local function pictured(runs)
  local notes, seen = {}, {}
  for _, run in ipairs(runs) do
    local note = #run.sheets > 0 and run.config.pictured
    if note and not seen[note] then
      seen[note] = true
      notes[#notes + 1] = h("p", {class = "note"}, note)
    end
  end
  return notes
end

local function pictures(runs)
  local parts = pictured(runs)
  local notes = #parts
  for _, run in ipairs(runs) do
    local figures = {}
    for i, s in ipairs(run.sheets) do
      figures[i] = sheet(s, (#runs == 1 and "" or run.name .. ", ") .. "step " .. s.step)
    end
    if #figures > 0 then parts[#parts + 1] = h("div", {class = "sheets"}, figures) end
  end
  return #parts > notes and section("Held-out images", parts)
end

-- ---- configuration -------------------------------------------------------

-- Nested tables as dotted names.
local function flatten(value, prefix, into)
  for name, v in pairs(value) do
    if type(v) == "table" and #v == 0 then flatten(v, prefix .. name .. ".", into)
    else into[prefix .. name] = short(v) end
  end
  return into
end

local LATER = {pictured = true, command = true, resumed = true, title = true, machine = true, settings = true}

local function settings_of(run)
  local rest = {}
  for name, value in pairs(run.config) do if not LATER[name] then rest[name] = value end end
  return flatten(run.config.settings or {}, "", flatten(rest, "", {}))
end

local function setting_rows(runs)
  local tables, seen, names = {}, {}, {}
  for i, run in ipairs(runs) do
    tables[i] = settings_of(run)
    for name in pairs(tables[i]) do
      if not seen[name] then
        seen[name] = true
        names[#names + 1] = name
      end
    end
  end
  bytes.sort(names)
  local rows = {}
  for k, name in ipairs(names) do
    local differs = false
    for i = 2, #runs do differs = differs or tables[i][name] ~= tables[1][name] end
    local cells = {h("td", nil, name)}
    for i in ipairs(runs) do
      cells[i + 1] = h("td", {class = differs and "text differs" or "text"}, tables[i][name] or DASH)
    end
    rows[k] = h("tr", nil, cells)
  end
  return rows
end

local function configuration(runs)
  local heads = {h("th", nil, "setting")}
  for i, run in ipairs(runs) do heads[i + 1] = h("th", {class = "text"}, run.name) end
  return section("Configuration", h("details", #runs == 1 and {} or {open = "open"},
    h("summary", nil, "all settings" .. (#runs > 1 and "; those that differ are marked" or "")),
    h("div", {class = "scroll"}, h("table", nil, h("thead", nil, h("tr", nil, heads)),
      h("tbody", nil, setting_rows(runs))))))
end

local function machine_of(run)
  local m = run.config.machine
  if type(m) ~= "table" then return nil end
  return ("%s, %s cores, %s, %s; %s thread%s used"):format(m.cpu or "?", number(m.cores),
    format.bytes(tonumber(m.memory) or 0), m.system or "?", number(run.config.threads),
    run.config.threads == 1 and "" or "s")
end

local function reproduce(runs)
  local parts = {}
  for _, run in ipairs(runs) do
    local commands = {run.config.command}
    for _, command in ipairs(run.config.resumed or {}) do commands[#commands + 1] = command end
    if #runs > 1 then parts[#parts + 1] = h("p", {class = "sub"}, run.name) end
    if #commands > 0 then parts[#parts + 1] = h("pre", nil, h("code", nil, table.concat(commands, "\n"))) end
    local machine = machine_of(run)
    if machine then parts[#parts + 1] = h("p", {class = "note"}, machine) end
  end
  return #parts > 0 and section("To reproduce", parts)
end

-- ---- the page ------------------------------------------------------------

--- The whole page.
-- @tparam {table,...} runs from `cglow.report.run`
-- @treturn string HTML that is well-formed XML too
function M.render(runs)
  local one = #runs == 1 and runs[1]
  local title = one and (one.config.title or one.name) or "cglow runs"
  local page = h("html", {lang = "en", xmlns = "http://www.w3.org/1999/xhtml"},
    h("head", nil, h("meta", {charset = "utf-8"}), html.raw(M.GENERATOR),
      h("meta", {name = "viewport", content = "width=device-width, initial-scale=1"}),
      h("title", nil, title),
      h("style", nil, html.raw(assets.style))),
    h("body", nil, one and head_of_one(one) or head_of_many(runs), curves(runs), pictures(runs),
      one and evaluation(one), one and validation_table(one), skipped(runs), configuration(runs), reproduce(runs),
      h("script", nil, html.raw("//<![CDATA[\n" .. assets.script .. "//]]>"))))
  return "<!DOCTYPE html>\n" .. page.text .. "\n"
end

return M
