/* What the module `cglow.mpi` has of memory that the ranks of one machine share. */
#ifndef CGLOW_MPI_MODULE_WINDOW_H
#define CGLOW_MPI_MODULE_WINDOW_H

#include <lua.h>

/* Give the table on top of the stack the function that makes it. */
void module_add_window(lua_State *L);

#endif
