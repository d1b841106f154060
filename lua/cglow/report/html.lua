--- Elements of a page as values, so that what is written is always well formed
-- and every text is escaped.
-- @module cglow.report.html
local bytes = require "cglow.util.bytes"

local M = {}

local ESCAPES = {["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;"}

--- Text as it is written between tags or in an attribute; control characters,
-- which no page may hold, are left out, and bytes that are no UTF-8 (in names of files)
-- are shown as \xe9.
function M.escape(text)
  text = bytes.repair(tostring(text), bytes.show)
  return (text:gsub("[&<>\"']", ESCAPES):gsub("[%z\1-\8\11\12\14-\31]", ""))
end

local Raw = {}

--- A piece of the page that is written as it is.
function M.raw(text) return setmetatable({text = text}, Raw) end

local function add(out, child)
  if child == nil or child == false then return end
  if type(child) == "table" and getmetatable(child) ~= Raw then
    for _, each in ipairs(child) do add(out, each) end
  else
    out[#out + 1] = getmetatable(child) == Raw and child.text or M.escape(child)
  end
end

local function attributes(given)
  local names, text = {}, {}
  for name in pairs(given) do names[#names + 1] = name end
  bytes.sort(names)
  for i, name in ipairs(names) do text[i] = (' %s="%s"'):format(name, M.escape(given[name])) end
  return table.concat(text)
end

--- An element.
-- @tparam string tag
-- @tparam[opt] table attrs name → value
-- @param ... children: elements, texts, lists of them; nil and false are left out
function M.element(tag, attrs, ...)
  local out, children = {}, table.pack(...)
  for i = 1, children.n do add(out, children[i]) end
  local head = tag .. attributes(attrs or {})
  if #out == 0 then return M.raw(("<%s/>"):format(head)) end
  return M.raw(("<%s>%s</%s>"):format(head, table.concat(out), tag))
end

return M
