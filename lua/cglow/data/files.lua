--- Finding and reading the files of data sets.
--
-- Everything here answers nil and a message that says what is missing and where
-- it was looked for.
-- @module cglow.data.files
local lfs = require "lfs"
local read_file = require "cglow.util.read_file"

local M = {}

--- Called with one line of text about each thing that a person should know but
-- that stops nothing (a black photo, a damaged cache).
function M.notify(text) io.stderr:write("cglow: ", text, "\n") end

--- Join parts of a path.
function M.join(...)
  return (table.concat({...}, "/"):gsub("([^/])/+", "%1/"):gsub("/%./", "/"))
end

local function mode(path) return lfs.attributes(path, "mode") end

function M.is_folder(path) return mode(path) == "directory" end
function M.is_file(path) return mode(path) == "file" end

--- The folder that holds all of `wanted`, among `dir` and the folders in which the set is unpacked.
-- @string what the data set, for the message
-- @string dir where the user says it is
-- @tparam {string,...} wanted entries that the folder must have
-- @tparam[opt] {string,...} below folders under dir that are tried too
-- @treturn[1] string folder
-- @treturn[2] nil
-- @treturn[2] string message
function M.root(what, dir, wanted, below)
  local looked = {}
  for _, sub in ipairs {"", table.unpack(below or {})} do
    local root = sub == "" and dir or M.join(dir, sub)
    local missing
    for _, entry in ipairs(wanted) do
      if not mode(M.join(root, entry)) then missing = missing or entry end
    end
    if not missing then return root end
    looked[#looked + 1] = M.join(root, missing)
  end
  if not M.is_folder(dir) then return nil, ("%s: there is no folder %s"):format(what, dir) end
  return nil, ("%s: no %s in %s (looked for %s)"):format(
    what, table.concat(wanted, ", "), dir, table.concat(looked, ", "))
end

--- Names in a folder that a pattern matches, sorted.
-- @treturn[1] {string,...}
-- @treturn[2] nil when it cannot be read
-- @treturn[2] string message
function M.list(dir, pattern)
  if not M.is_folder(dir) then return nil, ("there is no folder %s"):format(dir) end
  local ok, iterate, state, first, close = pcall(lfs.dir, dir)
  if not ok then return nil, iterate end
  local names = {}
  for name in iterate, state, first, close do
    if name:find(pattern) then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

local EXTENSIONS <const> = {"png", "jpg", "jpeg", "ppm", "pgm", "PNG", "JPG", "JPEG", "PPM", "PGM"}
local IS_IMAGE = {}
for _, extension in ipairs(EXTENSIONS) do IS_IMAGE[extension] = true end

--- A name without its last extension.
function M.stem(name) return (name:gsub("%.%w+$", "")) end

--- The image files of a folder, sorted.
function M.images(dir)
  local names, message = M.list(dir, "^[^.]")
  if not names then return nil, message end
  local images = {}
  for _, name in ipairs(names) do
    if IS_IMAGE[name:match("%.(%w+)$")] then images[#images + 1] = name end
  end
  return images
end

--- The image dir/name, or one of another kind with the same stem; nil when there is none.
function M.find_image(dir, name)
  local path = M.join(dir, name)
  if IS_IMAGE[name:match("%.(%w+)$")] and M.is_file(path) then return path end
  for _, extension in ipairs(EXTENSIONS) do
    path = M.join(dir, M.stem(name) .. "." .. extension)
    if M.is_file(path) then return path end
  end
end

-- Names in lists become paths, so they may not lead out of the data set.
local function is_safe(name)
  return #name <= 255 and not name:find("[%c/\\]") and name ~= "." and name ~= ".."
end

local LARGEST <const> = 1 << 26 -- bytes of a list; the largest published one has 4 MB

--- The text of a list, a pose and the like.
function M.read_whole(path) return read_file(path, LARGEST) end

--- A split list: words between white space, a fixed number of them in each line.
-- Blank lines are passed over; any kind of line end will do.
-- @string path
-- @tparam integer words how many each line must have
-- @treturn[1] {{string,...},...} the words of each line
-- @treturn[2] nil when it cannot be read or a line is malformed
-- @treturn[2] string message
function M.read_list(path, words)
  local text, message = M.read_whole(path)
  if not text then return nil, message end
  local rows, line = {}, 0
  for row in text:gmatch("([^\n]*)\n?") do
    line = line + 1
    local found = {}
    for word in row:gmatch("[^ \t\r\f\v]+") do found[#found + 1] = word end
    if #found > 0 then
      if #found ~= words then return nil, ("%s:%d: %d words expected, got %d"):format(path, line, words, #found) end
      for _, word in ipairs(found) do
        if not is_safe(word) then return nil, ("%s:%d: that is no file name"):format(path, line) end
      end
      rows[#rows + 1] = found
    end
  end
  if #rows == 0 then return nil, ("%s: the list is empty"):format(path) end
  return rows
end

--- First words of a list's lines.
function M.read_names(path)
  local rows, message = M.read_list(path, 1)
  if not rows then return nil, message end
  for i, row in ipairs(rows) do rows[i] = row[1] end
  return rows
end

--- Complain about paths that are not there, naming the first few.
-- @string what they are, for the message
-- @tparam {string,...} missing
-- @tparam integer of how many there should be
-- @treturn boolean true when none is missing, else nil and a message
function M.none_missing(what, missing, of)
  if #missing == 0 then return true end
  local some = table.concat(missing, ", ", 1, math.min(3, #missing))
  return nil, ("%d of %d %s are missing: %s%s"):format(#missing, of, what, some, #missing > 3 and ", …" or "")
end

-- FNV-1a, 64 bits: the same on every machine, for choices that must not change.
function M.hash(text, seed)
  local h = 0xcbf29ce484222325 ~ (seed or 0)
  for i = 1, #text do h = (h ~ text:byte(i)) * 0x100000001b3 end
  return h
end

-- Spread over all 64 bits what FNV leaves in the low ones.
local function mixed(h)
  h = (h ~ (h >> 33)) * 0xff51afd7ed558ccd
  h = (h ~ (h >> 33)) * 0xc4ceb9fe1a85ec53
  return h ~ (h >> 33)
end

--- Names in an order that looks random but depends on each name and the seed alone,
-- so that a file more or less leaves the order of the others as it was.
function M.shuffled(names, seed)
  local keys, order = {}, table.move(names, 1, #names, 1, {})
  for _, name in ipairs(names) do keys[name] = mixed(M.hash(name, seed)) end
  table.sort(order, function(a, b)
    if keys[a] ~= keys[b] then return math.ult(keys[a], keys[b]) end
    return a < b
  end)
  return order
end

--- Make a folder and those above it.
-- @treturn boolean true, or nil and a message
function M.make_folder(path)
  if M.is_folder(path) then return true end
  local above = path:match("^(.+)/[^/]+/*$")
  if above then
    local ok, message = M.make_folder(above)
    if not ok then return nil, message end
  end
  local ok, message = lfs.mkdir(path)
  if ok or M.is_folder(path) then return true end -- another process may have been quicker
  return nil, ("%s: %s"):format(path, message)
end

--- The user's folder for caches: $CGLOW_CACHE, or cglow under $XDG_CACHE_HOME or ~/.cache.
-- @treturn[1] string
-- @treturn[2] nil when none of these variables is set
-- @treturn[2] string message
function M.cache_dir()
  local own, xdg, home = os.getenv "CGLOW_CACHE", os.getenv "XDG_CACHE_HOME", os.getenv "HOME"
  if own and own ~= "" then return own end
  if xdg and xdg ~= "" then return M.join(xdg, "cglow") end
  if home and home ~= "" then return M.join(home, ".cache", "cglow") end
  return nil, "no folder for caches: set CGLOW_CACHE"
end

--- What a set of files depends on, as 16 hexadecimal digits: the text, and each
-- file's path, size and time of change.
function M.fingerprint(text, paths)
  local h = M.hash(text)
  for _, path in ipairs(paths) do
    local a = lfs.attributes(path) or {}
    h = M.hash(("\n%s %s %s"):format(path, a.size, a.modification), h)
  end
  return ("%016x"):format(mixed(h))
end

return M
