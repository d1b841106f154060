/* The precision of products in networks, seen from Lua. */
#include "lua/precision.h"

#include <lauxlib.h>
#include <string.h>

#include "lua/open.h"

/*** @submodule cglow.core */

static const char lasting_key = 0;
/* By coroutine: what it has asked for while it makes something.  A function of the user's
 * that is called meanwhile may yield, or fail and leave the coroutine dead. */
static const char passing_key = 0;
static const char *const names[] = {"fp32", "bf16"};

static Precision lasting(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &lasting_key);
  Precision p = (Precision)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return p;
}

/* The running coroutine's, if it has one. */
static bool passing(lua_State *L, Precision *p) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &passing_key);
  lua_pushthread(L);
  bool found = lua_rawget(L, -2) == LUA_TNUMBER;
  if (found) *p = (Precision)lua_tointeger(L, -1);
  lua_pop(L, 2);
  return found;
}

/* Replace it by the value on top of the stack, which is popped. */
static void set_passing(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &passing_key);
  lua_pushthread(L);
  lua_pushvalue(L, -3);
  lua_rawset(L, -3);
  lua_pop(L, 2);
}

Precision precision_in_force(lua_State *L) {
  Precision p;
  return passing(L, &p) ? p : lasting(L);
}

static Precision check_precision(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  bool rounds = strcmp(name, names[PRECISION_BF16]) == 0;
  if (!rounds && strcmp(name, names[PRECISION_FP32]) != 0)
    luaL_argerror(L, 1, lua_pushfstring(L, "fp32 or bf16 expected, got '%s'", name));
  if (rounds && !HAVE_BF16)
    luaL_argerror(L, 1, "fp32 expected: this core computes in double precision");
  return rounds ? PRECISION_BF16 : PRECISION_FP32;
}

static const char *way(Precision p) {
  if (p == PRECISION_FP32) return "fp32";
  if (isa_of_bf16() == ISA_AMX) return "AMX";
  return isa_of_bf16() == ISA_BF16 ? "AVX512_BF16" : "emulated";
}

/*** What is multiplied in networks that are made from now on: convolutions, couplings,
U-Nets and the features of a level. With "bf16" both factors of a product are rounded to
bfloat16 (8 bits of precision, to nearest even) and sums are in fp32; parameters,
activations, norms and the arithmetic of the flow stay fp32, and so do fully connected
layers. A layer keeps what was in force when it was made. Processors with AVX512_BF16
or AMX are faster so; on others the same numbers come of fp32 arithmetic, and that is slower.
AMX adds them up in another order: its results differ as sums in fp32 do.
@function precision
@string[opt] name "fp32" (as at first) or "bf16": set it. The double-precision core has
"fp32" alone: it is there to prove gradients by differences, and a rounding has none.
@treturn string the one in force
@treturn string how it is computed here: "fp32", "AMX", "AVX512_BF16" or "emulated"
@treturn string the one in force where nothing is being made: `precision_during` aside */
static int precision(lua_State *L) {
  if (!lua_isnoneornil(L, 1)) {
    Precision unused;
    lua_pushinteger(L, check_precision(L));
    if (passing(L, &unused))
      set_passing(L);
    else
      lua_rawsetp(L, LUA_REGISTRYINDEX, &lasting_key);
  }
  Precision now = precision_in_force(L);
  lua_pushstring(L, names[now]);
  lua_pushstring(L, way(now));
  lua_pushstring(L, names[lasting(L)]);
  return 3;
}

/*** Another precision while something is made: for the running coroutine alone, until it
asks for another one.
@function precision_during
@tparam ?string name as for `precision`; nil: what `precision` has set
@treturn ?string what the coroutine had asked for before */
static int precision_during(lua_State *L) {
  Precision before;
  lua_settop(L, 1);
  bool nested = passing(L, &before);
  if (lua_isnil(L, 1))
    lua_pushnil(L);
  else
    lua_pushinteger(L, check_precision(L));
  set_passing(L);
  lua_pushstring(L, nested ? names[before] : NULL);
  return 1;
}

static const luaL_Reg functions[] = {
    {"precision", precision}, {"precision_during", precision_during}, {NULL, NULL}};

void open_precision(lua_State *L) {
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &passing_key);
  luaL_setfuncs(L, functions, 0);
}
