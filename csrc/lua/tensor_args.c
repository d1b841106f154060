/* Checks of tensors' arguments, and arithmetic with dimensions. */
#include "lua/tensor_args.h"

#include <lauxlib.h>
#include <math.h>

void tensor_push_sizes(lua_State *L, const Tensor *t) {
  lua_createtable(L, t->ndim, 0);
  for (int i = 0; i < t->ndim; i++) {
    lua_pushinteger(L, (lua_Integer)t->dim[i]);
    lua_rawseti(L, -2, i + 1);
  }
}

size_t tensor_check_index(lua_State *L, int arg, size_t limit) {
  lua_Integer i = luaL_checkinteger(L, arg);
  if (i < 1 || (lua_Unsigned)i > limit)
    luaL_argerror(L, arg,
                  lua_pushfstring(L, "index from 1 to %I expected, got %I",
                                  (LUAI_UACINT)limit, (LUAI_UACINT)i));
  return (size_t)i - 1;
}

int tensor_check_dimension(lua_State *L, int arg, const Tensor *t) {
  lua_Integer d = luaL_checkinteger(L, arg);
  if (d < 1 || d > t->ndim)
    luaL_argerror(L, arg,
                  lua_pushfstring(L, "dimension from 1 to %d expected, got %I", t->ndim,
                                  (LUAI_UACINT)d));
  return (int)d - 1;
}

Tensor *tensor_check_like(lua_State *L, int arg, const Tensor *t) {
  return tensor_check_shape(L, arg, t->ndim, t->dim);
}

void tensor_push_number(lua_State *L, double v) { lua_pushnumber(L, v != v ? NAN : v); }

int tensor_dims_without(const Tensor *t, int d, size_t dim[TENSOR_MAX_DIM]) {
  int n = 0;
  for (int i = 0; i < t->ndim; i++)
    if (i != d) dim[n++] = t->dim[i];
  return n;
}

void tensor_aligned_dims(const Tensor *t, size_t dim[TENSOR_MAX_DIM]) {
  for (int i = 0; i < TENSOR_MAX_DIM; i++) {
    int from = i - (TENSOR_MAX_DIM - t->ndim);
    dim[i] = from < 0 ? 1 : t->dim[from];
  }
}

size_t tensor_outer(const Tensor *t, int d) {
  size_t n = 1;
  for (int i = 0; i < d; i++) n *= t->dim[i];
  return n;
}

size_t tensor_inner(const Tensor *t, int d) {
  size_t n = 1;
  for (int i = d + 1; i < t->ndim; i++) n *= t->dim[i];
  return n;
}
