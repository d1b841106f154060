/* What a pass of a flow layer works on: the layer's object in Lua, and from it the sizes,
 * the condition and the memory of a FlowRun. */
#ifndef CGLOW_LUA_FLOW_RUN_H
#define CGLOW_LUA_FLOW_RUN_H

#include "flow/flow.h"
#include "lua/flow_object.h"

/* What backward reads and can be computed once more lies in a store.  Each layer has its
 * own, unless layers share one: then a layer whose store was overwritten since computes
 * it again. */
typedef struct FlowStore {
  real *data;
  size_t room;
  const void *owner; /* whose numbers lie in it */
} FlowStore;

/* What lies before the layer in its userdata. */
typedef struct FlowObject {
  FlowStore *store;
  size_t rows; /* of the condition of the last forward */
  bool ran;    /* forward has, and backward may follow */
  Flow *flow;
} FlowObject;

/* A run with the sizes of y and z, from the tensor of one of them at index 2. */
FlowRun flow_run_for(lua_State *L, const Flow *f, bool back);
/* The shape of conditions for y: ndim 0 when the layer has none. */
FlowShape flow_condition(const Flow *f, const Act *y);
/* The numbers of a condition, or of what was prepared from one, at index arg. */
real *flow_run_condition(lua_State *L, int arg, FlowShape shape, FlowRun *r);
/* Reals that a pass of this run saves. */
size_t flow_saved_count(const Flow *f, const FlowRun *r);
/* Push a tensor for what is saved for backward. */
real *flow_push_saved(lua_State *L, const Flow *f, const FlowRun *r);
/* Push a tensor of these sizes, kept in user value uv, and say where its numbers are. */
void flow_push_act(lua_State *L, int uv, Act *a);
/* Push the tensor for a pass's result: the caller's own at index arg, which must not
 * share memory with the pass's input, or one that is kept in user value uv. */
void flow_push_result(lua_State *L, int arg, const Tensor *input, int uv, Act *a);
/* Push the tensor of the store, large enough for what is hidden. */
real *flow_push_hidden(lua_State *L, const FlowObject *o, const FlowRun *r);
/* Take the workspace for a pass: `before` reals, then scratch.  Nothing may be allocated
 * after it. */
real *flow_take_workspace(lua_State *L, const Flow *f, FlowRun *r, FlowPass pass,
                          size_t before);

#endif
