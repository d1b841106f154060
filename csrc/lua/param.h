/* Parameters in Lua: userdata "cglow.Param" with .name, .value and .grad. */
#ifndef CGLOW_LUA_PARAM_H
#define CGLOW_LUA_PARAM_H

#include <lua.h>

#include "optim/param.h"

#define PARAM_TYPE "cglow.Param"

/* Push a new parameter of this shape, zero-filled, with this name. */
Param *param_new(lua_State *L, const char *name, int ndim, const size_t *dim);
Param *param_check(lua_State *L, int arg);
/* Push element i, from 1 on, of the list at index 1, which must be a parameter. */
Param *param_push_listed(lua_State *L, lua_Integer i);

/* Give the parameter at idx memory for its dense gradient. */
void param_ensure_grad(lua_State *L, int idx);
/* What Lua holds of the gradient of the parameter at idx need not be up to date any more:
 * who wants to see it asks for p.grad anew. */
void param_end_look(lua_State *L, int idx);
/* Let the dense gradient of the parameter at idx lie in the tensor at stack index `flat`,
 * from number `at` on; what it is now is copied there. */
void param_move_grad(lua_State *L, int idx, int flat, size_t at);
/* Make ready for a backward pass over n samples: room for a pending outer
 * product if that is the cheaper form and nothing stands in its way,
 * otherwise a dense gradient. */
void param_prepare(lua_State *L, int idx, size_t n, bool outer);

#endif
