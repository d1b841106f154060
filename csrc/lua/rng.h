/* Generators of random numbers in Lua: userdata "cglow.Rng". */
#ifndef CGLOW_LUA_RNG_H
#define CGLOW_LUA_RNG_H

#include <lua.h>

#include "math/rng.h"

#define RNG_TYPE "cglow.Rng"

/* The generator at stack index arg, or this state's default one when arg is
 * none or nil. */
Rng *rng_check(lua_State *L, int arg);
Rng *rng_default(lua_State *L);

#endif
