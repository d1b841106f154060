--- Are the Lua modules there that cglow does not bring along? LuaRocks and the system's
-- packages see to it, unless they are told not to look (`--deps-mode=none`).
-- @module cglow.util.rocks
local NEEDED <const> = { -- module → its rock, its package of Debian's
  lfs = {"luafilesystem", "lua-filesystem"},
  dkjson = {"dkjson", "lua-dkjson"},
  argparse = {"argparse", "lua-argparse"},
}

--- What a user should do about modules that are missing.
-- @tparam {string,...} names of modules
-- @treturn string|nil nil when all are there
-- @raise what a module raises that is there and does not load
return function(names)
  for _, name in ipairs(names) do
    local ok, message = pcall(require, name)
    if not ok and not tostring(message):find(("module '%s' not found"):format(name), 1, true) then
      error(message, 0)
    end
    if not ok then
      return ("cglow needs the Lua module %s: luarocks --lua-version 5.4 install %s (on Debian: apt-get install %s)")
        :format(name, table.unpack(NEEDED[name]))
    end
  end
end
