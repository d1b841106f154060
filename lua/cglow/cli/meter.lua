--- How far a command has come, and how long it will take: one line on the error stream that is
-- drawn again in place on a terminal, and a line now and then elsewhere.
-- @module cglow.cli.meter
local console = require "cglow.util.console"
local core = require "cglow.core"
local format = require "cglow.run.format"

local M = {}

local STANDARD_ERROR <const> = 2
local REDRAW <const> = 0.1 -- seconds between two drawings
local LINE_EVERY <const> = 30 -- seconds between two lines where there is no terminal

local Meter = {}
Meter.__index = Meter

local function nothing() end

local function draw(self, now)
  local left = (now - self.start) / self.done * (self.total - self.done)
  return ("%s %d of %d, left %s"):format(self.what, self.done, self.total, format.duration(left))
end

local function on_terminal(self, now)
  if self.done == self.total then return console.live() end
  if now - self.last < REDRAW then return end
  self.last = now
  console.live(draw(self, now):sub(1, math.max(1, (core.system.columns(STANDARD_ERROR) or 80) - 1)))
end

local function elsewhere(self, now)
  if now - self.last < LINE_EVERY or self.done == self.total then return end
  self.last = now
  console.tell(draw(self, now))
end

--- @tparam table args `quiet`: nothing is said; `json`: only on a terminal
-- @string what is counted: "images"
-- @int total
-- @treturn Meter
function M.new(args, what, total)
  local terminal, now = core.system.isatty(STANDARD_ERROR), core.system.clock()
  local show = (args.quiet or not terminal and args.json) and nothing or terminal and on_terminal or elsewhere
  return setmetatable({what = what, total = total, done = 0, start = now, last = now, show = show}, Meter)
end

--- Count one more as done.
function Meter:tick()
  self.done = self.done + 1
  self.show(self, core.system.clock())
end

return M
