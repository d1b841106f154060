--- What a user does with a model, cut into stages. The C programs beside this
-- file run the stages under a failing allocator and in two threads.
--
-- A stage is a function of the world and, where the stage has one, of what its
-- `prepare(world)` made. It returns a string that is the same every time, so
-- a wrong result shows as well as a crash.
local cglow = require "cglow"
local core = require "cglow.core"

local M = {}

local function digest(...)
  local parts = {}
  for i, t in ipairs {...} do parts[i] = ("%08x"):format(core.file.crc32c(t)) end
  return table.concat(parts, " ")
end

local function model()
  return cglow.Model {
    x = {1, 8, 8}, y = {1, 4, 4}, levels = 2, depth = 1, rng = cglow.Rng(1), init = "live",
    cn = {channels = 2, width = 3}, coupling = {width = 4}, learned_prior = true,
  }
end

-- A model whose layers share one encoder, which every layer reads.
local function encoded()
  return cglow.Model {
    x = {1, 8, 8}, y = {1, 4, 4}, levels = 1, depth = 1, rng = cglow.Rng(1), encoder = {channels = {2, 3}},
    coupling = {width = 4}, head = {outputs = 2}, condition = {injector = true, actnorm = true, invconv = true},
  }
end

-- One whose flow models what its head leaves of y.
local function leaving()
  return cglow.Model {
    x = {1, 8, 8}, y = {1, 4, 4}, levels = 1, depth = 1, rng = cglow.Rng(1), encoder = {channels = {2, 3}},
    coupling = {width = 4}, head = {outputs = 1, loss = "squared_error", residual = 2},
  }
end

-- A model of its own, a batch, an optimizer; nothing else holds on to them.
local function world(folder, made)
  local w = {folder = folder, model = made or model(), rng = cglow.Rng(2)}
  w.x, w.y = cglow.Rng(3):uniform(2, 1, 8, 8), cglow.Rng(4):normal(2, 1, 4, 4)
  w.optimizer = cglow.optim.Adam(w.model:parameters(), {lr = 1e-3, clip_value = 0.25})
  return w
end

local function train_step(w, opts)
  w.model:zero_grad()
  assert(w.model:loss_and_grad(w.x, w.y, opts))
  w.optimizer:step()
end

local function log_prob(subject, w) return digest((subject:log_prob(w.x, w.y))) end

local function checkpoint(w) return w.folder .. "/model.safetensors" end

--- What the world's model and its checkpoint, once saved, compute: any harm that
-- a stage does to them shows here.
function M.check(w)
  local saved = w.saved and log_prob(assert(cglow.load(checkpoint(w))), w)
  return log_prob(w.model, w) .. (saved or "")
end

M.stages = {
  {name = "build", run = function(w)
    local new = world(w.folder)
    return log_prob(new.model, new)
  end},
  {name = "train", prepare = function(w) return world(w.folder) end, run = function(_, fresh)
    train_step(fresh)
    train_step(fresh)
    return log_prob(fresh.model, fresh)
  end},
  {name = "train an encoder", prepare = function(w) return world(w.folder, encoded()) end, run = function(_, fresh)
    local target = {head = cglow.ones(2, 4, 4)}
    train_step(fresh, target)
    train_step(fresh, target)
    local drawn = fresh.model:predict(fresh.x, {samples = 2, rng = cglow.Rng(6)})
    return log_prob(fresh.model, fresh) .. digest(drawn, fresh.model:head(fresh.x))
  end},
  {name = "train what a head leaves", prepare = function(w)
    return world(w.folder, leaving())
  end, run = function(_, fresh)
    train_step(fresh, {head = fresh.y})
    train_step(fresh, {head = fresh.y})
    local _, latents = fresh.model:log_prob(fresh.x, fresh.y)
    return digest(fresh.model:decode(fresh.x, latents), fresh.model:predict(fresh.x, {samples = 2, rng = cglow.Rng(6)}))
  end},
  {name = "read ahead", run = function()
    local readers <close> = assert(core.readers(1, 2, "return function(i) return {i, {text = 'of ' .. i}} end"))
    assert(readers:ask(7))
    while not readers:ready(7) do end
    local got, why = readers:take(7)
    assert(got, why)
    return got[1] .. got[2].text
  end},
  {name = "sample", run = function(w)
    local cond = w.model:condition(w.x)
    local drawn = w.model:sample(cond, {n = 2, rng = cglow.Rng(5)})
    return digest(drawn, w.model:predict(w.x, {samples = 2, rng = cglow.Rng(6)}))
  end},
  {name = "decode", run = function(w)
    local _, latents = w.model:log_prob(w.x, w.y)
    return digest(w.model:decode(w.x, latents))
  end},
  {name = "maximize", run = function(w) return digest((w.model:maximize(w.x, {steps = 2}))) end},
  {name = "save", run = function(w)
    assert(w.model:save(checkpoint(w)))
    w.saved = true
    return log_prob(w.model, w)
  end},
  {name = "load", run = function(w) return log_prob(assert(cglow.load(checkpoint(w))), w) end},
  {name = "images", run = function(w)
    local picture = w.folder .. "/picture."
    local seen = {}
    for _, kind in ipairs {"png", "jpg", "pgm"} do
      assert(cglow.image.save(picture .. kind, cglow.image.resize(w.x[1], 5, 6)))
      seen[#seen + 1] = digest((assert(cglow.image.load(picture .. kind))))
    end
    return table.concat(seen, " ")
  end},
  {name = "tensors", run = function(w)
    local t = cglow.cat({w.x, w.x * 2 - 1}, 1):narrow(1, 2, 2):reshape(2, 64)
    return digest(t:exp(), t:select(1, 1)) .. tostring(t) .. #t:totable()
  end},
}

-- A trained model with all of its task, for requests.
M.stages[#M.stages + 1] = {name = "open", prepare = function(w)
  local path = w.folder .. "/opened.safetensors"
  local pair = cglow.Model {x = {3, 8, 8}, y = {1, 8, 8}, levels = 1, depth = 1, rng = cglow.Rng(1),
    encoder = {channels = {2, 2}}, coupling = {width = 2}}
  assert(pair:save(path, {metadata = {cell_width = "1",
    task = '{"name": "pairs", "settings": {"kind": "mask", "samples": 2}}'}}))
  local opened = assert(cglow.open(path))
  os.remove(path)
  return opened
end, run = function(_, opened)
  local picture = cglow.Rng(7):uniform(3, 9, 12)
  local said = assert(opened:predict(picture))
  return digest(said.answer, said.mean, said.std) .. tostring(opened:score(picture, said.answer).log_prob)
end}

M.world = world

return M
