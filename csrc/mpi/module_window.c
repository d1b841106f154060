/* Shared memory of the module `cglow.mpi` in Lua. */
#include "mpi/module_window.h"

#include <lauxlib.h>

#include "mpi/module_check.h"
#include "mpi/window.h"

/*** @submodule cglow.mpi */

#define SHARED_TYPE "cglow.mpi.Shared"

/* No size overflows with it. */
#define SHARED_MOST ((lua_Integer)1 << 40)

/***
Memory that the ranks of one machine see, all of which must call this together: zeros, for
each rank as many. It lasts as long as somebody holds it or one of its tensors.
@function share
@tparam integer n numbers of each rank
@treturn[1] Shared
@treturn[2] nil on all of them, where such memory cannot be had
@treturn[2] string what stood in this rank's way; "" where it was another's
*/
static int share(lua_State *L) {
  module_check_open(L);
  lua_Integer n = luaL_checkinteger(L, 1);
  if (n < 1 || n > SHARED_MOST)
    luaL_argerror(L, 1,
                  lua_pushfstring(L, "an integer from 1 to %I expected, got %I",
                                  (LUAI_UACINT)SHARED_MOST, (LUAI_UACINT)n));
  Window *w = lua_newuserdatauv(L, sizeof *w, 0);
  w->numbers = NULL;
  luaL_setmetatable(L, SHARED_TYPE);
  char why[WINDOW_WHY];
  module_must(L, window_open(w, (size_t)n, why));
  if (w->numbers != NULL) return 1;
  lua_pushnil(L);
  lua_pushstring(L, why);
  return 2;
}

/***
Memory that ranks share.
@type Shared
*/

static Window *check_shared(lua_State *L) { return luaL_checkudata(L, 1, SHARED_TYPE); }

/* Push a tensor of `rows` times the numbers of a rank, which keeps the memory. */
static void push_tensor(lua_State *L, const Window *w, real *numbers, int ndim,
                        size_t rows) {
  Tensor *t = lua_newuserdatauv(L, sizeof *t, TENSOR_UV_COUNT);
  *t = (Tensor){.ndim = ndim, .count = rows * w->each, .data = numbers};
  for (int i = 0; i < TENSOR_MAX_DIM; i++) t->dim[i] = 1;
  t->dim[0] = rows;
  t->dim[ndim - 1] = w->each;
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, TENSOR_UV_BASE);
  luaL_setmetatable(L, TENSOR_TYPE);
}

/***
This rank's numbers, and those of all ranks of the machine.
@function Shared:tensors
@treturn Tensor of n numbers
@treturn Tensor of ranks × n numbers, the machine's first rank's first
*/
static int shared_tensors(lua_State *L) {
  const Window *w = check_shared(L);
  push_tensor(L, w, window_of(w, world.host_rank), 1, 1);
  push_tensor(L, w, w->numbers, 2, (size_t)world.host_ranks);
  return 2;
}

/***
Replace the numbers of all ranks of the machine by their sum; all must call this together.
@function Shared:sum
@tparam[opt=1] number scale what the sum is multiplied by
*/
static int shared_sum(lua_State *L) {
  module_check_open(L);
  const Window *w = check_shared(L);
  real scale = module_check_scale(L, 2);
  module_must(L, window_sum(w, scale));
  return 0;
}

static int shared_collect(lua_State *L) {
  window_close(check_shared(L));
  return 0;
}

static const luaL_Reg methods[] = {{"tensors", shared_tensors},
                                   {"sum", shared_sum},
                                   {"__gc", shared_collect},
                                   {NULL, NULL}};

void module_add_window(lua_State *L) {
  module_new_class(L, SHARED_TYPE, methods);
  lua_pushcfunction(L, share);
  lua_setfield(L, -2, "share");
}
