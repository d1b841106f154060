/* Entry point of the module `cglow.mpi`, apart from the core, which knows of no MPI. */
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <stdint.h>
#include <string.h>

#include "mpi/module_check.h"
#include "mpi/module_transfers.h"
#include "mpi/module_window.h"
#include "mpi/transfer.h"

/***
Message passing between the processes that train together, started with `mpirun`
or `srun`: each has a rank from 0 to size − 1. Loading the module starts MPI.

Every function but `rank`, `size` and their like must be called by all ranks, in the
same order. Sums are added up in the order of ranks, so that equal ranks give equal
bits, on every rank and with every MPI. An error of MPI's is raised and names the
function and the rank.

MPI ends with `close`, at the end of the block of a local variable that is `<close>` and
holds the module, or with the process. A process that ends with a failure ends all others,
because they would wait for it for ever.

@module cglow.mpi
*/

#define SUMS 16

/* Key in the registry: room for the blocking sums. */
static const char room_key = 0;

/* ---- who is there ---------------------------------------------------------- */

/***
This process's number.
@function rank
@treturn integer from 0 on
*/
static int get_rank(lua_State *L) {
  lua_pushinteger(L, world.rank);
  return 1;
}

/***
How many processes there are.
@function size
@treturn integer
*/
static int get_size(lua_State *L) {
  lua_pushinteger(L, world.size);
  return 1;
}

/***
How many of them run on this machine.
@function host_ranks
@treturn integer
*/
static int get_host_ranks(lua_State *L) {
  lua_pushinteger(L, world.host_ranks);
  return 1;
}

/***
Which MPI this is, e.g. "Open MPI v4.1.4".
@function library
@treturn string
*/
static int get_library(lua_State *L) {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length;
  module_check_open(L);
  module_must(L, CALL(MPI_Get_library_version(text, &length)));
  lua_pushlstring(L, text, strcspn(text, ",\n"));
  return 1;
}

/* ---- blocking calls --------------------------------------------------------- */

/***
Wait until all ranks have come here.
@function barrier
*/
static int barrier(lua_State *L) {
  module_check_open(L);
  module_must(L, CALL(MPI_Barrier(world.comm)));
  return 0;
}

/***
One rank's numbers or text for all.
@function broadcast
@tparam Tensor|string what a tensor, the same shape everywhere, is overwritten; of text
only the root's counts
@tparam[opt=0] integer root
@treturn Tensor|string the tensor, or the root's text
*/
static int broadcast(lua_State *L) {
  module_check_open(L);
  lua_Integer root = luaL_optinteger(L, 2, 0);
  if (root < 0 || root >= world.size)
    luaL_argerror(L, 2,
                  lua_pushfstring(L, "a rank from 0 to %d expected, got %I",
                                  world.size - 1, (LUAI_UACINT)root));
  lua_settop(L, 1);
  if (lua_type(L, 1) != LUA_TSTRING) {
    Tensor *t = module_check_tensor(L, 1);
    module_must(L, world_broadcast(t->data, t->count * sizeof *t->data, (int)root));
    return 1;
  }
  uint64_t length = lua_rawlen(L, 1);
  module_must(L, world_broadcast(&length, sizeof length, (int)root));
  luaL_Buffer b;
  char *text = luaL_buffinitsize(L, &b, length);
  if (world.rank == (int)root) memcpy(text, lua_tostring(L, 1), length);
  module_must(L, world_broadcast(text, length, (int)root));
  luaL_pushresultsize(&b, length);
  return 1;
}

/***
Sums of a few numbers over all ranks, in double precision. Allocates nothing.
@function sum
@tparam number ... up to 16
@treturn number ... as many sums
*/
static int sum(lua_State *L) {
  module_check_open(L);
  int count = lua_gettop(L);
  if (count > SUMS)
    return luaL_error(L, "cglow.mpi.sum: at most %d numbers expected, got %d", SUMS,
                      count);
  double values[SUMS], sums[SUMS];
  for (int i = 0; i < count; i++) values[i] = luaL_checknumber(L, i + 1);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &room_key);
  module_must(L, world_sum(values, lua_touserdata(L, -1), sums, count));
  for (int i = 0; i < count; i++) lua_pushnumber(L, sums[i]);
  return count;
}

/* Sizes and places of every rank's text; returns how long they are together. */
static int64_t place_texts(const double *lengths, int *sizes, int *places) {
  int64_t total = 0;
  for (int rank = 0; rank < world.size; rank++) {
    sizes[rank] = (int)lengths[rank];
    places[rank] = (int)total;
    total += sizes[rank];
    if (total > INT_MAX) return -1;
  }
  return total;
}

/***
Every rank's text for all.
@function gather
@tparam string text
@treturn {string,...} rank 0's first
*/
static int gather(lua_State *L) {
  module_check_open(L);
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  luaL_argcheck(L, length <= INT_MAX, 1, "a text of less than 2^31 bytes expected");
  lua_settop(L, 1);
  double mine = (double)length, unused;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &room_key);
  double *lengths = lua_touserdata(L, -1);
  module_must(L, world_sum(&mine, lengths, &unused, 1));
  int *sizes = lua_newuserdatauv(L, 2 * (size_t)world.size * sizeof *sizes, 0);
  int64_t total = place_texts(lengths, sizes, sizes + world.size);
  if (total < 0)
    return luaL_error(L, "cglow.mpi.gather: the texts are longer than 2^31 bytes");
  char *all = lua_newuserdatauv(L, (size_t)total, 0);
  module_must(L, world_gather(text, (int)length, all, sizes, sizes + world.size));
  lua_createtable(L, world.size, 0);
  for (int rank = 0; rank < world.size; rank++) {
    lua_pushlstring(L, all + sizes[world.size + rank], (size_t)sizes[rank]);
    lua_rawseti(L, -2, rank + 1);
  }
  return 1;
}

/* ---- the end ------------------------------------------------------------------ */

/***
End MPI, together with all others. Later calls of this module are errors.
@function close
@raise when a transfer is under way
*/
static int close_world(lua_State *L) {
  if (transfer_any())
    return luaL_error(L, "cglow.mpi.close: a transfer is under way; wait for it first");
  module_must(L, world_close());
  return 0;
}

/* The end of a block, which an error may have ended: then no other rank comes here. */
static int close_block(lua_State *L) {
  if (!lua_isnoneornil(L, 2)) return 0;
  return close_world(L);
}

/***
End the processes of all ranks at once, because this one cannot go on.
@function abort
@tparam[opt=1] integer status their exit status, from 1 to 255
*/
static int abort_world(lua_State *L) {
  lua_Integer status = luaL_optinteger(L, 1, 1);
  if (status < 1 || status > 255)
    luaL_argerror(L, 1,
                  lua_pushfstring(L, "an exit status from 1 to 255 expected, got %I",
                                  (LUAI_UACINT)status));
  world_abort((int)status);
  return 0;
}

static int world_tostring(lua_State *L) {
  lua_pushfstring(L, "cglow.mpi: rank %d of %d", world.rank, world.size);
  return 1;
}

static const luaL_Reg functions[] = {{"rank", get_rank},
                                     {"size", get_size},
                                     {"host_ranks", get_host_ranks},
                                     {"library", get_library},
                                     {"barrier", barrier},
                                     {"broadcast", broadcast},
                                     {"sum", sum},
                                     {"gather", gather},
                                     {"close", close_world},
                                     {"abort", abort_world},
                                     {NULL, NULL}};
static const luaL_Reg meta[] = {
    {"__close", close_block}, {"__tostring", world_tostring}, {NULL, NULL}};

/* Tensors are the core's, of the same kind of numbers. */
static void check_core(lua_State *L) {
  lua_getglobal(L, "require");
  lua_pushliteral(L, "cglow.core");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "scalar");
  if (strcmp(luaL_checkstring(L, -1), REAL_NAME) != 0)
    luaL_error(L, "cglow.mpi was built for a core of %s, this one is of %s", REAL_NAME,
               lua_tostring(L, -1));
  lua_pop(L, 2);
}

__attribute__((visibility("default"))) int luaopen_cglow_mpi(lua_State *L);

int luaopen_cglow_mpi(lua_State *L) {
  luaL_checkversion(L);
  check_core(L);
  if (world.ended)
    return luaL_error(L,
                      "cglow.mpi: MPI was closed in this process and cannot start again");
  module_must(L, world_open());
  lua_newuserdatauv(L, SUMS * (size_t)world.size * sizeof(double), 0);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &room_key);
  luaL_newlib(L, functions);
  module_add_transfers(L);
  module_add_window(L);
  lua_newtable(L);
  luaL_setfuncs(L, meta, 0);
  lua_setmetatable(L, -2);
  return 1;
}
