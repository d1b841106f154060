--- Finding and reading the files of data sets.
--
-- Everything here answers nil and a message that says what is missing and where
-- it was looked for.
-- @module cglow.data.files
local lfs = require "lfs"
local EBADMSG <const> = require "cglow.core".file.EBADMSG
local bytes = require "cglow.util.bytes"
local notice = require "cglow.util.notice"
local signature = require "cglow.image.signature"
local options = require "cglow.util.options"
local folder_names = require "cglow.util.folder_names"
local read_file = require "cglow.util.read_file"

local M = {}

--- Called with one line of text about each thing that a person should know but
-- that stops nothing (a black photo, a damaged cache).
function M.notify(text) notice.notify(text) end

--- Sort names by their bytes, whatever the locale says of letters.
M.sort = bytes.sort

local told = {}

--- Tell the user a text as `notify` does, but only once in a process: parts of a set that are
-- read one after the other share their folders.
function M.notify_once(text)
  if told[text] then return end
  told[text] = true
  M.notify(text)
end

--- Join parts of a path.
function M.join(...)
  return (table.concat({...}, "/"):gsub("([^/])/+", "%1/"):gsub("/%./", "/"))
end

local function mode(path) return lfs.attributes(path, "mode") end

--- Is there a folder of this name?
-- @string path
function M.is_folder(path) return mode(path) == "directory" end

--- Is there a regular file of this name?
-- @string path
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
  local all, message = folder_names(dir)
  if not all then return nil, message end
  local names = {}
  for _, name in ipairs(all) do
    if name:find(pattern) then names[#names + 1] = name end
  end
  M.sort(names)
  return names
end

local IS_PICTURE = {}
for word in ("png jpg jpeg jpe jfif tif tiff webp ppm pgm pbm pnm pam pfm"):gmatch "%a+" do IS_PICTURE[word] = true end

-- Lists and descriptions that lie beside pictures; nobody expects them to be shown.
local IS_TEXT = {txt = true, csv = true, json = true, md = true}

local function extension_of(name) return bytes.lower(name:match "%.(%w+)$" or "") end

--- A name without its last extension.
function M.stem(name) return (name:gsub("%.%w+$", "")) end

-- What a name that says nothing holds.
local function holds_picture(path)
  if not M.is_file(path) then return false end
  local file <close> = io.open(path, "rb")
  return signature(file and file:read(12) or "")
end

local function is_picture(dir, name)
  return IS_PICTURE[extension_of(name)] or holds_picture(M.join(dir, name))
end

--- Say once how many things were passed over, and name the first few.
-- @string what as in "files in DIR are no pictures"
-- @tparam {string,...} names
function M.passed_over(what, names)
  if #names == 0 then return end
  M.notify_once(("%d %s and are passed over: %s%s"):format(#names, what,
    table.concat(names, ", ", 1, math.min(3, #names)), #names > 3 and ", …" or ""))
end

--- The picture files of a folder, sorted: those of cglow.image's formats, by their
-- extension in any case, or where that says nothing, by their contents. What is passed
-- over is said with its number, but for lists and other texts.
-- @treturn[1] {string,...} names
-- @treturn[2] nil when the folder cannot be read, or two pictures differ in their extension alone
-- @treturn[2] string message
function M.images(dir)
  local names, message = M.list(dir, "^[^.]")
  if not names then return nil, message end
  local images, others, by_stem = {}, {}, {}
  for _, name in ipairs(names) do
    if is_picture(dir, name) then
      local stem = M.stem(name)
      if by_stem[stem] then
        return nil, ("%s has %s and %s: which of them is meant by '%s'?"):format(dir, by_stem[stem], name, stem)
      end
      by_stem[stem], images[#images + 1] = name, name
    elseif not IS_TEXT[extension_of(name)] and not M.is_folder(M.join(dir, name)) then
      others[#others + 1] = name
    end
  end
  M.passed_over(("files in %s are no pictures that can be read"):format(dir), others)
  return images
end

-- stem → {names of pictures}
local function index_of(dir)
  local index = {}
  for _, name in ipairs(M.list(dir, "^[^.]") or {}) do
    if IS_PICTURE[extension_of(name)] then
      local stem = M.stem(name)
      index[stem] = index[stem] or {}
      table.insert(index[stem], name)
    end
  end
  return index
end

--- A function that finds pictures by the names that a list gives them.
-- @treturn function(dir, name): the path of the picture of that name, or else of the one
-- with another extension (in any case); nil when there is none, nil and a message
-- when there are several
function M.finder()
  local folders = {}
  return function(dir, name)
    local path = M.join(dir, name)
    if IS_PICTURE[extension_of(name)] and M.is_file(path) then return path end
    folders[dir] = folders[dir] or index_of(dir)
    local found = folders[dir][name] or folders[dir][M.stem(name)] or {}
    if #found > 1 then
      return nil, ("%s has %s: which of them is meant by '%s'?"):format(dir, table.concat(found, " and "), name)
    end
    return found[1] and M.join(dir, found[1])
  end
end

-- Names in lists become paths, so they may not lead out of the data set.
local function is_safe(name)
  return #name <= 255 and not name:find("[%c/\\]") and name ~= "." and name ~= ".."
end

local LARGEST <const> = 1 << 26 -- bytes of a list; the largest published one has 4 MB

--- The text of a list, a pose and the like, without the mark that some editors put
-- before UTF-8, each line ending in "\n".
function M.read_whole(path)
  local text, message, code = read_file(path, LARGEST)
  if not text then return nil, message, code end
  if text:find "^\xff\xfe" or text:find "^\xfe\xff" then
    return nil, path .. ": this is UTF-16, as some shells and editors of Windows write it; save it as UTF-8", EBADMSG
  end
  return (text:gsub("^\xef\xbb\xbf", ""):gsub("\r\n?", "\n"))
end

local LIST = {commas = {type = "boolean"}, titles = {type = "string"}}

--- A split list: words between white space, a fixed number of them in each line.
-- Blank lines and a byte order mark are passed over; any kind of line end will do.
-- @string path
-- @tparam integer words how many each line must have
-- @tparam[opt] table opts `commas` = true: words stand between commas; `titles`: a first
-- line that begins with this word is passed over
-- @treturn[1] {{string,...},...} the words of each line
-- @treturn[2] nil when it cannot be read or a line is malformed
-- @treturn[2] string message
function M.read_list(path, words, opts)
  local o = options.check("files.read_list", opts, LIST)
  local text, message = M.read_whole(path)
  if not text then return nil, message end
  local rows, line, word_pattern = {}, 0, o.commas and "[^ \t\r\f\v,]+" or "[^ \t\r\f\v]+"
  for row in text:gmatch("([^\n]*)\n?") do
    line = line + 1
    local found = {}
    for word in row:gmatch(word_pattern) do found[#found + 1] = word end
    if #found > 0 and not (line == 1 and o.titles and found[1] == o.titles) then
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

--- The lines of a list of names, which may hold spaces. Blank lines, white space around names and a byte
-- order mark are passed over; any kind of line end will do.
-- @string path
-- @treturn[1] {string,...}
-- @treturn[2] nil when it cannot be read or a line is no name
-- @treturn[2] string message
function M.read_names(path)
  local text, message = M.read_whole(path)
  if not text then return nil, message end
  local names, line = {}, 0
  for row in text:gmatch "[^\n]*" do
    line = line + 1
    local name = row:match "^%s*(.-)%s*$"
    if name ~= "" then
      if not is_safe(name) then return nil, ("%s:%d: that is no file name"):format(path, line) end
      names[#names + 1] = name
    end
  end
  if #names == 0 then return nil, ("%s: the list is empty"):format(path) end
  return names
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

--- FNV-1a, 64 bits: the same on every machine, for choices that must not change.
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
