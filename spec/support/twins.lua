--- Layers with random numbers, twins that hold the same, and what is compared of them.
local core = require "cglow.core"

local M = {}

--- Give all parameters random numbers.
function M.start(object, std)
  for _, p in ipairs(object:parameters()) do
    core.rng():fill_normal(p.value)
    p.value:mul(std or 0.3)
  end
  return object
end

--- A fresh object with the same numbers.
function M.twin(make, object)
  local other = make()
  local theirs = object:parameters()
  for i, p in ipairs(other:parameters()) do p.value:copy(theirs[i].value) end
  return other
end

--- Copies of all gradients.
function M.grads(object)
  local list = {}
  for i, p in ipairs(object:parameters()) do list[i] = p.grad:clone() end
  return list
end

--- Two lists of tensors are equal.
function M.same(a, b)
  local assert = require "luassert"
  assert.are.equal(#a, #b)
  for i = 1, #a do assert.is_true(a[i]:equal(b[i])) end
end

return M
