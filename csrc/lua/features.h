/* What a flow layer needs of features of x: numbers that a 1×1 convolution of them has
 * made (flow/features.h), rows×N×H×W, for as many samples of x as divide those of y. */
#ifndef CGLOW_LUA_FEATURES_H
#define CGLOW_LUA_FEATURES_H

#include "flow/features.h"
#include "lua/flow_object.h"

/* The tensor at arg, of shape `dim` with dim[1] = 0, for n samples; sets repeat. */
Tensor *features_check(lua_State *L, int arg, size_t n, const size_t dim[4],
                       size_t *repeat);
static inline Act features_act(const Tensor *t) {
  return act_cnhw(t->data, t->dim[1], t->dim[0], t->dim[2], t->dim[3]);
}
/* Bound of a log-scale at arg: nil or 0 for none, or a positive number. */
real features_check_bound(lua_State *L, int arg);

#endif
