/* The counter of computations. */
#include "lua/guard.h"

#include <lauxlib.h>

#include "lua/open.h"

static const char guard_key = 0;

static lua_Integer *counter(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &guard_key);
  lua_Integer *runs = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return runs;
}

lua_Integer guard_runs(lua_State *L) { return *counter(L); }

void guard_count(lua_State *L) { ++*counter(L); }

void guard_check(lua_State *L, lua_Integer runs, const char *what) {
  if (*counter(L) != runs)
    luaL_error(L, "%s: a finalizer has run a layer or an optimizer meanwhile", what);
}

void guard_enter(lua_State *L, lua_Integer runs, const char *what) {
  guard_check(L, runs, what);
  guard_count(L);
}

void open_guard(lua_State *L) {
  lua_Integer *runs = lua_newuserdatauv(L, sizeof *runs, 0);
  *runs = 0;
  lua_rawsetp(L, LUA_REGISTRYINDEX, &guard_key);
}
