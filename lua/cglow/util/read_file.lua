--- The whole of a file as a string.
--
-- Only regular files: opening a pipe would wait for whoever writes to it, and a
-- device such as /dev/zero has no end. No more memory is taken than the file has
-- bytes, and none when there are more than the caller deals with.
-- @module cglow.util.read_file
local file = require "cglow.core".file

--- Read a file.
-- @function read_file
-- @tparam string path
-- @tparam integer largest bytes that it may have
-- @treturn[1] string
-- @treturn[2] nil
-- @treturn[2] string message, beginning with the path
-- @treturn[2] integer code
return function(path, largest)
  local reader <close>, message, code = file.open(path)
  if not reader then return nil, message, code end
  local size, text
  size, message, code = reader:size()
  if size and size > largest then
    return nil, ("%s: %d bytes, more than the %d that are read of such a file"):format(path, size, largest),
      file.EBADMSG
  end
  if size then text, message, code = reader:read(0, size) end
  if not text then return nil, ("%s: %s"):format(path, message), code end
  return text
end
