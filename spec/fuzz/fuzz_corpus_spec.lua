--- What the fuzzers of the image readers found their way with: every file is an image
-- or refused with a reason, however it is asked for. (build/runners/corpus_runner
-- replays the corpora of the parsers in Lua.)
local image = require "cglow.image"
local lfs = require "lfs"
local scratch = require "spec.fixtures.scratch"

local OPTIONS = {{}, {raw = true}, {channels = 1}, {channels = 3}, {channels = 4}}

-- Is it an image? The first two bytes tell what a file claims to be.
local CLAIMS = {
  png = "^\x89P", jpeg = "^\xff\xd8", pnm = "^P[1-7Ff]", tiff = "^[IM][IM]", webp = "^RIFF",
}

local function decode(bytes, options)
  local t, message, code = image.decode(bytes, options)
  if not t then
    assert.is_true(#message > 0 and #message < 200)
    assert.equal("integer", math.type(code))
    return false
  end
  if bytes:find "^P[Ff]" or bytes:find "^[IM][IM]" then -- numbers of any size there may be
    assert.is_true(options.raw or t:isfinite())
  else
    assert.is_true(t:min() >= 0 and t:max() <= (options.raw and 65535 or 1)) -- false for NaN, too
  end
  return true
end

local READS = {png = true, jpeg = true, pnm = true}
for _, name in ipairs(image.formats()) do READS[name:lower()] = true end

describe("the fuzzer's corpus of", function()
  for format, claim in pairs(CLAIMS) do
    it(format, function()
      if not READS[format] then return pending("this build has no " .. format) end
      local folder, claiming, good = "spec/fuzz/corpus/" .. format, 0, 0
      for name in lfs.dir(folder) do
        if not name:find "^%." then
          local bytes = scratch.read(folder .. "/" .. name)
          if bytes:find(claim) then claiming = claiming + 1 end
          for _, options in ipairs(OPTIONS) do
            if decode(bytes, options) then good = good + 1 end
          end
        end
      end
      assert.is_true(claiming >= 3 and good >= 3, ("%d files, %d images"):format(claiming, good))
    end)
  end
end)
