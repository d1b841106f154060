/* Threads, seen from Lua. */
#include <lauxlib.h>

#include "open.h"
#include "parallel.h"

/*** How many threads the kernels use; the process's setting, not one Lua
state's. At first OpenMP's default, so OMP_NUM_THREADS is respected. Results do
not depend on it.
@function threads
@int[opt] n from 1 to 1024: set it
@treturn int the number in force */
static int threads(lua_State *L) {
  if (!lua_isnoneornil(L, 1)) {
    lua_Integer n = luaL_checkinteger(L, 1);
    if (n < 1 || n > 1024)
      luaL_argerror(L, 1, lua_pushfstring(L, "1 to 1024 threads expected, got %I",
                                          (LUAI_UACINT)n));
    parallel_set_threads((int)n);
  }
  lua_pushinteger(L, parallel_threads());
  return 1;
}

static const luaL_Reg functions[] = {{"threads", threads}, {NULL, NULL}};

void open_parallel(lua_State *L) { luaL_setfuncs(L, functions, 0); }
