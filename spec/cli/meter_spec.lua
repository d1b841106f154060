-- How far a command has come: what is said, when, and to whom.
local console = require "cglow.util.console"
local core = require "cglow.core"
local evaluation = require "cglow.tasks.evaluation"
local meter_of = require "cglow.cli.meter"
local Model = require("cglow").Model

describe("cglow.cli.meter", function()
  local system, said, now, kept = core.system, nil, nil, {}

  before_each(function()
    said, now = {}, 100.0
    kept = {isatty = system.isatty, clock = system.clock, columns = system.columns, live = console.live,
      tell = console.tell}
    system.clock = function() return now end
    system.columns = function() return 24 end
    console.live = function(text) said[#said + 1] = "live " .. (text or "-") end
    console.tell = function(text) said[#said + 1] = "tell " .. text end
  end)
  after_each(function()
    for _, name in ipairs {"isatty", "clock", "columns"} do system[name] = kept[name] end
    console.live, console.tell = kept.live, kept.tell
  end)

  local function run(terminal, args, seconds, total)
    system.isatty = function() return terminal end
    local meter = meter_of.new(args, "picture", total)
    for _ = 1, total do
      now = now + seconds
      meter:tick()
    end
  end

  it("draws a line again in place on a terminal, no wider than that, and takes it away", function()
    run(true, {}, 1, 3)
    assert.same({"live picture 1 of 3, left 2 ", "live picture 2 of 3, left 1 ", "live -"}, said)
    said = {}
    run(true, {}, 0.04, 5) -- too soon to draw but the third time
    assert.same({"live picture 3 of 5, left 0 ", "live -"}, said)
  end)

  it("says a line every half a minute elsewhere", function()
    run(false, {}, 12, 7)
    assert.same({"tell picture 3 of 7, left 48 s", "tell picture 6 of 7, left 12 s"}, said)
  end)

  it("says nothing where that was asked for", function()
    run(true, {quiet = true}, 40, 3)
    run(false, {quiet = true}, 40, 3)
    run(false, {json = true}, 40, 3)
    assert.same({}, said)
  end)

  it("is told of every picture that samples are drawn for", function()
    local task = require "cglow.tasks.binary_segmentation"
    local model = Model {x = {3, 8, 8}, y = {3, 8, 8}, levels = 1, depth = 1, cn = {channels = 2, width = 4},
      coupling = {width = 4}, rng = core.Rng(1)}
    local inputs, count = {}, 0
    for i = 1, 3 do inputs[i] = {x = core.rand(3, 8, 8, core.Rng(i))} end
    evaluation.samples_sheet(task, model, inputs, {samples = 2, rng = core.Rng(1), cell_width = 1,
      progress = function() count = count + 1 end})
    assert.equal(3, count)
  end)
end)
