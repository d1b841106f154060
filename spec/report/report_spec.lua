-- Reports: pages that are well formed, whatever a run folder holds.
local scratch = require "spec.fixtures.scratch"
local base64 = require "cglow.report.base64"
local command = require "cglow.cli.command"
local run_report = require "cglow.cli.report"
local core = require "cglow.core"
local html = require "cglow.report.html"
local image = require "cglow.image"
local json = require "cglow.util.json"
local mutate = require "spec.support.mutate"
local report = require "cglow.report"
local safetensors = require "cglow.util.safetensors"
local toy = require "spec.support.toy"
local xml = require "spec.support.xml"

-- What a browser finds in the page.
local function decode_entities(text)
  return (text:gsub("&quot;", '"'):gsub("&#39;", "'"):gsub("&lt;", "<"):gsub("&gt;", ">"):gsub("&amp;", "&"))
end

local function charts_of(page)
  local charts = {}
  for data in page:gmatch('data%-chart="([^"]*)"') do
    charts[#charts + 1] = assert(json.decode(decode_entities(data)))
  end
  return charts
end

-- A run folder with what a trainer writes.
local function write_run(path, o)
  assert(require "cglow.run.folder".make_directory(path .. "/samples"))
  assert(core.file.write(path .. "/config.json", json.encode(o.config or {})))
  local lines = {}
  for i, record in ipairs(o.log or {}) do lines[i] = json.encode(record) .. "\n" end
  assert(core.file.write(path .. "/log.jsonl", table.concat(lines) .. (o.torn or "")))
  if o.kept then
    local said = json.encode {step = o.kept, metrics = {}}
    assert(safetensors.save(path .. "/best.safetensors", {t = core.zeros(1)}, {validation = said}))
  end
  for _, step in ipairs(o.sheets or {}) do
    assert(image.save(("%s/samples/step-%08d.png"):format(path, step), core.full({1, 4, 4}, step / 1000)))
  end
end

local LOG = {
  {step = 10, seconds = 1.0, nll = 3.5, lr = 2e-4},
  {step = 15, seconds = 1.5, skipped = "level.1.step.2.coupling: <NaN> & more", lr = 2e-4},
  {step = 20, seconds = 2.0, nll = 2.5, lr = 1e-4},
  {step = 20, seconds = 2.5, valid = {nll = 2.25, iou = 0.5}},
  {step = 40, seconds = 4.0, nll = 1.5, lr = 1e-4},
  {step = 40, seconds = 4.5, valid = {nll = 2.75, iou = 0.625}},
}

local CONFIG = {
  title = "A <title> & 'quotes' \"too\"", command = "lua5.4 x.lua train --run 'a b'", parameters = 1234567,
  settings = {depth = 8, ["optimizer.lr"] = 2e-4}, data = {train = 200, valid = 64},
  machine = {cpu = "Some & CPU", cores = 2, memory = 8000000000, system = "Linux 6"}, threads = 2,
  started = "2024-02-03T04:05:06Z",
}

describe("report", function()
  local folder <const> = scratch.each(before_each, after_each)

  local function page_of(o, name)
    write_run(folder .. "/" .. (name or "run"), o)
    return assert(report.render {folder .. "/" .. (name or "run")})
  end

  it("is well formed, whatever the texts in it", function()
    local page = page_of {config = CONFIG, log = LOG, sheets = {20, 40}}
    local count = assert(xml.check(page))
    assert.equal(1, count.body)
    assert.equal(3, count.svg) -- the NLL for wide and for narrow pages, and the IoU
    assert.equal(2, count.img)
  end)

  it("shows an evaluation with a column for each of a few predictions, or a row for each of many", function()
    local function heads(count)
      local rows = {}
      for i = 1, count do rows[i] = {name = "p" .. i, metrics = {iou = i / 8, psnr = i}} end
      write_run(folder .. "/run", {config = CONFIG})
      assert(core.file.write(folder .. "/run/evaluation.json", json.encode {results = rows}))
      local part = assert(report.render {folder .. "/run"}):match "<h2>Evaluation</h2>.-</section>"
      assert.equal(2 * count, select(2, part:gsub("<td>[%d.]+</td>", "")))
      return part:match "<thead>.-</thead>":gsub("</?thead>", ""):gsub("</?tr>", ""):gsub("<th>(.-)</th>", "%1;")
    end
    assert.equal("metric;p1;p2;", (heads(2)))
    assert.equal("prediction;Mean IoU over the classes;PSNR in dB;", (heads(6)))
  end)

  it("draws a value that stays, and is never below 0, from 0 on", function()
    local page = page_of {config = CONFIG, log = {{step = 20, seconds = 2.0, valid = {nll = 2, dice = 0}}}}
    assert.is_nil(page:match "Dice coefficient.-</figure>":find(">-0", 1, true))
  end)

  it("needs nothing from elsewhere", function()
    local page = page_of {config = CONFIG, log = LOG, sheets = {20}}
    for _, attribute in ipairs {"src", "href"} do
      for value in page:gmatch(attribute .. '="([^"]*)"') do
        assert.matches("^data:", value)
      end
    end
    assert.is_nil(page:find("<link", 1, true))
    assert.is_nil(page:find("@import", 1, true))
    assert.is_nil(page:find("url%([^#]"))
    -- the only addresses are names of XML vocabularies
    for address in page:gmatch("https?://[%w./]+") do assert.matches("^http://www.w3.org/", address) end
  end)

  it("shows the numbers of the log", function()
    local page = page_of {config = CONFIG, log = LOG, kept = 20}
    local charts = charts_of(page)
    assert.same({{10, 3.5}, {20, 2.5}, {40, 1.5}}, charts[1].curves[1].points)
    assert.same({{20, 2.25}, {40, 2.75}}, charts[1].curves[2].points)
    assert.same(charts[1].curves, charts[2].curves) -- the same for narrow pages
    assert.same({{20, 0.5}, {40, 0.625}}, charts[3].curves[1].points)
    assert.matches("at step 20", page, 1, true) -- the best validation
    assert.matches('<tr class="best"><td>20</td>', page, 1, true)
    assert.matches("level.1.step.2.coupling: &lt;NaN&gt; &amp; more", page, 1, true)
  end)

  it("marks the validation of best.safetensors, whatever metric picked it, if there is one", function()
    local page = page_of {config = CONFIG, log = LOG, kept = 40} -- the larger NLL, and the larger IoU
    assert.matches("at step 20", page, 1, true) -- the best NLL
    assert.matches('<tr class="best"><td>40</td>', page, 1, true)
    assert.matches("The best model, best.safetensors, is that of the marked step.", page, 1, true)
    for name, kept in pairs {gone = false, later = 300} do
      local other = page_of({config = CONFIG, log = LOG, kept = kept}, name)
      assert.is_nil(other:find('class="best"', 1, true))
      assert.is_nil(other:find("marked step", 1, true))
    end
  end)

  it("says how to do it again, where it ran, and with which settings", function()
    local page = page_of {config = CONFIG, log = LOG}
    assert.matches("lua5.4 x.lua train --run &#39;a b&#39;", page, 1, true)
    assert.matches("Some &amp; CPU, 2 cores, 8.0 GB, Linux 6; 2 threads used", page, 1, true)
    assert.matches('<td>depth</td><td class="text">8</td>', page, 1, true)
    assert.matches("2024-02-03 04:05:06 UTC", page, 1, true)
  end)

  it("carries the contact sheets, spread over time, the last among them", function()
    local steps = {}
    for i = 1, 20 do steps[i] = 10 * i end
    local page = page_of {config = CONFIG, log = LOG, sheets = steps}
    local seen = {}
    local sheet = 'step (%d+)</figcaption><div class="scroll"><img alt="[^"]*" src="data:image/png;base64,([^"]*)"'
    for step, data in page:gmatch(sheet) do
      seen[#seen + 1] = tonumber(step)
      local path = ("%s/run/samples/step-%08d.png"):format(folder, step)
      assert.equal(base64.encode(toy.read(path)), data)
    end
    assert.equal(8, #seen)
    assert.equal(10, seen[1])
    assert.equal(200, seen[8])
  end)

  it("says what its pictures show, where that is not plain", function()
    local config = {pictured = "Pictures show <relief>.", threads = 1, machine = CONFIG.machine}
    local page = page_of {config = config, log = LOG, sheets = {20, 40}}
    assert.equal(2, #{page:find('<p class="note">Pictures show &lt;relief&gt;.</p>', 1, true)})
    assert.matches("; 1 thread used", page, 1, true)
    assert.is_nil(page_of({config = config, log = LOG}, "bare"):find("&lt;relief", 1, true)) -- no pictures
  end)

  it("gives as many digits to each number of a metric, zeros too", function()
    local log = {{step = 20, seconds = 2.5, valid = {nll = 12.5, iou = 0.5}},
      {step = 40, seconds = 4.5, valid = {nll = 1234.0, iou = 0.12345}}}
    local page = page_of {config = CONFIG, log = log}
    for _, cell in ipairs {"12.50", "1234", "0.5000", "0.1235"} do
      assert.matches("<td>" .. cell .. "</td>", page, 1, true)
    end
  end)

  it("compares runs and marks the settings that differ", function()
    write_run(folder .. "/a", {config = CONFIG, log = LOG})
    local other = {}
    for key, value in pairs(CONFIG) do other[key] = value end
    other.settings = {depth = 4, ["optimizer.lr"] = 2e-4}
    write_run(folder .. "/b", {config = other, log = LOG})
    local page = assert(report.render {folder .. "/a", folder .. "/b"})
    assert(xml.check(page))
    assert.equal(4, #charts_of(page)[1].curves)
    assert.matches('<td>depth</td><td class="text differs">8</td><td class="text differs">4</td>', page, 1, true)
    assert.matches('<td>optimizer.lr</td><td class="text">0.0002</td>', page, 1, true)
  end)

  it("averages long curves down to what can be seen", function()
    local log = {}
    for i = 1, 5000 do log[i] = {step = i, seconds = i, nll = i % 2 == 0 and 1.0 or 3.0, lr = 1e-3} end
    local points = charts_of(page_of {config = CONFIG, log = log})[1].curves[1].points
    assert.equal(500, #points)
    for _, p in ipairs(points) do assert.equal(2.0, p[2]) end -- ten points each, half of them 1, half 3
  end)

  it("copes with a run that has only begun, one value, and values that are not finite", function()
    assert(xml.check(page_of({config = {}}, "empty")))
    assert(xml.check(page_of({config = {}, log = {{step = 1, seconds = 0.1, nll = 2.0}}}, "one")))
    local null = {step = 2, seconds = 0.1, valid = {nll = json.null}}
    assert(xml.check(page_of({config = {}, log = {null}, torn = '{"step":3,"nl'}, "null")))
  end)

  it("draws a point where a curve has one value alone", function()
    local function circles(points)
      local series = {{name = "training", points = points, colour = 1, dots = false}}
      return select(2, require("cglow.report.chart").chart("c", "NLL", series, "wide").text:gsub("<circle", ""))
    end
    assert.equal(1, circles {{6, 0.7}})
    assert.equal(0, circles {{3, 0.7}, {6, 0.6}})
  end)

  it("of a run folder that is not as we write it is well formed all the same, or says what is wrong", function()
    local strange = {0, 1e300, math.mininteger, "x", "", true, {}, {1}, {{}}, {a = {{1}, {{}}}}}
    local function try(o, label)
      write_run(folder .. "/run", o)
      local ok, page, message = pcall(report.render, {folder .. "/run"})
      assert.is_true(ok, ("%s: %s"):format(label, page))
      if page then assert(xml.check(page), label) else assert.matches("line", message) end
    end
    for _, field in ipairs(mutate.fields(CONFIG)) do
      for _, value in ipairs(strange) do
        try({config = mutate.with(CONFIG, field, value), log = LOG}, table.concat(field, "."))
      end
    end
    for _, field in ipairs(mutate.fields(LOG)) do
      for _, value in ipairs(strange) do
        try({config = CONFIG, log = mutate.with(LOG, field, value)}, "log " .. table.concat(field, "."))
      end
    end
    for _, config in ipairs {7, "x", true} do
      write_run(folder .. "/run", {config = config})
      local page, message = report.render {folder .. "/run"}
      assert.is_nil(page)
      assert.matches("config.json: an object expected", message)
    end
  end)

  it("says what is wrong with a folder", function()
    local _, message = report.render {folder .. "/none"}
    assert.matches("none is no run folder: it holds no config.json", message)
    write_run(folder .. "/bad", {config = CONFIG, torn = "not json\n"})
    _, message = report.render {folder .. "/bad"}
    assert.matches("log.jsonl, line 1", message)
    assert.error_matches(function() report.render {} end, "at least one run folder")
    assert.error_matches(function() report.render "x" end, "table")
  end)

  it("draws any numbers that a log may hold, in a bounded time", function()
    local cases = {
      {1e18, 1e18}, {-4.6e15, -4.6e15, -4.6e15}, {1e308, -1e308}, {1e308, 1e308}, {1.7e308, -1.7e308, 0},
      {1e18, 1e18 + 256}, {5e-324, 5e-324}, {0, 5e-324}, {1e16, 1}, {0, 0}, {-1e-300, 1e300},
      {math.mininteger, math.mininteger}, {math.mininteger, math.maxinteger}, {math.maxinteger, math.maxinteger},
    }
    for i, values in ipairs(cases) do
      local log = {}
      for step, value in ipairs(values) do
        log[#log + 1] = {step = step, seconds = 0.5, nll = value, lr = 0.1}
        log[#log + 1] = {step = step, seconds = 0.5, valid = {nll = value, psnr = -value}}
      end
      write_run(("%s/run%d"):format(folder, i), {config = CONFIG, log = log})
      local page = assert(report.render {("%s/run%d"):format(folder, i)})
      assert(xml.check(page))
      local _, ticks = page:gsub('class="tick"', "")
      assert.is_true(ticks >= 4 and ticks < 100, ("%d ticks"):format(ticks))
      assert.is_nil(page:find '[xyd][12]?="[^"]*nan')
      assert.is_nil(page:find '[xyd][12]?="[^"]*inf')
    end
  end)

  it("draws steps of any size", function()
    for _, last in ipairs {math.maxinteger, math.mininteger, 1e308} do
      local log = {}
      for i, step in ipairs {1, 2, last, last} do log[i] = {step = step, seconds = math.mininteger, nll = i} end
      write_run(folder .. "/run", {config = CONFIG, log = log})
      local page = assert(report.render {folder .. "/run"})
      assert(xml.check(page))
      assert.is_nil(page:find '[xyd][12]?="[^"]*nan')
      assert.is_nil(page:find '[xyd][12]?="[^"]*inf')
    end
  end)

  it("is written by the command, into the run or where it is asked for", function()
    local said = {}
    local stdout_real, stderr_real = io.stdout, io.stderr
    local stream = {write = function(_, ...) said[#said + 1] = table.concat({...}):gsub("\n$", "") return true end,
      flush = function() return true end}
    -- luacheck: ignore 122
    io.stdout, io.stderr = stream, stream
    finally(function()
      io.stdout, io.stderr = stdout_real, stderr_real
    end)
    write_run(folder .. "/run", {config = CONFIG, log = LOG})
    assert.equal(0, command.run("report", run_report, {folder .. "/run"}))
    local both = {folder .. "/run", folder .. "/run", "--out", folder .. "/both.html"}
    assert.equal(0, command.run("report", run_report, both))
    assert.equal(2, command.run("report", run_report, {folder .. "/none"}))
    assert.equal(2, command.run("report", run_report, {}))
    assert.equal(2, command.run("report", run_report, {"--frob"}))
    assert.same({folder .. "/run/report.html", folder .. "/both.html"}, {said[1], said[2]})
    assert(xml.check(toy.read(folder .. "/run/report.html")))
    assert(xml.check(toy.read(folder .. "/both.html")))
    assert.matches("unknown option '--frob'", said[5], 1, true)
  end)
end)

describe("report parts", function()
  it("encode the test vectors of RFC 4648", function()
    for plain, coded in pairs {
      [""] = "", f = "Zg==", fo = "Zm8=", foo = "Zm9v", foob = "Zm9vYg==", fooba = "Zm9vYmE=", foobar = "Zm9vYmFy",
    } do
      assert.equal(coded, base64.encode(plain))
    end
    assert.equal("AP+A/w==", base64.encode("\0\255\128\255"))
  end)

  it("escape texts and attributes, and leave out what no page may hold", function()
    assert.equal('<a b="&quot;&lt;&amp;">&lt;x&gt;y</a>', html.element("a", {b = '"<&'}, "<x>", "\0y").text)
    assert.equal("caf\\xe9 é", html.escape "caf\xe9 é")
    assert.equal("<br/>", html.element("br").text)
    assert.equal("<p>1<i>2</i>3</p>", html.element("p", nil, 1, {html.element("i", nil, 2), false}, nil, 3).text)
  end)
end)

describe("the XML check of this spec", function()
  it("finds what is wrong", function()
    local head = "<!DOCTYPE html>\n"
    assert.is_table(xml.check(head .. '<a b="c">d &amp; <e/></a>'))
    for _, bad in ipairs {
      "<a>", "<a></b>", "<a b=c></a>", '<a b="1" b="2"></a>', "<a>&</a>", "<a>&nbsp;</a>", "<a><</a>",
    } do
      assert.is_nil(xml.check(head .. bad), bad)
    end
  end)
end)
