/* Tensors in Lua: element access, the metatable. */
#include <math.h>
#include <string.h>

#include "lua/class.h"
#include "lua/open.h"
#include "lua/tensor_args.h"
#include "lua/tensor_methods.h"
#include "math/elementwise.h"

/*** Tensors: dense arrays of numbers with one to four dimensions, in row-major
order. Images are C×H×W, batches N×C×H×W. Indices count from 1.

`cglow.tensor`, `cglow.zeros` and the like make them; `print` shows shape, range
and a corner of the numbers.
@module cglow.Tensor */

/*** What tensors have cost so far in this Lua state: made, not alive.
@function stats
@treturn {tensors=int,bytes=int} */
static int stats(lua_State *L) {
  TensorStats *s = tensor_stats(L);
  lua_createtable(L, 0, 2);
  lua_pushinteger(L, s->count);
  lua_setfield(L, -2, "tensors");
  lua_pushinteger(L, s->bytes);
  lua_setfield(L, -2, "bytes");
  return 1;
}

/* Push element i of the first dimension: a number, or a view of the row. */
static int push_row(lua_State *L, int owner, const Tensor *t, size_t i) {
  size_t dim[TENSOR_MAX_DIM];
  if (t->ndim == 1) {
    tensor_push_number(L, t->data[i]);
  } else {
    int ndim = tensor_dims_without(t, 0, dim);
    tensor_view(L, owner, ndim, dim, i * tensor_inner(t, 0));
  }
  return 1;
}

/*** `t[i]`: the number at i of a 1-D tensor, otherwise row i of the first
dimension as a view. `t[i] = v` sets it: to a number (every number of the row)
or a tensor of the row's shape. `#t` is the size of the first dimension;
`for i, row in ipairs(t)` and `pairs(t)` go through it: as in a list, `t[#t + 1]` is
nil. Any other index outside 1 .. #t raises.
@class field
@name Tensor:index */
/*** The shape as a list, `{N, C, H, W}`: what `t:size()` gives. It is a copy; `reshape`
gives another shape.
@class field
@name Tensor:shape */
/* __index: t[i], t.shape, and methods, which the upvalue holds. */
static int tensor_index(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  if (lua_type(L, 2) == LUA_TNUMBER) {
    if (lua_tointeger(L, 2) == (lua_Integer)t->dim[0] + 1)
      return 0; /* where ipairs ends */
    return push_row(L, 1, t, tensor_check_index(L, 2, t->dim[0]));
  }
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
  if (lua_type(L, 2) == LUA_TSTRING && strcmp(lua_tostring(L, 2), "shape") == 0) {
    tensor_push_sizes(L, t);
    return 1;
  }
  return luaL_error(L, "cglow.Tensor has no field '%s'", luaL_tolstring(L, 2, NULL));
}

/* __newindex: t[i] = number, or a tensor of the row's shape. */
static int tensor_newindex(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  if (lua_type(L, 2) != LUA_TNUMBER)
    return luaL_error(L, "cglow.Tensor has no field '%s' to set",
                      luaL_tolstring(L, 2, NULL));
  size_t i = tensor_check_index(L, 2, t->dim[0]), inner = tensor_inner(t, 0);
  real *row = t->data + i * inner;
  if (t->ndim == 1 || lua_type(L, 3) == LUA_TNUMBER) {
    fill_range(row, (real)luaL_checknumber(L, 3), inner);
    return 0;
  }
  size_t dim[TENSOR_MAX_DIM];
  int ndim = tensor_dims_without(t, 0, dim);
  Tensor *src = tensor_check_shape(L, 3, ndim, dim);
  memmove(row, src->data, inner * sizeof *row);
  return 0;
}

/* One index per dimension from arg 2 on; where that number lies. */
static real *check_element(lua_State *L, const char *name, const Tensor *t, int indices) {
  if (indices != t->ndim)
    luaL_error(L, "%s: %d indices expected for a tensor of shape %s, got %d", name,
               t->ndim, tensor_push_shape(L, t->ndim, t->dim), indices);
  size_t at = 0;
  for (int i = 0; i < t->ndim; i++)
    at = at * t->dim[i] + tensor_check_index(L, 2 + i, t->dim[i]);
  return t->data + at;
}

/*** One number.
@function Tensor:get
@param ... as many indices as there are dimensions, from 1 on
@treturn number */
static int get(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  tensor_push_number(L, *check_element(L, "get", t, lua_gettop(L) - 1));
  return 1;
}

/*** Set one number.
@function Tensor:set
@param ... as many indices as there are dimensions, from 1 on
@number value after the indices
@treturn Tensor itself */
static int set(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  int last = lua_gettop(L);
  real *at = check_element(L, "set", t, last - 2);
  *at = (real)luaL_checknumber(L, last);
  lua_settop(L, 1);
  return 1;
}

static int next_row(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  lua_Integer i = luaL_checkinteger(L, 2);
  if (i < 0 || (lua_Unsigned)i >= t->dim[0]) return 0;
  lua_pushinteger(L, i + 1);
  push_row(L, 1, t, (size_t)i);
  return 2;
}

/* for i, row in pairs(t): i and t[i], in order. */
static int tensor_pairs(lua_State *L) {
  tensor_check(L, 1);
  lua_pushcfunction(L, next_row);
  lua_pushvalue(L, 1);
  lua_pushinteger(L, 0);
  return 3;
}

static int tensor_len(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)tensor_check(L, 1)->dim[0]);
  return 1;
}

static const luaL_Reg functions[] = {{"stats", stats}, {NULL, NULL}};

static const luaL_Reg methods[] = {{"get", get}, {"set", set}, {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__newindex", tensor_newindex},
                                       {"__len", tensor_len},
                                       {"__pairs", tensor_pairs},
                                       {"__tostring", tensor_tostring},
                                       {NULL, NULL}};

void open_tensor(lua_State *L) {
  luaL_setfuncs(L, functions, 0);
  luaL_setfuncs(L, tensor_make_functions, 0);
  luaL_setfuncs(L, tensor_shape_functions, 0);
  luaL_setfuncs(L, tensor_bytes_functions, 0);
  class_new(L, TENSOR_TYPE, metamethods);
  luaL_getmetatable(L, TENSOR_TYPE);
  luaL_setfuncs(L, tensor_math_metamethods, 0);
  luaL_newlib(L, methods);
  luaL_setfuncs(L, tensor_shape_methods, 0);
  luaL_setfuncs(L, tensor_math_methods, 0);
  luaL_setfuncs(L, tensor_reduce_methods, 0);
  luaL_setfuncs(L, tensor_matmul_methods, 0);
  luaL_setfuncs(L, tensor_bytes_methods, 0);
  lua_pushcclosure(L, tensor_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}
