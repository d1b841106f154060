/* Tensors: dense, row-major, up to 4 dimensions (N, C, H, W).
 *
 * The numbers live inside the full userdata, 64-byte aligned, so Lua sees
 * their size and frees them: no __gc, no malloc.  A view shares another
 * tensor's numbers and keeps it alive through its one user value.
 *
 * If they belong to a parameter, as its value or an optimizer's moment, a step may be
 * due that changes them (optim/param.h); it is settled whenever Lua hands the tensor
 * over. */
#ifndef CGLOW_LUA_TENSOR_H
#define CGLOW_LUA_TENSOR_H

#include <lua.h>
#include <stdbool.h>

#include "base/real.h"
#include "base/size.h"

#define TENSOR_TYPE "cglow.Tensor"
#define TENSOR_MAX_DIM 4

/* User values of a tensor: what keeps the numbers of a view; whose numbers these are. */
enum { TENSOR_UV_BASE = 1, TENSOR_UV_PARAM, TENSOR_UV_COUNT = 2 };

typedef struct Tensor {
  int ndim;                   /* 1..4 */
  size_t dim[TENSOR_MAX_DIM]; /* every one >= 1; unused ones are 1 */
  size_t count;               /* product of the dimensions */
  real *data;                 /* count numbers, 64-byte aligned unless a view */
  struct Param *param;        /* whose numbers these are, or NULL */
} Tensor;

/* Push a new tensor with undefined contents; raises on overflow or when Lua is
 * out of memory.  tensor_zeros clears it. */
Tensor *tensor_new(lua_State *L, int ndim, const size_t *dim);
Tensor *tensor_zeros(lua_State *L, int ndim, const size_t *dim);
/* Push a new tensor of the same shape as t, undefined contents. */
Tensor *tensor_like(lua_State *L, const Tensor *t);
/* Push a view of `count(dim)` numbers that start `offset` numbers into the
 * tensor at stack index `owner`. */
Tensor *tensor_view(lua_State *L, int owner, int ndim, const size_t *dim, size_t offset);

/* See that the numbers of the tensor on top of the stack belong to the parameter at
 * stack index `owner`, which it keeps alive.  param: that one, if a step may be due that
 * changes them. */
void tensor_belongs_to(lua_State *L, int owner, struct Param *param);

/* The tensor at stack index arg, or a Lua error that names the argument. */
Tensor *tensor_check(lua_State *L, int arg);
/* NULL when it is none. */
Tensor *tensor_test(lua_State *L, int arg);
/* The tensor at arg, which must have exactly this shape; a dim of 0 matches
 * any size.  The error message shows both shapes. */
Tensor *tensor_check_shape(lua_State *L, int arg, int ndim, const size_t *dim);
bool tensor_same_shape(const Tensor *a, const Tensor *b);
/* Do two tensors share any number? */
bool tensor_overlap(const Tensor *a, const Tensor *b);

/* Push "2x3x32x32". */
const char *tensor_push_shape(lua_State *L, int ndim, const size_t *dim);
/* Reads a shape from arg on: either a list {2,3,4} at arg, or integers from
 * arg to the top.  Returns ndim; raises on anything that is no shape. */
int tensor_check_dims(lua_State *L, int arg, size_t dim[TENSOR_MAX_DIM]);
/* As tensor_check_dims where other arguments follow: the shape ends with argument `last`.
 */
int tensor_check_dims_to(lua_State *L, int arg, int last, size_t dim[TENSOR_MAX_DIM]);

/* How many tensors with memory of their own have been made in this state, and
 * their bytes: specs prove with it that training allocates nothing. */
typedef struct TensorStats {
  lua_Integer count, bytes;
  size_t kept; /* bytes of all that Lua had after tensors last made it collect garbage */
} TensorStats;
TensorStats *tensor_stats(lua_State *L);

/* Scratch for the duration of one call from Lua: `count` reals, 64-byte
 * aligned, undefined contents.  One buffer per Lua state, grown when a call
 * wants more; the next call that asks overwrites it. */
real *tensor_workspace(lua_State *L, size_t count);

#endif
