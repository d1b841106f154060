--- What a command says: every text goes through here, so that names from files and
-- strangers' run folders cannot move the cursor or do worse, and so that what could
-- not be written is noticed.
-- @module cglow.util.console
local bytes = require "cglow.util.bytes"

local M = {}

local silent = false
local erase -- takes away the line that somebody draws in place; nil when there is none
local lost -- why something could not be written, if anything could not

--- A text without control characters, but for line ends and tabs: \x1b in place of
-- ESC. Bytes that are no UTF-8 are shown in the same way.
-- @string text
-- @treturn string
function M.harmless(text)
  text = bytes.repair(text, bytes.show):gsub("[%z\1-\8\11-\31\127]", bytes.show)
  return (text:gsub("\xc2[\x80-\x9f]", function(c) return ("\\u{%x}"):format(utf8.codepoint(c)) end))
end

--- Say and tell nothing from now on, or something again.
-- @tparam boolean on
function M.silence(on) silent = on end

--- Take the line that is drawn in place away: what comes next may go to the same terminal.
function M.clear()
  local take_away = erase
  erase = nil
  if take_away then take_away() end
end

--- Know of a line that is drawn in place: whatever is said, told or noticed takes it away first.
-- @tparam function take_away called once at most
function M.drawn(take_away) erase = take_away end

local function put(file, ...)
  if silent then return end
  M.clear()
  local ok, message = file:write(...)
  if not ok then lost = lost or message end
end

--- Write a line to standard output.
-- @string text
function M.say(text) put(io.stdout, M.harmless(text), "\n") end

--- Write bytes as they are to standard output.
-- @string text
-- @treturn[1] boolean true
-- @treturn[2] nil when they cannot be written
-- @treturn[2] string message
function M.bytes(text)
  put(io.stdout, text)
  return M.finish()
end

--- Write a line to the error stream, after what was said.
-- @string text
function M.tell(text)
  if silent then return end
  M.finish()
  M.clear()
  io.stderr:write(M.harmless(text), "\n")
end

--- Draw a line on the error stream in place of the last one that was, if that is a terminal;
-- whatever is said or told takes it away.
-- @string[opt] text without a line's end; nil: take it away
function M.live(text)
  if silent then return end
  M.clear()
  if not text then return end
  io.stderr:write(M.harmless(text))
  io.stderr:flush()
  M.drawn(function() io.stderr:write "\r\27[K" end)
end

--- Hand over all that was said.
-- @treturn[1] boolean true
-- @treturn[2] nil when some of it could not be written
-- @treturn[2] string message
function M.finish()
  local ok, message = io.stdout:flush()
  if not ok then lost = lost or message end
  if lost then return nil, "standard output: " .. lost end
  return true
end

return M
