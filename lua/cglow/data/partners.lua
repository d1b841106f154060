--- Which picture belongs to which: partners in two folders by their names.
--
-- `horse1.jpg` and `horse1.png` belong together, and so do `horse1.jpg` and `horse1_mask.png`,
-- `horse1-gt.png` or `mask_horse1.png`, and `horse1_img.jpg` and `horse1_label.png`. A name that is
-- the same comes before one that is alike.
-- @module cglow.data.partners
local bytes = require "cglow.util.bytes"
local count_of = require "cglow.util.count"
local files = require "cglow.data.files"

local M = {}

local function set(words)
  local found = {}
  for word in words:gmatch "%S+" do found[word] = true end
  return found
end

-- Words at the end or the beginning of a name that say what a picture is, not which one.
local ROLE <const> = {
  x = set "x img image photo picture pic rgb color colour input raw original orig src source",
  y = set("y mask masks msk gt groundtruth truth label labels labelids lbl seg segmentation segm annotation "
    .. "anno trainids matte alpha silhouette target output clean part parts parsing"),
}

-- A name without the word, and the word as it stood there; nil when there is none.
local function stripped(name, role)
  local base, mark = name:match "^(.+)([_%-. ]%a+)$"
  if base and ROLE[role][bytes.lower(mark:sub(2))] then return base, "NAME" .. mark end
  mark, base = name:match "^(%a+[_%-. ])(.+)$"
  if base and ROLE[role][bytes.lower(mark:sub(1, -2))] then return base, mark .. "NAME" end
end

-- Names under which a picture may be asked for, the best first.
local function keys_of(name, role)
  local base, mark = stripped(name, role)
  return {name, base}, mark
end

-- name of x → name of its partner y; a list of clashes in words.
local function match(xs, ys)
  local by_key, partner, rank, form, clashes = {}, {}, {}, {}, {}
  for _, x in ipairs(xs) do
    for place, key in ipairs(keys_of(x, "x")) do
      if not by_key[key] or by_key[key].place > place then by_key[key] = {name = x, place = place} end
    end
  end
  for _, y in ipairs(ys) do
    local keys, mark = keys_of(y, "y")
    for place, key in ipairs(keys) do
      local x = by_key[key]
      local score = x and place + x.place
      if x and (not rank[x.name] or score < rank[x.name]) then
        partner[x.name], rank[x.name], form[x.name] = y, score, place == 2 and mark or nil
        break
      elseif x and score == rank[x.name] then
        clashes[#clashes + 1] = ("%s has %s and %s"):format(x.name, partner[x.name], y)
        break
      end
    end
  end
  return partner, form, clashes
end

--- Pair names by what they have in common.
-- @tparam {string,...} xs names without their extensions
-- @tparam {string,...} ys
-- @treturn[1] {[string]=string} name of x → name of y
-- @treturn[1] {[string]=string} name of x → form of its partner's name, as in "NAME_mask", when it is another
-- @treturn[2] nil when an x has two partners
-- @treturn[2] string message
function M.match(xs, ys)
  local partner, form, clashes = match(xs, ys)
  if #clashes == 0 then return partner, form end
  return nil, ("which of two is meant? %s%s"):format(table.concat(clashes, ", ", 1, math.min(3, #clashes)),
    #clashes > 3 and (" and %d more"):format(#clashes - 3) or "")
end

--- Names of one folder that holds both: a name with a word for y is a y when there is a picture
-- for it without the word, all others are x. Without any such name each is its own partner.
-- @tparam {string,...} names
-- @treturn {string,...} xs
-- @treturn {string,...} ys
function M.deal(names)
  local there, xs, ys = {}, {}, {}
  for _, name in ipairs(names) do
    there[name] = true
    local base = stripped(name, "x")
    if base then there[base] = true end
  end
  for _, name in ipairs(names) do
    local base = stripped(name, "y")
    local list = base and there[base] and ys or xs
    list[#list + 1] = name
  end
  return xs, #ys > 0 and ys or xs
end

local function shown(list) return table.concat(list, ", ", 1, math.min(3, #list)) .. (#list > 3 and ", …" or "") end

local function forms_in_words(form)
  local seen, list = {}, {}
  for _, mark in pairs(form) do
    if not seen[mark] then list[#list + 1] = mark end
    seen[mark] = true
  end
  files.sort(list)
  return #list > 0 and (" (partners named " .. shown(list) .. ")") or ""
end

--- Say once what was matched and what was passed over.
-- @string x where the x are
-- @string y where the y are
-- @int count of the pairs
-- @tparam table form from `match`
-- @tparam {string,...} single_x names without a partner
-- @tparam {string,...} single_y
function M.tell(x, y, count, form, single_x, single_y)
  local text = ("%s and %s: %s%s"):format(x, y, count_of(count, "pair"), forms_in_words(form))
  for _, of in ipairs {{x, single_x}, {y, single_y}} do
    if #of[2] > 0 then
      text = text .. ("; %d in %s without a partner, passed over: %s"):format(#of[2], of[1], shown(of[2]))
    end
  end
  files.notify_once(text)
end

return M
