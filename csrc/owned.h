/* Tensors that an object owns and reuses from call to call: in steady state
 * nothing is allocated. */
#ifndef CGLOW_OWNED_H
#define CGLOW_OWNED_H

#include "tensor.h"

/* Push the tensor in user value uv of the object at idx; when it is missing or
 * has another shape, first put a new one there (undefined contents). */
Tensor *owned_tensor(lua_State *L, int idx, int uv, int ndim, const size_t *dim);

#endif
