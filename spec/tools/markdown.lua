--- As much of Markdown as the documentation uses, to HTML, for LDoc, which finds
-- no formatter of its own on every system. Lua 5.1 to 5.4, whichever runs LDoc.
--
-- Headings, paragraphs, lists, tables, indented and fenced code; in them code,
-- bold, italics, links and pictures. HTML passes as it is.

local TOPICS = {["README.md"] = true, ["own.md"] = true, ["repl_session.md"] = true, ["CHANGELOG.md"] = true}
local ROOT = "../../../" -- from build/doc/topics to the checkout

local function escaped(text) return (text:gsub("&", "&amp;"):gsub("<", "&lt;"):gsub(">", "&gt;")) end

local function target(url)
  if url:match "^%a+:" or url:match "^#" then return url end
  local name = url:match "[^/]+$"
  return TOPICS[name] and name .. ".html" or ROOT .. url
end

-- Code is set aside, so that nothing in it is taken for markup.
local function inline(text)
  local codes = {}
  text = text:gsub("`([^`]+)`", function(code)
    codes[#codes + 1] = "<code>" .. escaped(code:gsub("\\|", "|")) .. "</code>"
    return "\1" .. #codes .. "\1"
  end)
  text = text:gsub("\\(%p)", "%1")
  text = text:gsub("!%[([^%]]*)%]%(([^)%s]+)%)", function(label, url)
    return ('<img src="%s" alt="%s"/>'):format(target(url), label)
  end)
  text = text:gsub("%[([^%]]+)%]%(([^)%s]+)%)", function(label, url)
    return ('<a href="%s">%s</a>'):format(target(url), label)
  end)
  text = text:gsub("%*%*([^*]+)%*%*", "<strong>%1</strong>")
  text = text:gsub("%f[*%w]%*([^*%s][^*]*)%*", "<em>%1</em>")
  return (text:gsub("\1(%d+)\1", function(i) return codes[tonumber(i)] end))
end

local function cells(line)
  line = line:gsub("\\|", "\2"):match "^%s*|(.*)|%s*$"
  local list = {}
  for cell in (line .. "|"):gmatch "(.-)|" do
    list[#list + 1] = inline((cell:gsub("\2", "|"):match "^%s*(.-)%s*$"))
  end
  return list
end

local function row(tag, line)
  return ("<tr><%s>%s</%s></tr>"):format(tag, table.concat(cells(line), ("</%s><%s>"):format(tag, tag)), tag)
end

-- Each block: does it begin on this line? then take lines and give HTML and the next line's number.
local blocks = {}

local function starts_block(line)
  return line == "" or line:match "^#+ " or line:match "^```" or line:match "^%s*[*-] " or line:match "^|"
end

function blocks.fenced(lines, i)
  if not lines[i]:match "^```" then return end
  local code = {}
  i = i + 1
  while lines[i] and not lines[i]:match "^```" do
    code[#code + 1] = escaped(lines[i])
    i = i + 1
  end
  return "<pre>" .. table.concat(code, "\n") .. "</pre>", i + 1
end

function blocks.indented(lines, i)
  if not lines[i]:match "^    %S" then return end
  local code = {}
  while lines[i] and (lines[i]:match "^    " or lines[i] == "" and (lines[i + 1] or ""):match "^    ") do
    code[#code + 1] = escaped(lines[i]:gsub("^    ", ""))
    i = i + 1
  end
  return "<pre>" .. table.concat(code, "\n") .. "</pre>", i
end

function blocks.heading(lines, i)
  local level, text = lines[i]:match "^(#+) (.*)$"
  if level then return ("<h%d>%s</h%d>"):format(#level, inline(text), #level), i + 1 end
end

function blocks.table(lines, i)
  if not (lines[i]:match "^|" and (lines[i + 1] or ""):match "^|[%s|:-]+$") then return end
  local rows = {row("th", lines[i])}
  i = i + 2
  while lines[i] and lines[i]:match "^|" do
    rows[#rows + 1] = row("td", lines[i])
    i = i + 1
  end
  return '<table class="function_list">' .. table.concat(rows, "\n") .. "</table>", i
end

function blocks.list(lines, i)
  if not lines[i]:match "^%s*[*-] " then return end
  local items = {}
  while lines[i] and lines[i] ~= "" do
    local first = lines[i]:match "^%s*[*-] (.*)$"
    if first then items[#items + 1] = first
    elseif lines[i]:match "^%s" then items[#items] = items[#items] .. "\n" .. lines[i]
    else break end
    i = i + 1
  end
  for k, item in ipairs(items) do items[k] = "<li>" .. inline(item) .. "</li>" end
  return "<ul>" .. table.concat(items, "\n") .. "</ul>", i
end

function blocks.paragraph(lines, i)
  local text = {lines[i]}
  i = i + 1
  while lines[i] and not starts_block(lines[i]) do
    text[#text + 1] = lines[i]
    i = i + 1
  end
  return "<p>" .. inline(table.concat(text, "\n")) .. "</p>", i
end

local ORDER = {"fenced", "indented", "heading", "table", "list", "paragraph"}

return function(text)
  local lines, out, i = {}, {}, 1
  for line in (text .. "\n"):gmatch "(.-)\r?\n" do lines[#lines + 1] = line:gsub("%s+$", "") end
  while lines[i] do
    local html, after
    if lines[i] == "" then after = i + 1 end
    for _, name in ipairs(ORDER) do
      if after then break end
      html, after = blocks[name](lines, i)
    end
    out[#out + 1], i = html, after
  end
  return table.concat(out, "\n") .. "\n"
end
