/* Classes of userdata: what all their metatables have in common. */
#include "lua/class.h"

void class_add(lua_State *L, const char *type, const luaL_Reg *methods) {
  luaL_getmetatable(L, type);
  lua_pushstring(L, type);
  luaL_setfuncs(L, methods, 1);
  lua_pop(L, 1);
}

void class_new(lua_State *L, const char *type, const luaL_Reg *methods) {
  luaL_newmetatable(L, type);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  /* Lua code cannot reach the metatable: a userdata with it is always one that the core
   * has made, and nobody exchanges its methods. */
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  luaL_setfuncs(L, methods, 0);
  lua_pop(L, 1);
}
