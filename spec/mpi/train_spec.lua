-- A trainer in several processes: what happens to one of them happens to all.
local scratch = require "spec.fixtures.scratch"
local core = require "cglow.core"
local json = require "cglow.util.json"
local ranks = require "spec.support.ranks"
local sets = require "spec.support.sets"
local safetensors = require "cglow.util.safetensors"
local toy = require "spec.support.toy"

local LUA <const> = os.getenv "LUA" or "lua5.4"

describe("Trainers of several ranks", function()
  if not ranks.here then return pending "needs Open MPI's mpirun and cglow.mpi (make mpi)" end

  local folder <const> = scratch.each(before_each, after_each)

  -- Runs spec/mpi/ranks/train.lua in n processes.
  -- @return what each rank says, {reason =, step =, message =, nll =, signal =, weights =},
  -- the exit status, and all text
  local function run(n, name, steps, what, who)
    local text, status = ranks.run(n, ("%s spec/mpi/ranks/train.lua %s/%s %d %s %s"):format(
      LUA, folder, name, steps, what or "nothing", who or ""))
    local said = {}
    for rank, reason, step, message, nll, signal, weights in text:gmatch(
      "rank (%d): (%a+) at step (%d+): ([^;\n]*); nll (%S+); signal (%a+); weights (%x+)") do
      said[tonumber(rank) + 1] = {reason = reason, step = tonumber(step), message = message, nll = nll, signal = signal,
        weights = weights}
    end
    return said, status, text
  end

  -- What n ranks say, which must all end alike.
  local function together(n, ...)
    local said, status, text = run(n, ...)
    assert.equal(0, status, text)
    assert.equal(n, #said, text)
    for rank = 2, n do assert.same(said[1], said[rank], text) end
    return said[1], text
  end

  local function checkpoints(name)
    return require "cglow.run.folder".at(folder .. "/" .. name):steps()
  end

  -- Everything in a checkpoint but the seconds that the training has taken.
  local function contents(name, step)
    local tensors, metadata = assert(safetensors.load(("%s/%s/checkpoints/step-%08d.safetensors"):format(
      folder, name, step)))
    local list = {training = json.decode(metadata.training)}
    list.training.state.at.seconds = nil
    for key, t in pairs(tensors) do list[key] = t:totable() end
    return list
  end

  local function log_of(name)
    return (toy.read(("%s/%s/log.jsonl"):format(folder, name)):gsub('"seconds":[%d.]+,', ""))
  end

  it("have the same weights and figures, and rank 0 alone keeps and says something", function()
    local said, text = together(3, "a", 24)
    assert.equal("done", said.reason)
    assert.same({8, 16, 24}, checkpoints "a")
    assert.equal(1, select(2, text:gsub("step 20  validation", "")))
    assert.equal(24 // 3 + 3, select(2, log_of "a":gsub("\n", "")))
    assert.same(said, together(3, "b", 24)) -- once more: the same bits
    assert.same(log_of "a", log_of "b")
  end)

  it("learn the same by messages as through shared memory, and say why where there is none", function()
    local said, logs = together(3, "a", 24), log_of "a"
    assert.same(said, together(3, "b", 24, "messages"))
    assert.equal(logs, log_of "b")
    local without, text = together(3, "c", 24, "no_memory")
    assert.same(said, without)
    local says = "ranks of this machine send each other messages: memory that ranks share cannot be made: "
    assert.truthy(text:find(says, 1, true), text)
  end)

  it("start from rank 0's model when theirs differ", function()
    assert.same(together(2, "a", 11), together(2, "b", 11, "other_model"))
  end)

  it("stop together by a signal to one of them, and go on to the same bits", function()
    local said = together(3, "a", 24, "signal", 1)
    assert.same({"interrupted", 9, "TERM"}, {said.reason, said.step, said.signal})
    assert.same({8, 9}, checkpoints "a")
    local resumed = together(3, "a", 24, "resume")
    assert.same(together(3, "b", 24), resumed)
    assert.same(contents("b", 24), contents("a", 24))
    assert.same(log_of "b", log_of "a")
  end)

  it("stop together by Ctrl-C on mpirun, which gives them time when it is told to", function()
    local text, status = ranks.run(3, ("%s spec/mpi/ranks/train.lua %s/a 100000 ctrl_c"):format(LUA, folder),
      "--mca odls_base_sigkill_timeout 10")
    assert.not_equal(0, status)
    local steps = {}
    for step in text:gmatch "interrupted at step (%d+)" do steps[#steps + 1] = tonumber(step) end
    assert.same({steps[1], steps[1], steps[1]}, steps, text)
    local kept = checkpoints "a"
    assert.equal(steps[1], kept[#kept])
  end)

  it("go on with another number of ranks, and say what differs", function()
    together(3, "a", 8)
    local said, text = together(2, "a", 16, "resume")
    assert.same({"done", 16}, {said.reason, said.step})
    local says = "the run was on 3 ranks, 6 samples a step; it goes on on 2, 4 samples a step"
    assert.truthy(text:find(says, 1, true), text)
    local alone = run(1, "a", 20, "resume")
    assert.same({"done", 20}, {alone[1].reason, alone[1].step})
  end)

  it("let a model start from all their samples, as one process does from its own", function()
    local one = together(1, "a", 1, "start").weights
    for n = 2, 4 do assert.equal(one, together(n, "of" .. n, 1, "start").weights) end
  end)

  it("learn the same from files that threads of each of them read ahead", function()
    for i = 1, 13 do
      sets.save(("%s/x/%02d.png"):format(folder, i), core.Rng(i):uniform(3, 8, 8))
      sets.save(("%s/y/%02d.png"):format(folder, i), core.Rng(i + 99):uniform(1, 8, 8):gt(0.5))
    end
    local without, logs = together(2, "a", 15, "files", 0), log_of "a"
    for threads = 1, 3 do
      local name = "ahead" .. threads
      assert.same(without, together(2, name, 15, "files", threads))
      assert.equal(logs, log_of(name))
    end
    assert.not_equal(without.weights, together(2, "more", 16, "files", 0).weights) -- weights do tell
  end)

  it("refuse a step together", function()
    local said, text = together(3, "a", 12, "nan", 2)
    assert.equal("done", said.reason)
    assert.truthy(text:find("step 6 skipped: rank 2: y is not finite", 1, true), text)
  end)

  it("end together when one of them cannot go on, and say which", function()
    for what, says in pairs {missing = "rank 1: the sample is gone", disk = "rank 1: no room on the disk"} do
      local said = together(3, what, 24, what, 1)
      assert.same({"failed", says}, {said.reason, said.message})
    end
    local said = together(2, "root", 24, "disk", 0)
    assert.same({"failed", "no room on the disk"}, {said.reason, said.message})
    said = together(3, "stop", 24, "stop", 2)
    assert.same({"stopped", 7, "stopped at step 7: enough of it"}, {said.reason, said.step, said.message})
  end)

  it("find weights that differ, and on which rank", function()
    local said, status, text = run(3, "a", 110, "differ", 2)
    assert.equal(0, status, text)
    local says = "^after step 100 'level%.%S+' has other numbers on rank 2 than on rank 0$"
    for rank = 1, 3 do assert.truthy(said[rank].message:find(says), text) end
  end)

  it("end when one of them has an error or is killed, and its rank is named", function()
    local _, status, text = run(3, "error", 24, "error", 1)
    assert.equal(1, status)
    assert.truthy(text:find("a callback's mistake", 1, true), text)
    assert.truthy(text:find("rank 1 of 3 ends with status 1", 1, true), text)
    _, status, text = run(3, "kill", 24, "kill", 1)
    assert.not_equal(0, status)
    assert.truthy(text:find("rank 1[^\n]*exited on signal 9"), text)
    assert.same({8}, checkpoints "kill") -- whole: it can be gone on from
    assert.equal("done", together(3, "kill", 16, "resume").reason)
  end)
end)
