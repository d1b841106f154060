-- Ranks with a batch each make the steps of one process with all of their samples: every
-- parameter's gradient, the norm of them all, and after a few clipped steps of Adam every weight
-- and every average of weights.
local cglow = require "cglow"
local core = require "cglow.core"
local mpi <close> = require "cglow.mpi"
local exchange = require "cglow.train.exchange"

-- gradients.lua BATCH [encoder|paper [messages]]: "messages" sends what else goes through shared memory.
local batch, encoder = tonumber(arg[1]), arg[2] == "encoder"
local through = arg[3] == "messages" and setmetatable({share = false}, {__index = mpi}) or mpi
local rank, size = mpi.rank(), mpi.size()
exchange.BUCKET = 2000 -- so that there are many

local function model()
  local o = {x = {3, 16, 16}, y = {3, 16, 16}, levels = 2, depth = 2, cn = {channels = 8, width = 16},
    coupling = {width = 16}, rng = core.Rng(1)}
  if encoder then o.cn, o.encoder = nil, {channels = {8, 12, 16}} end
  return cglow.Model(o)
end

local mine, one = model(), model()
cglow.seed(5)
local x, y = cglow.rand(size * batch, 3, 16, 16), cglow.rand(size * batch, 3, 16, 16)
local own_x, own_y = x:narrow(1, rank * batch + 1, batch), y:narrow(1, rank * batch + 1, batch)
local shared = exchange.new(through, mine, batch)
assert((shared.buckets[1].transfer == nil) and (shared.buckets[1].memory == nil) == (through.share == false))
local options = {lr = 1e-3, clip_norm = 1}
local average, average_of_one = core.average(mine:parameters()), core.average(one:parameters())
local adam, adam_of_one = cglow.optim.Adam(mine:parameters(), options), cglow.optim.Adam(one:parameters(), options)

-- Largest difference of two parameters' numbers, relative to the largest of them.
local function apart(a, b) return (a - b):abs():max() / (b:abs():max() + 1e-30) end

local function compare(what, field, most)
  local ps, qs = mine:parameters(), one:parameters()
  for i, p in ipairs(ps) do
    local d = apart(p[field], qs[i][field])
    if d > most or d ~= d then error(("step %s: %s of %s is %g apart"):format(what, field, p.name, d), 0) end
  end
end

local function step(number)
  mine:zero_grad()
  shared:begin()
  local loss = assert(mine:loss_and_grad(own_x, own_y, {done = mine.gradient_parts and shared.done or nil}))
  shared:send_rest()
  shared:finish()
  one:zero_grad()
  local loss_of_one = assert(one:loss_and_grad(x, y))
  -- the mean of losses in double precision, from densities in single
  assert(math.abs(mpi.sum(loss) / size - loss_of_one) < 1e-5 * math.abs(loss_of_one))
  -- Sums of thousands of products in another order; measured 1e-6 at most.
  if number == 1 then compare(number, "grad", 1e-5) end
  local norm, norm_of_one = assert(adam:step()), assert(adam_of_one:step())
  assert(math.abs(norm - norm_of_one) < 1e-5 * norm_of_one)
  assert(norm > options.clip_norm, "nothing was clipped")
  average:update(0.5)
  average_of_one:update(0.5)
end

-- Actnorms take their start from other samples: from these their biases' gradients would
-- be 0 but for rounding.
if encoder then
  local other = cglow.rand(4, 3, 16, 16)
  for _, m in ipairs {mine, one} do
    assert(m:loss_and_grad(other, other * 0.5))
    m:zero_grad()
  end
end
for number = 1, 3 do step(number) end
-- Adam divides by the gradient's size, so what is near 0 may take a step the other way.
local MOST <const> = 3 * 2 * options.lr
compare("3", "value", MOST)
local averages, averages_of_one = average:tensors(), average_of_one:tensors()
for i, p in ipairs(mine:parameters()) do
  local d = apart(averages[i], averages_of_one[i])
  if d > MOST or d ~= d then error(("the average of %s is %g apart"):format(p.name, d), 0) end
end

-- All ranks have the same bits.
local numbers = {}
local function add(t) numbers[#numbers + 1] = string.pack(("f"):rep(t:count()), table.unpack(t:totable())) end
for _, p in ipairs(mine:parameters()) do add(p.value) end
for _, t in ipairs(averages) do add(t) end
local all = mpi.gather(table.concat(numbers))
for r = 2, size do assert(all[r] == all[1]) end
print(("rank %d of %d: equal, %.0f bytes"):format(rank, size, shared:bytes()))
