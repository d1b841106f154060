/* Transfers of the module `cglow.mpi` in Lua. */
#include "mpi/module_transfers.h"

#include <lauxlib.h>

#include "mpi/module_check.h"
#include "mpi/transfer.h"

/*** @submodule cglow.mpi */

#define TRANSFER_TYPE "cglow.mpi.Transfer"

enum { UV_OWN = 1, UV_OTHERS, UV_COUNT = 2 };

/* Key in the registry: what is under way. */
static const char active_key = 0;

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
  module_must(L, transfer_start(t));
}

static void finish_transfer(lua_State *L, int idx) {
  module_must(L, transfer_finish(lua_touserdata(L, idx)));
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
  module_check_open(L);
  lua_settop(L, 2);
  module_check_tensor(L, 1);
  new_transfer(L, 1, 0, TRANSFER_SUM, module_check_scale(L, 2));
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
  module_check_open(L);
  lua_settop(L, 2);
  const Tensor *own = module_check_tensor(L, 1), *all = module_check_tensor(L, 2);
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
  module_check_open(L);
  module_must(L, transfer_progress());
  return 0;
}

/***
A sum or a gathering.
@type Transfer
*/

static Transfer *check_transfer(lua_State *L) {
  module_check_open(L);
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
  module_must(L, transfer_progress());
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

static const luaL_Reg functions[] = {{"allreduce", allreduce},
                                     {"iallreduce", iallreduce},
                                     {"igather", igather},
                                     {"progress", progress},
                                     {NULL, NULL}};
static const luaL_Reg methods[] = {{"start", transfer_start_again},
                                   {"test", transfer_test},
                                   {"wait", transfer_wait},
                                   {"__gc", transfer_collect},
                                   {NULL, NULL}};

void module_add_transfers(lua_State *L) {
  lua_newtable(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &active_key);
  module_new_class(L, TRANSFER_TYPE, methods);
  luaL_setfuncs(L, functions, 0);
}
