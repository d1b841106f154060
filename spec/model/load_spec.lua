-- What cglow.load and Model:save promise besides the numbers: nothing of one model in
-- another, nothing lost without a word, nothing kept that the caller may change.
local cglow = require "cglow"
local core = require "cglow.core"
local scratch = require "spec.fixtures.scratch"

local networks = require "cglow.model.networks"

local SMALL <const> = { x = { 1, 8, 8 }, y = { 1, 8, 8 }, levels = 1, depth = 1, cn = { channels = 2, width = 4 },
  coupling = { width = 4 } }

local function small()
  cglow.seed(7)
  return cglow.Model(SMALL)
end

-- Values of all parameters, as bytes.
local function bytes(model)
  local parts = {}
  for i, p in ipairs(model:parameters()) do parts[i] = core.file.crc32c(p.value) end
  return table.concat(parts, " ")
end

-- A flow layer with one parameter, which scales by its exponential.
local function scaling(logs, name)
  local L = { p = core.Param(core.full({ 1 }, logs), name or "logs") }
  function L:forward(y)
    local each = {}
    for i = 1, y:size(1) do each[i] = self.p.value[1] * y:count() / y:size(1) end
    return y * math.exp(self.p.value[1]), each
  end
  function L:inverse(z) return z * math.exp(-self.p.value[1]) end
  function L:backward(dz) return dz * math.exp(self.p.value[1]), core.zeros(dz:size(1), 8) end
  function L:parameters() return { self.p } end
  return L
end

describe("A model that is being loaded", function()
  local folder, path, want
  before_each(function()
    folder = scratch.folder()
    path = folder .. "/m.safetensors"
    local model = small()
    want = bytes(model)
    assert(model:save(path))
  end)
  after_each(function() scratch.remove(folder) end)

  -- The file's limit of numbers, and that nothing is started, are this model's alone.
  local function others_are_sound()
    assert.are.equal(want, bytes(small()))
    assert.is_userdata(core.Param(core.zeros(1 << 21)))
  end

  local function load(make) return cglow.load(path, { coupling = { width = 4, make = make } }) end

  it("leaves others alone while a function of the user's waits inside", function()
    local waiting = coroutine.create(load)
    assert(coroutine.resume(waiting, function(spec)
      coroutine.yield()
      return networks.coupling_cn(spec)
    end))
    others_are_sound()
    local _, model = assert(coroutine.resume(waiting))
    assert.are.equal(want, bytes(model))
    others_are_sound()
  end)

  it("leaves alone those that a function of the user's makes", function()
    local model = assert(load(function(spec)
      others_are_sound()
      assert.are.equal(want, bytes(assert(cglow.load(path))))
      return networks.coupling_cn(spec)
    end))
    assert.are.equal(want, bytes(model))
  end)

  it("leaves others alone after an error in between, as of Ctrl-C at the prompt", function()
    local model, message = load(function() error "mine" end)
    assert.is_nil(model)
    assert.matches("mine", message, 1, true)
    others_are_sound()
    local instructions = 0
    debug.sethook(function() instructions = instructions + 1 end, "", 1)
    cglow.load(path)
    debug.sethook()
    instructions = instructions - 10 -- those around the call
    for i = 0, 40 do
      local k, n = 1 + (instructions - 1) * i // 40, 0
      pcall(function()
        debug.sethook(function()
          n = n + 1
          if n == k then
            debug.sethook()
            error("interrupted!", 0)
          end
        end, "", 1)
        cglow.load(path)
        debug.sethook()
      end)
      others_are_sound()
    end
  end)
end)

describe("A model with layers of one's own", function()
  local folder <const> = scratch.each(before_each, after_each)
  local path <const> = folder .. "/m.safetensors"

  local WHERE <const> = { level = 1, step = 1, part = "actnorm" }
  local function where(flow) return { level = WHERE.level, step = WHERE.step, part = WHERE.part, flow = flow } end
  local function with(logs)
    local model = small()
    model:replace(where(scaling(logs)))
    return model
  end
  local x, y = core.rand(2, 1, 8, 8), core.rand(2, 1, 8, 8)

  it("comes back whole when the layers are given", function()
    local model = with(0.25)
    assert(model:save(path))
    local loaded = assert(cglow.load(path, { replace = { where(scaling(0)) } }))
    assert.is_true(loaded:log_prob(x, y):equal((model:log_prob(x, y))))
  end)

  it("is not loaded without them, unless that is asked for", function()
    assert(with(0.25):save(path))
    local model, message = cglow.load(path)
    assert.is_nil(model)
    assert.matches("parameters of layers that this model has not, 'logs'", message, 1, true)
    model = assert(cglow.load(path, { strict = false }))
    assert.are.equal(#small():parameters(), #model:parameters())
  end)

  it("is not loaded with others either", function()
    assert(small():save(path))
    local model, message = cglow.load(path, { replace = { where(scaling(0)) } })
    assert.is_nil(model)
    assert.matches("tensor 'logs' is missing", message, 1, true)
  end)

  it("says which override is wrong", function()
    assert(small():save(path))
    assert.error_matches(function() cglow.load(path, { replace = 3 }) end,
      "cglow.load: option 'replace' must be a table, got")
    assert.error_matches(function() cglow.load(path, { strict = "no" }) end,
      "cglow.load: option 'strict' must be a boolean, got")
    local model, message = cglow.load(path, { replace = { { level = 9, step = 1, part = "actnorm" } } })
    assert.is_nil(model)
    assert.matches("Model:replace: option 'level'", message, 1, true)
  end)

  it("is no feed-forward network", function()
    local network = require("cglow.feedforward").Segmenter {x = {1, 8, 8}, y = {1, 8, 8}, channels = 2, depth = 1,
      classes = 2}
    assert(network:save(path))
    for _, read in ipairs {cglow.load, cglow.open} do
      local model, message = read(path)
      assert.is_nil(model)
      assert.equal(path .. ": no flow, but a feed-forward network ('Segmenter'), which cglow.feedforward.load reads",
        message)
    end
  end)

  it("is not saved, nor filled, when two parameters have one name", function()
    local model = cglow.Glow { y = { 1, 8, 8 }, levels = 1, depth = 2, coupling = { width = 4 } }
    for step = 1, 2 do model:replace { level = 1, step = step, part = "actnorm", flow = scaling(step) } end
    assert.error_matches(function() model:save(path) end,
      "Model:save: parameters with names of their own expected, got two called 'logs'")
    assert.is_nil(io.open(path))
    local ok, message = require("cglow.model.file").fill(model, { logs = core.zeros(1) }, {})
    assert.is_nil(ok)
    assert.matches("two parameters called 'logs'", message, 1, true)
  end)
end)

describe("A file that does not fit", function()
  local folder, path
  before_each(function()
    folder = scratch.folder()
    path = folder .. "/m.safetensors"
    assert(small():save(path))
  end)
  after_each(function() scratch.remove(folder) end)

  -- The file again, with some tensors taken away (false) or put in.
  local function rewrite(changes)
    local tensors, metadata = cglow.load_tensors(path)
    for name, t in pairs(changes) do tensors[name] = t or nil end
    assert(cglow.save_tensors(path, tensors, metadata))
  end

  -- What is told while f runs, and what f gives.
  local function told(f)
    local notify, said = cglow.data.notify, {}
    cglow.data.notify = function(text) said[#said + 1] = text end
    finally(function() cglow.data.notify = notify end)
    local result = f()
    cglow.data.notify = notify
    return said, result
  end

  local MISSING <const> = "level.1.step.1.coupling.net.conv1.weight"

  it("is refused, and its missing tensors are named", function()
    rewrite { [MISSING] = false }
    local model, message = cglow.load(path)
    assert.is_nil(model)
    assert.matches("tensor '" .. MISSING .. "' is missing", message, 1, true)
  end)

  it("is refused, and its unknown tensors are named", function()
    rewrite { ["level.1.step.2.actnorm.logs"] = core.zeros(4), ["prior.mean"] = core.zeros(4, 4, 4),
      ["encoder.in.weight"] = core.zeros(1), ["head.bias"] = core.zeros(1) }
    local model, message = cglow.load(path)
    assert.is_nil(model)
    assert.matches("that this model has not, 'encoder.in.weight', 'head.bias', "
      .. "'level.1.step.2.actnorm.logs', and 1 more", message, 1, true)
  end)

  it("is taken on request: what is missing starts, and all is told", function()
    rewrite { [MISSING] = false, ["prior.mean"] = core.zeros(4, 4, 4) }
    cglow.seed(11)
    local said, model = told(function() return assert(cglow.load(path, { strict = false })) end)
    assert.same({ ("cglow.load: not in the file and as a new model has them: %s; in the file, but not in the model: "
      .. "'prior.mean'"):format(MISSING) }, said)
    cglow.seed(11)
    local new, old = cglow.Model(SMALL), small()
    for i, p in ipairs(model:parameters()) do
      local want = p.name == MISSING and new or old
      assert.is_true(p.value == want:parameters()[i].value, p.name)
    end
  end)

  it("is refused even then if a tensor has another shape", function()
    rewrite { [MISSING] = core.zeros(1) }
    local model, message = cglow.load(path, { strict = false })
    assert.is_nil(model)
    assert.matches("has shape 1, expected 4x4x3x3", message, 1, true)
  end)

  it("may hold other things beside the parameters, of which nothing is said", function()
    rewrite { ["optimizer.level.1.m"] = core.zeros(3), notes = core.zeros(1), ["level"] = core.zeros(1) }
    local said, model = told(function() return cglow.load(path) end)
    assert.is_table(model)
    assert.same({}, said)
  end)

  it("cannot be made by Model:save: such names are the parameters' own", function()
    for _, name in ipairs { "level.9.x", "prior.scale", "encoder.x", "head.x" } do
      assert.error_matches(function() small():save(path, { tensors = { [name] = core.zeros(1) } }) end,
        ("Model:save: tensor '%s' is a parameter's name"):format(name:gsub("%.", "%%.")))
    end
  end)
end)

describe("Model:replace", function()
  it("wants something to put there", function()
    local model = small()
    assert.error_matches(function() model:replace { level = 1, step = 1, part = "actnorm" } end,
      "option 'cn' or 'flow' is required: what takes the part's place; got neither")
  end)
end)

describe("A shape that a model was given", function()
  it("may change afterwards", function()
    local folder = scratch.folder()
    finally(function() scratch.remove(folder) end)
    local shape, list = { 1, 8, 8 }, {}
    for i, size in ipairs { 8, 16 } do
      shape[2], shape[3] = size, size
      list[i] = cglow.Model { x = shape, y = shape, levels = 1, depth = 1, cn = { channels = 2, width = 4 },
        coupling = { width = 2 } }
      list[i + 2] = cglow.feedforward.Segmenter { x = shape, y = shape, classes = 2, channels = 2, depth = 1 }
      list[i + 4] = cglow.feedforward.Residual { x = shape, y = shape, channels = 2, depth = 2 }
    end
    for i, model in ipairs(list) do
      local size, path = i % 2 == 1 and 8 or 16, folder .. "/m.safetensors"
      assert(model:save(path))
      local loaded = assert((model.levels and cglow.load or cglow.feedforward.load)(path))
      local x = core.rand(1, 1, size, size)
      assert.are.same({ 1, 1, size, size }, model:predict(x):size())
      assert.are.same({ 1, 1, size, size }, loaded:predict(x):size())
    end
  end)
end)
