-- What model:replace refuses, and what it leaves alone.
local cglow = require "cglow"
local core = require "cglow.core"
local nn = require "cglow.nn"

describe("Model:replace", function()
  it("leaves the model as it was when the part does not fit", function()
    core.seed(4)
    local model = cglow.Model { x = { 1, 8, 8 }, y = { 1, 4, 4 }, levels = 1, depth = 2,
      cn = { channels = 2, width = 4 }, coupling = { width = 4 } }
    local x, y = core.randn(2, 1, 8, 8), core.randn(2, 1, 4, 4)
    local before = model:log_prob(x, y)
    local taken = model.levels[1].steps[2].actnorm.cn
    assert.is_false(pcall(model.replace, model, { level = 1, step = 1, part = "actnorm", cn = taken }))
    assert.is_false(pcall(model.replace, model, { level = 1, step = 1, part = "actnorm", cn = nn.ReLU() }))
    assert.is_false(pcall(model.replace, model, { level = 1, step = 1, part = "coupling", flow = {} }))
    assert.is_true(model:log_prob(x, y):equal(before))
    assert.is_number(model:loss_and_grad(x, y))
  end)

  it("takes out of the parameters' list what was changed in a copy of it", function()
    local model = cglow.Glow { y = { 1, 4, 4 }, levels = 1, depth = 1, coupling = { width = 4 } }
    local list = model:parameters()
    local n = #list
    for i = 1, n do list[i] = nil end
    assert.are.equal(n, #model:parameters())
  end)
end)
