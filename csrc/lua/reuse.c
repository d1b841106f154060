/* Tensors that an object overwrites with each call. */
#include "lua/reuse.h"

#include <string.h>

static bool fits(const Tensor *t, int ndim, const size_t *dim) {
  return t != NULL && t->ndim == ndim &&
         memcmp(t->dim, dim, (size_t)ndim * sizeof *dim) == 0;
}

static bool on_stack(lua_State *L, const Tensor *t, int top) {
  for (int i = 1; i <= top; i++) {
    const Tensor *other = tensor_test(L, i);
    if (other != NULL && tensor_overlap(t, other)) return true;
  }
  return false;
}

Tensor *reuse_tensor(lua_State *L, int idx, int uv, int ndim, const size_t *dim) {
  idx = lua_absindex(L, idx);
  int top = lua_gettop(L);
  lua_getiuservalue(L, idx, uv);
  Tensor *t = tensor_test(L, -1);
  if (fits(t, ndim, dim) && !on_stack(L, t, top)) return t;
  lua_pop(L, 1);
  t = tensor_new(L, ndim, dim);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, idx, uv);
  return t;
}
