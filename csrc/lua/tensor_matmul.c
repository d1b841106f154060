/* Tensors in Lua: products of matrices. */
#include <string.h>

#include "lua/tensor_args.h"
#include "lua/tensor_methods.h"
#include "math/broadcast.h"
#include "math/matmul.h"

/*** @submodule cglow.Tensor */

static void no_such_factor(lua_State *L, const Tensor *a, const Tensor *b) {
  const char *mine = tensor_push_shape(L, a->ndim, a->dim);
  const char *got = tensor_push_shape(L, b->ndim, b->dim);
  luaL_argerror(
      L, 2,
      lua_pushfstring(L,
                      "tensor that can follow one of shape %s in a matrix product "
                      "expected, got %s",
                      mine, got));
}

/* Push the tensor for a product of these matrices. */
static Tensor *push_product(lua_State *L, const Tensor *a, const Tensor *b,
                            const size_t adim[4], const size_t bdim[4],
                            const size_t all[4]) {
  const size_t dim[4] = {all[0], all[1], adim[2], bdim[3]};
  size_t kept[4] = {1};
  int n = 0, ndim = a->ndim > b->ndim ? a->ndim : b->ndim;
  for (int i = 4 - ndim; i < 4; i++)
    if (i < 2 || (i == 2 && a->ndim > 1) || (i == 3 && b->ndim > 1)) kept[n++] = dim[i];
  return tensor_new(L, n > 0 ? n : 1, kept);
}

/*** Product of matrices, which the last two dimensions are; earlier ones are broadcast,
so it is one product for each of their indices. A tensor of one dimension is a row on the
left and a column on the right, and the result lacks that dimension.
Sums are in the core's precision.
@function Tensor:matmul
@tparam Tensor other as many rows as this has columns
@treturn Tensor|number m×n for m×k times k×n; a number for two of one dimension */
static int matmul_method(lua_State *L) {
  Tensor *a = tensor_check(L, 1), *b = tensor_check(L, 2);
  size_t adim[4], bdim[4], all[4];
  tensor_aligned_dims(a, adim);
  tensor_aligned_dims(b, bdim);
  if (b->ndim == 1) {
    bdim[2] = bdim[3];
    bdim[3] = 1;
  }
  bool fit = adim[3] == bdim[2];
  fit = broadcast_shape((size_t[]){adim[0], adim[1], 1, 1},
                        (size_t[]){bdim[0], bdim[1], 1, 1}, all) &&
        fit;
  if (!fit) no_such_factor(L, a, b);
  Tensor *out = push_product(L, a, b, adim, bdim, all);
  matmul(out->data, a->data, adim, b->data, bdim);
  if (a->ndim == 1 && b->ndim == 1) tensor_push_number(L, out->data[0]);
  return 1;
}

const luaL_Reg tensor_matmul_methods[] = {{"matmul", matmul_method}, {NULL, NULL}};
