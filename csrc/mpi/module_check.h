/* Errors of the module `cglow.mpi`, and checks of what it is given. */
#ifndef CGLOW_MPI_MODULE_CHECK_H
#define CGLOW_MPI_MODULE_CHECK_H

#include <lua.h>

#include "lua/tensor.h"
#include "mpi/world.h"

/* Raise an error that names MPI's function and the rank, unless rc is none. */
void module_must(lua_State *L, int rc);
/* An error after MPI has been closed. */
void module_check_open(lua_State *L);
/* The tensor at arg, up to date, of no more numbers than MPI can count. */
Tensor *module_check_tensor(lua_State *L, int arg);

#endif
