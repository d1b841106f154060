--- What the ranks of a world tell each other in a step: the mean of all their gradients.
--
-- Fully connected layers' gradients are outer products of as many rows as there are samples;
-- of these the rows travel, as long as they are less than the matrix. The others are added
-- up in buckets. A bucket sets out as soon as the backward pass is done with its
-- parameters, and travels while it goes on.
--
-- A rank whose step was refused sends zeros, so that all send and receive the same.
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
local function filler(plan, kind, travels)
  local bucket
  local function close()
    plan[#plan + 1], bucket = bucket, nil
  end
  return function(p, part)
    bucket = bucket or {kind = kind, params = {}, numbers = 0}
    table.insert(bucket.params, p)
    bucket.part, bucket.numbers = part, bucket.numbers + travels(p)
    if bucket.numbers >= M.BUCKET then close() end
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
-- @treturn {table,...} buckets: `kind` ("factors" or "flat"), `params`, `part` of the model with which
-- it is complete, `numbers` that leave each rank
function M.plan(model, samples, ranks, keep_rows)
  local plan = {}
  local add_factors, close_factors = filler(plan, "factors", function(p) return (ranks - 1) * factors(p, samples) end)
  local add_flat, close_flat = filler(plan, "flat", function(p) return 2 * (ranks - 1) * count(p) / ranks end)
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

-- A bucket has `begin`, before the gradients are computed, `pack`, before it sets out,
-- `unpack`, when it has arrived, and `set_out`, which makes the transfer the first time.
local equip = {}

function equip.factors(self, bucket)
  local shared = core.gradient_factors(bucket.params, self.samples, self.ranks)
  local own, all = shared:tensors()
  bucket.begin = function() shared:begin() end
  bucket.pack = function() shared:pack(1 / self.ranks) end
  bucket.set_out = function() return self.mpi.igather(own, all) end
  bucket.unpack = function() shared:unpack() end
end

function equip.flat(self, bucket)
  local flat = core.gradient_flat(bucket.params)
  local tensor = flat:tensor()
  bucket.begin, bucket.unpack = nothing, nothing
  bucket.pack = function() flat:complete() end
  bucket.set_out = function() return self.mpi.iallreduce(tensor, 1 / self.ranks) end
end

--- An exchange of a model's gradients; all ranks make the same ones in the same order.
-- @param mpi the module `cglow.mpi`
-- @param model with `parameters` and perhaps `gradient_parts`
-- @tparam integer samples in each rank's backward pass
-- @tparam[opt=true] boolean keep_rows is there one backward pass in a step? Gradients of
-- several are no outer products of so many rows
-- @treturn Exchange
function M.new(mpi, model, samples, keep_rows)
  local self = setmetatable({
    mpi = mpi, ranks = mpi.size(), samples = samples, next = 1,
    buckets = M.plan(model, samples, mpi.size(), keep_rows),
    waited = 0.0, -- seconds, for messages to arrive
  }, Exchange)
  for _, bucket in ipairs(self.buckets) do equip[bucket.kind](self, bucket) end
  self.done = function(part) self:part_done(part) end
  return self
end

--- Bytes that leave this rank in a step.
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

local function send(bucket)
  bucket.pack()
  if bucket.transfer then bucket.transfer:start() else bucket.transfer = bucket.set_out() end
end

--- The backward pass is done with a part of the model (and with all before it).
-- @tparam integer part its place in `gradient_parts`
function Exchange:part_done(part)
  local buckets = self.buckets
  self.mpi.progress()
  while buckets[self.next] and buckets[self.next].part <= part do
    send(buckets[self.next])
    self.next = self.next + 1
  end
end

--- The backward pass is over, or there was none: the rest sets out.
function Exchange:send_rest() self:part_done(math.maxinteger) end

--- Wait until all has arrived: the gradients are the means of all ranks' then.
function Exchange:finish()
  local before = clock()
  for _, bucket in ipairs(self.buckets) do
    bucket.transfer:wait()
    bucket.unpack()
  end
  self.waited = self.waited + clock() - before
end

return M
