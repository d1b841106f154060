--- What the ranks of a world tell each other in a step: the mean of all their gradients.
--
-- Fully connected layers' gradients are outer products of as many rows as there are samples;
-- of these the rows travel, as long as they are less than the matrix. The others are added
-- up.
--
-- Ranks of one machine write both into memory that all of them see; when the last one is done
-- each adds up a share of the sums and reads the others'. Between machines they travel in buckets: a
-- bucket sets out as soon as the backward pass is done with its parameters, and travels while it
-- goes on.
--
-- A rank whose step was refused gives zeros, so that all give and get the same.
-- @module cglow.train.exchange
local core = require "cglow.core"
local clock = core.system.clock

local Exchange = {}
Exchange.__index = Exchange

local M = {}

M.BUCKET = 1 << 18 -- numbers that travel, from which on a bucket is full

local BYTES <const> = core.scalar == "double" and 8 or 4 -- of a number

-- ---- the plan -----------------------------------------------------------------

local function count(p) return p.value:count() end

-- Numbers of the factors of a rank's gradient.
local function factors(p, samples)
  local rows = p.value:size(1)
  return samples * (rows + count(p) // rows)
end

-- Fill buckets of one kind in the order in which the parts of the model are done.
local function filler(plan, kind, travels, full)
  local bucket
  local function close()
    plan[#plan + 1], bucket = bucket, nil
  end
  return function(p, part)
    bucket = bucket or {kind = kind, params = {}, numbers = 0}
    table.insert(bucket.params, p)
    bucket.part, bucket.numbers = part, bucket.numbers + travels(p)
    if bucket.numbers >= full then close() end
  end, close
end

-- The parts of a model in the order in which backward is done with them.
local function parts_of(model)
  if model.gradient_parts then return model:gradient_parts() end
  local all, reversed = model:parameters(), {}
  for i = #all, 1, -1 do reversed[#reversed + 1] = all[i] end
  return {reversed}
end

--- What travels in a step, in the order in which it sets out.
-- @param model with `parameters` and perhaps `gradient_parts`
-- @tparam integer samples in each rank's backward pass
-- @tparam integer ranks
-- @tparam[opt=true] boolean keep_rows may factors travel?
-- @tparam[opt=BUCKET] number full numbers that travel, from which on a bucket is full
-- @treturn {table,...} buckets: `kind` ("factors" or "flat"), `params`, `part` of the model with which
-- it is complete, `numbers` that leave each rank
function M.plan(model, samples, ranks, keep_rows, full)
  local plan = {}
  local function new(kind, travels) return filler(plan, kind, travels, full or M.BUCKET) end
  local add_factors, close_factors = new("factors", function(p) return (ranks - 1) * factors(p, samples) end)
  local add_flat, close_flat = new("flat", function(p) return 2 * (ranks - 1) * count(p) / ranks end)
  for part, params in ipairs(parts_of(model)) do
    for _, p in ipairs(params) do
      local less = (ranks - 1) * factors(p, samples) < 2 * (ranks - 1) / ranks * count(p)
      if keep_rows ~= false and less and core.is_outer_product(p) then add_factors(p, part) else add_flat(p, part) end
    end
  end
  close_factors()
  close_flat()
  -- The order in which buckets are sent, the same on all ranks.
  table.sort(plan, function(x, y)
    if x.part ~= y.part then return x.part < y.part end
    return x.numbers > y.numbers
  end)
  return plan
end

-- ---- buckets ------------------------------------------------------------------

local function nothing() end

-- A bucket has `begin`, before the gradients are computed, `pack`, when they are, and `unpack`, when
-- those of all ranks have come. Of two ways to send it one is added: `set_out`, which makes the transfer the
-- first time; or `share`, which lets it lie in shared memory and returns that, and `combine`.
local equip = {}

function equip.factors(self, bucket)
  local all_ranks = core.gradient_factors(bucket.params, self.samples, self.ranks)
  local own, all = all_ranks:tensors()
  bucket.begin = function() all_ranks:begin() end
  bucket.pack = function() all_ranks:pack(1 / self.ranks) end
  bucket.set_out = function() return self.mpi.igather(own, all) end
  bucket.unpack = function() all_ranks:unpack() end
  bucket.count = own:count()
  bucket.share = function(memory) all_ranks:lie_in(memory:tensors()) end
  bucket.combine = self.mpi.barrier
end

function equip.flat(self, bucket)
  local flat = core.gradient_flat(bucket.params)
  local tensor = flat:tensor()
  bucket.begin = nothing
  bucket.pack = function() flat:complete() end
  bucket.unpack = function() flat:arrive() end
  bucket.set_out = function() return self.mpi.iallreduce(tensor, 1 / self.ranks) end
  bucket.count = tensor:count()
  bucket.share = function(memory)
    flat:lie_in((memory:tensors()))
    bucket.combine = function() memory:sum(1 / self.ranks) end
  end
end

-- ---- by messages ----------------------------------------------------------------

local Messages = {}

local function send(bucket)
  bucket.pack()
  if bucket.transfer then bucket.transfer:start() else bucket.transfer = bucket.set_out() end
end

function Messages:part_done(part)
  local buckets = self.buckets
  self.mpi.progress()
  while buckets[self.next] and buckets[self.next].part <= part do
    send(buckets[self.next])
    self.next = self.next + 1
  end
end

--- Wait for what all ranks have sent.
function Messages:collect()
  for _, bucket in ipairs(self.buckets) do
    bucket.transfer:wait()
    bucket.unpack()
  end
end

-- ---- through memory -------------------------------------------------------------

local Memory = {}

-- There is nothing to set out early: what others read, the backward pass itself writes.
function Memory:part_done(part)
  if part < math.maxinteger then return end
  for _, bucket in ipairs(self.buckets) do bucket.pack() end
end

--- Add up what all ranks have written. When the last rank is here nobody reads another's numbers any more.
function Memory:collect()
  for _, bucket in ipairs(self.buckets) do
    bucket.combine()
    bucket.unpack()
  end
  self.mpi.barrier()
end

-- Let all buckets lie in shared memory, if there is such.
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string why not, on rank 0 what others say, too
local function share(self)
  for _, bucket in ipairs(self.buckets) do
    local memory, why = self.mpi.share(bucket.count)
    if not memory then return nil, why end
    bucket.memory = memory
  end
  for _, bucket in ipairs(self.buckets) do bucket.share(bucket.memory) end
  return true
end

-- ---- an exchange -----------------------------------------------------------------

local function new(self, way, full)
  self.way, self.next = way, 1
  self.buckets = M.plan(self.model, self.samples, self.ranks, self.keep_rows, full)
  for _, bucket in ipairs(self.buckets) do equip[bucket.kind](self, bucket) end
  return self
end

--- An exchange of a model's gradients; all ranks make the same ones in the same order.
-- @param mpi the module `cglow.mpi`
-- @param model with `parameters` and perhaps `gradient_parts`
-- @tparam integer samples in each rank's backward pass
-- @tparam[opt] boolean keep_rows is there one backward pass in a step? Gradients of
-- several are no outer products of so many rows
-- @treturn Exchange `by_messages`: nil, or why ranks of one machine do not share memory
function M.new(mpi, model, samples, keep_rows)
  local self = setmetatable({
    mpi = mpi, model = model, ranks = mpi.size(), samples = samples, keep_rows = keep_rows,
    waited = 0.0, -- seconds, for other ranks
  }, Exchange)
  self.done = function(part) self:part_done(part) end
  if mpi.share and mpi.host_ranks() == self.ranks then
    local ok, why = share(new(self, Memory, math.huge))
    if ok then return self end
    self.by_messages = table.concat(mpi.gather(why))
  end
  return new(self, Messages)
end

--- Bytes that leave this rank in a step, or that the others read.
function Exchange:bytes()
  local numbers = 0
  for _, bucket in ipairs(self.buckets) do numbers = numbers + bucket.numbers end
  return numbers * BYTES
end

--- Before the backward pass, when all gradients count as zero.
function Exchange:begin()
  self.next = 1
  for _, bucket in ipairs(self.buckets) do bucket.begin() end
end

--- The backward pass is done with a part of the model (and with all before it).
-- @tparam integer part its place in `gradient_parts`
function Exchange:part_done(part) self.way.part_done(self, part) end

--- The backward pass is over, or there was none.
function Exchange:send_rest() self:part_done(math.maxinteger) end

--- Wait until all has arrived: the gradients are the means of all ranks' then.
function Exchange:finish()
  local before = clock()
  self.way.collect(self)
  self.waited = self.waited + clock() - before
end

return M
