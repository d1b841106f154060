#!/usr/bin/env lua5.4
-- Which initialisation learns best? Trains the paper's horse model from several
-- starts and prints validation NLL and class-mean IoU by step (design: section 2,
-- Initialisation). See --help.
local argparse = require "argparse"
local cglow = require "cglow"
local core = require "cglow.core"
local image = require "cglow.image"
local json = require "cglow.util.json"

local function words(text)
  local list = {}
  for w in text:gmatch("[^,]+") do list[#list + 1] = w end
  return list
end

local function integers(text)
  local list = {}
  for i, w in ipairs(words(text)) do list[i] = math.tointeger(tonumber(w)) end
  return list
end

local parser = argparse("compare_inits.lua", "Train the horse model from several initialisations and compare.")
parser:option("--data", "Weizmann horses: rgb/, figure_ground/, train.txt, valid.txt"):count(1)
parser:option("--starts", "init[:cn_step[:cn_scale[:warmup]]], e.g. live:0.05:1:500", "paper,orthogonal,live:0.05")
  :convert(words)
parser:option("--seeds", "seeds of parameters, order and noise", "1,2"):convert(integers)
parser:option("--steps", "training steps", "4000"):convert(tonumber)
parser:option("--report", "steps at which to validate", "500,1000,1500,2000,3000,4000"):convert(integers)
parser:option("--size", "image side", "32"):convert(tonumber)
parser:option("--threads", "threads (results do not depend on it)", "2"):convert(tonumber)
parser:option("--log", "also append one JSON line for each row to this file")
local args = parser:parse()
cglow.threads(args.threads)

local function load_set(list)
  local xs, ys = {}, {}
  for name in assert(io.lines(args.data .. "/" .. list)) do
    name = name:match("%S+")
    local photo = assert(image.load(args.data .. "/rgb/" .. name, { channels = 3 }))
    local mask = assert(image.load(args.data .. "/figure_ground/" .. name, { channels = 1 }))
    mask = image.resize(mask, args.size, args.size):gt(0.5)
    xs[#xs + 1] = image.resize(photo, args.size, args.size)
    ys[#ys + 1] = core.cat({ mask, mask, mask }, 1)
  end
  return core.stack(xs), core.stack(ys)
end

local train_x, train_y = load_set("train.txt")
local valid_x, valid_y = load_set("valid.txt")

-- A 0/1 mask as a cell of width 1: y + u − 1 lies in [−1, 1).
local function dequantise(y, u)
  local t = y + u
  t:add(-1)
  return t
end

local function validate(model)
  local n, batch, logp = valid_x:size(1), 8, 0
  local noise = core.rand(n, 3, args.size, args.size, core.Rng(99))
  local draw = core.Rng(7)
  local both, either = { 0, 0 }, { 0, 0 }
  for first = 1, n, batch do
    local k = math.min(batch, n - first + 1)
    local x, y = valid_x:narrow(1, first, k), valid_y:narrow(1, first, k)
    logp = logp + model:log_prob(x, dequantise(y, noise:narrow(1, first, k))):sum()
    local horse = model:predict(x, { samples = 10, rng = draw }):mean(2):gt(0):totable()
    local truth = y:mean(2):gt(0.5):totable()
    for i = 1, #truth do
      local p, t = horse[i] > 0.5 and 1 or 2, truth[i] > 0.5 and 1 or 2
      either[p] = either[p] + 1
      if p == t then both[p] = both[p] + 1 else either[t] = either[t] + 1 end
    end
  end
  return -logp / (n * 3 * args.size ^ 2 * math.log(2)), (both[1] / either[1] + both[2] / either[2]) / 2
end

-- "live:0.05:1:500" → init, step scale of CN weights, scale of their start, warm-up steps.
local function start(text)
  local init, step, scale, warmup = table.unpack((function()
    local f = {}
    for part in text:gmatch("[^:]+") do f[#f + 1] = part end
    return f
  end)())
  return init, tonumber(step), tonumber(scale or 1), tonumber(warmup or 0)
end

local function model_from(text)
  local init, cn_step, scale, warmup = start(text)
  local size = args.size
  local model = cglow.Model {
    x = { 3, size, size }, y = { 3, size, size }, levels = 3, depth = 8,
    cn = { channels = 64, width = 128 }, coupling = { width = 256 }, init = init,
  }
  for _, p in ipairs(model:parameters()) do
    if p.name:find("%.cn%.[cf][onvc]+%d%.weight") and not p.name:find("coupling") then p.value:mul(scale) end
  end
  return model, model:parameter_groups(cn_step), warmup
end

local function run(text, seed)
  cglow.seed(seed)
  local model, groups, warmup = model_from(text)
  local adam = cglow.optim.Adam(groups, { lr = 2e-4, clip_value = 0.25 })
  local rng, order, at = core.Rng(seed), {}, 0
  local x, y = core.zeros(2, 3, args.size, args.size), core.zeros(2, 3, args.size, args.size)
  local u, smoothed, due, spent = core.zeros(2, 3, args.size, args.size), nil, 1, 0
  local began = core.system.clock()
  for step = 1, args.steps do
    for b = 1, 2 do
      if at >= #order then order, at = rng:permutation(train_x:size(1)), 0 end
      at = at + 1
      x[b], y[b] = train_x[order[at]], train_y[order[at]]
    end
    rng:fill_uniform(u)
    model:zero_grad()
    local loss = assert(model:loss_and_grad(x, dequantise(y, u)))
    adam:set_lr(2e-4 * math.min(1, step / math.max(1, warmup)))
    assert(adam:step())
    smoothed = smoothed and 0.98 * smoothed + 0.02 * loss or loss
    if step == args.report[due] then
      due = due + 1
      spent = spent + core.system.clock() - began
      local nll, iou = validate(model)
      print(("%-22s seed %d  step %5d  train %.4f  valid %.4f  IoU %.4f  %.1f ms/step")
        :format(text, seed, step, smoothed, nll, iou, 1e3 * spent / step))
      io.stdout:flush()
      if args.log then
        local f = assert(io.open(args.log, "a"))
        f:write(json.encode { start = text, seed = seed, step = step, train = smoothed, nll = nll, iou = iou }, "\n")
        f:close()
      end
      began = core.system.clock()
    end
  end
end

for _, seed in ipairs(args.seeds) do
  for _, text in ipairs(args.starts) do run(text, seed) end
end
