/* The binding of flow layers (flow/flow.h): one class for each FlowOps. */
#ifndef CGLOW_LUA_FLOW_METHODS_H
#define CGLOW_LUA_FLOW_METHODS_H

#include "flow/flow.h"
#include "lua/flow_object.h"

/* Register the class of a kind of layer, with what methods it has beside the common
 * ones (or NULL). */
void flow_layer_class(lua_State *L, const FlowOps *ops, const luaL_Reg *more);
/* Push a new layer of this kind and size, all zero but for ops and channels. */
void *flow_layer_new(lua_State *L, const FlowOps *ops, size_t size, size_t channels);
/* The layer of this kind at index 1. */
Flow *flow_layer_check(lua_State *L, const FlowOps *ops);

/* For methods that only look at a condition, at index 2: push `lists` lists of a number
 * for each of its samples, and return a run as for prepare, counted by the guard, whose
 * logdet has as many doubles.  Setting the lists allocates nothing. */
FlowRun flow_layer_look(lua_State *L, Flow *f, size_t lists);

#endif
