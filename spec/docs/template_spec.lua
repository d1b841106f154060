-- The layers of spec/template, added as csrc/README.md says, in a core of their own: do
-- they compile without a warning, and do what a layer must?

local CHILD <const> = [[
package.cpath = "%s/?.so;" .. package.cpath
local core = require "cglow.core"
assert(core.scalar == "double" and core.flow.scale, "not the core with the template")
core.seed(4)
local H = 1e-6 -- of central differences, in double: their error is of order H^2 and 1e-16/H

local function loss(z, logdet, w)
  local sum = (z * w):sum()
  for n, v in ipairs(logdet) do sum = sum + n * v end
  return sum
end

-- d f / d t[i], against what is expected, for a few i.
local function check(what, f, t, gradient)
  local flat, got = t:reshape(-1), gradient:reshape(-1)
  for _, i in ipairs {1, flat:count() // 2 + 1, flat:count()} do
    local old = flat[i]
    flat[i] = old + H
    local above = f()
    flat[i] = old - H
    local below = f()
    flat[i] = old
    local want = (above - below) / (2 * H)
    assert(math.abs(want - got[i]) < 1e-6 * (1 + math.abs(want)), what .. ": " .. want .. " is not " .. got[i])
  end
end

local layer = core.flow.scale(3)
assert(tostring(layer) == "cglow.Scale of 3 channels", tostring(layer))
local s = layer:parameters()[1]
core.rng():fill_normal(s.value)
local y, w = core.randn(2, 3, 4, 2), core.randn(2, 3, 4, 2)
local function run() local z, logdet = layer:forward(y) return loss(z, logdet, w) end
run()
local dy = layer:backward(w, {1, 2}):clone()
check("dy of scale", run, y, dy)
check("ds of scale", run, s.value, s:gradient())
local z, logdet = layer:forward(y)
assert((layer:inverse(z) - y):abs():max() < 1e-12)
assert(math.abs(logdet[1] - 8 * s.value:sum()) < 1e-12) -- H*W times the sum of s
assert(not pcall(layer.forward, layer, core.zeros(2, 4, 4, 2)), "takes other channels")

local net, x, v = core.net.softsign(), core.randn(2, 3, 4, 4), core.randn(2, 3, 4, 4)
assert(tostring(net) == "cglow.Net softsign", tostring(net))
local function out() return (net:forward(x) * v):sum() end
out()
check("dx of softsign", out, x, net:backward(v):clone())
print "sound"
]]

describe("The template of a layer", function()
  it("is sound, added as csrc/README.md says", function()
    local built = io.popen "LD_PRELOAD= make --no-print-directory BUILD=build template 2>&1"
    local said = built:read "a"
    assert.is_true(built:close(), said)
    local script = os.tmpname()
    local file <close> = assert(io.open(script, "wb"))
    file:write(CHILD:format("build/template"))
    file:flush()
    local child = io.popen("lua5.4 " .. script .. " 2>&1")
    said = child:read "a"
    os.remove(script)
    assert.is_true(child:close(), said)
    assert.are.equal("sound\n", said)
  end)

  it("is what csrc/README.md shows", function()
    local file <close> = assert(io.open("csrc/README.md", "rb"))
    local text = file:read "a"
    for _, name in ipairs { "scale.c", "scale.h", "scale_lua.c", "softsign.c", "softsign_lua.c" } do
      assert.matches("spec/template/" .. name, text, 1, true)
    end
  end)
end)
