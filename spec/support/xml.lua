--- Is a text well-formed XML? Enough of a check for the pages that we write:
-- elements closed in order, attributes quoted and not repeated, no stray
-- markup, only the entities of XML, comments and CDATA.
local M = {}

local ENTITY = {amp = true, lt = true, gt = true, quot = true, apos = true}

local function check_text(text)
  if text:find("[%z\1-\8\11\12\14-\31]") then return nil, "control character" end
  for entity in text:gmatch("&([^;%s&]*;?)") do
    local name = entity:match("^(.*);$")
    if not name or not (ENTITY[name] or name:match("^#%d+$") or name:match("^#x%x+$")) then
      return nil, "bad entity &" .. entity
    end
  end
  return true
end

local function check_attributes(text)
  local seen, pos = {}, 1
  while true do
    local start, stop, name, value = text:find('^%s+([%a_:][%w_:.-]*)="([^"<]*)"', pos)
    if not start then break end
    if seen[name] then return nil, "attribute twice: " .. name end
    seen[name] = true
    local ok, message = check_text(value)
    if not ok then return nil, message end
    pos = stop + 1
  end
  if not text:find("^%s*$", pos) then return nil, "malformed attributes: " .. text:sub(pos, pos + 40) end
  return true
end

-- One piece of markup at pos: the position after it, or nil and a message.
local function markup(text, pos, open)
  for head, tail in pairs {["<!--"] = "-->", ["<![CDATA["] = "]]>"} do
    if text:sub(pos, pos + #head - 1) == head then
      local _, stop = text:find(tail, pos, true)
      return stop and stop + 1, "unterminated " .. head
    end
  end
  local _, stop, name = text:find("^</([%a][%w:-]*)%s*>", pos)
  if name then
    local expected = table.remove(open)
    return name == expected and stop + 1, ("</%s> closes <%s>"):format(name, tostring(expected))
  end
  local attributes, slash
  _, stop, name, attributes, slash = text:find("^<([%a][%w:-]*)([^<>]-)(/?)>", pos)
  if not name then return nil, "stray < at " .. text:sub(pos, pos + 40) end
  local ok, message = check_attributes(attributes)
  if not ok then return nil, message end
  if slash == "" then open[#open + 1] = name end
  return stop + 1
end

--- @treturn[1] {[string]=integer} how many of each element there are
-- @treturn[2] nil
-- @treturn[2] string message
function M.check(text)
  local open, count = {}, {}
  local pos = assert(select(2, text:find("^<!DOCTYPE html>\n"))) + 1
  while pos <= #text do
    local next_markup = text:find("<", pos, true) or #text + 1
    local ok, message = check_text(text:sub(pos, next_markup - 1))
    if not ok then return nil, message end
    if next_markup > #text then break end
    local name = text:match("^<([%a][%w:-]*)", next_markup)
    if name then count[name] = (count[name] or 0) + 1 end
    pos, message = markup(text, next_markup, open)
    if not pos then return nil, message end
  end
  if #open > 0 then return nil, "never closed: " .. table.concat(open, ", ") end
  return count
end

return M
