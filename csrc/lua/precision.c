/* The precision of products in networks, seen from Lua. */
#include "lua/precision.h"

#include <lauxlib.h>
#include <string.h>

#include "lua/open.h"

/*** @submodule cglow.core */

static const char precision_key = 0;
static const char *const names[] = {"fp32", "bf16"};

Precision precision_in_force(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &precision_key);
  Precision p = (Precision)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return p;
}

static const char *way(Precision p) {
  if (p == PRECISION_FP32) return "fp32";
  return isa_of_bf16() == ISA_BF16 ? "AVX512_BF16" : "emulated";
}

/*** What is multiplied in networks that are made from now on: convolutions, couplings,
U-Nets and the features of a level. With "bf16" both factors of a product are rounded to
bfloat16 (8 bits of precision, to nearest even) and sums are in fp32; parameters,
activations, norms and the arithmetic of the flow stay fp32, and so do fully connected
layers. A layer keeps what was in force when it was made. Processors with AVX512_BF16
are faster so; on others the same numbers come of fp32 arithmetic, and that is slower.
@function precision
@string[opt] name "fp32" (as at first) or "bf16": set it. The double-precision core has
"fp32" alone: it is there to prove gradients by differences, and a rounding has none.
@treturn string the one in force
@treturn string how it is computed here: "fp32", "AVX512_BF16" or "emulated" */
static int precision(lua_State *L) {
  if (!lua_isnoneornil(L, 1)) {
    const char *name = luaL_checkstring(L, 1);
    bool rounds = strcmp(name, names[PRECISION_BF16]) == 0;
    if (!rounds && strcmp(name, names[PRECISION_FP32]) != 0)
      luaL_argerror(L, 1, lua_pushfstring(L, "fp32 or bf16 expected, got '%s'", name));
    if (rounds && !HAVE_BF16)
      luaL_argerror(L, 1, "fp32 expected: this core computes in double precision");
    lua_pushinteger(L, rounds ? PRECISION_BF16 : PRECISION_FP32);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &precision_key);
  }
  Precision now = precision_in_force(L);
  lua_pushstring(L, names[now]);
  lua_pushstring(L, way(now));
  return 2;
}

static const luaL_Reg functions[] = {{"precision", precision}, {NULL, NULL}};

void open_precision(lua_State *L) { luaL_setfuncs(L, functions, 0); }
