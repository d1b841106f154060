--- What the fuzzers' targets share. A target is a table:
--
-- * `run`: function(bytes, folder), the folder being an empty one at first; returns true
--   when the parser took the bytes, nil and the reason when it refused them, and raises
--   when it broke its contract
-- * `anyway`, `each`: bytes of memory that it may take for any input, and for each of the
--   input's own bytes
local M = {}

--- Write the bytes to a file.
-- @treturn string its path
function M.write(path, bytes)
  local file <close> = assert(io.open(path, "wb"))
  assert(file:write(bytes))
  return path
end

--- A refusal must say why, briefly enough to be read; one of files has a code, too.
function M.reason(message, code)
  if type(message) ~= "string" or #message == 0 or #message > 1000 then
    error("a refusal without a reason: " .. tostring(message))
  end
  if code ~= nil and math.type(code) ~= "integer" then error("a code that is no integer: " .. tostring(code)) end
  return nil, message
end

return M
