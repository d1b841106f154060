--- The processes that train together, as a trainer sees them: one rank among several, or
-- a process of its own, which is the same with nobody to ask.
--
-- Every rank makes the same steps on samples of its own and has the same weights, bit for bit.
-- Rank 0 alone keeps a run folder and says what happens. Whatever one rank alone knows (a
-- signal, a full disk, a sample that cannot be read) is told to all before anyone acts on it.
-- @module cglow.train.world
local check = require "cglow.util.check"
local checkpoint = require "cglow.train.checkpoint"
local core = require "cglow.core"
local exchange = require "cglow.train.exchange"
local json = require "cglow.util.json"
local start = require "cglow.train.start"
local stop = require "cglow.train.stop"
local streams = require "cglow.util.streams"

local M = {}

-- Added to the seed for each rank, so that their noise differs; above all of the seed's
-- other shares.
local RANK_STREAM <const> = 1 << 34

local CHECK_EVERY <const> = 100 -- steps between two comparisons of all weights

-- ---- a process of its own ------------------------------------------------------

-- luacheck: no self
local Alone = {size = 1, rank = 0}
Alone.__index = Alone

--- Choose the samples of the next batch.
-- @param shuffle
-- @tparam {integer,...} indices overwritten
-- @tparam integer batch
function Alone:fill(shuffle, indices, batch) shuffle:fill(indices, batch) end

--- This process's samples among those of the next batches, as far as the epoch goes.
-- @param shuffle
-- @tparam integer batch
-- @tparam integer count of batches
-- @treturn {integer,...} indices
function Alone:upcoming(shuffle, batch, count) return shuffle:upcoming(batch * count) end

--- Set the stream of noise for a step.
function Alone:set_noise() end

--- Before the gradients of a step are computed.
-- @treturn ?function to be told of each part of the model with which the last backward
-- pass of the step is done
function Alone:begin() end

--- Make the gradients those of all ranks' samples.
-- @tparam ?number loss of this rank's samples, or nil
-- @tparam ?string why there is none
-- @tparam ?boolean failed is that a failure, which ends the training?
-- @treturn ?number the loss of all samples; nil when a rank has none
-- @treturn ?string why
function Alone:reduce(loss, why, failed)
  if failed then stop.raise("failed", why) end
  return loss, why
end

--- Call a function that may end the training on this rank alone: it does so on all, at the
-- next `settle` or `agree`.
function Alone:attempt(f, ...) f(...) end

--- Has a call of `attempt` failed on any rank?
function Alone:settle() end

--- Agree on whether to go on.
-- @treturn ?string the signal that has come to one of the ranks
function Alone:agree(_, catch) return catch:received() end

--- Take the run folder and bring all ranks to where the run stands.
function Alone:open(trainer) trainer.store:open(trainer) end

--- Rank 0's metrics, on all ranks.
-- @tparam {[string]=number} metrics
function Alone:same(metrics) return metrics end

--- Compute numbers for 1..count, each on one rank.
-- @tparam integer count
-- @tparam function compute gives a number, or nil and a message
-- @treturn[1] {number,...}
-- @treturn[2] nil
-- @treturn[2] string the first message
function Alone:numbers(count, compute)
  local list = {}
  for i = 1, count do
    local value, message = compute(i)
    if not value then return nil, message end
    list[i] = value
  end
  return list
end

--- Compute tensors for 1..count, each on one rank, and visit them all on every rank.
-- @tparam integer count
-- @tparam function compute gives a tensor; its shape must not depend on the rank
-- @tparam function visit is called with the number and the tensor, in order
function Alone:tensors(count, compute, visit)
  for i = 1, count do visit(i, compute(i)) end
end

--- Compute texts for 1..count, each on one rank, and visit them all on every rank.
-- @tparam integer count
-- @tparam function compute gives a text
-- @tparam function visit is called with the number and the text, in order
function Alone:texts(count, compute, visit)
  for i = 1, count do visit(i, compute(i)) end
end

--- A process of its own.
M.ALONE = setmetatable({}, Alone)

-- ---- one of several --------------------------------------------------------------

local Ranks = {}
Ranks.__index = Ranks

local METHODS <const> = {"rank", "size", "sum", "gather", "broadcast", "igather", "iallreduce", "progress", "barrier"}

--- The world of a module like `cglow.mpi`.
-- @tparam ?table mpi nil: a process of its own
-- @treturn World
function M.of(mpi)
  if mpi == nil then return M.ALONE end
  check.methods("Trainer", "world", mpi, METHODS)
  if mpi.size() == 1 then return M.ALONE end
  return setmetatable({mpi = mpi, rank = mpi.rank(), size = mpi.size()}, Ranks)
end

-- All ranks' samples stand in the stream one after the other, rank 0's first.
function Ranks:fill(shuffle, indices, batch)
  shuffle:fill(indices, batch * self.size)
  table.move(indices, batch * self.rank + 1, batch * (self.rank + 1), 1)
  for i = batch * self.size, batch + 1, -1 do indices[i] = nil end
end

function Ranks:upcoming(shuffle, batch, count)
  local mine = {}
  for place, i in ipairs(shuffle:upcoming(batch * count * self.size)) do
    if (place - 1) // batch % self.size == self.rank then mine[#mine + 1] = i end
  end
  return mine
end

-- A part of the stream for each step, and a stream for each rank: nothing of it needs to be kept.
function Ranks:set_noise(noise, seed, step)
  noise:set_state(core.Rng(seed + RANK_STREAM * self.rank):state())
  streams.cut(noise)(step)
end

--- Prepare the exchange of a model's gradients.
-- @param model
-- @tparam table o `batch` and `accumulate` of the trainer
function Ranks:prepare(model, o)
  self.exchange = exchange.new(self.mpi, model, o.batch, o.accumulate == 1)
end

function Ranks:begin()
  self.exchange:begin()
  return self.exchange.done
end

-- What ranks have to say, each text with its rank.
local function who(self, text)
  local list = {}
  for i, said in ipairs(self.mpi.gather(text or "")) do
    if said ~= "" then list[#list + 1] = ("rank %d: %s"):format(i - 1, said) end
  end
  return table.concat(list, "; ")
end

function Ranks:reduce(loss, why, failed)
  self.exchange:send_rest()
  local total, refused, failures = self.mpi.sum(loss or 0, loss and 0 or 1, failed and 1 or 0)
  self.exchange:finish()
  if failures > 0 then stop.raise("failed", who(self, failed and why or nil)) end
  if refused > 0 then return nil, who(self, not loss and why or nil) end
  return total / self.size
end

-- A rank in which f fails does not go its own way, because others would wait for it: it tells them
-- when ranks next speak.
function Ranks:attempt(f, ...)
  local ok, why = pcall(f, ...)
  if ok then return end
  if not stop.is(why) then error(why, 0) end
  self.failure = self.failure or why
end

-- End the training everywhere, because it has failed on one rank.
local function fail_together(self)
  local mine = self.failure
  self.failure = nil
  for rank, text in ipairs(self.mpi.gather(mine and string.pack("zz", mine.reason, mine.message) or "")) do
    if text ~= "" then
      local reason, message = string.unpack("zz", text)
      stop.raise(reason, rank == 1 and message or ("rank %d: %s"):format(rank - 1, message))
    end
  end
end

--- Has a call of `attempt` failed on any rank?
-- @raise the failure, on all of them
function Ranks:settle()
  if self.mpi.sum(self.failure and 1 or 0) > 0 then fail_together(self) end
end

-- Weights that differ: which, and on which ranks.
local function find_difference(self, model, step)
  for _, p in ipairs(model:parameters()) do
    local sums, others = self.mpi.gather(string.pack("<I4", core.checksum {p})), {}
    for rank = 2, self.size do
      if sums[rank] ~= sums[1] then others[#others + 1] = rank - 1 end
    end
    if #others > 0 then
      stop.raise("failed", ("after step %d '%s' has other numbers on rank %s than on rank 0"):format(step, p.name,
        table.concat(others, ", ")))
    end
  end
end

--- Are the weights the same on all ranks, bit for bit?
-- @raise as a failure that names the parameter and the ranks
function Ranks:compare(model, step)
  local sums = self.mpi.gather(string.pack("<I4", core.checksum(model:parameters())))
  for rank = 2, self.size do
    if sums[rank] ~= sums[1] then return find_difference(self, model, step) end
  end
end

function Ranks:agree(trainer, catch)
  local signal = catch:received()
  local stops, ints, terms, failures = self.mpi.sum(trainer.stopping and 1 or 0, signal == "INT" and 1 or 0,
    signal == "TERM" and 1 or 0, self.failure and 1 or 0)
  if failures > 0 then fail_together(self) end
  if stops > 0 then
    local why = self.mpi.gather(trainer.stopping or "")
    for rank = 1, self.size do
      if why[rank] ~= "" then trainer.stopping = why[rank] break end
    end
  end
  if trainer.at.step % CHECK_EVERY == 0 then self:compare(trainer.model, trainer.at.step) end
  return ints > 0 and "INT" or terms > 0 and "TERM" or nil
end

-- ---- opening -----------------------------------------------------------------------

-- A checkpoint that rank 0 has read, for all: what tensors it has, then their numbers.
local function share_checkpoint(self, loaded)
  local names, head = {}, nil
  if self.rank == 0 then
    for name in pairs(loaded.tensors) do names[#names + 1] = name end
    table.sort(names)
    local shapes = {}
    for i, name in ipairs(names) do shapes[i] = loaded.tensors[name]:size() end
    head = json.encode({names = names, shapes = shapes, metadata = loaded.metadata, state = loaded.state,
      steps = loaded.steps, updates = loaded.updates}, {not_finite = "null"})
  end
  head = self.mpi.broadcast(head or "")
  if self.rank > 0 then
    local told = assert(json.decode(head))
    names, told.names = told.names, nil
    loaded = checkpoint.of(told)
    loaded.tensors = {}
    for i, name in ipairs(names) do loaded.tensors[name] = core.zeros(told.shapes[i]) end
  end
  for _, name in ipairs(names) do self.mpi.broadcast(loaded.tensors[name]) end
  return loaded
end

-- Give all ranks the weights of rank 0: they may have started their models differently.
local function share_model(self, trainer)
  local averages = trainer.averaging:trained()
  for _, p in ipairs(trainer.model:parameters()) do
    self.mpi.broadcast(p.value)
    if averages[p.name] then self.mpi.broadcast(averages[p.name]) end
  end
end

function Ranks:open(trainer)
  self:prepare(trainer.model, trainer.options)
  local why = self.exchange.by_messages
  if why then trainer.progress:note("ranks of this machine send each other messages: " .. why) end
  self:attempt(trainer.store.open, trainer.store, trainer)
  self:settle()
  local loaded = trainer.store.loaded
  if self.mpi.sum(loaded and 1 or 0) > 0 then
    loaded = share_checkpoint(self, loaded)
    if self.rank > 0 then
      self:attempt(function() stop.must(trainer:go_on(loaded)) end)
    end
  else
    start.together(self, trainer)
    share_model(self, trainer)
  end
  self:settle()
end

-- ---- sharing work out ------------------------------------------------------------------

function Ranks:same(metrics)
  local list = {}
  for name, value in pairs(metrics) do list[#list + 1] = string.pack("<s4n", name, value) end
  local text, at, result = self.mpi.broadcast(table.concat(list)), 1, {}
  while at <= #text do
    local name, value
    name, value, at = string.unpack("<s4n", text, at)
    result[name] = value
  end
  return result
end

function Ranks:numbers(count, compute)
  local mine, failure = {}, ""
  for i = self.rank + 1, count, self.size do
    local value, message = compute(i)
    if not value then failure = message break end
    mine[#mine + 1] = string.pack("<n", value)
  end
  local said = who(self, failure)
  if said ~= "" then return nil, said end
  local list, size = {}, string.packsize "<n"
  for rank, text in ipairs(self.mpi.gather(table.concat(mine))) do
    for k = 0, #text // size - 1 do list[k * self.size + rank] = string.unpack("<n", text, k * size + 1) end
  end
  return list
end

-- The shape of a rank's tensor is told first, because the last one may be smaller.
function Ranks:tensors(count, compute, visit)
  for first = 1, count, self.size do
    local own = first + self.rank <= count and compute(first + self.rank)
    local last = math.min(first + self.size - 1, count)
    for i = first, last do
      local root = i - first
      local shape = self.mpi.broadcast(own and table.concat(own:size(), " ") or "", root)
      local t = own
      if root ~= self.rank then
        local size = {}
        for n in shape:gmatch "%d+" do size[#size + 1] = math.tointeger(n) end
        t = core.zeros(size)
      end
      visit(i, self.mpi.broadcast(t, root))
    end
  end
end

function Ranks:texts(count, compute, visit)
  for first = 1, count, self.size do
    local mine = first + self.rank
    local texts = self.mpi.gather(mine <= count and compute(mine) or "")
    for i = first, math.min(first + self.size - 1, count) do visit(i, texts[i - first + 1]) end
  end
end

-- ---- who says and keeps -----------------------------------------------------------------

local function nothing() end
local SILENT <const> = {step = nothing, validation = nothing, note = nothing, record = nothing, warn = nothing,
  close = nothing}

--- A rank other than 0 says nothing and keeps nothing.
-- @tparam World world
-- @tparam table o the trainer's options
-- @treturn table what the store of the run is told
-- @treturn ?table the display, when there is to be none
function M.roles(world, o)
  if world.rank == 0 then return o, nil end
  return {keep = o.keep}, SILENT
end

return M
