/* Tensors in Lua: reductions to one number or along one dimension. */
#include <math.h>
#include <string.h>

#include "lua/tensor_args.h"
#include "lua/tensor_methods.h"
#include "math/elementwise.h"

/*** @submodule cglow.Tensor */

/* Along which dimension, if not over all numbers?  The only dimension of a 1-D tensor
 * counts as none, and a number results, unless it is kept. */
static bool along(lua_State *L, const Tensor *t, int *d) {
  lua_settop(L, 3); /* results go above it */
  if (!lua_isnil(L, 3)) luaL_checktype(L, 3, LUA_TBOOLEAN);
  if (lua_isnoneornil(L, 2)) {
    luaL_argcheck(L, !lua_toboolean(L, 3), 2, "dimension to keep expected, got no value");
    return false;
  }
  *d = tensor_check_dimension(L, 2, t);
  return t->ndim > 1 || lua_toboolean(L, 3);
}

static Tensor *push_reduced(lua_State *L, const Tensor *t, int d) {
  size_t dim[TENSOR_MAX_DIM];
  if (!lua_toboolean(L, 3)) return tensor_new(L, tensor_dims_without(t, d, dim), dim);
  memcpy(dim, t->dim, sizeof dim);
  dim[d] = 1;
  return tensor_new(L, t->ndim, dim);
}

static int push_sum(lua_State *L, bool mean) {
  Tensor *t = tensor_check(L, 1);
  int d;
  if (along(L, t, &d)) {
    double scale = mean ? 1.0 / (double)t->dim[d] : 1;
    sum_axis(push_reduced(L, t, d)->data, t->data, tensor_outer(t, d), t->dim[d],
             tensor_inner(t, d), scale);
  } else {
    double s = reduce_sum(t->data, t->count);
    tensor_push_number(L, mean ? s / (double)t->count : s);
  }
  return 1;
}

/*** The sum, formed in double precision.
@function Tensor:sum
@int[opt] dim sum along this dimension only, which the result does not have
@bool[opt=false] keep the result has the dimension, of size 1, and is broadcast against
this
@treturn number|Tensor a number without `dim`, or of a 1-D tensor */
static int sum(lua_State *L) { return push_sum(L, false); }

/*** The mean, formed in double precision.
@function Tensor:mean
@int[opt] dim average along this dimension only, which the result does not have
@bool[opt=false] keep the result has the dimension, of size 1, and is broadcast against
this
@treturn number|Tensor a number without `dim`, or of a 1-D tensor */
static int mean(lua_State *L) { return push_sum(L, true); }

/* Push the mean of squares of numbers or, centred, of their distances from their mean. */
static int push_squares(lua_State *L, bool centred, bool root) {
  Tensor *t = tensor_check(L, 1);
  int d;
  if (along(L, t, &d)) {
    Squares s = {centred, root, centred ? 1.0 / (double)t->dim[d] : 1};
    squares_axis(push_reduced(L, t, d)->data, t->data, tensor_outer(t, d), t->dim[d],
                 tensor_inner(t, d), s);
  } else {
    double n = (double)t->count;
    double s = reduce_squares(t->data, centred ? reduce_sum(t->data, t->count) / n : 0,
                              t->count);
    s /= centred ? n : 1;
    tensor_push_number(L, root ? sqrt(s) : s);
  }
  return 1;
}

/*** Variance: the mean squared distance from the mean (divided by the count, not by one
less), formed in double precision.
@function Tensor:var
@int[opt] dim along this dimension only, which the result does not have
@bool[opt=false] keep the result has the dimension, of size 1
@treturn number|Tensor a number without `dim`, or of a 1-D tensor */
static int variance(lua_State *L) { return push_squares(L, true, false); }

/*** Standard deviation: the root of the variance.
@function Tensor:std
@int[opt] dim along this dimension only, which the result does not have
@bool[opt=false] keep the result has the dimension, of size 1
@treturn number|Tensor a number without `dim`, or of a 1-D tensor */
static int standard_deviation(lua_State *L) { return push_squares(L, true, true); }

/*** Euclidean norm: the root of the sum of squares.
@function Tensor:norm
@int[opt] dim along this dimension only, which the result does not have
@bool[opt=false] keep the result has the dimension, of size 1
@treturn number|Tensor a number without `dim`, or of a 1-D tensor */
static int norm(lua_State *L) { return push_squares(L, false, true); }

typedef void Extreme(real *value, real *index, const real *a, size_t outer, size_t len,
                     size_t inner);

/* Largest integer up to which reals hold every integer. */
#define EXACT (sizeof(real) == 4 ? (size_t)1 << 24 : (size_t)1 << 53)

/* Push the extreme values along dimension d, then their indices from 1 on. */
static void push_extremes(lua_State *L, const Tensor *t, int d, Extreme *find) {
  luaL_argcheck(L, t->dim[d] <= EXACT, 2,
                "dimension too long: its indices are no exact numbers");
  Tensor *value = push_reduced(L, t, d), *index = push_reduced(L, t, d);
  find(value->data, index->data, t->data, tensor_outer(t, d), t->dim[d],
       tensor_inner(t, d));
  binary_add.tensor_number(index->data, index->data, 1, index->count);
}

/* The extreme of all numbers, and its flat index from 1 on. */
static lua_Number overall(const Tensor *t, bool largest, size_t *at) {
  size_t best = extreme_place(t->data, t->count, largest);
  *at = best + 1;
  return t->data[best];
}

static int extreme(lua_State *L, bool largest) {
  Tensor *t = tensor_check(L, 1);
  int d;
  size_t at;
  if (along(L, t, &d)) {
    push_extremes(L, t, d, largest ? max_axis : min_axis);
  } else {
    tensor_push_number(L, overall(t, largest, &at));
    lua_pushinteger(L, (lua_Integer)at);
  }
  return 2;
}

/*** The largest number and where it is; NaN when there is one.
@function Tensor:max
@int[opt] dim along this dimension only, which the results do not have
@bool[opt=false] keep the results have the dimension, of size 1
@treturn number|Tensor
@treturn int|Tensor index from 1 on (the first of several), into the flat
numbers without `dim` */
static int largest_of(lua_State *L) { return extreme(L, true); }

/*** The smallest number and where it is; NaN when there is one.
@function Tensor:min
@int[opt] dim along this dimension only, which the results do not have
@bool[opt=false] keep the results have the dimension, of size 1
@treturn number|Tensor
@treturn int|Tensor index from 1 on (the first of several), into the flat
numbers without `dim` */
static int smallest_of(lua_State *L) { return extreme(L, false); }

/*** Where the largest number is: the second result of `Tensor:max`.
@function Tensor:argmax
@int[opt] dim
@bool[opt=false] keep
@treturn int|Tensor index from 1 on */
static int argmax(lua_State *L) {
  extreme(L, true);
  return 1;
}

/*** Where the smallest number is: the second result of `Tensor:min`.
@function Tensor:argmin
@int[opt] dim
@bool[opt=false] keep
@treturn int|Tensor index from 1 on */
static int argmin(lua_State *L) {
  extreme(L, false);
  return 1;
}

const luaL_Reg tensor_reduce_methods[] = {
    {"sum", sum},         {"mean", mean},
    {"var", variance},    {"std", standard_deviation},
    {"norm", norm},       {"max", largest_of},
    {"min", smallest_of}, {"argmax", argmax},
    {"argmin", argmin},   {NULL, NULL}};
