/* Errors of the module `cglow.mpi`, and checks of what it is given. */
#include "mpi/module_check.h"

#include <lauxlib.h>
#include <string.h>

#include "mpi/transfer.h"

static int raise(lua_State *L, int rc) {
  char text[MPI_MAX_ERROR_STRING];
  char call[64] = "";
  int length = world_call_length();
  memcpy(call, world.call, (size_t)(length < 63 ? length : 63));
  world_error_text(rc, text);
  return luaL_error(L, "cglow.mpi: %s on rank %d of %d: %s", call, world.rank, world.size,
                    text);
}

void module_must(lua_State *L, int rc) {
  if (rc != MPI_SUCCESS) raise(L, rc);
}

void module_check_open(lua_State *L) {
  if (!world.open) luaL_error(L, "cglow.mpi: MPI has been closed");
}

/* A tensor up to date: its length is asked in Lua's way, which sees to that. */
Tensor *module_check_tensor(lua_State *L, int arg) {
  Tensor *t = luaL_checkudata(L, arg, TENSOR_TYPE);
  luaL_callmeta(L, arg, "__len");
  lua_pop(L, 1);
  if (t->count > transfer_most())
    luaL_argerror(L, arg, "a tensor of fewer than 2^31 numbers expected");
  return t;
}

real module_check_scale(lua_State *L, int arg) {
  double scale = luaL_optnumber(L, arg, 1);
  if (!(scale >= -1e30 && scale <= 1e30))
    luaL_argerror(L, arg, lua_pushfstring(L, "a finite number expected, got %f", scale));
  return (real)scale;
}

void module_new_class(lua_State *L, const char *name, const luaL_Reg *methods) {
  luaL_newmetatable(L, name);
  luaL_setfuncs(L, methods, 0);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 1);
}
