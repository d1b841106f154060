-- 10,000 small training steps, with a sample now and then, in flat memory: what
-- Lua holds after each thousand is what it held after the first, and the process
-- has not grown by a mebibyte, a tenth of it.
package.path = "./lua/?.lua;./lua/?/init.lua;" .. package.path
package.cpath = "./" .. (os.getenv "CGLOW_CORE" or "lua") .. "/?.so;" .. package.cpath
local cglow = require "cglow"
local core = require "cglow.core"

local STEPS <const>, EVERY <const> = 10000, 1000

local model = cglow.Model {
  x = {1, 16, 16}, y = {1, 16, 16}, levels = 2, depth = 2, rng = cglow.Rng(1),
  cn = {channels = 4, width = 8}, coupling = {width = 16},
}
local optimizer = cglow.optim.Adam(model:parameters(), {lr = 1e-3})
local x, y = cglow.Rng(2):uniform(2, 1, 16, 16), cglow.Rng(3):uniform(2, 1, 16, 16)

local function step(i)
  model:zero_grad()
  local loss = assert(model:loss_and_grad(x, y))
  assert(optimizer:step())
  if i % 100 == 0 then model:sample(x, {n = 2}) end
  return loss
end

local function held()
  collectgarbage()
  collectgarbage()
  return math.floor(collectgarbage "count" * 1024), (core.system.memory())
end

local passed, count = true, 0
local function tap(ok, name)
  count = count + 1
  passed = passed and ok
  print(("%sok %d - %s"):format(ok and "" or "not ", count, name))
end

local first, last, lua_before, process_before
for i = 1, STEPS do
  last = step(i)
  first = first or last
  if i == EVERY then lua_before, process_before = held() end
  if i % EVERY == 0 and i > EVERY then
    local lua_now, process_now = held()
    tap(lua_now <= lua_before + 4096,
      ("step %d: Lua holds %d bytes, %d at step %d"):format(i, lua_now, lua_before, EVERY))
    tap(process_now <= process_before + (1 << 20),
      ("step %d: the process has %d bytes, %d at step %d"):format(i, process_now, process_before, EVERY))
  end
end
tap(last < first, ("the loss fell from %.3f to %.3f"):format(first, last))
print("1.." .. count)
os.exit(passed, true)
