/* Checks of arguments that several bindings share. */
#include "lua/check.h"

#include <lauxlib.h>
#include <string.h>

int check_word(lua_State *L, int arg, const char *def, const char *const words[]) {
  const char *word = def ? luaL_optstring(L, arg, def) : luaL_checkstring(L, arg);
  for (int i = 0; words[i] != NULL; i++)
    if (strcmp(word, words[i]) == 0) return i;
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (int i = 0; words[i] != NULL; i++) {
    if (i > 0) luaL_addstring(&b, ", ");
    luaL_addstring(&b, words[i]);
  }
  luaL_pushresult(&b);
  return luaL_argerror(
      L, arg,
      lua_pushfstring(L, "one of %s expected, got '%s'", lua_tostring(L, -1), word));
}

void *check_listed(lua_State *L, lua_Integer i, const char *type) {
  lua_rawgeti(L, 1, i);
  void *object = luaL_testudata(L, -1, type);
  if (object == NULL)
    luaL_argerror(L, 1,
                  lua_pushfstring(L, "element [%I]: %s expected, got %s", (LUAI_UACINT)i,
                                  type, luaL_typename(L, -1)));
  return object;
}
