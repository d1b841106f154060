/* Objects of the flow: their parameters, what they keep, and checks of arguments. */
#include "lua/flow_object.h"

#include <string.h>

#include "lua/class.h"

/*** @submodule cglow.flow */

void *flow_new(lua_State *L, const char *type, size_t size) {
  void *p = lua_newuserdatauv(L, size, FLOW_USER_VALUES);
  memset(p, 0, size);
  luaL_setmetatable(L, type);
  for (int uv = FLOW_PARAMS; uv <= FLOW_LOGDET; uv++) {
    lua_newtable(L);
    lua_setiuservalue(L, -2, uv);
  }
  return p;
}

Param *flow_add_param(lua_State *L, const char *name, int ndim, const size_t *dim) {
  int layer = lua_gettop(L);
  lua_getiuservalue(L, layer, FLOW_PARAMS);
  lua_getiuservalue(L, layer, FLOW_NAMES);
  lua_Integer at = (lua_Integer)lua_rawlen(L, -1) + 1;
  lua_pushstring(L, name);
  lua_rawseti(L, -2, at);
  Param *p = param_new(L, name, ndim, dim);
  lua_rawseti(L, -3, at);
  lua_settop(L, layer);
  return p;
}

void flow_prepare_params(lua_State *L) {
  lua_getiuservalue(L, 1, FLOW_PARAMS);
  lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, -1, i);
    param_prepare(L, -1, 1, false);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

size_t flow_check_size(lua_State *L, int arg, const char *what, lua_Integer least,
                       lua_Integer most) {
  lua_Integer v = luaL_checkinteger(L, arg);
  if (v < least || v > most)
    luaL_argerror(L, arg,
                  lua_pushfstring(L, "%s must be from %I to %I, got %I", what,
                                  (LUAI_UACINT)least, (LUAI_UACINT)most, (LUAI_UACINT)v));
  return (size_t)v;
}

Tensor *flow_check_input(lua_State *L, int arg, size_t c) {
  size_t dim[4] = {0, c, 0, 0};
  Tensor *t = tensor_check_shape(L, arg, 4, dim);
  if (t->count >= INT32_MAX / 16)
    luaL_argerror(L, arg,
                  lua_pushfstring(L, "tensor of fewer than %d numbers expected, got %s",
                                  INT32_MAX / 16, tensor_push_shape(L, 4, t->dim)));
  return t;
}

void flow_check_no_condition(lua_State *L, int arg) {
  if (!lua_isnoneornil(L, arg))
    luaL_argerror(
        L, arg,
        lua_pushfstring(L, "nothing expected (the layer is unconditional), got %s",
                        luaL_typename(L, arg)));
}

bool flow_keep(lua_State *L, int arg) {
  return lua_isnoneornil(L, arg) || lua_toboolean(L, arg);
}

void flow_check_weights(lua_State *L, int arg, size_t n, real *out) {
  if (lua_type(L, arg) == LUA_TNUMBER) {
    for (size_t i = 0; i < n; i++) out[i] = (real)lua_tonumber(L, arg);
    return;
  }
  const Tensor *t = tensor_test(L, arg);
  size_t got = t ? t->count : lua_istable(L, arg) ? lua_rawlen(L, arg) : 0;
  if (got != n)
    luaL_argerror(L, arg,
                  t || lua_istable(L, arg)
                      ? lua_pushfstring(
                            L, "number, or list or tensor of %d numbers expected, got %I",
                            (int)n, (LUAI_UACINT)got)
                      : lua_pushfstring(
                            L, "number, or list or tensor of %d numbers expected, got %s",
                            (int)n, luaL_typename(L, arg)));
  for (size_t i = 0; i < n; i++) {
    if (t != NULL) {
      out[i] = t->data[i];
      continue;
    }
    if (lua_rawgeti(L, arg, (lua_Integer)i + 1) != LUA_TNUMBER)
      luaL_argerror(L, arg,
                    lua_pushfstring(L, "element [%d]: number expected, got %s",
                                    (int)i + 1, luaL_typename(L, -1)));
    out[i] = (real)lua_tonumber(L, -1);
    lua_pop(L, 1);
  }
}

Tensor *flow_kept(lua_State *L, int uv) {
  lua_getiuservalue(L, 1, uv);
  Tensor *t = tensor_test(L, -1);
  if (t == NULL) luaL_error(L, "backward: call forward (with keep) first");
  return t;
}

void flow_keep_value(lua_State *L, int uv, int arg) {
  if (arg == 0)
    lua_pushnil(L);
  else
    lua_pushvalue(L, arg);
  lua_setiuservalue(L, 1, uv);
}

void flow_ready_logdet(lua_State *L, size_t n) {
  lua_getiuservalue(L, 1, FLOW_LOGDET);
  for (size_t i = lua_rawlen(L, -1); i > n; i--) {
    lua_pushnil(L);
    lua_rawseti(L, -2, (lua_Integer)i);
  }
  for (size_t i = lua_rawlen(L, -1); i < n; i++) {
    lua_pushnumber(L, 0);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_pop(L, 1);
}

void flow_push_logdet(lua_State *L, const double *logdet, size_t n) {
  lua_getiuservalue(L, 1, FLOW_LOGDET);
  for (size_t i = 0; i < n; i++) {
    lua_pushnumber(L, logdet[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

/*** A flow layer's own parameters (those of conditioning networks excepted).
@function Flow:parameters
@string[opt] prefix when given, each parameter is renamed to prefix .. its name
@treturn {Param,...} */
static int parameters(lua_State *L) {
  luaL_checkudata(L, 1, lua_tostring(L, lua_upvalueindex(1)));
  const char *prefix = luaL_optstring(L, 2, NULL);
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, FLOW_PARAMS);
  lua_getiuservalue(L, 1, FLOW_NAMES);
  lua_Integer n = (lua_Integer)lua_rawlen(L, 3);
  lua_createtable(L, (int)n, 0);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, 3, i);
    if (prefix != NULL) {
      lua_pushstring(L, prefix);
      lua_rawgeti(L, 4, i);
      lua_concat(L, 2);
      lua_setfield(L, -2, "name");
    }
    lua_rawseti(L, 5, i);
  }
  return 1;
}

/* The type alone, for layers that have nothing to add. */
static int flow_tostring(lua_State *L) {
  luaL_checkudata(L, 1, lua_tostring(L, lua_upvalueindex(1)));
  lua_pushvalue(L, lua_upvalueindex(1));
  return 1;
}

void flow_class(lua_State *L, const char *type, const luaL_Reg *methods) {
  static const luaL_Reg common[] = {
      {"parameters", parameters}, {"__tostring", flow_tostring}, {NULL, NULL}};
  static const luaL_Reg none[] = {{NULL, NULL}};
  class_new(L, type, none);
  class_add(L, type, common);
  class_add(L, type, methods);
}
