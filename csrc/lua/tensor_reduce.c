/* Tensors in Lua: reductions to one number or along one dimension. */
#include <math.h>
#include <string.h>

#include "lua/tensor_type.h"
#include "math/elementwise.h"

/*** @submodule cglow.Tensor */

/* Is the reduction along one dimension of a tensor that keeps others?  The
 * only dimension of a 1-D tensor counts as no dimension: a number results. */
static bool along(lua_State *L, const Tensor *t, int *d) {
  if (lua_isnoneornil(L, 2)) return false;
  *d = tensor_check_dimension(L, 2, t);
  return t->ndim > 1;
}

static Tensor *push_reduced(lua_State *L, const Tensor *t, int d) {
  size_t dim[TENSOR_MAX_DIM];
  int ndim = tensor_dims_without(t, d, dim);
  return tensor_new(L, ndim, dim);
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
@treturn number|Tensor a number without `dim`, or of a 1-D tensor */
static int sum(lua_State *L) { return push_sum(L, false); }

/*** The mean, formed in double precision.
@function Tensor:mean
@int[opt] dim average along this dimension only, which the result does not have
@treturn number|Tensor a number without `dim`, or of a 1-D tensor */
static int mean(lua_State *L) { return push_sum(L, true); }

/*** Standard deviation: the root of the mean squared distance from the mean
(divided by the count, not by one less).
@function Tensor:std
@treturn number */
static int standard_deviation(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  double n = (double)t->count, centre = reduce_sum(t->data, t->count) / n;
  tensor_push_number(L, sqrt(reduce_squares(t->data, centre, t->count) / n));
  return 1;
}

/*** Euclidean norm: the root of the sum of squares.
@function Tensor:norm
@treturn number */
static int norm(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  tensor_push_number(L, sqrt(reduce_squares(t->data, 0, t->count)));
  return 1;
}

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
  const real *a = t->data;
  size_t best = 0;
  for (size_t i = 1; i < t->count && a[best] == a[best]; i++)
    if ((largest ? a[i] > a[best] : a[i] < a[best]) || a[i] != a[i]) best = i;
  *at = best + 1;
  return a[best];
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
@treturn number|Tensor
@treturn int|Tensor index from 1 on (the first of several), into the flat
numbers without `dim` */
static int largest_of(lua_State *L) { return extreme(L, true); }

/*** The smallest number and where it is; NaN when there is one.
@function Tensor:min
@int[opt] dim along this dimension only, which the results do not have
@treturn number|Tensor
@treturn int|Tensor index from 1 on (the first of several), into the flat
numbers without `dim` */
static int smallest_of(lua_State *L) { return extreme(L, false); }

/*** Where the largest number is: the second result of `Tensor:max`.
@function Tensor:argmax
@int[opt] dim
@treturn int|Tensor index from 1 on */
static int argmax(lua_State *L) {
  extreme(L, true);
  return 1;
}

/*** Where the smallest number is: the second result of `Tensor:min`.
@function Tensor:argmin
@int[opt] dim
@treturn int|Tensor index from 1 on */
static int argmin(lua_State *L) {
  extreme(L, false);
  return 1;
}

const luaL_Reg tensor_reduce_methods[] = {
    {"sum", sum},       {"mean", mean},      {"std", standard_deviation},
    {"norm", norm},     {"max", largest_of}, {"min", smallest_of},
    {"argmax", argmax}, {"argmin", argmin},  {NULL, NULL}};
