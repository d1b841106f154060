/* Tensors that an object owns and reuses from call to call: in steady state
 * nothing is allocated. */
#ifndef CGLOW_LUA_REUSE_H
#define CGLOW_LUA_REUSE_H

#include "lua/tensor.h"

/* Push the tensor in user value uv of the object at idx.  First put a new one
 * there (undefined contents) when it is missing, has another shape, or shares
 * numbers with a tensor on the stack: a caller may hand an output back as an
 * input. */
Tensor *reuse_tensor(lua_State *L, int idx, int uv, int ndim, const size_t *dim);

#endif
