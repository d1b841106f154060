/* Checks of arguments that several bindings share. */
#ifndef CGLOW_LUA_CHECK_H
#define CGLOW_LUA_CHECK_H

#include <lua.h>

/* As luaL_checkoption, with an error that lists the words: the place in the
 * NULL-terminated list of the word at arg (of `def` when it is absent). */
int check_word(lua_State *L, int arg, const char *def, const char *const words[]);
/* Push element i of the list at index 1, which must be an object of this type. */
void *check_listed(lua_State *L, lua_Integer i, const char *type);

#endif
