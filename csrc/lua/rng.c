/* Binding of math/rng.c: the class "cglow.Rng". */
#include "lua/rng.h"

#include <inttypes.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "lua/class.h"
#include "lua/open.h"
#include "lua/tensor.h"

/*** Random numbers: a counter-based generator (Philox 4x32-10), so that a state
is a seed and a position, and the numbers do not depend on the number of threads.
@module cglow.Rng */

#define STATE_PREFIX "philox4x32-10:"

static const char default_key = 0;

static Rng *new_rng(lua_State *L, uint64_t seed) {
  Rng *r = lua_newuserdatauv(L, sizeof *r, 0);
  rng_seed(r, seed);
  luaL_setmetatable(L, RNG_TYPE);
  return r;
}

/* Push the default generator, made with seed 0 when first asked for. */
static Rng *push_default(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &default_key) == LUA_TNIL) {
    lua_pop(L, 1);
    new_rng(L, 0);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &default_key);
  }
  return lua_touserdata(L, -1);
}

Rng *rng_default(lua_State *L) {
  Rng *r = push_default(L);
  lua_pop(L, 1); /* the registry keeps it */
  return r;
}

Rng *rng_check(lua_State *L, int arg) {
  return lua_isnoneornil(L, arg) ? rng_default(L) : luaL_checkudata(L, arg, RNG_TYPE);
}

static Rng *self(lua_State *L) { return luaL_checkudata(L, 1, RNG_TYPE); }

/*** A random generator of its own: Philox4x32-10, counter based.
The same seed gives the same numbers on any machine and any number of threads.
@function Rng
@int seed any integer; different seeds give independent streams
@treturn Rng */
static int make_rng(lua_State *L) {
  new_rng(L, (uint64_t)luaL_checkinteger(L, 1));
  return 1;
}

/*** Seed the default generator (seed 0 until then) and start it at its beginning.
@function seed
@int seed any integer */
static int seed_default(lua_State *L) {
  uint64_t seed = (uint64_t)luaL_checkinteger(L, 1);
  rng_seed(rng_default(L), seed);
  return 0;
}

/*** The default generator, which everything uses that is given none.
@function rng
@treturn Rng */
static int get_default(lua_State *L) {
  push_default(L);
  return 1;
}

typedef void Fill(Rng *, real *, size_t);

/* No shape: one number; a shape: a new tensor. */
static int draw(lua_State *L, Fill *fill) {
  Rng *r = self(L);
  if (lua_gettop(L) == 1) {
    real x;
    fill(r, &x, 1);
    lua_pushnumber(L, x);
    return 1;
  }
  size_t dim[TENSOR_MAX_DIM];
  int ndim = tensor_check_dims(L, 2, dim);
  Tensor *t = tensor_new(L, ndim, dim);
  fill(r, t->data, t->count);
  return 1;
}

static int draw_into(lua_State *L, Fill *fill) {
  Rng *r = self(L);
  Tensor *t = tensor_check(L, 2);
  fill(r, t->data, t->count);
  lua_settop(L, 2);
  return 1;
}

/*** Numbers uniform in [0, 1), multiples of 2^-24 (2^-53 in the double build).
@function Rng:uniform
@param[opt] ... a shape: integers or one list
@treturn number|Tensor one number, or a new tensor of that shape */
static int uniform(lua_State *L) { return draw(L, rng_uniform); }

/*** Numbers from the normal distribution N(0, 1).
@function Rng:normal
@param[opt] ... a shape: integers or one list
@treturn number|Tensor one number, or a new tensor of that shape */
static int normal(lua_State *L) { return draw(L, rng_normal); }

/*** Fill a tensor in place with numbers uniform in [0, 1); allocates nothing.
@function Rng:fill_uniform
@tparam Tensor t
@treturn Tensor t */
static int fill_uniform(lua_State *L) { return draw_into(L, rng_uniform); }

/*** Fill a tensor in place with numbers from N(0, 1); allocates nothing.
@function Rng:fill_normal
@tparam Tensor t
@treturn Tensor t */
static int fill_normal(lua_State *L) { return draw_into(L, rng_normal); }

/*** Fill a tensor in place with pairs of rows from N(0, 1), the second of each the
negative of the first: what is averaged over a pair has less noise. Allocates nothing.
@function Rng:fill_pairs
@tparam Tensor t of an even number of rows
@treturn Tensor t */
static int fill_pairs(lua_State *L) {
  Rng *r = self(L);
  Tensor *t = tensor_check(L, 2);
  if (t->dim[0] % 2 != 0)
    luaL_argerror(L, 2,
                  lua_pushfstring(L, "an even number of rows expected, got %I",
                                  (LUAI_UACINT)t->dim[0]));
  rng_normal_pairs(r, t->data, t->dim[0] / 2, t->count / t->dim[0]);
  lua_settop(L, 2);
  return 1;
}

static uint64_t any_64_bits(Rng *r) {
  uint32_t w[4];
  rng_block(r, w);
  return (uint64_t)w[1] << 32 | w[0];
}

/*** An integer, every one from lo to hi equally likely.
@function Rng:integer
@int lo
@int hi at least lo
@treturn int */
static int integer(lua_State *L) {
  Rng *r = self(L);
  lua_Integer lo = luaL_checkinteger(L, 2), hi = luaL_checkinteger(L, 3);
  if (lo > hi)
    luaL_argerror(L, 3,
                  lua_pushfstring(L, "integer of at least %I expected, got %I",
                                  (LUAI_UACINT)lo, (LUAI_UACINT)hi));
  uint64_t span = (uint64_t)hi - (uint64_t)lo + 1; /* 0 means 2^64 */
  uint64_t x = span == 0 ? any_64_bits(r) : rng_below(r, span);
  x += (uint64_t)lo; /* modulo 2^64 */
  lua_pushinteger(L, (lua_Integer)x);
  return 1;
}

/*** The integers 1 to n in random order (Fisher-Yates).
@function Rng:permutation
@int n 0 or more
@treturn {int,...} */
static int permutation(lua_State *L) {
  Rng *r = self(L);
  lua_Integer n = luaL_checkinteger(L, 2);
  if (n < 0 || n > INT_MAX)
    luaL_argerror(L, 2,
                  lua_pushfstring(L, "integer from 0 to %d expected, got %I", INT_MAX,
                                  (LUAI_UACINT)n));
  lua_createtable(L, (int)n, 0);
  for (lua_Integer i = 1; i <= n; i++) { /* inside out: i goes to a random place */
    lua_Integer j = i == 1 ? 1 : 1 + (lua_Integer)rng_below(r, (uint64_t)i);
    if (j != i) {
      lua_rawgeti(L, -1, j);
      lua_rawseti(L, -2, i);
    }
    lua_pushinteger(L, i);
    lua_rawseti(L, -2, j);
  }
  return 1;
}

/*** The next four 32-bit words of the stream.
@function Rng:block
@treturn int
@treturn int
@treturn int
@treturn int each in 0 .. 2^32 − 1 */
static int block(lua_State *L) {
  uint32_t w[4];
  rng_block(self(L), w);
  for (int i = 0; i < 4; i++) lua_pushinteger(L, w[i]);
  return 4;
}

static void format_state(char *text, size_t size, const Rng *r) {
  snprintf(text, size, STATE_PREFIX "%" PRIu64 ":%" PRIu64, r->seed, r->position);
}

/*** The whole state as a short printable string.
@function Rng:state
@treturn string "philox4x32-10:seed:position", both in decimal */
static int state(lua_State *L) {
  char text[64];
  format_state(text, sizeof text, self(L));
  lua_pushstring(L, text);
  return 1;
}

/* Reads decimal digits up to `end` and steps over it. */
static const char *parse_u64(const char *s, char end, uint64_t *out) {
  const char *start = s;
  uint64_t v = 0;
  for (; *s >= '0' && *s <= '9'; s++)
    if (__builtin_mul_overflow(v, 10u, &v) ||
        __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
      return NULL;
  *out = v;
  return s > start && *s == end ? s + 1 : NULL;
}

static bool parse_state(const char *s, size_t length, Rng *out) {
  size_t prefix = strlen(STATE_PREFIX);
  if (strncmp(s, STATE_PREFIX, prefix) != 0) return false;
  const char *at = parse_u64(s + prefix, ':', &out->seed);
  if (at != NULL) at = parse_u64(at, '\0', &out->position);
  return at == s + length + 1;
}

/*** Continue exactly where a generator was when it gave this state.
@function Rng:set_state
@string state as `Rng:state` returned it
@treturn Rng itself */
static int set_state(lua_State *L) {
  Rng *r = self(L), parsed;
  size_t length;
  const char *text = luaL_checklstring(L, 2, &length);
  if (!parse_state(text, length, &parsed))
    luaL_argerror(
        L, 2,
        lua_pushfstring(
            L, "state \"" STATE_PREFIX "<seed>:<position>\" expected, got \"%s\"", text));
  *r = parsed;
  lua_settop(L, 1);
  return 1;
}

static int rng_tostring(lua_State *L) {
  char text[64];
  format_state(text, sizeof text, self(L));
  lua_pushfstring(L, RNG_TYPE " %s", text);
  return 1;
}

static uint32_t check_word(lua_State *L, int arg) {
  lua_Integer v = luaL_checkinteger(L, arg);
  if (v < 0 || v > UINT32_MAX)
    luaL_argerror(L, arg,
                  lua_pushfstring(L, "integer from 0 to 2^32 - 1 expected, got %I",
                                  (LUAI_UACINT)v));
  return (uint32_t)v;
}

/*** The block function itself, for comparison with published test vectors.
@function philox
@int c0 counter, four 32-bit words from the lowest on
@int c1
@int c2
@int c3
@int k0 key, two words
@int k1
@treturn int
@treturn int
@treturn int
@treturn int four 32-bit words */
static int philox(lua_State *L) {
  uint32_t counter[4], key[2], out[4];
  for (int i = 0; i < 4; i++) counter[i] = check_word(L, 1 + i);
  for (int i = 0; i < 2; i++) key[i] = check_word(L, 5 + i);
  rng_philox(counter, key, out);
  for (int i = 0; i < 4; i++) lua_pushinteger(L, out[i]);
  return 4;
}

static const luaL_Reg methods[] = {{"uniform", uniform},
                                   {"normal", normal},
                                   {"fill_uniform", fill_uniform},
                                   {"fill_normal", fill_normal},
                                   {"fill_pairs", fill_pairs},
                                   {"integer", integer},
                                   {"permutation", permutation},
                                   {"block", block},
                                   {"state", state},
                                   {"set_state", set_state},
                                   {"__tostring", rng_tostring},
                                   {NULL, NULL}};

static const luaL_Reg functions[] = {{"Rng", make_rng},
                                     {"seed", seed_default},
                                     {"rng", get_default},
                                     {"philox", philox},
                                     {NULL, NULL}};

void open_rng(lua_State *L) {
  class_new(L, RNG_TYPE, methods);
  luaL_setfuncs(L, functions, 0);
}
