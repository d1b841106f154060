/* What the module `cglow.mpi` has of transfers: sums and gatherings that go on while
 * something else is computed. */
#ifndef CGLOW_MPI_MODULE_TRANSFERS_H
#define CGLOW_MPI_MODULE_TRANSFERS_H

#include <lua.h>

/* Give the table on top of the stack the functions that begin transfers. */
void module_add_transfers(lua_State *L);

#endif
