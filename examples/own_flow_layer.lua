#!/usr/bin/env lua5.4
--- A flow layer of one's own, in Lua: a conditional sinh-arcsinh transform, which
-- makes the tails of a distribution heavier or lighter.
--
--     z = sinh(e^d · arcsinh(y + b))     per channel, d = tail + tanh(cond_1…C), b = tanh(cond_C+1…2C)
--     log|dz/dy| = d + log cosh(v) − ½·log(1 + (y + b)²),  v = e^d · arcsinh(y + b)
--
-- The condition has 2C numbers, as actnorm's has, so it can take actnorm's place.
-- Run as a program, this swaps one into a small model and trains for a few steps.
local here = not ... and arg[0]:match "^(.*)/[^/]*$" or "."
if not ... then
  package.path = ("%s/../lua/?.lua;%s/../lua/?/init.lua;%s"):format(here, here, package.path)
  package.cpath = ("%s/../lua/?.so;%s"):format(here, package.cpath)
end
local cglow = require "cglow"
local number = require("cglow.run.format").number

local SinhArcsinh = {__name = "SinhArcsinh"}
SinhArcsinh.__index = SinhArcsinh

--- @tparam integer channels C
function SinhArcsinh.new(channels)
  return setmetatable({channels = channels, tail = cglow.Param(cglow.zeros(channels), "tail")}, SinhArcsinh)
end

local function arcsinh(t) return t:sign() * (t:abs() + (t * t + 1):sqrt()):log() end

local function sinh_cosh(t)
  local up, down = t:exp(), (-t):exp()
  return (up - down) * 0.5, (up + down) * 0.5
end

local function tanh(v) return (math.exp(2 * v) - 1) / (math.exp(2 * v) + 1) end

-- e^d, d, b and the two tanh of sample n and channel c. Several samples may share
-- a condition: with k for each, sample n has the condition (n − 1) // k + 1.
function SinhArcsinh:numbers(cond, samples, n, c)
  local row = cond[math.floor((n - 1) * #cond / samples) + 1]
  local s, b = tanh(row[c]), tanh(row[self.channels + c])
  local d = self.tail.value[c] + s
  return math.exp(d), d, b, s
end

--- y: N×C×H×W, cond: N×2C. Gives z, and the list of log|det dz/dy|, one for each sample.
function SinhArcsinh:forward(y, cond)
  local z, logdet = y:clone(), {}
  for n = 1, #y do
    logdet[n] = 0.0
    for c = 1, self.channels do
      local scale, d, b = self:numbers(cond, #y, n, c)
      local u = y[n][c] + b
      local sinh, cosh = sinh_cosh(arcsinh(u) * scale)
      z[n][c] = sinh
      logdet[n] = logdet[n] + d * u:count() + cosh:log():sum() - 0.5 * (u * u + 1):log():sum()
    end
  end
  self.y, self.cond = y, cond -- for backward
  return z, logdet
end

--- The y that forward takes to z.
function SinhArcsinh:inverse(z, cond)
  local y = z:clone()
  for n = 1, #z do
    for c = 1, self.channels do
      local scale, _, b = self:numbers(cond, #z, n, c)
      y[n][c] = sinh_cosh(arcsinh(z[n][c]) * (1 / scale)) - b
    end
  end
  return y
end

--- dz: gradient with respect to z; g: with respect to logdet, a number or a list.
-- Gives the gradients with respect to y and to cond, and adds to the parameter's.
function SinhArcsinh:backward(dz, g)
  local y, cond = self.y, self.cond
  local dy, dcond, dtail = y:clone(), cglow.zeros(cond:size()), self.tail.grad
  for n = 1, #y do
    local gn = type(g) == "number" and g or g[n]
    for c = 1, self.channels do
      local scale, _, b, s = self:numbers(cond, #y, n, c)
      local u = y[n][c] + b
      local root = (u * u + 1):sqrt()
      local v = arcsinh(u) * scale
      local sinh, cosh = sinh_cosh(v)
      local dv = dz[n][c] * cosh + (sinh / cosh) * gn     -- d(loss)/dv, log cosh included
      local du = dv * scale / root - u / (root * root) * gn
      local dd = (dv * v):sum() + gn * u:count()
      dy[n][c] = du
      dtail[c] = dtail[c] + dd
      dcond[n][c] = dd * (1 - s * s)
      dcond[n][self.channels + c] = du:sum() * (1 - b * b)
    end
  end
  return dy, dcond
end

function SinhArcsinh:parameters(prefix)
  if prefix then self.tail.name = prefix .. "tail" end
  return {self.tail}
end

function SinhArcsinh:__tostring() return ("SinhArcsinh of %d channels, conditional"):format(self.channels) end

if ... then return SinhArcsinh end

cglow.seed(1)
local model = cglow.Model {
  x = {3, 32, 32}, y = {3, 32, 32}, levels = 2, depth = 2, cn = {channels = 8, width = 16}, coupling = {width = 32},
}
model:replace {level = 1, step = 1, part = "actnorm", flow = SinhArcsinh.new(model.levels[1].shape[1])}
local data = cglow.data.horses(assert(cglow.data.sample_dir "binary_segmentation"), {split = "train", size = 32})
print(model.levels[1].steps[1].actnorm.flow)
local trainer = cglow.train.Trainer {
  model = model, train = data:dequantise(), steps = 40, log_every = 10, optimizer = {lr = 1e-3, clip_value = 0.25},
}
print(number("%.3f", trainer:run().nll) .. " bits per dimension after 40 steps")
