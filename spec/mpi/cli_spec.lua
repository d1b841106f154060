-- Commands that mpirun starts several times: they work as one.
local core = require "cglow.core"
local image = require "cglow.image"
local ranks = require "spec.support.ranks"
local toy = require "spec.support.toy"

local LUA <const> = os.getenv "LUA" or "lua5.4"
local TOY <const> = LUA .. " spec/support/toy_task.lua "

describe("Commands of several ranks", function()
  if not ranks.here then return pending "needs Open MPI's mpirun and cglow.mpi (make mpi)" end

  local folder, remove
  setup(function() folder, remove = toy.folder() end)
  teardown(function() remove() end)

  -- What n processes of a command print, and how they end.
  local function run(n, arguments, options)
    return ranks.run(n, TOY .. arguments:gsub("DIR", folder), options)
  end

  local function must(n, arguments, options)
    local said, status = run(n, arguments, options)
    assert.equal(0, status, said)
    return said
  end

  it("train with one voice", function()
    local said = must(3, "train --run DIR/run --steps 12")
    assert.equal(1, select(2, said:gsub("images to learn from", "")), said)
    assert.truthy(said:find("3 ranks of 1 thread;", 1, true), said)
    assert.equal(1, select(2, said:gsub("step 10  validation", "")), said)
    said = must(3, "train --run DIR/run --steps 16 --resume")
    assert.equal(1, select(2, said:gsub("run folder: " .. folder, "", 1)), said)
  end)

  it("evaluate to the same figures on one, two and three ranks", function()
    -- Five images of 8×8 with 3 samples each, one at a time.
    local function figures(n)
      local said = must(n, "evaluate --run DIR/run", "-x TOY_AT_ONCE=200")
      assert.equal(1, select(2, said:gsub("held%-out images", "")), said)
      return said:match "(c%-Glow .-)\n"
    end
    local one = figures(1)
    assert.truthy(one)
    assert.equal(one, figures(2))
    assert.equal(one, figures(3))
  end)

  it("predict each file once, to the same picture", function()
    local files = {}
    for i = 1, 5 do
      files[i] = ("%s/photo%d.png"):format(folder, i)
      assert(image.save(files[i], core.Rng(i):uniform(3, 8, 8)))
    end
    local list = table.concat(files, " ")
    local one = must(1, ("predict --run DIR/run --out DIR/one %s"):format(list))
    local three = must(3, ("predict --run DIR/run --out DIR/three %s"):format(list))
    assert.equal(one:gsub("/one/", "/three/"), three) -- in the same order, too
    for i = 1, 5 do
      local function picture(out) return toy.read(("%s/%s/photo%d.png"):format(folder, out, i)) end
      assert.equal(picture "one", picture "three")
    end
  end)

  it("say once what was wrong with them", function()
    for _, arguments in ipairs {"train --stps 3", "train --run DIR/none --resume", "evaluate --run DIR/none"} do
      local said, status = run(3, arguments)
      assert.equal(2, status, said)
      assert.equal(1, select(2, said:gsub("binary_segmentation: ", "")), said)
    end
  end)

  it("end once by a signal, with all saved", function()
    local said, status = run(2, "train --run DIR/interrupted --steps 1000", "-x TOY_INTERRUPT=90")
    assert.equal(130, status, said)
    assert.equal(1, select(2, said:gsub("saved " .. folder .. "/interrupted/checkpoints", "")), said)
    local step = math.tointeger(tonumber(said:match "stopped at step (%d+) of 1000"))
    must(2, ("train --run DIR/interrupted --steps %d --resume"):format(step + 1))
  end)
end)
