--- Adds the layers of spec/template to copies of two files of csrc/lua, by the steps of
-- csrc/README.md, for `make template`.
--
--     lua5.4 spec/tools/add_layers.lua FOLDER

local folder = assert(arg[1], "usage: lua5.4 spec/tools/add_layers.lua FOLDER")

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

-- Put `text` before or after the one place where `mark` stands.
local function insert(source, mark, text, after)
  local first, last = source:find(mark, 1, true)
  assert(first and not source:find(mark, last + 1, true), "not one place for: " .. mark)
  local at = after and last or first - 1
  return source:sub(1, at) .. text .. source:sub(at + 1)
end

local function write(name, source)
  local file <close> = assert(io.open(folder .. "/" .. name, "wb"))
  file:write(source)
end

local flow = read "csrc/lua/flow_layers.c"
flow = insert(flow, '#include "flow/squeeze.h"\n', '#include "flow/scale.h"\n')
flow = insert(flow, "static const struct {\n  const FlowOps *ops;", read "spec/template/scale_lua.c")
flow = insert(flow, "} kinds[] = {", '{&flow_scale, NULL, "scale", new_scale},\n', true)
write("flow_layers.c", flow)

local net = read "csrc/lua/layers.c"
net = insert(net, "static const luaL_Reg functions[] = {", "extern const LayerOps layer_softsign;\n"
  .. read "spec/template/softsign_lua.c")
net = insert(net, "static const luaL_Reg functions[] = {", '{"softsign", new_softsign},\n', true)
write("layers.c", net)
