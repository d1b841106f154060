--- Run f while finalizers run `work`, each of which arms the next; returns how many came.
return function(work, f)
  local on, came = true, 0
  local function arm()
    setmetatable({}, { __gc = function()
      if not on then return end
      came = came + 1
      pcall(work)
      arm()
    end })
  end
  for _ = 1, 4 do arm() end
  collectgarbage("incremental", 1, 400, 8) -- a whole cycle at a few allocations
  collectgarbage "step"
  local ok, message = pcall(f)
  collectgarbage("incremental", 200, 100, 13) -- Lua's defaults
  on = false
  collectgarbage()
  if not ok then error(message, 0) end
  return came
end
