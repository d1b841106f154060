/* Objects of the flow: userdata with named parameters, and with tensors that they keep
 * in user values and overwrite with each call.
 *
 * A binding keeps every tensor that its kernel works on on the stack, and takes the
 * workspace after everything else: any allocation may run a finalizer (lua/guard.h). */
#ifndef CGLOW_LUA_FLOW_OBJECT_H
#define CGLOW_LUA_FLOW_OBJECT_H

#include <lauxlib.h>
#include <lua.h>

#include "base/act.h"
#include "base/threads.h"
#include "lua/param.h"
#include "lua/reuse.h"
#include "lua/tensor.h"

enum {
  FLOW_PARAMS = 1, /* list of Param */
  FLOW_NAMES,      /* list of their names within the layer */
  FLOW_LOGDET,     /* list of numbers, reused */
  FLOW_Y,          /* forward's input */
  FLOW_COND,       /* forward's condition */
  FLOW_Z,
  FLOW_DY,
  FLOW_DCOND,
  FLOW_INVERSE,
  FLOW_SAVED,
  FLOW_STORE,
  FLOW_SENT, /* what left the flow in forward */
  FLOW_USER_VALUES = FLOW_SENT
};

/* Push a new zeroed object of a class registered with flow_class. */
void *flow_new(lua_State *L, const char *type, size_t size);
/* Give the layer on top of the stack a parameter. */
Param *flow_add_param(lua_State *L, const char *name, int ndim, const size_t *dim);
/* Ready every parameter of the layer at index 1 for a backward pass. */
void flow_prepare_params(lua_State *L);

/* Most channels, rows or columns: no product with a kernel's size overflows. */
#define FLOW_SIZE_MAX (INT32_MAX / 16)
/* A size from least to most. */
size_t flow_check_size(lua_State *L, int arg, const char *what, lua_Integer least,
                       lua_Integer most);
/* A 4-D tensor with c channels. */
Tensor *flow_check_input(lua_State *L, int arg, size_t c);
bool flow_keep(lua_State *L, int arg);
/* d loss/d logdet of n samples from a number, list or tensor at arg. */
void flow_check_weights(lua_State *L, int arg, size_t n, real *out);
/* Refuse a condition at arg: the layer is unconditional. */
void flow_check_no_condition(lua_State *L, int arg);
/* Push the tensor kept in user value uv by forward; an error when there is none. */
Tensor *flow_kept(lua_State *L, int uv);
/* Forget (arg 0) or keep the value at stack index arg in user value uv. */
void flow_keep_value(lua_State *L, int uv, int arg);
/* See that the object's list of numbers, one for each sample, has n of them: setting them
 * allocates nothing then, while they lie in the workspace. */
void flow_ready_logdet(lua_State *L, size_t n);
/* Push the list with these numbers; after flow_ready_logdet. */
void flow_push_logdet(lua_State *L, const double *logdet, size_t n);

static inline Act flow_act(const Tensor *t) {
  return act_nchw(t->data, t->dim[0], t->dim[1], t->dim[2], t->dim[3]);
}

/* Reals that hold n doubles. */
static inline size_t flow_doubles(size_t n) {
  return round_up(n * sizeof(double) / sizeof(real));
}

/* Register a class with these methods, `parameters` and `__tostring`. */
void flow_class(lua_State *L, const char *type, const luaL_Reg *methods);

#endif
