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

M.BUCKET = 1 << 20 -- numbers that travel, from which on a bucket is full

local BYTES <const> = core.scalar == "double" and 8 or 4 -- of a number

-- Less travels into each rank as rows of all others than as a matrix that is added up.
local function rows_are_less(p, samples, ranks)
  local shape = p.value:size()
  local rows, count = shape[1], p.value:count()
  return samples * (ranks - 1) * (rows + count // rows) < 2 * (ranks - 1) / ranks * count
end

-- ---- buckets ------------------------------------------------------------------

-- A bucket has `pack`, called before it sets out, and `unpack`, when it has arrived, and
-- the transfer between them, made the first time.

local function factors_bucket(self, params)
  local factors = core.gradient_factors(params, self.samples, self.ranks)
  local own, all = factors:tensors()
  return {
    bytes = own:count() * BYTES * (self.ranks - 1),
    begin = function() factors:begin() end,
    pack = function() factors:pack(1 / self.ranks) end,
    set_out = function() return self.mpi.igather(own, all) end,
    unpack = function() factors:unpack() end,
  }
end

local function flat_bucket(self, params)
  local flat = core.gradient_flat(params)
  local tensor = flat:tensor()
  return {
    bytes = 2 * tensor:count() * BYTES * (self.ranks - 1) // self.ranks,
    begin = function() end,
    pack = function() flat:complete() end,
    set_out = function() return self.mpi.iallreduce(tensor, 1 / self.ranks) end,
    unpack = function() end,
  }
end

-- Fill buckets of one kind in the order in which the parts of the model are done.
local function filler(self, make, size_of)
  local params, size, last = {}, 0, 0
  local function close()
    if #params == 0 then return end
    local bucket = make(self, params)
    bucket.part = last
    self.buckets[#self.buckets + 1] = bucket
    params, size = {}, 0
  end
  return function(p, part)
    params[#params + 1], last = p, part
    size = size + size_of(p)
    if size >= M.BUCKET then close() end
  end, close
end

local function count(p) return p.value:count() end

local function build(self, parts, keep_rows)
  local function rows_of(p)
    return (self.ranks - 1) * self.samples * (p.value:size(1) + count(p) // p.value:size(1))
  end
  local add_rows, close_rows = filler(self, factors_bucket, rows_of)
  local add_flat, close_flat = filler(self, flat_bucket, count)
  for part, params in ipairs(parts) do
    for _, p in ipairs(params) do
      if keep_rows and core.is_outer_product(p) and rows_are_less(p, self.samples, self.ranks) then
        add_rows(p, part)
      else
        add_flat(p, part)
      end
    end
  end
  close_rows()
  close_flat()
  -- The order in which buckets are sent, the same on all ranks.
  table.sort(self.buckets, function(a, b)
    if a.part ~= b.part then return a.part < b.part end
    return a.bytes > b.bytes
  end)
end

-- The parts of a model in the order in which backward is done with them.
local function parts_of(model)
  if model.gradient_parts then return model:gradient_parts() end
  local all = model:parameters()
  local reversed = {}
  for i = #all, 1, -1 do reversed[#reversed + 1] = all[i] end
  return {reversed}
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
    mpi = mpi, ranks = mpi.size(), samples = samples, buckets = {}, next = 1,
    waited = 0.0, -- seconds, for messages to arrive
  }, Exchange)
  build(self, parts_of(model), keep_rows ~= false)
  self.done = function(part) self:part_done(part) end
  return self
end

--- Bytes that leave this rank in a step.
function Exchange:bytes()
  local bytes = 0
  for _, bucket in ipairs(self.buckets) do bytes = bytes + bucket.bytes end
  return bytes
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
