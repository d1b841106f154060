/* Networks in Lua: userdata "cglow.Net". */
#ifndef CGLOW_LUA_NET_H
#define CGLOW_LUA_NET_H

#include <lua.h>

#include "net.h"
#include "tensor.h"

#define NET_TYPE "cglow.Net"

Net *net_check(lua_State *L, int arg);

/* Plan the network at idx for the tensor at stack index x, which it keeps for
 * the backward pass, and see that its buffers are there: kept activations and,
 * pushed on the stack, the output tensor, which the network owns. */
Tensor *net_prepare_forward(lua_State *L, int idx, int x);
/* The buffer for kept activations, after net_prepare_forward. */
real *net_arena(lua_State *L, int idx);
/* Push the output tensor of the last forward. */
Tensor *net_output(lua_State *L, int idx);
/* See that every parameter can take the gradient of the current batch. */
void net_prepare_backward(lua_State *L, int idx);

void open_bundle(lua_State *L);

#endif
