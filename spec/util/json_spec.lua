-- JSON: what is written, what is read, what is refused.
local core = require "cglow.core"
local json = require "cglow.util.json"
local scratch = require "spec.fixtures.scratch"

describe("json.encode", function()
  for _, case in ipairs {
    {"text", '"text"'},
    {"a\"\\\n\0", '"a\\"\\\\\\n\\u0000"'},
    {"Grün 🐎", '"Grün 🐎"'},
    {3, "3"}, {-3, "-3"}, {3.0, "3.0"}, {-0.0, "-0.0"}, {0.1, "0.1"}, {1 / 3, "0.3333333333333333"},
    {0.1 + 0.2, "0.30000000000000004"}, {1e300, "1e+300"}, {math.maxinteger, "9223372036854775807"},
    {true, "true"}, {false, "false"}, {json.null, "null"},
    {{n = 3}, '{"n":3}'}, {{n = {n = 0}}, '{"n":{"n":0}}'}, {{[""] = ""}, '{"":""}'},
    {{}, "{}"}, {{1, 2, {3}}, "[1,2,[3]]"}, {{b = 1, a = {y = 1, x = 2}, ["0"] = 3}, '{"0":3,"a":{"x":2,"y":1},"b":1}'},
  } do
    it("gives " .. case[2], function() assert.equal(case[2], json.encode(case[1])) end)
  end

  it("writes one key to a line when asked", function()
    assert.equal('{\n  "a":[1,2],\n  "b":{\n    "c":{}\n  }\n}',
      json.encode({b = {c = {}}, a = {1, 2}}, {indent = true}))
  end)

  it("keeps every bit of a number", function()
    for i = 1, 1000 do
      -- Mantissa and exponent all over the place, without a generator.
      local x = string.unpack("<d", string.pack("<i8", i * 0x1234567890ABCDF & 0x7FE7FFFFFFFFFFFF))
      assert.equal(x, json.decode(json.encode(x)))
    end
  end)

  it("writes NaN and infinities as null only when asked", function()
    assert.equal("[null,null,1]", json.encode({0 / 0, -math.huge, 1}, {not_finite = "null"}))
  end)

  local cycle = {}
  cycle.self = cycle
  for name, case in pairs {
    ["NaN"] = {{0 / 0}, "cannot encode the number %-?nan"},
    ["infinity"] = {{math.huge}, "cannot encode the number inf"},
    ["a function"] = {{f = print}, "cannot encode a function"},
    ["a tensor"] = {{core.zeros(1)}, "cannot encode a userdata"},
    ["a hole"] = {{1, nil, 3, n = 1}, "neither a list nor an object"},
    ["mixed keys"] = {{1, a = 2}, "neither a list nor an object"},
    ["a number as key"] = {{[2.5] = 1}, "a key of type number"},
    ["a cycle"] = {cycle, "tables nested deeper than 64"},
  } do
    it("refuses " .. name, function() assert.error_matches(function() json.encode(case[1]) end, case[2]) end)
  end

  it("refuses unknown options", function()
    assert.error_matches(function() json.encode(1, {indend = true}) end,
      "json.encode: unknown option 'indend' %(did you mean 'indent'")
  end)
end)

describe("json.decode", function()
  for text, value in pairs {
    [' {"a" : [1, 2.5, -3e2, "x\\u0041\\ud83d\\ude00\\/"], "b":{}, "c":true} '] =
      {a = {1, 2.5, -300.0, "xA😀/"}, b = {}, c = true},
    ["[]"] = {}, ["0"] = 0, ['""'] = "", ["false"] = false, ["[null,2]"] = {nil, 2}, ['{"a":null}'] = {},
    ['{"\\\\ud800":1}'] = {["\\ud800"] = 1},
  } do
    it("reads " .. text, function() assert.same(value, json.decode(text)) end)
  end

  it("tells integers from floats and keeps 64 bits", function()
    assert.equal("integer", math.type(json.decode "9223372036854775807"))
    assert.equal("float", math.type(json.decode "1.0"))
    assert.equal("float", math.type(json.decode "1e3"))
    assert.equal("float", math.type(json.decode "9223372036854775808"))
  end)

  it("keeps nulls when asked, and always a bare one", function()
    assert.equal(json.null, json.decode "null")
    assert.equal(json.null, json.decode('[1,null]', {keep_null = true})[2])
    assert.equal("null", tostring(json.null))
  end)

  it("remembers what an empty table was", function()
    assert.equal('{"a":[],"b":{}}', json.encode(json.decode '{"b":{},"a":[]}'))
  end)

  for text, message in pairs {
    [""] = "byte 1: a value expected", ["  "] = "byte 3: a value expected", ["{"] = "byte 2: a key expected",
    ["[1"] = "byte 3: ',' or ']' expected", ["[1,]"] = "byte 4: a value expected", ["[1 2]"] = "byte 4: ',' or ']'",
    ['{"a":1,}'] = "byte 8: a key expected", ['{"a" 1}'] = "byte 6: ':' expected",
    ['{"a":1 "b":2}'] = "byte 8: ',' or '}'",
    ["{a:1}"] = "byte 2: a key expected", ["{1:2}"] = "byte 2: a key expected", ["'a'"] = "byte 1: a value expected",
    ["// c\n1"] = "byte 1: a value expected", ["1 /* c */"] = "byte 3: end of text", ["1 2"] = "byte 3: end of text",
    ["01"] = "byte 2: end of text", ["1."] = "byte 2: end of text",
    [".5"] = "a value expected", ["+1"] = "a value expected",
    ["-"] = "a value expected", ["1e"] = "byte 2: end of text", ["1e999"] = "number out of range",
    [("1"):rep(400)] = "byte 1: number out of range", ["[1.5e+308,-2e308]"] = "byte 11: number out of range",
    ["[1\v]"] = "byte 3: ',' or ']'", ["[\239\187\1911]"] = "byte 2: a value expected", ["[1}"] = "byte 3: ',' or ']'",
    ["0x10"] = "byte 2: end of text", ["NaN"] = "a value expected",
    ["nul"] = "a value expected", ["True"] = "a value expected",
    ['"a'] = "byte 1: unterminated string",
    ['"\n"'] = "byte 2: control character", ['"\0"'] = "byte 2: control character",
    ['"\\x"'] = "byte 2: unknown escape",
    ['"\\u12g4"'] = "byte 2: unknown escape", ['"\\'] = "byte 2: unknown escape",
    ['"\\ud800"'] = "byte 2: half of a surrogate", ['"\\udc00"'] = "byte 2: half of a surrogate",
    ['"\\ud800\\u0041"'] = "half of a surrogate", ['"\255"'] = "byte 2: no valid UTF-8",
    ["\239\187\1911"] = "a value expected",
    ['{"a":1,"b":2,"a":3}'] = "byte 14: key 'a' comes twice", ['{"a":1,"\\u0061":3}'] = "byte 8: key 'a' comes twice",
    [("["):rep(65) .. ("]"):rep(65)] = "byte 65: nested deeper than 64",
    [('{"a":'):rep(65) .. "1" .. ("}"):rep(65)] = "nested deeper than 64",
    [("["):rep(1000000)] = "nested deeper than 64",
  } do
    it("refuses " .. ("%q"):format(text:sub(1, 30)), function()
      local value, why = json.decode(text)
      assert.is_nil(value)
      assert.matches("invalid JSON at byte %d+: ", why)
      assert.matches(message, why, 1, true)
    end)
  end

  it("goes down to 64 levels", function()
    assert.is_table(json.decode(("["):rep(64) .. ("]"):rep(64)))
  end)

  it("raises on what is no string", function()
    assert.has_error(function() json.decode(nil) end,
      "bad argument #1 to 'json.decode': text must be a string, got nil")
  end)
end)

describe("json.read", function()
  local folder <const> = scratch.each(before_each, after_each)

  it("reads a file", function()
    scratch.write(folder .. "/a.json", '{"a":1}\n')
    assert.same({a = 1}, json.read(folder .. "/a.json"))
    scratch.write(folder .. "/a.json", '\xef\xbb\xbf{"a":1}\r\n') -- as some editors write it
    assert.same({a = 1}, json.read(folder .. "/a.json"))
  end)

  it("says what is wrong with one", function()
    scratch.write(folder .. "/a.json", '{"a":}')
    local value, message, code = json.read(folder .. "/a.json")
    assert.is_nil(value)
    assert.equal(folder .. "/a.json: invalid JSON at byte 6: a value expected", message)
    assert.equal(core.file.EBADMSG, code)
    value, message, code = json.read(folder .. "/none")
    assert.is_nil(value)
    assert.equal(folder .. "/none: No such file or directory", message)
    assert.equal(2, code)
    value, message = json.read(folder)
    assert.is_nil(value)
    assert.matches("Is a directory", message)
  end)

  it("gives every string back as it was, also bytes that are no UTF-8", function()
    local strings = {"caf\xe9", "\xff\x80x", "é\xc3", "a\\udce9", "\xed\xb2\x80", "\u{10ffff}\xf0\x9f",
      "\1\xe9\"\\", "\xe2\x80"}
    for byte = 0, 255 do strings[#strings + 1] = string.char(byte) end
    for _, text in ipairs(strings) do
      local encoded = json.encode {[text] = {text}}
      assert.is_truthy(utf8.len(encoded))
      assert.equal(text, json.decode(encoded)[text][1])
    end
    assert.equal('"caf\\udce9.png"', json.encode "caf\xe9.png")
    assert.equal("\u{1f4a9}", json.decode [["\ud83d\udca9"]]) -- a pair is no byte
    assert.equal("\xe9", json.decode [["\uDCE9"]])
  end)
end)
