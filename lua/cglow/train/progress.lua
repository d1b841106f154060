--- What a person (or a program) sees of a training run.
--
-- Four modes: a bar that is redrawn in place on a terminal, plain lines
-- elsewhere, JSON lines, or nothing. Warnings go to the error stream in every
-- mode; JSON output stays pure.
-- @module cglow.train.progress
local system = require "cglow.core".system
local format = require "cglow.run.format"
local console = require "cglow.util.console"

local harmless = console.harmless -- names of metrics come from checkpoints, too

local M = {}

local REDRAW = 0.1       -- seconds between two drawings of the bar
local LINE_EVERY = 10    -- seconds between two plain lines

local function rate(per_second)
  if per_second >= 10 then return ("%.0f steps/s"):format(per_second) end
  if per_second >= 1 then return format.number("%.1f steps/s", per_second) end
  return format.number("%.2f s/step", 1 / per_second)
end

-- The facts of a line, most important first; of the last validation `valid`.
local function facts(at, valid)
  local list = {
    "nll " .. format.number("%.3f", at.nll), rate(at.per_second), "left " .. format.duration(at.left),
    format.bytes(at.memory), ("data %.0f%%"):format(100 * at.data_share),
  }
  if at.valid then table.insert(list, 4, "valid " .. format.metrics(valid)) end
  return list
end

-- A line of as many facts as fit, and a bar in what is left of it.
local function draw(at, columns)
  local head = ("%d/%d"):format(at.step, at.steps)
  local list, text = facts(at, {nll = at.valid and at.valid.nll}), ""
  for _, fact in ipairs(list) do
    local longer = text .. "  " .. fact
    if #head + #longer + 14 > columns then break end
    text = longer
  end
  local width = math.max(4, math.min(30, columns - #head - #text - 4))
  local full = math.floor(width * at.step / at.steps)
  return head .. " [" .. ("="):rep(full) .. ("."):rep(width - full) .. "]" .. text
end

-- One mode is a table of four functions; `self.out` and `self.err` are files.
local modes = {}

local function nothing() end

modes.quiet = {step = nothing, validation = nothing, note = nothing, close = nothing}

local function clear(self)
  if self.drawn then self.out:write("\r\27[K") end
  self.drawn = false
end

modes.bar = {
  step = function(self, at)
    local now = system.clock()
    if now - self.last < REDRAW and at.step < at.steps then return end
    self.last = now
    self.out:write("\r\27[K", harmless(draw(at, (system.columns(1) or 80) - 1)))
    self.out:flush()
    self.drawn = true
    console.drawn(function()
      clear(self)
      self.out:flush()
    end)
  end,
  validation = function(self, step, metrics)
    clear(self)
    self.out:write(("step %d  validation: %s\n"):format(step, harmless(format.metrics(metrics))))
  end,
  note = function(self, text)
    clear(self)
    self.out:write(harmless(text), "\n")
  end,
  close = function(self)
    if self.drawn then self.out:write("\n") end
    self.drawn = false
  end,
}

modes.lines = {
  step = function(self, at)
    local now = system.clock()
    if now - self.last < LINE_EVERY and at.step < at.steps then return end
    self.last = now
    self.out:write(("step %d/%d  "):format(at.step, at.steps), harmless(table.concat(facts(at, at.valid), "  ")), "\n")
    self.out:flush()
  end,
  validation = function(self, step, metrics)
    self.out:write(("step %d  validation: %s\n"):format(step, harmless(format.metrics(metrics))))
    self.out:flush()
  end,
  note = function(self, text) self.out:write(harmless(text), "\n") end,
  close = nothing,
}

modes.json = {step = nothing, validation = nothing, note = nothing, close = nothing}

local Progress = {}
Progress.__index = Progress

--- @tparam[opt] string mode "bar", "lines", "json" or "quiet"; by default a
-- bar on a terminal and lines elsewhere
-- @tparam[opt=io.stdout] file out
-- @tparam[opt=io.stderr] file err where warnings go
function M.new(mode, out, err)
  mode = mode or (system.isatty(1) and "bar" or "lines")
  return setmetatable({
    mode = mode, draw = modes[mode], last = system.clock(),
    out = out or io.stdout, err = err or io.stderr,
  }, Progress)
end

--- Show where training stands.
-- @tparam table at `step`, `steps`, `nll` (smoothed), `per_second`, `left`
-- (seconds), `memory` (bytes), `data_share` (0 to 1), `valid` (last metrics, or nil)
function Progress:step(at) self.draw.step(self, at) end

--- Show the outcome of a validation.
function Progress:validation(step, metrics) self.draw.validation(self, step, metrics) end

--- Say something on a line of its own.
function Progress:note(text) self.draw.note(self, text) end

--- Pass on a line of the log, for programs that read along.
-- @tparam string line JSON, without a newline
function Progress:record(line)
  if self.mode == "json" then
    self.out:write(line, "\n")
    self.out:flush()
  end
end

--- Warn, whatever the mode.
function Progress:warn(text)
  if self.mode == "bar" then clear(self) end
  self.out:flush()
  self.err:write("warning: ", harmless(text), "\n")
end

--- End the display.
function Progress:close() self.draw.close(self) end

return M
