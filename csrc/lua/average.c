/* Binding of optim/average.c: userdata "cglow.Average".  Names are lua/cglow/optim.lua's.
 */
#include "optim/average.h"

#include <lauxlib.h>

#include "base/threads.h"
#include "lua/class.h"
#include "lua/open.h"
#include "lua/param.h"
#include "lua/tensor.h"

#define AVERAGE_TYPE "cglow.Average"

/* PARAMS keeps the parameters alive; MEANS is a list of tensors. */
enum { UV_PARAMS = 1, UV_MEANS, UV_COUNT = 2 };

#define AVERAGE_MAX ((size_t)1 << 20) /* parameters; far more than any model has */

typedef struct Average {
  size_t count;
  AverageSlot slot[];
} Average;

static Average *check(lua_State *L) { return luaL_checkudata(L, 1, AVERAGE_TYPE); }

/* Append the parameter at index i of the list at index 1 and a copy of its value to
 * the lists at indices 3 and 4, and return the slot. */
static AverageSlot push_slot(lua_State *L, lua_Integer i) {
  Param *p = param_push_listed(L, i);
  lua_getfield(L, -1, "value");
  Tensor *value = tensor_check(L, -1), *mean = tensor_like(L, value);
  for (size_t k = 0; k < mean->count; k++) mean->data[k] = value->data[k];
  lua_rawseti(L, 4, i);
  lua_pop(L, 1);
  lua_rawseti(L, 3, i);
  return (AverageSlot){p, mean->data};
}

/* average({Param, …}): of each once; it starts as they are */
static int new_average(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  size_t n = lua_rawlen(L, 1);
  if (n == 0 || n > AVERAGE_MAX)
    luaL_argerror(L, 1,
                  lua_pushfstring(L, "list of 1 to 2^20 parameters expected, got %I",
                                  (LUAI_UACINT)n));
  Average *a = lua_newuserdatauv(L, sizeof *a + n * sizeof(AverageSlot), UV_COUNT);
  a->count = 0;
  luaL_setmetatable(L, AVERAGE_TYPE);
  for (int uv = UV_PARAMS; uv <= UV_MEANS; uv++) {
    lua_createtable(L, (int)n, 0);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 2, uv);
  }
  for (size_t i = 0; i < n; i++) {
    a->slot[i] = push_slot(L, (lua_Integer)i + 1);
    a->count = i + 1;
  }
  lua_settop(L, 2);
  return 1;
}

/* update(keep) */
static int update(lua_State *L) {
  Average *a = check(L);
  double keep = luaL_checknumber(L, 2);
  if (!(keep >= 0 && keep <= 1))
    luaL_argerror(L, 2, lua_pushfstring(L, "number from 0 to 1 expected, got %f", keep));
  average_update(a->slot, a->count, keep, parallel_threads());
  return 0;
}

/* swap(): the parameters hold the averages until the next call */
static int swap(lua_State *L) {
  Average *a = check(L);
  average_swap(a->slot, a->count, parallel_threads());
  return 0;
}

/* tensors() -> {mean, …}: themselves, not copies, in the order of the parameters */
static int tensors(lua_State *L) {
  Average *a = check(L);
  lua_getiuservalue(L, 1, UV_MEANS);
  lua_createtable(L, (int)a->count, 0);
  for (size_t i = 1; i <= a->count; i++) {
    lua_rawgeti(L, -2, (lua_Integer)i);
    lua_rawseti(L, -2, (lua_Integer)i);
  }
  return 1;
}

static const luaL_Reg methods[] = {
    {"update", update}, {"swap", swap}, {"tensors", tensors}, {NULL, NULL}};
static const luaL_Reg functions[] = {{"average", new_average}, {NULL, NULL}};

void open_average(lua_State *L) {
  class_new(L, AVERAGE_TYPE, methods);
  luaL_setfuncs(L, functions, 0);
}
