/* One counter of computations for each Lua state.
 *
 * Any allocation may run a finalizer, and that may call what is just about to run: the
 * same layer, or another that shares its parameters or the workspace.  So whatever
 * computes with what an object keeps reads the counter before it looks at that, and again
 * after its last allocation: has somebody else computed meanwhile, it raises and has
 * computed nothing.  What only reads its arguments, after that allocation, need not. */
#ifndef CGLOW_LUA_GUARD_H
#define CGLOW_LUA_GUARD_H

#include <lua.h>

/* How many computations there have been. */
lua_Integer guard_runs(lua_State *L);
/* An error unless there have been just so many; what: the caller's name. */
void guard_check(lua_State *L, lua_Integer runs, const char *what);
/* After the last allocation: count this one. */
void guard_count(lua_State *L);
/* guard_check, then guard_count. */
void guard_enter(lua_State *L, lua_Integer runs, const char *what);

#endif
