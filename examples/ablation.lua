#!/usr/bin/env lua5.4
-- Which parts of the model and of its training earn their time? Trains variants that each
-- differ in one thing from the recipe "encoder", all for the same time on one thread, and
-- evaluates them on held-out images.
--
--     lua5.4 examples/ablation.lua --data weizmann_horse_db --seconds 120 --seeds 1,2 > horses.jsonl
--     lua5.4 examples/ablation.lua --table horses.jsonl
--
-- A variant's steps are counted from the time of a few: so the step size falls as it should,
-- and the run can be repeated exactly with `--steps`, which each line of output states.
local here = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = ("%s/../lua/?.lua;%s/../lua/?/init.lua;%s"):format(here, here, package.path)
package.cpath = ("%s/../lua/?.so;%s"):format(here, package.cpath)

require "cglow" -- first: it says which Lua it needs
local argparse = require "argparse"
local bytes = require "cglow.util.bytes"
local json = require "cglow.util.json"

-- name, what differs
local VARIANTS = {
  {"default", {}},
  {"published networks of x", {"--recipe=paper", batch = 8, warmup = 200, fall = 0.6, ema = 0.998,
    ["optimizer.lr"] = 1e-3, ["optimizer.clip_value"] = 0, ["optimizer.clip_norm"] = 1}},
  {"log-scales within 0.25", {["coupling.bound"] = 0.25}},
  {"log-scales within 2", {["coupling.bound"] = 2}},
  {"split blind to x", {["condition.split"] = false}},
  {"prior blind to x", {["condition.prior"] = false}},
  {"no head", {["head.weight"] = 0}},
  {"head weight 0.3", {["head.weight"] = 0.3}},
  {"no average of weights", {ema = 0}},
  {"no augmentation", {["augment.mirror"] = false, ["augment.shift"] = 0, ["augment.zoom"] = 0, ["augment.stretch"] = 0,
    ["augment.gain"] = 0, ["augment.tint"] = 0}},
  {"couplings of width 32", {["coupling.width"] = 32}},
  {"couplings of width 128", {["coupling.width"] = 128}},
  {"half the encoder", {["encoder.channels"] = "16,32,48,64,64"}},
  {"larger encoder", {["encoder.channels"] = "48,96,144,192,192"}},
  {"depth 4", {depth = 4}},
  {"batch 2", {batch = 2}},
  {"batch 4", {batch = 4}},
  {"batch 16", {batch = 16}},
  {"step size 5e-4", {["optimizer.lr"] = 5e-4}},
  {"step size 2e-3", {["optimizer.lr"] = 2e-3}},
}

local parser = argparse("ablation", "Train variants of the model for equal time and compare them.")
parser:option("--task", "The task's script in examples/, without .lua.", "binary_segmentation")
parser:option("--data", "The task's data set.")
parser:option("--size", "Height and width.", "32")
parser:option("--seconds", "Training time of each run, on one thread.", "120"):convert(tonumber)
parser:option("--seeds", "Seeds, with commas.", "1,2")
parser:option("--jobs", "Runs at a time.", "1"):convert(tonumber)
parser:option("--only", "Only variants whose name contains this word.")
parser:option("--runs", "Folder for the runs.", "runs/ablation")
parser:option("--table", "Print a table of a file that an earlier call wrote, and do nothing else.")
local args = parser:parse()

-- The last 20 of some first steps are timed, when small data sets have been read.
local TIMED = 20
local function probe_steps(variant) return math.floor(60 * 8 / (variant.batch or 8)) end

local function quote(text) return "'" .. tostring(text):gsub("'", "'\\''") .. "'" end

local function command(sub, run, words)
  local script = "examples/" .. args.task .. ".lua"
  local list = {"OMP_NUM_THREADS=1", arg[-1] or "lua5.4", script, sub, "--json", "--run", quote(run)}
  table.move(words, 1, #words, #list + 1, list)
  return table.concat(list, " ")
end

-- Options of a training as words: a variant's own win.
local function words_of(variant, seed, steps)
  local words = {"--steps " .. steps, "--seed " .. seed, "--size " .. args.size, "--threads 1"}
  if args.data then words[#words + 1] = "--data " .. quote(args.data) end
  local names = {}
  for name in pairs(variant) do if type(name) == "string" then names[#names + 1] = name end end
  table.sort(names)
  if not variant[1] then words[#words + 1] = "--recipe=encoder" end
  for _, word in ipairs(variant) do words[#words + 1] = word end
  for _, name in ipairs(names) do words[#words + 1] = "--config " .. quote(name .. "=" .. tostring(variant[name])) end
  words[#words + 1] = "--config valid_every=1000000 --config checkpoint_every=1000000 --config log_every=10"
  return words
end

-- One run in a shell: time a few steps, then train and evaluate. What it prints is read when it ends.
local function start(name, variant, seed)
  local run = ("%s/%s-%s-%d"):format(args.runs, args.task, name:gsub("[^%w]+", "_"), seed)
  local probe = command("train", run .. "-probe", words_of(variant, seed, probe_steps(variant)))
  local evaluate = command("evaluate", run, {"--threads 1"})
  -- awk: the steps of the whole from the seconds in the log lines of the first and last timed one
  local script = ([[
    rm -rf %s %s-probe
    log=$(%s 2>/dev/null | grep '"nll"' | sed 's/.*"seconds":\([0-9.]*\).*/\1/' | tr '\n' ' ')
    steps=$(echo $log | awk '{printf "%%d", %g * %d / ($NF - $(NF-2))}')
    %s >/dev/null 2>%s-errors && echo "$steps $(%s 2>>%s-errors)"
  ]]):format(quote(run), quote(run), probe, args.seconds, TIMED,
    command("train", run, words_of(variant, seed, "$steps")), quote(run), evaluate, quote(run))
  return {name = name, seed = seed, pipe = assert(io.popen(script))}
end

local function finish(job)
  local text = job.pipe:read "a"
  job.pipe:close()
  local steps, result = text:match "^(%d+) (.*)$"
  local line = {task = args.task, variant = job.name, seed = job.seed, seconds = args.seconds, steps = tonumber(steps),
    result = result and json.decode(result:match "[^\n]*{.*}" or "null") or nil}
  print(json.encode(line))
  io.stdout:flush()
end

-- Mean over seeds, and the single ones, of what the flow itself got.
local METRICS = {"bits_per_dim", "iou", "foreground_iou", "pixel_accuracy", "superpixel_accuracy"}

local function print_table(path)
  local rows, order = {}, {}
  for text in io.lines(path) do
    local line = json.decode(text)
    if not rows[line.variant] then
      rows[line.variant] = {}
      order[#order + 1] = line.variant
    end
    for _, result in ipairs(line.result and line.result.results or {}) do
      if result.name == "c-Glow" then
        table.insert(rows[line.variant], {steps = line.steps, metrics = result.metrics})
      end
    end
  end
  local function column(runs, value)
    local sum, singles = 0, {}
    for i, run in ipairs(runs) do
      sum, singles[i] = sum + value(run), bytes.number("%.3f", value(run)):gsub("%.000$", "")
    end
    return ("%s (%s)"):format(bytes.number("%.3f", sum / #runs), table.concat(singles, ", "))
  end
  for _, name in ipairs(order) do
    local runs, cells = rows[name], {name}
    for _, metric in ipairs(METRICS) do
      if runs[1] and runs[1].metrics[metric] then
        cells[#cells + 1] = column(runs, function(run) return run.metrics[metric] end)
      end
    end
    cells[#cells + 1] = column(runs, function(run) return run.steps end):match "%((.*)%)"
    print("| " .. table.concat(cells, " | ") .. " |")
  end
end

local function run_all()
  os.execute("mkdir -p " .. quote(args.runs))
  local running = {}
  for seed in args.seeds:gmatch "%d+" do
    for _, entry in ipairs(VARIANTS) do
      if not args.only or entry[1]:find(args.only, 1, true) then
        if #running >= args.jobs then finish(table.remove(running, 1)) end
        running[#running + 1] = start(entry[1], entry[2], tonumber(seed))
      end
    end
  end
  for _, job in ipairs(running) do finish(job) end
end

if args.table then print_table(args.table) else run_all() end
