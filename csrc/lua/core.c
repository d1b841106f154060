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

/* Every part of the core, and the table in core's that it adds to. */
static const struct {
  const char *table; /* NULL: core's own */
  void (*open)(lua_State *);
} parts[] = {
    {NULL, open_guard},         {NULL, open_tensor},        {NULL, open_rng},
    {NULL, open_parallel},      {NULL, open_precision},     {NULL, open_image},
    {NULL, open_param},         {NULL, open_optim},         {NULL, open_average},
    {NULL, open_loss},          {NULL, open_vision},        {NULL, open_system},
    {NULL, open_shared},        {NULL, open_readers},       {"file", open_file},
    {"file", open_file_reader}, {"file", open_file_writer}, {"net", open_net},
    {"net", open_layers},       {"net", open_net_group},    {"net", open_unet},
    {"flow", open_flow_layers}, {"flow", open_prior},       {"flow", open_features},
#ifdef CGLOW_REFERENCE
    {NULL, open_reference},
#endif
};

static void open_part(lua_State *L, size_t i) {
  lua_pushvalue(L, -1);
  if (parts[i].table != NULL) luaL_getsubtable(L, -1, parts[i].table);
  parts[i].open(L);
  lua_pop(L, parts[i].table != NULL ? 2 : 1);
}

/*** What kind of object v is.
@function type
@param v any value
@treturn string e.g. "cglow.Tensor" or "cglow.Net"; for other values Lua's type */
static int type_of(lua_State *L) {
  luaL_checkany(L, 1);
  if (lua_type(L, 1) != LUA_TUSERDATA || luaL_getmetafield(L, 1, "__name") != LUA_TSTRING)
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

/* The environment may hold matrix products to an instruction set, for measurements and
 * specs. */
static void limit_instructions(lua_State *L) {
  const char *most = getenv("CGLOW_INSTRUCTIONS");
  if (most != NULL && !isa_limit(most))
    luaL_error(L,
               "CGLOW_INSTRUCTIONS: AMX, AVX512_BF16, AVX-512, AVX2 or any expected, got "
               "'%s'",
               most);
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
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) open_part(L, i);
  return 1;
}
