-- What a training shows of itself: a bar, plain lines, JSON, or nothing.
local console = require "cglow.util.console"
local format = require "cglow.run.format"
local progress = require "cglow.train.progress"

describe("progress", function()
  -- A file that remembers.
  local function sink()
    local text = {}
    return setmetatable({text = text}, {__index = {
      write = function(_, ...) for _, s in ipairs {...} do text[#text + 1] = s end end,
      flush = function() end,
    }}), function() return table.concat(text) end
  end

  local AT = {step = 25, steps = 100, nll = 0.51234, per_second = 5.25, left = 187, memory = 812e6,
    data_share = 0.034, valid = {nll = 0.47, iou = 0.66}}

  it("draws a bar with everything that is asked for, in one line of 79 columns", function()
    local out, text = sink()
    local p = progress.new("bar", out, sink())
    p.last = -1
    p:step(AT)
    local line = text():gsub("\r\27%[K", "")
    for _, part in ipairs {"25/100", "[==", "nll 0.512", "5.2 steps/s", "left 3:07"} do
      assert.matches(part, line, 1, true)
    end
    assert.is_true(#line <= 79)
  end)

  it("leaves each validation to be read above the bar", function()
    local out, text = sink()
    local p = progress.new("bar", out, sink())
    p.last = -1
    p:step(AT)
    p:validation(25, {nll = 0.47, iou = 0.66})
    assert.matches("\r\27[Kstep 25  validation: nll 0.47, iou 0.66\n", text(), 1, true)
  end)

  it("takes the bar away before a notice, so that none lands inside it", function()
    local both, text = sink() -- a terminal, which shows what both streams say
    local err, out = io.stderr, io.stdout
    finally(function() io.stderr, io.stdout = err, out end) -- luacheck: ignore 122
    io.stderr, io.stdout = both, both -- luacheck: ignore 122
    local p = progress.new("bar", both, both)
    for _, say in ipairs {require("cglow.util.notice").notify, console.tell, console.say} do
      p.last = -1
      p:step(AT)
      say "a picture is left out"
      p:close() -- has no line to end
    end
    io.stderr, io.stdout = err, out -- luacheck: ignore 122
    for line in text():gmatch "(.-)\n" do
      assert.matches("\27%[Kc?g?l?o?w?:? ?a picture is left out$", line)
    end
    assert.equal(3, select(2, text():gsub("\n", "")))
    p.last = -1
    p:step(AT)
    p:close() -- the last bar stays
    console.clear()
    assert.matches("%]  nll[^\r]*\n$", text())
  end)

  it("writes plain lines with all of it elsewhere", function()
    local out, text = sink()
    local p = progress.new("lines", out, sink())
    p.last = -1e9
    p:step(AT)
    assert.equal("step 25/100  nll 0.512  5.2 steps/s  left 3:07  valid nll 0.47, iou 0.66  812 MB  data 3%\n", text())
  end)

  it("shows plain lines no oftener than every few seconds", function()
    local out, text = sink()
    local p = progress.new("lines", out, sink())
    p:step(AT)
    assert.equal("", text())
  end)

  it("keeps JSON output pure and warns on the error stream", function()
    local out, text = sink()
    local err, warned = sink()
    local p = progress.new("json", out, err)
    p:step(AT)
    p:note("hello")
    p:warn("careful")
    p:record('{"step":1}')
    p:close()
    assert.equal('{"step":1}\n', text())
    assert.equal("warning: careful\n", warned())
  end)

  it("is silent when asked to be, but for warnings", function()
    local out, text = sink()
    local p = progress.new("quiet", out, sink())
    p:step(AT)
    p:validation(1, {nll = 1})
    p:record("{}")
    p:note("hello")
    assert.equal("", text())
  end)

  it("writes durations and sizes as people read them", function()
    assert.equal("9 s", format.duration(9.2))
    assert.equal("3:07", format.duration(187))
    assert.equal("2:03:59", format.duration(7439))
    assert.equal("?", format.duration(0 / 0))
    assert.equal("812 MB", format.bytes(812e6))
    assert.equal("1.4 GB", format.bytes(1.4e9))
  end)
end)
