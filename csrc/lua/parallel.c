/* Threads, seen from Lua. */
#include <lauxlib.h>

#include "base/threads.h"
#include "lua/open.h"
#include "math/peak.h"

/*** @submodule cglow.core */

static void push_reason(lua_State *L, int asked, int given) {
  size_t stack = parallel_small_stack();
  if (stack > 0)
    lua_pushfstring(
        L,
        "threads would have a stack of %d kB and need %d (OMP_STACKSIZE, ulimit "
        "-s): one computes",
        (int)(stack >> 10), (int)(PARALLEL_STACK >> 10));
  else
    lua_pushfstring(L, "of %d threads the system gives %d", asked, given);
}

/*** How many threads the kernels use; the process's setting, not one Lua
state's. At first OpenMP's default, so OMP_NUM_THREADS is respected. Results do
not depend on it.
@function threads
@int[opt] n from 1 to 1024: set it
@treturn int the number in force: less than n where the system gives no more, and 1 in a
process made by fork after its parent had used several
@treturn ?string why it is less than was asked for */
static int threads(lua_State *L) {
  if (!lua_isnoneornil(L, 1)) {
    lua_Integer n = luaL_checkinteger(L, 1);
    if (n < 1 || n > PARALLEL_MAX)
      luaL_argerror(L, 1,
                    lua_pushfstring(L, "1 to %d threads expected, got %I", PARALLEL_MAX,
                                    (LUAI_UACINT)n));
    parallel_set_threads((int)n);
  }
  int asked = parallel_asked(), given = parallel_threads();
  lua_pushinteger(L, given);
  if (given >= asked) return 1;
  if (parallel_is_child())
    lua_pushliteral(
        L, "this process was made by fork, and its parent had used several threads");
  else
    push_reason(L, asked, given);
  return 2;
}

/*** What stands in the way of the threads that were asked for (OMP_NUM_THREADS), as far
as the environment says it: OMP_THREAD_LIMIT, OMP_STACKSIZE. Makes no thread.
@function threads_warning
@treturn ?string nil when nothing does */
static int threads_warning(lua_State *L) {
  int asked = parallel_asked(), allowed = parallel_allowed();
  if (allowed >= asked)
    lua_pushnil(L);
  else
    push_reason(L, asked, allowed);
  return 1;
}

/*** What the machine can do at most: fused multiply-adds on registers alone,
on every thread, for the given time.
@function peak_flops
@number[opt=0.2] seconds to measure
@treturn number flop/s of the library's scalar type, all threads together */
static int measure_peak(lua_State *L) {
  double seconds = luaL_optnumber(L, 1, 0.2);
  if (!(seconds > 0 && seconds <= 60))
    luaL_argerror(L, 1, lua_pushfstring(L, "0 to 60 seconds expected, got %f", seconds));
  lua_pushnumber(L, peak_flops(seconds, parallel_threads()));
  return 1;
}

static const luaL_Reg functions[] = {{"threads", threads},
                                     {"threads_warning", threads_warning},
                                     {"peak_flops", measure_peak},
                                     {NULL, NULL}};

void open_parallel(lua_State *L) { luaL_setfuncs(L, functions, 0); }
