--- Sound files that are not read: refused by their kind, never called damaged.
local core = require "cglow.core"
local exif = require "spec.fixtures.image.exif"
local image = require "cglow.image"
local png = require "spec.fixtures.image.png"
local sets = require "spec.support.sets"

local UNSUPPORTED <const> = 95 -- ENOTSUP

local function refused(bytes, message, code)
  for _, read in ipairs {image.decode, core.image.describe} do
    local t, got, number = read(bytes)
    assert.is_nil(t)
    assert.equal(message, got)
    assert.equal(code or UNSUPPORTED, number)
  end
end

describe("a JPEG that is not read says what it is:", function()
  local bytes = sets.read "spec/fixtures/image/colour.jpg"
  local frame = bytes:find("\xff\xc0", 1, true) -- marker, length (2), bits, height (2), width (2), components

  local function changed(at, text) return bytes:sub(1, frame + at - 1) .. text .. bytes:sub(frame + at + #text) end

  for marker, kind in pairs {
    [0xc3] = "lossless coding", [0xc5] = "hierarchical coding", [0xc6] = "hierarchical coding",
    [0xc7] = "hierarchical coding", [0xde] = "hierarchical coding", [0xc9] = "arithmetic coding",
    [0xca] = "arithmetic coding", [0xcb] = "arithmetic coding", [0xcd] = "arithmetic coding",
    [0xcf] = "arithmetic coding", [0xf7] = "JPEG-LS's coding",
  } do
    it(("%s (frame %02x)"):format(kind, marker), function()
      refused(changed(1, string.char(marker)), ("JPEG with %s is not supported"):format(kind))
    end)
  end

  it("12 bits, of which others are damage", function()
    refused(changed(4, "\12"), "JPEG with 12 bits a sample is not supported")
    refused(changed(4, "\77"), "damaged JPEG: Unsupported JPEG data precision 77", core.file.EBADMSG)
  end)

  it("a height that comes later, while a width of 0 is damage", function()
    refused(changed(5, "\0\0"), "JPEG with a height that is said after its pixels is not supported")
    local t, message, code = image.decode(changed(7, "\0\0"))
    assert.is_nil(t)
    assert.matches("damaged JPEG: ", message)
    assert.equal(core.file.EBADMSG, code)
  end)

  it("components that are sampled in thirds", function()
    local t, message, code = image.decode(changed(11, "\x31" .. bytes:sub(frame + 12, frame + 13) .. "\x21"))
    assert.same({nil, "JPEG with components sampled in such proportions is not supported", UNSUPPORTED},
      {t, message, code})
  end)

  it("a side that the library does not take", function()
    local t, message, code = image.decode(changed(5, "\xff\xff"))
    assert.is_nil(t)
    assert.equal(("JPEG of %dx65535 pixels; at most 65500 a side"):format(string.unpack(">I2", bytes, frame + 7)),
      message)
    assert.equal(27, code) -- EFBIG
  end)
end)

it("a PNG with a kind of chunk that is needed and unknown says so, as Apple's tools make them", function()
  refused(exif.png(png.chunk("CgBI", "\80\0\32\2")),
    "PNG with an additional kind of chunk is not supported: CgBI: unhandled critical chunk")
end)

describe("a picture of another format is named:", function()
  for name, start in pairs {
    GIF = "GIF89a\1\0\1\0", BMP = "BM\x46\0\0\0\0\0\0\0", AVIF = "\0\0\0\32ftypavif\0\0\0\0",
    HEIC = "\0\0\0\24ftypheic\0\0\0\0mif1heic", HEIF = "\0\0\0\24ftypmif1\0\0\0\0",
    ["JPEG 2000"] = "\0\0\0\12jP  \r\n\x87\n", ["JPEG XL"] = "\xff\x0a\xfa\x1f", Photoshop = "8BPS\0\1",
    OpenEXR = "v/1\1\2\0\0\0", ["Radiance HDR"] = "#?RADIANCE\n", PDF = "%PDF-1.4",
  } do
    it(name, function()
      refused(start, name .. " is not supported; PNG, JPEG, TIFF, WebP, PNM (P1 to P7) and PFM are")
    end)
  end

  it("and nothing is named that has a beginning alone", function()
    for _, start in ipairs {"GIF", "B", "\0\0\0\0ftyp", "\0\0\0\0ftypmp42", "hello"} do
      refused(start, "neither PNG, JPEG, TIFF, WebP, PNM (P1 to P7) nor PFM", core.file.EBADMSG)
    end
  end)
end)
