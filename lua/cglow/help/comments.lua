--- Documentation comments (LDoc's) read as data, for `cglow.help`.
-- @module cglow.help.comments
local M = {}

-- Tags that describe a parameter: with the type as first word, or in the tag.
local TYPED = {tparam = true}
local PARAM = {tparam = true, param = true,
  string = true, number = true, int = true, bool = true, func = true, tab = true}

-- {tag, modifiers, rest} of one line, or nil.
local function tag_of(line)
  local tag, modifiers, rest = line:match "^@(%a+)(%b[])%s*(.*)$"
  if not tag then tag, rest = line:match "^@(%a+)%s*(.*)$" end
  return tag, modifiers or "", rest
end

-- A type has no spaces outside its braces.
local function split_type(rest)
  local kind, left = rest:match "^(%b{}%S*)%s*(.*)$"
  if not kind then kind, left = rest:match "^(%S+)%s*(.*)$" end
  return kind or "", left or rest
end

local function param_of(tag, modifiers, rest)
  local kind = not TYPED[tag] and tag ~= "param" and tag or nil
  if TYPED[tag] then kind, rest = split_type(rest) end
  local name, text = rest:match "^(%S+)%s*(.*)$"
  local optional = modifiers:find("opt", 1, true) or kind and kind:sub(1, 1) == "?"
  return {name = name, kind = kind and kind:gsub("^%?", ""), optional = optional and true or false, text = text}
end

--- The first sentence of a comment.
-- @tparam {string,...} lines
-- @treturn string
function M.summary(lines)
  local text = {}
  for _, line in ipairs(lines) do
    if line == "" or line:match "^@" then break end
    text[#text + 1] = line
  end
  text = table.concat(text, " ")
  return text:match "^(.-[^.]%.)%s+%u" or text:match "^(.-[^.]%.)%s+`" or text
end

--- What a comment's tags say.
-- @tparam {string,...} lines without comment signs
-- @treturn table `name` (@function), `module` (@module, @submodule, @classmod), `params` (list of `name`,
-- `kind`, `optional`, `text`)
function M.tags(lines)
  local found = {params = {}}
  for _, line in ipairs(lines) do
    local tag, modifiers, rest = tag_of(line)
    if tag == "function" then found.name = rest
    elseif tag == "name" then found.name = rest
    elseif tag == "module" or tag == "submodule" or tag == "classmod" then found.module = rest
    elseif PARAM[tag] then found.params[#found.params + 1] = param_of(tag, modifiers, rest) end
  end
  return found
end

-- What stands for a tag in readable text; tags that are not here are left out.
local WORDS = {["return"] = "returns ", treturn = "returns ", raise = "raises ", usage = "usage: ", see = "see "}

--- A line of a comment as a person reads it; nil for tags that say nothing to one.
-- @tparam string line
-- @treturn ?string
function M.describe(line)
  local tag, modifiers, rest = tag_of(line)
  if not tag then return line end
  if PARAM[tag] then
    local p = param_of(tag, modifiers, rest)
    local about = p.kind and p.optional and p.kind .. ", optional" or p.kind or p.optional and "optional"
    return p.name .. (about and " (" .. about .. ")" or "") .. (p.text ~= "" and ": " .. p.text or "")
  end
  local case = modifiers:match "%d" == "2" and "or " or ""
  return WORDS[tag] and case .. WORDS[tag] .. rest
end

-- "cond[, opts]" from names and what the tags say about them.
local function arguments(names, params)
  local optional = {}
  for _, p in ipairs(params) do optional[p.name] = p.optional end
  local text = ""
  for i, name in ipairs(names) do
    local comma = i > 1 and ", " or ""
    text = text .. (optional[name] and "[" .. comma .. name .. "]" or comma .. name)
  end
  return "(" .. text .. ")"
end

local function words(text)
  local list = {}
  for word in text:gmatch "[%w_.]+" do list[#list + 1] = word end
  return list
end

-- Name and parameters of the definition on a line of Lua, or nil.
local function definition(line)
  local name, args = line:match "^function ([%w_.:]+)(%b())"
  if not name then name, args = line:match "^M%.([%w_]+)%s*=%s*function(%b())" end
  if not name then name = line:match "^M%.([%w_]+)%s*=" end
  return name and name:gsub("^M%.", ""), args and words(args)
end

local function entry(lines, name, names)
  local tags = M.tags(lines)
  local from_tags = {}
  for i, p in ipairs(tags.params) do from_tags[i] = p.name end
  names = names and names[1] ~= "..." and names or from_tags
  return {name = tags.name or name, args = arguments(names, tags.params), summary = M.summary(lines), lines = lines}
end

-- Calls visit(lines of the comment, the line of code after it).
local function each_lua_comment(source, visit)
  local block
  for line in (source .. "\n"):gmatch "(.-)\r?\n" do
    local first, more = line:match "^%-%-%-%s?([^-].*)$", block and line:match "^%-%-%s?(.*)$"
    if first then block = {first}
    elseif more then block[#block + 1] = more
    elseif block then
      visit(block, line)
      block = nil
    end
  end
end

local function each_c_comment(source, visit)
  for text in source:gmatch "/%*%*%*(.-)%*/" do
    local lines = {}
    for line in (text:match "^%s*(.-)%s*$" .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = line:match "^%s*(.-)%s*$" end
    visit(lines, "")
  end
end

--- All documented functions of a source file.
-- @tparam string source its text
-- @tparam string language "lua" or "c"
-- @treturn table list of `name`, `args`, `summary`, `lines`, in their order; field `module`: the lines of the
-- comment about the file, and `module_name`
function M.read(source, language)
  local found = {}
  local each = language == "c" and each_c_comment or each_lua_comment
  each(source, function(lines, code)
    local tags = M.tags(lines)
    if tags.module then
      found.module, found.module_name = lines, tags.module
      return
    end
    local name, names
    if not tags.name then name, names = definition(code) end
    if tags.name or name then found[#found + 1] = entry(lines, name, names) end
  end)
  return found
end

return M
