/* Entry point of the module `cglow.mpi`, apart from the core, which knows of no MPI. */
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <stdint.h>
#include <string.h>

#include "lua/tensor.h"
#include "mpi/transfer.h"
#include "mpi/world.h"

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

#define TRANSFER_TYPE "cglow.mpi.Transfer"
#define SUMS 16

enum { UV_OWN = 1, UV_OTHERS, UV_COUNT = 2 };

/* Keys in the registry: what is under way; room for the blocking sums. */
static const char active_key = 0, room_key = 0;

/* ---- errors --------------------------------------------------------------- */

static int raise(lua_State *L, int rc) {
  char text[MPI_MAX_ERROR_STRING];
  char call[64] = "";
  int length = world_call_length();
  memcpy(call, world.call, (size_t)(length < 63 ? length : 63));
  world_error_text(rc, text);
  return luaL_error(L, "cglow.mpi: %s on rank %d of %d: %s", call, world.rank, world.size,
                    text);
}

static void must(lua_State *L, int rc) {
  if (rc != MPI_SUCCESS) raise(L, rc);
}

static void check_open(lua_State *L) {
  if (!world.open) luaL_error(L, "cglow.mpi: MPI has been closed");
}

/* A tensor up to date: its length is asked in Lua's way, which sees to that. */
static Tensor *check_tensor(lua_State *L, int arg) {
  Tensor *t = luaL_checkudata(L, arg, TENSOR_TYPE);
  luaL_callmeta(L, arg, "__len");
  lua_pop(L, 1);
  if (t->count > transfer_most())
    luaL_argerror(L, arg, "a tensor of fewer than 2^31 numbers expected");
  return t;
}

static real check_scale(lua_State *L, int arg) {
  double scale = luaL_optnumber(L, arg, 1);
  if (!(scale >= -1e30 && scale <= 1e30))
    luaL_argerror(L, arg, lua_pushfstring(L, "a finite number expected, got %f", scale));
  return (real)scale;
}

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
  check_open(L);
  must(L, CALL(MPI_Get_library_version(text, &length)));
  lua_pushlstring(L, text, strcspn(text, ",\n"));
  return 1;
}

/* ---- blocking calls --------------------------------------------------------- */

/***
Wait until all ranks have come here.
@function barrier
*/
static int barrier(lua_State *L) {
  check_open(L);
  must(L, CALL(MPI_Barrier(world.comm)));
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
  check_open(L);
  lua_Integer root = luaL_optinteger(L, 2, 0);
  if (root < 0 || root >= world.size)
    luaL_argerror(L, 2,
                  lua_pushfstring(L, "a rank from 0 to %d expected, got %I",
                                  world.size - 1, (LUAI_UACINT)root));
  lua_settop(L, 1);
  if (lua_type(L, 1) != LUA_TSTRING) {
    Tensor *t = check_tensor(L, 1);
    must(L, world_broadcast(t->data, t->count * sizeof *t->data, (int)root));
    return 1;
  }
  uint64_t length = lua_rawlen(L, 1);
  must(L, world_broadcast(&length, sizeof length, (int)root));
  luaL_Buffer b;
  char *text = luaL_buffinitsize(L, &b, length);
  if (world.rank == (int)root) memcpy(text, lua_tostring(L, 1), length);
  must(L, world_broadcast(text, length, (int)root));
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
  check_open(L);
  int count = lua_gettop(L);
  if (count > SUMS)
    return luaL_error(L, "cglow.mpi.sum: at most %d numbers expected, got %d", SUMS,
                      count);
  double values[SUMS], sums[SUMS];
  for (int i = 0; i < count; i++) values[i] = luaL_checknumber(L, i + 1);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &room_key);
  must(L, world_sum(values, lua_touserdata(L, -1), sums, count));
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
  check_open(L);
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  luaL_argcheck(L, length <= INT_MAX, 1, "a text of less than 2^31 bytes expected");
  lua_settop(L, 1);
  double mine = (double)length, unused;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &room_key);
  double *lengths = lua_touserdata(L, -1);
  must(L, world_sum(&mine, lengths, &unused, 1));
  int *sizes = lua_newuserdatauv(L, 2 * (size_t)world.size * sizeof *sizes, 0);
  int64_t total = place_texts(lengths, sizes, sizes + world.size);
  if (total < 0)
    return luaL_error(L, "cglow.mpi.gather: the texts are longer than 2^31 bytes");
  char *all = lua_newuserdatauv(L, (size_t)total, 0);
  must(L, world_gather(text, (int)length, all, sizes, sizes + world.size));
  lua_createtable(L, world.size, 0);
  for (int rank = 0; rank < world.size; rank++) {
    lua_pushlstring(L, all + sizes[world.size + rank], (size_t)sizes[rank]);
    lua_rawseti(L, -2, rank + 1);
  }
  return 1;
}

/* ---- transfers -------------------------------------------------------------- */

/* Note the transfer at idx as under way, so that it stays in memory, or not. */
static void note_active(lua_State *L, int idx, bool active) {
  idx = lua_absindex(L, idx);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &active_key);
  if (active)
    lua_pushvalue(L, idx);
  else
    lua_pushboolean(L, 0); /* the place in the table stays */
  lua_rawsetp(L, -2, lua_touserdata(L, idx));
  lua_pop(L, 1);
}

static Transfer *new_transfer(lua_State *L, int own, int others, TransferKind kind,
                              real scale) {
  const Tensor *t = lua_touserdata(L, own);
  Transfer *transfer = lua_newuserdatauv(L, transfer_bytes(), UV_COUNT);
  transfer->phase = TRANSFER_IDLE;
  luaL_setmetatable(L, TRANSFER_TYPE);
  real *room;
  if (others != 0) {
    room = ((const Tensor *)lua_touserdata(L, others))->data;
    lua_pushvalue(L, others);
  } else {
    room = lua_newuserdatauv(L, transfer_inbox(t->count) * sizeof *room, 0);
  }
  transfer_init(transfer, kind, t->count, t->data, room, scale);
  lua_setiuservalue(L, -2, UV_OTHERS);
  lua_pushvalue(L, own);
  lua_setiuservalue(L, -2, UV_OWN);
  note_active(L, -1, false);
  return transfer;
}

static void start_transfer(lua_State *L, int idx) {
  Transfer *t = lua_touserdata(L, idx);
  note_active(L, idx, true);
  must(L, transfer_start(t));
}

static void finish_transfer(lua_State *L, int idx) {
  must(L, transfer_finish(lua_touserdata(L, idx)));
  note_active(L, idx, false);
}

/***
Add up a tensor over all ranks, and go on while that happens.

The tensor must be left alone until the transfer is done. Sums move on when `progress` or
a method of any transfer is called.
@function iallreduce
@tparam Tensor t of one shape everywhere; becomes the sum
@tparam[opt=1] number scale what the sum is multiplied by
@treturn Transfer under way; it may be started again when it is done
*/
static int iallreduce(lua_State *L) {
  check_open(L);
  lua_settop(L, 2);
  check_tensor(L, 1);
  new_transfer(L, 1, 0, TRANSFER_SUM, check_scale(L, 2));
  start_transfer(L, 3);
  return 1;
}

/***
Add up a tensor over all ranks.
@function allreduce
@tparam Tensor t of one shape everywhere; becomes the sum
@tparam[opt=1] number scale what the sum is multiplied by
@treturn Tensor t
*/
static int allreduce(lua_State *L) {
  iallreduce(L);
  finish_transfer(L, 3);
  lua_settop(L, 1);
  return 1;
}

/***
Every rank's tensor for all, and go on while that happens.
@function igather
@tparam Tensor own of one shape everywhere
@tparam Tensor all as many numbers as all ranks' together, rank 0's first
@treturn Transfer under way
*/
static int igather(lua_State *L) {
  check_open(L);
  lua_settop(L, 2);
  const Tensor *own = check_tensor(L, 1), *all = check_tensor(L, 2);
  if (all->count != own->count * (size_t)world.size)
    luaL_argerror(
        L, 2,
        lua_pushfstring(L, "a tensor of %d × %I numbers expected, got %I", world.size,
                        (LUAI_UACINT)own->count, (LUAI_UACINT)all->count));
  luaL_argcheck(
      L, own->data + own->count <= all->data || all->data + all->count <= own->data, 2,
      "a tensor that shares no numbers with the first expected");
  new_transfer(L, 1, 2, TRANSFER_GATHER, 1);
  start_transfer(L, 3);
  return 1;
}

/***
Let what is under way move on; to be called now and then while something is computed.
@function progress
*/
static int progress(lua_State *L) {
  check_open(L);
  must(L, transfer_progress());
  return 0;
}

/***
A sum or a gathering.
@type Transfer
*/

static Transfer *check_transfer(lua_State *L) {
  check_open(L);
  return luaL_checkudata(L, 1, TRANSFER_TYPE);
}

/***
Do the same once more, with the numbers that are there now.
@function Transfer:start
@raise when it is under way
*/
static int transfer_start_again(lua_State *L) {
  const Transfer *t = check_transfer(L);
  lua_settop(L, 1);
  if (t->phase != TRANSFER_IDLE)
    return luaL_error(L, "Transfer:start: it is under way; wait for it first");
  start_transfer(L, 1);
  return 0;
}

/***
Let what is under way move on.
@function Transfer:test
@treturn boolean is this one done?
*/
static int transfer_test(lua_State *L) {
  const Transfer *t = check_transfer(L);
  lua_settop(L, 1);
  must(L, transfer_progress());
  if (t->phase == TRANSFER_IDLE) note_active(L, 1, false);
  lua_pushboolean(L, t->phase == TRANSFER_IDLE);
  return 1;
}

/***
Wait until it is done.
@function Transfer:wait
*/
static int transfer_wait(lua_State *L) {
  check_transfer(L);
  lua_settop(L, 1);
  finish_transfer(L, 1);
  return 0;
}

/* Lua is closing, or another rank's messages would come to memory that is gone: one that
 * is under way is kept by the registry. */
static int transfer_collect(lua_State *L) {
  const Transfer *t = luaL_checkudata(L, 1, TRANSFER_TYPE);
  if (t->phase != TRANSFER_IDLE && world.open && world.size > 1) world_abort(1);
  return 0;
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
  must(L, world_close());
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
                                     {"allreduce", allreduce},
                                     {"iallreduce", iallreduce},
                                     {"igather", igather},
                                     {"progress", progress},
                                     {"close", close_world},
                                     {"abort", abort_world},
                                     {NULL, NULL}};
static const luaL_Reg transfer_methods[] = {{"start", transfer_start_again},
                                            {"test", transfer_test},
                                            {"wait", transfer_wait},
                                            {"__gc", transfer_collect},
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
  must(L, world_open());
  lua_newtable(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &active_key);
  lua_newuserdatauv(L, SUMS * (size_t)world.size * sizeof(double), 0);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &room_key);
  luaL_newmetatable(L, TRANSFER_TYPE);
  luaL_setfuncs(L, transfer_methods, 0);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  luaL_newlib(L, functions);
  lua_newtable(L);
  luaL_setfuncs(L, meta, 0);
  lua_setmetatable(L, -2);
  return 1;
}
