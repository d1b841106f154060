--- A task script with a tiny problem, for specs of the command line. It counts
-- the samples that are read, and when that comes to TOY_INTERRUPT, it interrupts
-- itself as Ctrl-C would.
local cglow = require "cglow"
local core = require "cglow.core"
local image, metrics = cglow.image, cglow.metrics

-- TOY_AT_ONCE: how many numbers of samples are drawn at a time.
local at_once = tonumber(os.getenv "TOY_AT_ONCE")
if at_once then require "cglow.tasks.evaluation".AT_ONCE = at_once end

local interrupt_at = tonumber(os.getenv "TOY_INTERRUPT")
local reads = 0

local function count_read()
  reads = reads + 1
  if reads == interrupt_at then io.popen(os.getenv "TOY_KILL" or "kill -INT $PPID"):close() end
end

-- A bright square at a place that depends on the sample, and its mask.
local function sample(i, size)
  count_read()
  local mask = core.zeros(1, size, size)
  image.paste(mask, core.ones(1, size // 2, size // 2), 1 + i % (size // 2), 1 + i // 2 % (size // 2))
  local y = core.cat({mask, mask, mask}, 1)
  return {x = y * 0.5 + 0.25, y = y, name = "toy " .. i}
end

local function data(_, o)
  local first = o.split == "train" and 0 or 100
  return cglow.data.Dataset {
    size = o.split == "train" and 9 or 5, name = o.split, info = {cell_width = 1},
    get = function(i) return sample(first + i, o.size) end,
  }
end

local function grey(y) return y:mean(1):reshape(1, y:size(2), y:size(3)) end

require("cglow.cli").main(cglow.task.define {
  name = "binary_segmentation", kind = "mask", title = "A toy.", predicts = "Write masks.", sizes = {8, 16}, steps = 12,
  defaults = {
    levels = 2, depth = 1, ["cn.channels"] = 4, ["cn.width"] = 8, ["coupling.width"] = 8, samples = 3, log_every = 2,
    valid_every = 5, checkpoint_every = 4,
  },
  recipe = {["encoder.channels"] = {4, 4, 8}, ["coupling.width"] = 8, batch = 2, warmup = 2},
  y = 3, data = data, show = grey, show_answer = function(labels) return labels - 1 end, head = false,
  score = function()
    local confusion = metrics.confusion(2)
    return {
      add = function(_, answer, truth) confusion:add(answer, truth) end,
      result = function() return {iou = confusion:mean_iou()} end,
    }
  end,
  baselines = function() return {{name = "nothing", predict = function(s) return s.y * 0 end}} end,
}, arg)
