--- What LDoc's pages lack, for `make docs`: a phone is told to show them in its own width,
-- titles in the contents are without the signs of Markdown, and code that is no Lua is not coloured as if it were.
--
--     lua5.4 spec/tools/doc_pages.lua build/doc

local VIEWPORT = '<meta name="viewport" content="width=device-width, initial-scale=1"/>'

local ENTITIES <const> = {["&lt;"] = "<", ["&gt;"] = ">", ["&quot;"] = '"', ["&#39;"] = "'", ["&amp;"] = "&"}

local function is_lua(text)
  if text:find "^%s*> " or text:find "\n%s*> " then return true end -- a session at the prompt
  return (load(text) or load("return " .. text)) ~= nil
end

-- LDoc takes every block of code for Lua: "--x photos" for a comment, "and" for a keyword.
local function uncoloured(open, block, close)
  local plain = block:gsub("</?span[^>]*>", "")
  if is_lua((plain:gsub("</?a[^>]*>", ""):gsub("&#?%w+;", ENTITIES))) then return nil end
  return open .. plain .. close
end

local function finished(html)
  html = html:gsub("(<pre[^>]*>)(.-)(</pre>)", uncoloured)
  html = html:gsub("<head>", "<head>\n    " .. VIEWPORT, 1)
  return (html:gsub('(<li><a href="#[^"]*">)([^<]*)', function(link, title) return link .. title:gsub("`", "") end))
end

if not ... then return finished end

local pages <close> = assert(io.popen(("find '%s' -name '*.html'"):format((...):gsub("'", "'\\''"))))
for path in pages:lines() do
  local file = assert(io.open(path, "rb"))
  local html = file:read "a"
  file:close()
  file = assert(io.open(path, "wb"))
  assert(file:write(finished(html)))
  assert(file:close())
end
