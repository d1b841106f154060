/* What the files that bind tensors share: checks of arguments, and arithmetic with
 * dimensions. */
#ifndef CGLOW_LUA_TENSOR_ARGS_H
#define CGLOW_LUA_TENSOR_ARGS_H

#include <lua.h>

#include "lua/tensor.h"

/* Push the sizes as a list. */
void tensor_push_sizes(lua_State *L, const Tensor *t);
/* Push a number; a NaN without a sign, which Lua would print as "-nan". */
void tensor_push_number(lua_State *L, double v);
/* Argument arg as a 1-based index into 1..limit; returns it 0-based. */
size_t tensor_check_index(lua_State *L, int arg, size_t limit);
/* Argument arg as a dimension of t, from 1 on; returns it 0-based. */
int tensor_check_dimension(lua_State *L, int arg, const Tensor *t);
/* The tensor at arg, which must have t's shape. */
Tensor *tensor_check_like(lua_State *L, int arg, const Tensor *t);
/* t's shape without dimension d; t must have another one.  Returns its ndim. */
int tensor_dims_without(const Tensor *t, int d, size_t dim[TENSOR_MAX_DIM]);

/* t's shape with its last dimension in the last place: the first ones are 1. */
void tensor_aligned_dims(const Tensor *t, size_t dim[TENSOR_MAX_DIM]);

/* Products of the dimensions before and after dimension d. */
size_t tensor_outer(const Tensor *t, int d);
size_t tensor_inner(const Tensor *t, int d);

#endif
