/* Entry point of the module: `require "cglow.core"`. */
#include <dlfcn.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>

#include "base/isa.h"
#include "base/real.h"
#include "lua/open.h"

/*** What the C core offers besides its objects.
@module cglow.core */

static void (*const parts[])(lua_State *) = {
    open_guard,   open_tensor, open_rng,    open_parallel, open_image,
    open_file,    open_param,  open_net,    open_flow,     open_optim,
    open_average, open_vision, open_system, open_shared,
#ifdef CGLOW_REFERENCE
    open_reference,
#endif
};

/*** What kind of object v is.
@function type
@param v any value
@treturn string e.g. "cglow.Tensor" or "cglow.Net"; for other values Lua's type */
static int type_of(lua_State *L) {
  luaL_checkany(L, 1);
  if (lua_type(L, 1) != LUA_TUSERDATA ||
      luaL_getmetafield(L, 1, "__name") != LUA_TSTRING)
    lua_pushstring(L, luaL_typename(L, 1));
  return 1;
}

__attribute__((visibility("default"))) int luaopen_cglow_core(lua_State *L);

/* Lua unloads a module's library when its state closes, but OpenMP's idle
 * threads are still inside it then.  So it stays for the rest of the process. */
static void stay_loaded(void) {
  Dl_info self;
  if (dladdr((void *)(uintptr_t)luaopen_cglow_core, &self) != 0 && self.dli_fname)
    /* cppcheck-suppress leakReturnValNotUsed ; for good is what is meant */
    dlopen(self.dli_fname, RTLD_NOW | RTLD_NODELETE);
}

/* Of matrix products, by the environment: for measurements, and for specs. */
static void limit_instructions(lua_State *L) {
  const char *most = getenv("CGLOW_INSTRUCTIONS");
  if (most != NULL && !isa_limit(most))
    luaL_error(L, "CGLOW_INSTRUCTIONS: AVX-512, AVX2 or any expected, got '%s'", most);
}

int luaopen_cglow_core(lua_State *L) {
  luaL_checkversion(L);
  limit_instructions(L);
  stay_loaded();
  lua_newtable(L);
  lua_pushliteral(L, REAL_NAME);
  lua_setfield(L, -2, "scalar");
  lua_pushcfunction(L, type_of);
  lua_setfield(L, -2, "type");
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) parts[i](L);
  return 1;
}
