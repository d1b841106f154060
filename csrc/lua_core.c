/* Entry point of the module: `require "cglow.core"`. */
#include <lauxlib.h>
#include <lua.h>

#include "open.h"
#include "real.h"

static void (*const parts[])(lua_State *) = {
    open_tensor, open_rng, open_parallel, open_image,  open_file,  open_param,
    open_net,    open_flow, open_optim,   open_vision, open_system};

__attribute__((visibility("default"))) int luaopen_cglow_core(lua_State *L);

int luaopen_cglow_core(lua_State *L) {
  luaL_checkversion(L);
  lua_newtable(L);
  lua_pushliteral(L, REAL_NAME);
  lua_setfield(L, -2, "scalar");
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) parts[i](L);
  return 1;
}
