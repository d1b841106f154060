-- Every function of cglow.mpi on every rank; an error ends all.
local core = require "cglow.core"
local mpi <close> = require "cglow.mpi"

local rank, size = mpi.rank(), mpi.size()

local function equal(got, want, what)
  if got ~= want then error(("%s: expected %s, got %s"):format(what, want, got), 2) end
end

local function list(n, of)
  local t = core.zeros(n)
  for i = 1, n do t[i] = of(i) end
  return t
end

equal(tostring(mpi), ("cglow.mpi: rank %d of %d"):format(rank, size), "tostring")
equal(mpi.host_ranks(), size, "all are on this machine")
assert(#mpi.library() > 0)
mpi.barrier()

-- ---- broadcast ----
equal(mpi.broadcast("from " .. rank, size - 1), "from " .. size - 1, "text of the last rank")
equal(mpi.broadcast(rank == 0 and "" or "x"), "", "an empty text")
equal(mpi.broadcast("a\0b"), "a\0b", "a text with a zero")
local t = list(7, function(i) return i * (rank + 1) end)
equal(mpi.broadcast(t), t, "the tensor itself")
for i = 1, 7 do equal(t[i], 1.0 * i, "root's number " .. i) end

-- ---- sums of numbers, texts of all ----
local a, b, c = mpi.sum(1, rank, 0.1)
equal(a, 1.0 * size, "sum of ones")
equal(b, size * (size - 1) / 2, "sum of ranks")
local tenths = 0
for _ = 1, size do tenths = tenths + 0.1 end
equal(c, tenths, "sum of tenths, in double precision")
equal(select("#", mpi.sum()), 0, "sum of nothing")
local texts = mpi.gather(("x"):rep(rank))
equal(#texts, size, "texts")
for r = 1, size do equal(texts[r], ("x"):rep(r - 1), "text of rank " .. r - 1) end

-- ---- sums of tensors: each number in the order of ranks, whatever its place ----
local function value(r, i) return ((i * 7919 + r * 104729) % 1000 - 500) * 10.0 ^ (r * 3) end
local function in_order(i, scale)
  local sum = core.zeros(1)
  for r = 0, size - 1 do sum = sum + core.tensor { value(r, i) } end
  return (sum * scale)[1]
end
for _, n in ipairs { 1, 2, 3, 15, 16, 17, 64, 1000, 5000 } do
  local x = list(n, function(i) return value(rank, i) end)
  mpi.allreduce(x, 0.5)
  for i = 1, n, math.max(1, n // 50) do equal(x[i], in_order(i, 0.5), ("sum of %d numbers, at %d"):format(n, i)) end
end

-- ---- several under way at once, waited for in another order on each rank ----
local xs, transfers = {}, {}
for k = 1, 5 do
  xs[k] = list(100 * k, function(i) return i + k + rank end)
  transfers[k] = mpi.iallreduce(xs[k])
end
for j = 1, 5 do transfers[(j + rank) % 5 + 1]:wait() end
local function check_all(round)
  for k = 1, 5 do
    equal(xs[k][100 * k], round(100 * k + k), "sum number " .. k)
  end
end
check_all(function(first) return size * first + size * (size - 1) / 2 end)

-- ---- and again, without anything made anew ----
for k = 1, 5 do xs[k]:fill(rank + 1) end
collectgarbage()
collectgarbage "stop"
local tensors, before = core.stats().count, collectgarbage "count"
for _ = 1, 20 do
  for k = 1, 5 do xs[k]:fill(rank + 1) end
  for k = 1, 5 do transfers[k]:start() end
  for k = 5, 1, -1 do while not transfers[k]:test() do end end
  mpi.sum(1, 2, 3)
end
local grown = collectgarbage "count" - before
collectgarbage "restart"
equal(grown, 0.0, "kilobytes of garbage")
equal(core.stats().count, tensors, "new tensors")
check_all(function() return size * (size + 1) / 2 end)

-- ---- every rank's numbers ----
local own, all = list(6, function(i) return 10 * rank + i end), core.zeros(size, 6)
local gathered = mpi.igather(own, all)
gathered:wait()
for r = 0, size - 1 do
  for i = 1, 6 do equal(all[r + 1][i], 10.0 * r + i, "gathered") end
end
own:mul(2)
gathered:start()
gathered:wait()
equal(all[size][6], 2.0 * (10 * (size - 1) + 6), "gathered once more")

-- ---- memory that all see ----
local function row_that_outlives(n)
  local shared = mpi.share(n)
  local mine, everyones = shared:tensors()
  equal(table.concat(mine:size(), "x"), "100", "own shape")
  equal(table.concat(everyones:size(), "x"), size .. "x100", "shape of all")
  equal(everyones:abs():max(), 0.0, "zeros at first")
  mpi.barrier()
  for i = 1, n do mine[i] = value(rank, i) end
  mpi.barrier()
  for r = 0, size - 1 do equal(everyones[r + 1][n], core.tensor { value(r, n) }[1], "what was written by " .. r) end
  mpi.barrier()
  for _ = 1, 3 do -- again and again, with what is there
    for i = 1, n do mine[i] = value(rank, i) end
    shared:sum(0.5)
    for i = 1, n do equal(mine[i], in_order(i, 0.5), "shared sum at " .. i) end
  end
  return everyones[size] -- a view keeps the memory
end
do
  local row = row_that_outlives(100)
  collectgarbage()
  collectgarbage()
  equal(row[100], in_order(100, 0.5), "memory that is still looked at")
  local none, why = mpi.share(1 << 40) -- more than any machine has
  equal(none, nil, "too much memory")
  equal(why ~= "", rank == 0, "who says why there is none")
end

-- ---- what is refused, on each rank alone ----
local function refused(says, f, ...)
  local ok, message = pcall(f, ...)
  if ok or not tostring(message):find(says, 1, true) then
    error(("expected a refusal that says '%s', got %s"):format(says, message), 2)
  end
end
refused("cglow.Tensor expected, got nil", mpi.broadcast)
refused("rank from 0 to " .. size - 1, mpi.broadcast, "x", size)
refused("rank from 0 to " .. size - 1, mpi.broadcast, "x", -1)
refused("at most 16 numbers", mpi.sum, table.unpack({}, 1, 17))
refused("number expected", mpi.sum, 1, "x")
refused("string expected", mpi.gather, {})
refused("cglow.Tensor expected", mpi.allreduce, 1)
refused("finite number expected", mpi.allreduce, own, 0 / 0)
refused("finite number expected", mpi.iallreduce, own, math.huge)
refused(("%d × 6 numbers expected, got 5"):format(size), mpi.igather, own, core.zeros(5))
refused("shares no numbers", mpi.igather, all:narrow(1, 1, 1), all)
refused("an integer from 1 to 1099511627776 expected, got 0", mpi.share, 0)
refused("number expected", mpi.share, "many")
local little = mpi.share(1)
refused("Shared expected", little.tensors, own)
refused("Shared expected", little.sum, own)
refused("finite number expected", little.sum, little, 0 / 0)
refused("from 1 to 255", mpi.abort, 0)
refused("Transfer expected", transfers[1].wait, own)
if size > 1 then
  transfers[1]:start()
  if rank == 0 then refused("under way", transfers[1].start, transfers[1]) end
  refused("a transfer is under way", mpi.close)
  transfers[1]:wait()
end
mpi.barrier()
print("rank " .. rank .. " is content")
