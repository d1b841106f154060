/* Networks in Lua: userdata "cglow.Net". */
#ifndef CGLOW_LUA_NET_H
#define CGLOW_LUA_NET_H

#include <lua.h>

#include "lua/tensor.h"
#include "nn/net.h"

#define NET_TYPE "cglow.Net"

/* A network's user values.  LAYERS: list whose entry i keeps node i's layer
 * alive (its parameters by role for a layer of its own, or the network that it
 * came from).  NAMES: list of node names. */
enum {
  NET_LAYERS = 1,
  NET_NAMES,
  NET_INPUT,
  NET_ARENA,
  NET_OUTPUT,
  NET_DINPUT,
  NET_COUNT = 6
};

/* What a layer's parameters are called in the tables of LAYERS. */
#define NET_ROLES 3
extern const char *const net_roles[NET_ROLES];

/* Plan the network at idx for the tensor at stack index x, which it keeps for
 * the backward pass, and see that its buffers are there: kept activations and,
 * pushed on the stack, the output tensor, which the network owns.  This counts as a
 * computation (lua/guard.h), whether it fails or not. */
Tensor *net_prepare_forward(lua_State *L, int idx, int x);
/* The buffer for kept activations, after net_prepare_forward. */
real *net_arena(lua_State *L, int idx);
/* Push the output tensor of the last forward. */
Tensor *net_output(lua_State *L, int idx);
/* See that every parameter can take the gradient of the current batch. */
void net_prepare_backward(lua_State *L, int idx);

/* Most networks or parameters that one call takes in a list: far more than any
 * model has, few enough that no size computed from it overflows. */
#define LIST_MAX ((size_t)1 << 20)

#endif
