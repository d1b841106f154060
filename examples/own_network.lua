#!/usr/bin/env lua5.4
--- A conditioning network of one's own, in Lua, from the layers in C.
--
-- A network is anything with forward, backward and parameters. `Residual` below
-- is one, out = x + body(x); cglow.nn.Sequential takes it like a layer in C.
-- Run as a program, this trains a small model with it for a few steps.
local here = not ... and arg[0]:match "^(.*)/[^/]*$" or "."
if not ... then
  package.path = ("%s/../lua/?.lua;%s/../lua/?/init.lua;%s"):format(here, here, package.path)
  package.cpath = ("%s/../lua/?.so;%s"):format(here, package.cpath)
end
local cglow = require "cglow"
local number = require("cglow.run.format").number
local nn = cglow.nn

local Residual = {__name = "Residual"}
Residual.__index = Residual

--- out = x + body(x), for a body whose output has the shape of its input.
function Residual.new(body) return setmetatable({body = body}, Residual) end

function Residual:forward(x) return x + self.body:forward(x) end

-- d loss/dx has both ways: straight on, and through the body.
function Residual:backward(dout) return dout + self.body:backward(dout) end

function Residual:parameters(prefix) return self.body:parameters(prefix) end

function Residual:__tostring() return "x + " .. tostring(self.body) end

local WIDTH = 8 -- channels

local function block()
  return Residual.new(nn.Sequential {
    "conv1", nn.Conv2d {in_channels = WIDTH, out_channels = WIDTH, padding = 1}, nn.ReLU(),
    "conv2", nn.Conv2d {in_channels = WIDTH, out_channels = WIDTH, padding = 1},
  })
end

-- Conditioning networks learn best with small steps, as the standard ones take; all but the
-- last bias, which says what holds for every x.
local function take_small_steps(net)
  local params = net:parameters ""
  for i = 1, #params - 1 do params[i].step_scale = 1 / 20 end
end

-- The 1×1 convolution's W is tanh of the outputs, and should be far from singular at the
-- start: 0.96 times the identity.
local function near_identity(net, channels)
  local params = net:parameters ""
  local bias = params[#params].value
  for i = 1, channels do bias[(i - 1) * channels + i] = 2 end
end

--- For `cn = {make = …}`: a network from x to spec.outputs numbers.
-- @tparam table spec `kind` ("actnorm" or "invconv"), `level`, `step`, `x` = {C, H, W}, `y` = {C, H, W}, `outputs`
local function make(spec)
  local features = WIDTH * math.floor(spec.x[2] / 4) * math.floor(spec.x[3] / 4)
  local net = nn.Sequential {
    "stem", nn.Conv2d {in_channels = spec.x[1], out_channels = WIDTH, kernel = 4, stride = 4}, nn.ReLU(),
    "block", block(), nn.ReLU(),
    -- which says the same for every x at first; the other layers are born started
    "head", nn.Linear {in_features = features, out_features = spec.outputs, init = "zero"},
  }
  take_small_steps(net)
  if spec.kind == "invconv" then near_identity(net, spec.y[1]) end
  return net
end

if ... then return {Residual = Residual, make = make} end

cglow.seed(1)
local model = cglow.Model {
  x = {3, 32, 32}, y = {3, 32, 32}, levels = 2, depth = 2, cn = {make = make}, coupling = {width = 32},
}
local data = cglow.data.horses(assert(cglow.data.sample_dir "binary_segmentation"), {split = "train", size = 32})
print(model.levels[1].steps[1].actnorm.cn)
local trainer = cglow.train.Trainer {
  model = model, train = data:dequantise(), steps = 40, log_every = 10, optimizer = {lr = 1e-3, clip_value = 0.25},
}
print(number("%.3f", trainer:run().nll) .. " bits per dimension after 40 steps")
