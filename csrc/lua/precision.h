/* The precision of products in networks that are made from now on. */
#ifndef CGLOW_LUA_PRECISION_H
#define CGLOW_LUA_PRECISION_H

#include <lua.h>

#include "base/isa.h"

Precision precision_in_force(lua_State *L);

#endif
