--- How many of what, in words: "1 image", "2 images".
-- @module cglow.util.count

--- @int n
-- @string noun for one
-- @string[opt] plural for several, where that is not the noun and an s
-- @treturn string
return function(n, noun, plural) return ("%d %s"):format(n, n == 1 and noun or plural or noun .. "s") end
