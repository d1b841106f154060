-- The mean gradient of all ranks is the gradient of all their samples.
local ranks = require "spec.support.ranks"

describe("ranks with a share of the samples each", function()
  if not ranks.here then return pending "needs Open MPI's mpirun and cglow.mpi (make mpi)" end

  -- {ranks, samples on each}: rows of factors up to 32 samples together, then matrices
  -- formed of them, then (16 features on 40 samples) matrices that are added up.
  for _, case in ipairs {{1, 4}, {2, 2}, {3, 1}, {4, 2}, {3, 12}, {2, 40}} do
    it(("train as one process does: %d × %d"):format(case[1], case[2]), function()
      for _, through in ipairs {"memory", "messages"} do
        local said = ranks.must(case[1], "gradients", case[2] .. " paper " .. through)
        assert.equal(case[1], select(2, said:gsub("equal", "")), said)
      end
    end)
  end

  for n = 1, 4 do
    it(("train a model with an encoder as one process does: %d × 2"):format(n), function()
      for _, through in ipairs {"memory", "messages"} do
        local said = ranks.must(n, "gradients", "2 encoder " .. through)
        assert.equal(n, select(2, said:gsub("equal", "")), said)
      end
    end)
  end
end)
