/* Errors of the module `cglow.mpi`, checks of what it is given, and its classes. */
#ifndef CGLOW_MPI_MODULE_CHECK_H
#define CGLOW_MPI_MODULE_CHECK_H

#include <lauxlib.h>
#include <lua.h>

#include "lua/tensor.h"
#include "mpi/world.h"

/* Raise an error that names MPI's function and the rank, unless rc is none. */
void module_must(lua_State *L, int rc);
/* An error after MPI has been closed. */
void module_check_open(lua_State *L);
/* The tensor at arg, up to date, of no more numbers than MPI can count. */
Tensor *module_check_tensor(lua_State *L, int arg);
/* The factor at arg that a sum is multiplied by; 1 when there is none. */
real module_check_scale(lua_State *L, int arg);

/* Make the metatable of a class. */
void module_new_class(lua_State *L, const char *name, const luaL_Reg *methods);

#endif
