--- What LDoc's pages lack, for `make docs`: a phone is told to show them in its own width, and
-- titles in the contents are without the signs of Markdown.
--
--     lua5.4 spec/tools/doc_pages.lua build/doc

local VIEWPORT = '<meta name="viewport" content="width=device-width, initial-scale=1"/>'

local function finished(html)
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
