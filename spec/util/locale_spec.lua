--- A program may have set a locale: names, files and what is shown are the same as without.
local scratch = require "spec.fixtures.scratch"

local folder = scratch.each(before_each, after_each)
local locales, remove = scratch.folder()
lazy_teardown(remove)
local made = {}

-- What a program prints in a locale that is made here, of this language; nil where that cannot be.
local function output(language, program, ...)
  local name = language .. ".UTF-8"
  made[language] = made[language]
    or os.execute(("localedef -i %s -f UTF-8 '%s/%s' >/dev/null 2>&1"):format(language, locales, name))
  local prefix = made[language] and ("LOCPATH='%s'"):format(locales) or ""
  local out, ok = scratch.lua(("if not os.setlocale '%s' then return print 'no locale' end\n%s"):format(name, program),
    {prefix = prefix}, ...)
  assert.is_true(ok, out)
  return not out:find "^no locale" and out or nil
end

local function same_as_without(language, program, ...)
  local there = output(language, program, ...)
  if not there then return pending("no locale " .. language .. " is there, nor what makes one") end
  local here, ok = scratch.lua(program, {}, ...)
  assert.is_true(ok, here)
  assert.equal(here, there)
end

describe("where Turkish is spoken", function()
  it("I is the large form of i in the names of files", function()
    for _, name in ipairs {"a.TIF", "b.TIFF", "c.JFIF", "d.PNG"} do scratch.write(folder .. "/" .. name, "") end
    same_as_without("tr_TR", [[
      local files, partners = require "cglow.data.files", require "cglow.data.partners"
      print(table.concat(assert(files.images((...))), " "))
      print(partners.match({"1_IMG", "2_PIC"}, {"1", "2"})["1_IMG"])
      local zero = require("cglow.core").zeros(1, 1, 1)
      for _, name in ipairs {"x.TIF", "x.PGM"} do print(pcall(require("cglow.image").save, (...) .. name, zero)) end
      print(require("cglow.util.bytes").lower "TIF-\xc4\xb0\xc3\x84I")
    ]], folder)
  end)
end)

describe("where fractions begin with a comma", function()
  it("tensors and what a person reads of a run are written with a point", function()
    same_as_without("de_DE", [[
      local core, format = require "cglow.core", require "cglow.run.format"
      local bytes, options = require "cglow.util.bytes", require "cglow.util.options"
      print(core.tensor {0.5, -1.25, 1e-10})
      print(format.bytes(1.5e9), format.number("%8.3f", 2 / 3), format.number("%.1f steps/s", 2.5))
      print(bytes.pointed(tostring(0.0002)), bytes.pointed "7", bytes.pointed(tostring(-1e-5)))
      print(options.show(2.5))
    ]])
  end)

  it("a diagnosis is", function()
    same_as_without("de_DE", [[
      local cglow = require "cglow"
      cglow.seed(1)
      local model = cglow.Model {x = {1, 8, 8}, y = {1, 8, 8}, levels = 1, depth = 1, cn = {channels = 4},
        coupling = {width = 8}}
      print(model:diagnose(cglow.randn(2, 1, 8, 8), cglow.randn(2, 1, 8, 8)))
    ]])
  end)
end)
