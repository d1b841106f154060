/* Tensors in Lua: making them from tables, numbers and generators. */
#include "lua/rng.h"
#include "lua/tensor.h"
#include "lua/tensor_methods.h"
#include "math/elementwise.h"

/*** @submodule cglow.Tensor */

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

/* How many numbers lie from first to last, `step` apart; 0: none, or too many.  A last
 * one that is missed by rounding alone counts. */
static size_t count_range(double first, double last, double step) {
  double n = (last - first) / step;
  if (!(n >= 0 && n < (double)((size_t)1 << 53))) return 0;
  return (size_t)(n + n * 4 * 2.220446049250313e-16) + 1;
}

/*** Numbers at equal distances, as `for i = first, last, step` counts: `arange(3)` is
1, 2, 3 and `arange(0, 1, 0.25)` has five numbers, the last of which is 1.
@function arange
@number[opt=1] first left out together with `step`
@number last
@number[opt=1] step positive or negative
@treturn Tensor of one dimension; a range without any number is an error */
static int arange(lua_State *L) {
  bool short_form = lua_gettop(L) < 2;
  lua_Number first = short_form ? 1 : luaL_checknumber(L, 1);
  lua_Number last = luaL_checknumber(L, short_form ? 1 : 2);
  lua_Number step = short_form ? 1 : luaL_optnumber(L, 3, 1);
  luaL_argcheck(L, step - step == 0 && step != 0, 3,
                lua_pushfstring(L, "finite number other than 0 expected, got %f", step));
  size_t n = count_range(first, last, step);
  luaL_argcheck(
      L, n > 0, short_form ? 1 : 2,
      lua_pushfstring(L, "number that is reached from %f by steps of %f expected, got %f",
                      first, step, last));
  Tensor *t = tensor_new(L, 1, &n);
  for (size_t i = 0; i < n; i++) t->data[i] = (real)(first + (double)i * step);
  return 1;
}

const luaL_Reg tensor_make_functions[] = {{"tensor", tensor_from_table},
                                          {"zeros", zeros},
                                          {"ones", ones},
                                          {"empty", empty},
                                          {"full", full},
                                          {"rand", rand_tensor},
                                          {"randn", randn_tensor},
                                          {"arange", arange},
                                          {NULL, NULL}};
