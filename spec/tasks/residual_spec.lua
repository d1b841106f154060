-- Which tasks' flows begin with what the head says, and what becomes of runs from before they did.
local settings = require "cglow.tasks.settings"

local PICTURES <const> = {denoising = 1, depth_refinement = 1, inpainting = 4} -- what the head says is so many times y
local CLASSES <const> = {"binary_segmentation", "multiclass_segmentation"}

local function task(name) return require("cglow.tasks." .. name) end

local function head_of(name, changes)
  local s = settings.defaults(task(name), "encoder")
  for key, value in pairs(changes or {}) do s[key] = value end
  return settings.model(s, task(name).head).head
end

describe("the setting head.residual", function()
  it("tells the flow which multiple of y the head says, where it says one", function()
    for name, scale in pairs(PICTURES) do
      assert.equal(1 / scale, head_of(name, {["head.residual"] = true}).residual, name)
    end
    for _, name in ipairs(CLASSES) do assert.is_nil(head_of(name, {["head.residual"] = true}).residual, name) end
  end)

  it("is on where that was measured to be better", function()
    assert.equal(1, head_of("denoising").residual)
    assert.equal(1, head_of("depth_refinement").residual)
    assert.is_nil(head_of("inpainting").residual)
  end)

  it("can be turned off", function()
    for name in pairs(PICTURES) do assert.is_nil(head_of(name, {["head.residual"] = false}).residual, name) end
  end)

  it("is refused where it makes no difference", function()
    for _, name in ipairs(CLASSES) do
      local given = {["head.residual"] = true}
      assert.matches("no multiple of y", settings.idle(given, settings.defaults(task(name), "encoder"), task(name)))
    end
  end)

  it("is off in runs that were started before there was one, and in models made then", function()
    local s = settings.defaults(task "denoising", "encoder")
    s["head.residual"] = nil
    assert.is_false(assert(settings.saved {settings = s})["head.residual"])
    s["head.residual"] = true
    assert.is_true(assert(settings.saved {settings = s})["head.residual"])
    assert.is_nil(assert(settings.saved {settings = {batch = 4}})["head.residual"]) -- a file of someone's own
    local old = {head = {outputs = 3, loss = "squared_error", weight = 0.3}}
    assert.is_false(settings.of_model(old)["head.residual"])
    old.head.residual = 0.25
    assert.is_true(settings.of_model(old)["head.residual"])
  end)
end)
