#!/usr/bin/env lua5.4
--- Which start of the parameters learns best? Trains the published horse model from
-- several starts and prints the held-out NLL and class-mean IoU as it goes; `--help`
-- explains the starts.
local here = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = ("%s/../lua/?.lua;%s/../lua/?/init.lua;%s"):format(here, here, package.path)
package.cpath = ("%s/../lua/?.so;%s"):format(here, package.cpath)

local cglow = require "cglow" -- first: it says which Lua it needs
local argparse = require "argparse"
local json = require "cglow.util.json"
local number = require("cglow.util.bytes").number
local evaluation = require "cglow.tasks.evaluation"
local task = require "cglow.tasks.binary_segmentation"

local function words(text)
  local list = {}
  for word in text:gmatch("[^,]+") do list[#list + 1] = word end
  return list
end

local function integers(text)
  local list = {}
  for i, word in ipairs(words(text)) do list[i] = math.tointeger(tonumber(word)) end
  return list
end

local parser = argparse("compare_inits.lua", "Train the horse model from several starts and compare.")
parser:option("--data", "Weizmann horses, or a folder in their layout; default: the embedded samples")
parser:option("--starts", "init[:cn_step[:cn_scale[:warmup]]], e.g. live:0.05:1:500", "paper,orthogonal,live:0.05")
  :convert(words)
parser:option("--seeds", "seeds of parameters, order and noise", "1,2"):convert(integers)
parser:option("--steps", "training steps", "4000"):convert(tonumber)
parser:option("--every", "steps between validations", "500"):convert(tonumber)
parser:option("--size", "image side", "32"):convert(tonumber)
parser:option("--depth", "steps in a level", "8"):convert(tonumber)
parser:option("--threads", "threads (results do not depend on it)", "2"):convert(tonumber)
parser:option("--log", "also append one JSON line for each row to this file")
local args = parser:parse()
cglow.threads(args.threads)

local folder = args.data or assert(cglow.data.sample_dir "binary_segmentation")
local train = assert(cglow.data.horses(folder, {split = "train", size = args.size}))
local valid = assert(cglow.data.horses(folder, {split = "valid", size = args.size}))

-- "live:0.05:1:500": init, step of the conditioning networks' weights, scale of their start, warm-up steps.
local function parse_start(text)
  local parts = {}
  for part in text:gmatch("[^:]+") do parts[#parts + 1] = part end
  return parts[1], tonumber(parts[2]), tonumber(parts[3] or 1), math.tointeger(tonumber(parts[4] or 0))
end

local function new_model(init, scale)
  local shape = {3, args.size, args.size}
  local model = cglow.Model {x = shape, y = shape, depth = args.depth, init = init}
  for _, p in ipairs(model:parameters()) do
    local of_cn = p.name:find("%.cn%.[cf][onvc]+%d%.weight") and not p.name:find("coupling", 1, true)
    if of_cn and scale ~= 1 then p.value:mul(scale) end
  end
  return model
end

local function note(row)
  print(("%-22s seed %d  step %5d  NLL %s  IoU %s"):format(row.start, row.seed, row.step,
    number("%.4f", row.nll), number("%.4f", row.iou)))
  io.stdout:flush()
  if not args.log then return end
  local file = assert(io.open(args.log, "a"))
  assert(file:write(json.encode(row), "\n"))
  file:close()
end

local function run(start, seed)
  cglow.seed(seed)
  local init, cn_step, scale, warmup = parse_start(start)
  local model = new_model(init, scale)
  local trainer = cglow.train.Trainer {
    model = model, train = train, valid = valid, steps = args.steps, batch = 2, seed = seed, warmup = warmup,
    optimizer = {lr = 2e-4, clip_value = 0.25, cn_step = cn_step}, valid_every = args.every, progress = "quiet",
    validate = function()
      return evaluation.score(task, model, valid, {samples = 10, rng = cglow.Rng(7), cell_width = 1})
    end,
    on_step = function(self)
      local step = self:step_count()
      if step % args.every ~= 0 and step ~= args.steps then return end
      local last = self.at.valid
      note {start = start, seed = seed, step = step, nll = last.nll, iou = last.iou}
    end,
  }
  local outcome = trainer:run()
  if outcome.reason ~= "done" then error(outcome.message, 0) end
end

for _, seed in ipairs(args.seeds) do
  for _, start in ipairs(args.starts) do run(start, seed) end
end
