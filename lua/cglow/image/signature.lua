--- How files of the formats that cglow.image knows begin.
-- @module cglow.image.signature

local SIGNATURES <const> = {
  "^\x89PNG\r\n\x1a\n", "^\xff\xd8\xff", "^II[*+]\0", "^MM\0[*+]", "^RIFF....WEBP", "^P[1-6][%s#]", "^P7\n", "^P[Ff]%s",
}

--- Does a file that begins so hold a picture?
-- @function holds_picture
-- @string head its first 12 bytes or more
-- @treturn boolean
return function(head)
  for _, signature in ipairs(SIGNATURES) do
    if head:find(signature) then return true end
  end
  return false
end
