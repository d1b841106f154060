-- model:diagnose on sound models, and on models with one layer made faulty.
local core = require "cglow.core"
local threads = require "spec.support.threads"
local models = require "spec.support.models"

local CONDITIONAL = {
  x = { 1, 8, 8 }, y = { 1, 8, 8 }, levels = 2, depth = 2, learned_prior = true,
  cn = { channels = 8, width = 12 }, coupling = { width = 8 },
}
local PLAIN = { y = { 2, 4, 4 }, levels = 2, depth = 2, coupling = { width = 8 } }

local function build(config)
  local rng = core.Rng(71)
  local model = models.random(config, rng)
  local x, y = models.batch(model, 4, rng)
  return model, x, y
end

local function parameter(model, name)
  for _, p in ipairs(model:parameters()) do
    if p.name == name then return p end
  end
  error("no parameter " .. name)
end

local function row(d, name)
  for _, r in ipairs(d.rows) do
    if r.name == name then return r end
  end
end

setup(threads.one)
teardown(threads.restore)

-- One layer faulty, for this reason, and named in print.
local function only_faulty(d, name, reason)
  assert.same({ name }, d.faulty)
  assert.matches(reason, table.concat(row(d, name).faults, "; "))
  local text = tostring(d)
  assert.is_truthy(text:find("faulty: " .. name .. ": ", 1, true), text)
  assert.is_nil(text:find("no layer is faulty", 1, true))
end

describe("Model:diagnose", function()
  it("finds nothing faulty in a sound model, and measures every layer", function()
    local model, x, y = build(CONDITIONAL)
    local d = model:diagnose(x, y)
    assert.same({}, d.faulty)
    assert.equal(2 * 2 * 3 + 1 + 1, #d.rows) -- parts, split, prior
    local logp = model:log_prob(x, y):totable()
    for n = 1, 4 do
      local sum = 0
      for _, r in ipairs(d.rows) do sum = sum + (r.logdet or r.logp)[n] end
      assert.near(logp[n], sum, 1e-5 * math.abs(logp[n])) -- log p is float
    end
    assert.near(model:loss_and_grad(x, y), d.loss, 0)
    for _, r in ipairs(d.rows) do
      assert.equal(0, r.non_finite)
      if r.kind ~= "prior" then assert.is_true(r.round_trip < 1e-5, r.name) end
      assert.is_true(r.zero_gradient >= 0 and r.zero_gradient < 1, r.name)
      assert.equal(r.kind == "invconv", r.rcond ~= nil)
      assert.equal(r.kind ~= "invconv", r.scale ~= nil)
    end
  end)

  it("measures what the layers do", function()
    local model, x, y = build(CONDITIONAL)
    local d = model:diagnose(x, y)
    -- The coupling's σ = sigmoid(tanh(·) + 2), actnorm's e^s and the split's
    -- deviation e^s with s in (−1, 1); a little room for rounding.
    local room = 1e-4
    for _, r in ipairs(d.rows) do
      if r.kind == "coupling" then
        assert.is_true(r.scale.min > 1 / (1 + math.exp(-1)) - room and r.scale.max < 1 / (1 + math.exp(-3)) + room)
      elseif r.kind == "actnorm" or r.kind == "split" then
        assert.is_true(r.scale.min > math.exp(-1) - room and r.scale.max < math.exp(1) + room)
      end
    end
    local logs = parameter(model, "prior.logs").value
    local scale = row(d, "prior").scale
    assert.near(math.exp((logs:min())), scale.min, room)
    assert.near(math.exp((logs:max())), scale.max, room)
    -- actnorm's log-det is the pixels times the sum of s, invconv's what
    -- InvConv:diagnose says.
    local part = model.levels[1].steps[1].invconv
    local logabs, rcond = part.flow:diagnose(part.cn:forward(x))
    local r = row(d, "level.1.step.1.invconv")
    for n = 1, 4 do assert.near(16 * logabs[n], r.logdet[n], 1e-9 * math.abs(r.logdet[n])) end
    assert.equal(math.min(table.unpack(rcond)), r.rcond)
  end)

  it("prints a table with a line for each layer", function()
    local model, x, y = build(CONDITIONAL)
    local text = tostring(model:diagnose(x, y))
    for _, title in ipairs { "layer", "round trip", "log|det|", "rcond(W)", "scales", "zero grad", "non-finite" } do
      assert.is_truthy(text:find(title, 1, true), title)
    end
    local width
    for line in text:gmatch("level[^\n]+") do
      width = width or #line
      assert.equal(width, #line, line)
    end
    assert.is_truthy(text:find("no layer is faulty", 1, true))
    assert.is_truthy(text:find("bits per dim", 1, true))
  end)

  it("refuses the old name of what it found", function()
    local model, x, y = build(CONDITIONAL)
    assert.error_matches(function() return model:diagnose(x, y).sick end, "'sick' is called 'faulty' now", 1, true)
  end)

  it("leaves gradients at zero and the model as it was", function()
    local model, x, y = build(CONDITIONAL)
    local before = model:log_prob(x, y)
    model:diagnose(x, y)
    assert.is_true(before:equal((model:log_prob(x, y))))
    for _, p in ipairs(model:parameters()) do assert.equal(0, p.grad:abs():max()) end
  end)

  it("works on plain Glow", function()
    local model, _, y = build(PLAIN)
    local d = model:diagnose(nil, y)
    assert.same({}, d.faulty)
    assert.equal(2 * 2 * 3 + 1 + 1, #d.rows)
  end)

  it("explains parameters without gradient by weights that start at zero", function()
    local rng = core.Rng(72)
    local model = require("cglow").Model {
      x = { 1, 8, 8 }, y = { 1, 4, 4 }, levels = 1, depth = 2, coupling = { width = 8 }, init = "orthogonal", rng = rng,
    }
    local d = model:diagnose(rng:uniform(2, 1, 8, 8), rng:uniform(2, 1, 4, 4))
    assert.same({}, d.faulty)
    local r = row(d, "level.1.step.2.actnorm")
    assert.is_truthy(r.blank)
    assert.equal(11, #r.dead) -- all but fc3.bias
    assert.is_truthy(tostring(d):find("6 layers hold a weight that is all zero", 1, true))
  end)
end)

describe("Model:diagnose names the layer with", function()
  it("a singular W", function()
    local model, x, y = build(CONDITIONAL)
    local name = "level.1.step.2.invconv"
    -- Two equal rows of W for any x.
    for _, what in ipairs { "weight", "bias" } do
      local rows = parameter(model, name .. ".cn.fc3." .. what).value
      rows = rows:reshape(4, rows:count() // 4)
      rows[2]:copy(rows[1])
    end
    local d = model:diagnose(x, y)
    only_faulty(d, name, "W is singular")
    assert.equal(0, row(d, name).rcond)
    assert.is_nil(d.loss)
    assert.is_truthy(d.message:find(name, 1, true))
  end)

  it("a nearly singular W", function()
    local model, _, y = build(PLAIN)
    local name = "level.2.step.1.invconv"
    local w = parameter(model, name .. ".weight").value
    w[2]:copy(w[1])
    w[2][1] = w[2][1] + 1e-6
    only_faulty(model:diagnose(nil, y), name, "W is nearly singular")
  end)

  it("an exploding scale", function()
    local model, _, y = build(PLAIN)
    parameter(model, "level.1.step.1.actnorm.logs").value[3] = 20
    only_faulty(model:diagnose(nil, y), "level.1.step.1.actnorm", "scales from .* to 4.9e%+08")
  end)

  it("a vanishing scale", function()
    local model, x, y = build(CONDITIONAL)
    parameter(model, "prior.logs").value:fill(-12)
    only_faulty(model:diagnose(x, y), "prior", "scales from 6.1e%-06")
  end)

  it("a scale that overflows", function()
    local model, _, y = build(PLAIN)
    parameter(model, "level.1.step.2.actnorm.logs").value[1] = 200
    only_faulty(model:diagnose(nil, y), "level.1.step.2.actnorm", "not finite")
  end)

  for _, weight in ipairs {
    "level.1.step.2.coupling.net.conv2.weight", "level.2.step.1.invconv.cn.fc1.weight",
    "level.1.step.1.actnorm.cn.conv1.bias", "level.1.split.conv.weight", "prior.mean",
  } do
    it("a NaN in " .. weight, function()
      local model, x, y = build(CONDITIONAL)
      local value = parameter(model, weight).value
      value:reshape(value:count())[2] = 0 / 0
      local d = model:diagnose(x, y)
      local name = weight:match("^level%.%d+%.step%.%d+%.%l+") or weight:match("^level%.%d+%.split") or "prior"
      only_faulty(d, name, weight:sub(#name + 2):gsub("%p", "%%%0") .. " is not finite")
      assert.is_true(row(d, name).non_finite > 0)
    end)
  end

  it("dead ReLUs in a conditioning network", function()
    local model, x, y = build(CONDITIONAL)
    local name = "level.2.step.1.actnorm"
    parameter(model, name .. ".cn.conv2.bias").value:fill(-1e3)
    local d = model:diagnose(x, y)
    only_faulty(d, name, "no gradient reaches .*cn.conv2.weight.*: dead ReLUs")
    -- What lies after the dead layer's outputs still learns.
    for _, dead in ipairs(row(d, name).dead) do assert.is_nil(dead:find("fc3.bias", 1, true)) end
  end)

  it("dead ReLUs in a coupling", function()
    local model, _, y = build(PLAIN)
    parameter(model, "level.1.step.1.coupling.net.norm2.bias").value:fill(-1e3)
    only_faulty(model:diagnose(nil, y), "level.1.step.1.coupling", "net.conv1.weight.*: dead ReLUs")
  end)

  it("an inverse that is none", function()
    local model, x, y = build(CONDITIONAL)
    local Bad = {}
    function Bad.forward(_, t)
      local logdet = {}
      for n = 1, t:size(1) do logdet[n] = 0 end
      return t, logdet
    end
    function Bad.inverse(_, t) return t * 1.01 end
    function Bad.backward(_, dz) return dz, dz:narrow(2, 1, 1):reshape(4, 16) end
    function Bad.parameters() return {} end
    model:replace { level = 1, step = 2, part = "actnorm", flow = Bad, cn = require("cglow").nn.Linear {
      in_features = 64, out_features = 16,
    } }
    only_faulty(model:diagnose(x, y), "level.1.step.2.actnorm", "the inverse is off by 1.0e%-02")
  end)

  it("several of them", function()
    local model, x, y = build(CONDITIONAL)
    parameter(model, "level.1.step.1.coupling.net.conv3.bias").value[1] = 1 / 0
    parameter(model, "level.2.step.2.invconv.cn.fc3.weight").value:fill(0 / 0)
    assert.same({ "level.1.step.1.coupling", "level.2.step.2.invconv" }, model:diagnose(x, y).faulty)
  end)

  it("an input that is not finite, instead of a layer", function()
    local model, x, y = build(CONDITIONAL)
    y:reshape(y:count())[3] = 1 / 0
    local d = model:diagnose(x, y)
    assert.same({ "y" }, d.faulty)
    assert.is_truthy(tostring(d):find("faulty: y: 1 numbers are not finite", 1, true))
  end)
end)
