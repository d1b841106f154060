/* Classes of userdata. */
#ifndef CGLOW_LUA_CLASS_H
#define CGLOW_LUA_CLASS_H

#include <lauxlib.h>

/* Register a metatable of this name with these methods, which are also what instances
 * are indexed with unless `__index` is among them. */
void class_new(lua_State *L, const char *type, const luaL_Reg *methods);
/* Add methods to it, each with an upvalue: the name. */
void class_add(lua_State *L, const char *type, const luaL_Reg *methods);

#endif
