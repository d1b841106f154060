/* These functions of Lua's do not return, which its own headers do not say. */
#ifndef CGLOW_LUA_NORETURN_H
#define CGLOW_LUA_NORETURN_H

#include <lauxlib.h>

__attribute__((noreturn)) int(lua_error)(lua_State *L);
__attribute__((noreturn)) int(luaL_error)(lua_State *L, const char *format, ...);
__attribute__((noreturn)) int(luaL_argerror)(lua_State *L, int arg, const char *message);
__attribute__((noreturn)) int(luaL_typeerror)(lua_State *L, int arg, const char *name);

#endif
