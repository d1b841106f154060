-- Gradients against central differences, and Taylor tests. Meant for the
-- double core.
--
-- A problem is a differentiable function of some tensors:
--   inputs       list of {name = string, tensor = Tensor}, which `value` reads
--   value()      the function at the inputs' present numbers
--   gradients()  its gradient: name -> Tensor
--   sample       of a larger tensor only so many coordinates, drawn at random,
--                are compared (300); the Taylor tests move all of them
--
-- The quotient is the central one of fourth order. Small steps drown in the
-- rounding of f, large ones meet ReLU kinks, where it is no derivative; so steps
-- are taken from large to small until one agrees. A wrong gradient agrees with
-- none of them. Where a kink lies within the smallest step there is nothing to
-- compare with: then the whole point is left for another one. Such kinks are
-- found thus: with S(h) = f(h) − 2f(0) + f(−h), a smooth f has S(h) = 4·S(h/2)
-- up to h⁴, and a kink breaks that by as much as it bends the quotient.
local core = require "cglow.core"

local M = {}

local STEPS = { 1e-3, 1e-4, 1e-5 }
-- TOLERANCE is relative to the larger of the derivative and FLOOR times its tensor's largest one:
-- rounding of f puts ±1e-16·|f|/step on every quotient, small ones too.
local TOLERANCE, FLOOR = 1e-6, 1e-2
local SLOPE, TAYLOR_STEP, DIRECTIONS = 1.9, 2e-4, 3
local POINTS = 5 -- places to try when there are kinks
local SAMPLE = 300

local function quotient(f, h)
  return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)
end

-- Does a kink in [−h, h] explain an error of this size in a quotient?
local function kinked(f, h, f0, quotient_error)
  local function second(s) return f(s) - 2 * f0 + f(-s) end
  return math.abs(second(h) - 4 * second(h / 2)) / (2 * h) > 0.1 * quotient_error
end

local function coordinates(count, sample, rng)
  return table.move(rng:permutation(count), 1, math.min(count, sample), 1, {})
end

-- The derivative g of f at 0 by differences, to within the limit: true, or the
-- closest quotient and its error.
local function agree(f, g, limit)
  local best, least = 0, math.huge
  for _, h in ipairs(STEPS) do
    local q = quotient(f, h)
    local e = math.abs(q - g)
    if e <= limit then return true end
    if e < least then best, least = q, e end
  end
  return false, best, least
end

-- Returns nil, "kink" or a message.
local function check_input(problem, input, gradient, f0, rng)
  local flat = input.tensor:reshape(input.tensor:count())
  local g, largest = gradient:totable(), gradient:abs():max()
  if largest == 0 then return ("the gradient of %s is all zero"):format(input.name) end
  for _, i in ipairs(coordinates(#g, problem.sample or SAMPLE, rng)) do
    local at = flat[i]
    local function f(s)
      flat[i] = at + s
      local v = problem.value()
      flat[i] = at
      return v
    end
    local ok, q, e = agree(f, g[i], TOLERANCE * math.max(math.abs(g[i]), FLOOR * largest))
    if not ok then
      if kinked(f, 2 * STEPS[#STEPS], f0, e) then return "kink" end
      return ("d/d%s[%d] is %.12g by differences, %.12g by the layer"):format(input.name, i, q, g[i])
    end
  end
end

-- A function of how far all inputs have moved along a random direction, and
-- its derivative there by the gradients.
local function along_random_direction(problem, gradients, rng)
  local slope, moves = 0, {}
  for _, input in ipairs(problem.inputs) do
    local v = rng:normal(table.unpack(input.tensor:size()))
    v:mul(1 / math.sqrt(v:count()))
    slope = slope + (v * gradients[input.name]):sum()
    moves[#moves + 1] = { tensor = input.tensor, v = v, home = input.tensor:clone() }
  end
  return function(s)
    for _, m in ipairs(moves) do m.tensor:copy(m.home):add(m.v, s) end
    local value = problem.value()
    for _, m in ipairs(moves) do m.tensor:copy(m.home) end
    return value
  end, slope
end

-- First-order Taylor remainders. Several directions together, since along a
-- single one the second derivative may be next to nothing.
local function check_taylor(problem, gradients, f0, rng)
  local fs, slopes = {}, {}
  for i = 1, DIRECTIONS do fs[i], slopes[i] = along_random_direction(problem, gradients, rng) end
  local t, last = TAYLOR_STEP, nil
  for _ = 1, 4 do
    local sum = 0
    for i = 1, DIRECTIONS do sum = sum + (fs[i](t) - f0 - t * slopes[i]) ^ 2 end
    local remainder = math.sqrt(sum)
    local fall = last and math.log(last / remainder, 2)
    if last and (fall < SLOPE or fall ~= fall) then
      for i = 1, DIRECTIONS do
        if kinked(fs[i], 2 * t, f0, last / t) then return "kink" end
      end
      return ("Taylor remainders fall with slope %.3f (%.3g to %.3g at step %.3g)"):format(
        fall, last, remainder, t)
    end
    last, t = remainder, t / 2
  end
end

local function check_point(problem, rng)
  local gradients = problem.gradients()
  local f0 = problem.value()
  for _, input in ipairs(problem.inputs) do
    local fault = check_input(problem, input, gradients[input.name], f0, rng)
    if fault then return fault end
  end
  return check_taylor(problem, gradients, f0, rng)
end

--- Check a problem.
-- @func build from an Rng to a problem
-- @treturn nil, or a message that says what is wrong
function M.check(build)
  for seed = 1, POINTS do
    local fault = check_point(build(core.Rng(seed)), core.Rng(1000 + seed))
    if fault ~= "kink" then return fault end
  end
  return ("a kink within %g at each of %d points"):format(2 * STEPS[#STEPS], POINTS)
end

return M
