#include "owned.h"

#include <string.h>

Tensor *owned_tensor(lua_State *L, int idx, int uv, int ndim, const size_t *dim) {
  idx = lua_absindex(L, idx);
  lua_getiuservalue(L, idx, uv);
  Tensor *t = tensor_test(L, -1);
  if (t != NULL && t->ndim == ndim && memcmp(t->dim, dim, (size_t)ndim * sizeof *dim) == 0)
    return t;
  lua_pop(L, 1);
  t = tensor_new(L, ndim, dim);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, idx, uv);
  return t;
}
