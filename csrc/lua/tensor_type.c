/* Tensors in Lua: making them, element access, the metatable. */
#include "lua/tensor_type.h"

#include <math.h>
#include <string.h>

#include "lua/class.h"
#include "lua/open.h"
#include "lua/rng.h"
#include "math/elementwise.h"

/*** Tensors: dense arrays of numbers with one to four dimensions, in row-major
order. Images are C×H×W, batches N×C×H×W. Indices count from 1.

`cglow.tensor`, `cglow.zeros` and the like make them; `print` shows shape, range
and a corner of the numbers.
@module cglow.Tensor */

size_t tensor_check_index(lua_State *L, int arg, size_t limit) {
  lua_Integer i = luaL_checkinteger(L, arg);
  if (i < 1 || (lua_Unsigned)i > limit)
    luaL_argerror(L, arg,
                  lua_pushfstring(L, "index from 1 to %I expected, got %I",
                                  (LUAI_UACINT)limit, (LUAI_UACINT)i));
  return (size_t)i - 1;
}

int tensor_check_dimension(lua_State *L, int arg, const Tensor *t) {
  lua_Integer d = luaL_checkinteger(L, arg);
  if (d < 1 || d > t->ndim)
    luaL_argerror(L, arg,
                  lua_pushfstring(L, "dimension from 1 to %d expected, got %I", t->ndim,
                                  (LUAI_UACINT)d));
  return (int)d - 1;
}

Tensor *tensor_check_like(lua_State *L, int arg, const Tensor *t) {
  return tensor_check_shape(L, arg, t->ndim, t->dim);
}

void tensor_push_number(lua_State *L, double v) { lua_pushnumber(L, v != v ? NAN : v); }

int tensor_dims_without(const Tensor *t, int d, size_t dim[TENSOR_MAX_DIM]) {
  int n = 0;
  for (int i = 0; i < t->ndim; i++)
    if (i != d) dim[n++] = t->dim[i];
  return n;
}

size_t tensor_outer(const Tensor *t, int d) {
  size_t n = 1;
  for (int i = 0; i < d; i++) n *= t->dim[i];
  return n;
}

size_t tensor_inner(const Tensor *t, int d) {
  size_t n = 1;
  for (int i = d + 1; i < t->ndim; i++) n *= t->dim[i];
  return n;
}

/* Where a nested table went wrong: "element [2][3]: <what>". */
static int nested_error(lua_State *L, const lua_Integer *at, int depth,
                        const char *what) {
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  luaL_addstring(&b, depth > 0 ? "element " : "");
  for (int i = 0; i < depth; i++) {
    lua_pushfstring(L, "[%I]", (LUAI_UACINT)at[i]);
    luaL_addvalue(&b);
  }
  luaL_addstring(&b, depth > 0 ? ": " : "");
  luaL_addstring(&b, what);
  luaL_pushresult(&b);
  return luaL_argerror(L, 1, lua_tostring(L, -1));
}

/* The shape that the first elements of the nested table at arg 1 suggest. */
static int nested_shape(lua_State *L, size_t dim[TENSOR_MAX_DIM]) {
  static const lua_Integer first[TENSOR_MAX_DIM] = {1, 1, 1, 1};
  int ndim = 0;
  lua_pushvalue(L, 1);
  while (lua_istable(L, -1)) {
    if (ndim == TENSOR_MAX_DIM)
      return nested_error(L, first, ndim,
                          "number expected, got table (at most 4 levels)");
    dim[ndim] = lua_rawlen(L, -1);
    if (dim[ndim] == 0) return nested_error(L, first, ndim, "table is empty");
    ndim++;
    lua_rawgeti(L, -1, 1);
    lua_remove(L, -2);
  }
  lua_pop(L, 1);
  return ndim;
}

/* Copies the table on top of the stack, `depth` levels deep in a nested table
 * whose shape t has; returns where the next number goes. */
static real *read_nested(lua_State *L, const Tensor *t, int depth, lua_Integer *at,
                         real *out) {
  if (!lua_istable(L, -1))
    nested_error(L, at, depth,
                 lua_pushfstring(L, "table of %I expected, got %s",
                                 (LUAI_UACINT)t->dim[depth], luaL_typename(L, -1)));
  size_t n = lua_rawlen(L, -1);
  if (n != t->dim[depth])
    nested_error(L, at, depth,
                 lua_pushfstring(L, "table of %I expected, got one of %I (rows differ)",
                                 (LUAI_UACINT)t->dim[depth], (LUAI_UACINT)n));
  for (size_t i = 0; i < n; i++) {
    at[depth] = (lua_Integer)i + 1;
    lua_rawgeti(L, -1, at[depth]);
    if (depth + 1 < t->ndim && depth + 1 < TENSOR_MAX_DIM) {
      out = read_nested(L, t, depth + 1, at, out);
    } else {
      if (lua_type(L, -1) != LUA_TNUMBER)
        nested_error(L, at, depth + 1,
                     lua_pushfstring(L, "number expected, got %s", luaL_typename(L, -1)));
      *out++ = (real)lua_tonumber(L, -1);
    }
    lua_pop(L, 1);
  }
  return out;
}

/*** A tensor with the numbers of a Lua table.
@function tensor
@tparam table numbers a list, or lists nested up to four levels; all of one
level equally long
@treturn Tensor */
static int tensor_from_table(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_argcheck(L, lua_isnoneornil(L, 2), 2,
                "nothing expected after the table; reshape gives another shape");
  lua_settop(L, 1);
  size_t dim[TENSOR_MAX_DIM];
  lua_Integer at[TENSOR_MAX_DIM];
  int ndim = nested_shape(L, dim);
  Tensor *t = tensor_new(L, ndim, dim);
  lua_pushvalue(L, 1);
  read_nested(L, t, 0, at, t->data);
  lua_pop(L, 1);
  return 1;
}

/*** A tensor of zeros.
@function zeros
@param ... the shape: one to four positive integers, or one list of them
@treturn Tensor */
static int zeros(lua_State *L) {
  size_t dim[TENSOR_MAX_DIM];
  int ndim = tensor_check_dims(L, 1, dim);
  tensor_zeros(L, ndim, dim);
  return 1;
}

/*** A tensor of ones.
@function ones
@param ... the shape: one to four positive integers, or one list of them
@treturn Tensor */
static int ones(lua_State *L) {
  size_t dim[TENSOR_MAX_DIM];
  int ndim = tensor_check_dims(L, 1, dim);
  Tensor *t = tensor_new(L, ndim, dim);
  fill_range(t->data, 1, t->count);
  return 1;
}

/*** A tensor whose numbers are whatever its memory held: to be written first.
@function empty
@param ... the shape: one to four positive integers, or one list of them
@treturn Tensor */
static int empty(lua_State *L) {
  size_t dim[TENSOR_MAX_DIM];
  int ndim = tensor_check_dims(L, 1, dim);
  tensor_new(L, ndim, dim);
  return 1;
}

/*** A tensor of one number.
@function full
@param ... the shape: one to four positive integers, or one list of them
@number value
@treturn Tensor */
static int full(lua_State *L) {
  int last = lua_gettop(L);
  luaL_argcheck(L, last >= 2, 2, "number expected after the shape, got no value");
  lua_Number v = luaL_checknumber(L, last);
  size_t dim[TENSOR_MAX_DIM];
  int ndim = tensor_check_dims_to(L, 1, last - 1, dim);
  Tensor *t = tensor_new(L, ndim, dim);
  fill_range(t->data, (real)v, t->count);
  return 1;
}

static int random_tensor(lua_State *L, void (*fill)(Rng *, real *, size_t)) {
  int last = lua_gettop(L);
  bool given = last > 0 && luaL_testudata(L, last, RNG_TYPE) != NULL;
  Rng *r = given ? lua_touserdata(L, last) : rng_default(L);
  size_t dim[TENSOR_MAX_DIM];
  int ndim = tensor_check_dims_to(L, 1, given ? last - 1 : last, dim);
  Tensor *t = tensor_new(L, ndim, dim);
  fill(r, t->data, t->count);
  return 1;
}

/*** A tensor of numbers uniform in [0, 1).
@function rand
@param ... the shape: one to four positive integers, or one list of them
@tparam[opt] Rng rng after the shape; the default generator when absent
@treturn Tensor */
static int rand_tensor(lua_State *L) { return random_tensor(L, rng_uniform); }

/*** A tensor of numbers from N(0, 1).
@function randn
@param ... the shape: one to four positive integers, or one list of them
@tparam[opt] Rng rng after the shape; the default generator when absent
@treturn Tensor */
static int randn_tensor(lua_State *L) { return random_tensor(L, rng_normal); }

/*** What tensors have cost so far in this Lua state: made, not alive.
@function stats
@treturn {tensors=int,bytes=int} */
static int stats(lua_State *L) {
  TensorStats *s = tensor_stats(L);
  lua_createtable(L, 0, 2);
  lua_pushinteger(L, s->count);
  lua_setfield(L, -2, "tensors");
  lua_pushinteger(L, s->bytes);
  lua_setfield(L, -2, "bytes");
  return 1;
}

/* Push element i of the first dimension: a number, or a view of the row. */
static int push_row(lua_State *L, int owner, const Tensor *t, size_t i) {
  size_t dim[TENSOR_MAX_DIM];
  if (t->ndim == 1) {
    tensor_push_number(L, t->data[i]);
  } else {
    int ndim = tensor_dims_without(t, 0, dim);
    tensor_view(L, owner, ndim, dim, i * tensor_inner(t, 0));
  }
  return 1;
}

/*** `t[i]`: the number at i of a 1-D tensor, otherwise row i of the first
dimension as a view. `t[i] = v` sets it: to a number (every number of the row)
or a tensor of the row's shape. `#t` is the size of the first dimension;
`for i, row in ipairs(t)` and `pairs(t)` go through it: as in a list, `t[#t + 1]` is
nil. Any other index outside 1 .. #t raises.
@class field
@name Tensor:index */
/* __index: t[i], and methods, which the upvalue holds. */
static int tensor_index(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  if (lua_type(L, 2) == LUA_TNUMBER) {
    if (lua_tointeger(L, 2) == (lua_Integer)t->dim[0] + 1)
      return 0; /* where ipairs ends */
    return push_row(L, 1, t, tensor_check_index(L, 2, t->dim[0]));
  }
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) == LUA_TNIL)
    return luaL_error(L, "cglow.Tensor has no field '%s'", luaL_tolstring(L, 2, NULL));
  return 1;
}

/* __newindex: t[i] = number, or a tensor of the row's shape. */
static int tensor_newindex(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  if (lua_type(L, 2) != LUA_TNUMBER)
    return luaL_error(L, "cglow.Tensor has no field '%s' to set",
                      luaL_tolstring(L, 2, NULL));
  size_t i = tensor_check_index(L, 2, t->dim[0]), inner = tensor_inner(t, 0);
  real *row = t->data + i * inner;
  if (t->ndim == 1 || lua_type(L, 3) == LUA_TNUMBER) {
    fill_range(row, (real)luaL_checknumber(L, 3), inner);
    return 0;
  }
  size_t dim[TENSOR_MAX_DIM];
  int ndim = tensor_dims_without(t, 0, dim);
  Tensor *src = tensor_check_shape(L, 3, ndim, dim);
  memmove(row, src->data, inner * sizeof *row);
  return 0;
}

/* One index per dimension from arg 2 on; where that number lies. */
static real *check_element(lua_State *L, const char *name, const Tensor *t, int indices) {
  if (indices != t->ndim)
    luaL_error(L, "%s: %d indices expected for a tensor of shape %s, got %d", name,
               t->ndim, tensor_push_shape(L, t->ndim, t->dim), indices);
  size_t at = 0;
  for (int i = 0; i < t->ndim; i++)
    at = at * t->dim[i] + tensor_check_index(L, 2 + i, t->dim[i]);
  return t->data + at;
}

/*** One number.
@function Tensor:get
@param ... as many indices as there are dimensions, from 1 on
@treturn number */
static int get(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  tensor_push_number(L, *check_element(L, "get", t, lua_gettop(L) - 1));
  return 1;
}

/*** Set one number.
@function Tensor:set
@param ... as many indices as there are dimensions, from 1 on
@number value after the indices
@treturn Tensor itself */
static int set(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  int last = lua_gettop(L);
  real *at = check_element(L, "set", t, last - 2);
  *at = (real)luaL_checknumber(L, last);
  lua_settop(L, 1);
  return 1;
}

static int next_row(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  lua_Integer i = luaL_checkinteger(L, 2);
  if (i < 0 || (lua_Unsigned)i >= t->dim[0]) return 0;
  lua_pushinteger(L, i + 1);
  push_row(L, 1, t, (size_t)i);
  return 2;
}

/* for i, row in pairs(t): i and t[i], in order. */
static int tensor_pairs(lua_State *L) {
  tensor_check(L, 1);
  lua_pushcfunction(L, next_row);
  lua_pushvalue(L, 1);
  lua_pushinteger(L, 0);
  return 3;
}

static int tensor_len(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)tensor_check(L, 1)->dim[0]);
  return 1;
}

static const luaL_Reg functions[] = {{"tensor", tensor_from_table},
                                     {"zeros", zeros},
                                     {"ones", ones},
                                     {"empty", empty},
                                     {"full", full},
                                     {"rand", rand_tensor},
                                     {"randn", randn_tensor},
                                     {"stats", stats},
                                     {NULL, NULL}};

static const luaL_Reg methods[] = {{"get", get}, {"set", set}, {NULL, NULL}};

static const luaL_Reg metamethods[] = {{"__newindex", tensor_newindex},
                                       {"__len", tensor_len},
                                       {"__pairs", tensor_pairs},
                                       {"__tostring", tensor_tostring},
                                       {NULL, NULL}};

void open_tensor(lua_State *L) {
  luaL_setfuncs(L, functions, 0);
  luaL_setfuncs(L, tensor_shape_functions, 0);
  class_new(L, TENSOR_TYPE, metamethods);
  luaL_getmetatable(L, TENSOR_TYPE);
  luaL_setfuncs(L, tensor_math_metamethods, 0);
  luaL_newlib(L, methods);
  luaL_setfuncs(L, tensor_shape_methods, 0);
  luaL_setfuncs(L, tensor_math_methods, 0);
  luaL_setfuncs(L, tensor_reduce_methods, 0);
  lua_pushcclosure(L, tensor_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}
