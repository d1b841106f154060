/* One counter of computations for each Lua state.
 *
 * Any allocation may run a finalizer, and that may call what is just about to run: the
 * same layer, or another that shares its parameters or the workspace.  So whatever
 * computes reads the counter before it looks at what objects keep, and again after its
 * last allocation: has somebody else computed meanwhile, it raises and has changed
 * nothing. */
#ifndef CGLOW_LUA_GUARD_H
#define CGLOW_LUA_GUARD_H

#include <lua.h>

/* How many computations there have been. */
lua_Integer guard_runs(lua_State *L);
/* After the last allocation: count this one.  An error unless guard_runs is still
 * `runs`; what: the caller's name. */
void guard_enter(lua_State *L, lua_Integer runs, const char *what);

#endif
