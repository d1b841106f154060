/* Tensors in Lua: operators, elementwise functions, comparison. */
#include <string.h>

#include "lua/noreturn.h"
#include "lua/tensor_args.h"
#include "lua/tensor_methods.h"
#include "math/broadcast.h"

/*** @submodule cglow.Tensor */

static void number_or_tensor(lua_State *L, int arg) {
  if (lua_type(L, arg) != LUA_TNUMBER && tensor_test(L, arg) == NULL)
    luaL_typeerror(L, arg, "number or " TENSOR_TYPE);
}

/* The shape that two tensors stretch to, with its last dimension in the last place. */
static void check_broadcast(lua_State *L, int arg, const Tensor *a, const Tensor *b,
                            size_t all[TENSOR_MAX_DIM]) {
  size_t adim[TENSOR_MAX_DIM], bdim[TENSOR_MAX_DIM];
  tensor_aligned_dims(a, adim);
  tensor_aligned_dims(b, bdim);
  if (broadcast_shape(adim, bdim, all)) return;
  const char *mine = tensor_push_shape(L, a->ndim, a->dim);
  const char *got = tensor_push_shape(L, b->ndim, b->dim);
  luaL_argerror(L, arg,
                lua_pushfstring(L,
                                "tensor of shape %s expected, or one that is broadcast "
                                "with it, got %s",
                                mine, got));
}

static void apply(const Binary *op, real *out, const Tensor *a, const Tensor *b) {
  size_t adim[TENSOR_MAX_DIM], bdim[TENSOR_MAX_DIM];
  tensor_aligned_dims(a, adim);
  tensor_aligned_dims(b, bdim);
  broadcast(op, out, a->data, adim, b->data, bdim);
}

/* args 1 and 2, of which at least one is a tensor, to a new tensor. */
static int binary(lua_State *L, const Binary *op) {
  number_or_tensor(L, 1);
  number_or_tensor(L, 2);
  Tensor *a = tensor_test(L, 1), *b = tensor_test(L, 2);
  if (a == NULL && b == NULL) return tensor_check(L, 1) != NULL; /* raises */
  if (a == NULL) {
    op->number_tensor(tensor_like(L, b)->data, (real)lua_tonumber(L, 1), b->data,
                      b->count);
  } else if (b == NULL) {
    op->tensor_number(tensor_like(L, a)->data, a->data, (real)lua_tonumber(L, 2),
                      a->count);
  } else {
    size_t all[TENSOR_MAX_DIM];
    check_broadcast(L, 2, a, b, all);
    int ndim = a->ndim > b->ndim ? a->ndim : b->ndim;
    apply(op, tensor_new(L, ndim, all + TENSOR_MAX_DIM - ndim)->data, a, b);
  }
  return 1;
}

/*** `+ - * / ^` and unary minus work number by number and give a new tensor: between a
tensor and a number in either order, or two tensors.

Tensors of different shapes are broadcast: beginning at the last dimension, sizes must be
equal or one of them 1, whose numbers then serve all places; missing dimensions count
as 1. So a tensor of shape 3×1×1 gives each channel of N×3×H×W a number of its own, and `x
- x:mean(2, true)` takes from each row its mean.
@class field
@name Tensor:operators */
static int plus(lua_State *L) { return binary(L, &binary_add); }
static int minus(lua_State *L) { return binary(L, &binary_sub); }
static int times(lua_State *L) { return binary(L, &binary_mul); }
static int divide(lua_State *L) { return binary(L, &binary_div); }
static int power(lua_State *L) { return binary(L, &binary_pow); }

/*** 1 where this is greater, 0 elsewhere (also where either is NaN).
@function Tensor:gt
@tparam number|Tensor other a tensor is broadcast as with operators
@treturn Tensor */
static int gt(lua_State *L) { return binary(L, &binary_gt); }

/*** 1 where this is greater or equal, 0 elsewhere (also where either is NaN).
@function Tensor:ge
@tparam number|Tensor other a tensor is broadcast as with operators
@treturn Tensor */
static int ge(lua_State *L) { return binary(L, &binary_ge); }

/*** 1 where this is less, 0 elsewhere (also where either is NaN).
@function Tensor:lt
@tparam number|Tensor other a tensor is broadcast as with operators
@treturn Tensor */
static int lt(lua_State *L) { return binary(L, &binary_lt); }

/*** 1 where this is less or equal, 0 elsewhere (also where either is NaN).
@function Tensor:le
@tparam number|Tensor other a tensor is broadcast as with operators
@treturn Tensor */
static int le(lua_State *L) { return binary(L, &binary_le); }

/*** 1 where both are equal, 0 elsewhere (also where either is NaN).
@function Tensor:eq
@tparam number|Tensor other a tensor is broadcast as with operators
@treturn Tensor */
static int eq(lua_State *L) { return binary(L, &binary_eq); }

/*** 1 where the two differ (also where either is NaN), 0 elsewhere.
@function Tensor:ne
@tparam number|Tensor other a tensor is broadcast as with operators
@treturn Tensor */
static int ne(lua_State *L) { return binary(L, &binary_ne); }

/* The tensor at arg, which must stretch to t's shape. */
static Tensor *check_operand(lua_State *L, int arg, const Tensor *t) {
  Tensor *x = tensor_check(L, arg);
  size_t all[TENSOR_MAX_DIM], dim[TENSOR_MAX_DIM];
  tensor_aligned_dims(t, dim);
  check_broadcast(L, arg, t, x, all);
  if (x->ndim > t->ndim || memcmp(all, dim, sizeof dim) != 0)
    tensor_check_like(L, arg, t);
  return x;
}

/* x, or a copy of it, pushed, when it overlaps t other than number by number. */
static const Tensor *apart(lua_State *L, const Tensor *x, const Tensor *t) {
  bool same = x->data == t->data && x->count == t->count;
  if (same || !tensor_overlap(x, t)) return x;
  Tensor *copy = tensor_like(L, x);
  memcpy(copy->data, x->data, x->count * sizeof *x->data);
  return copy;
}

/*** Add in place: this + scale·other.
@function Tensor:add
@tparam number|Tensor other a tensor is broadcast to this one's shape
@number[opt=1] scale
@treturn Tensor itself */
static int add(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  number_or_tensor(L, 2);
  lua_Number scale = luaL_optnumber(L, 3, 1);
  if (lua_type(L, 2) == LUA_TNUMBER) {
    binary_add.tensor_number(t->data, t->data, (real)(scale * lua_tonumber(L, 2)),
                             t->count);
  } else {
    const Tensor *x = check_operand(L, 2, t);
    if (tensor_same_shape(x, t)) {
      axpy_range(t->data, apart(L, x, t)->data, (real)scale, t->count);
    } else {
      Tensor *scaled = tensor_like(L, x);
      binary_mul.tensor_number(scaled->data, x->data, (real)scale, x->count);
      apply(&binary_add, t->data, t, scaled);
    }
  }
  lua_settop(L, 1);
  return 1;
}

/*** Multiply in place, number by number.
@function Tensor:mul
@tparam number|Tensor other a tensor is broadcast to this one's shape
@treturn Tensor itself */
static int mul(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  number_or_tensor(L, 2);
  if (lua_type(L, 2) == LUA_TNUMBER)
    binary_mul.tensor_number(t->data, t->data, (real)lua_tonumber(L, 2), t->count);
  else
    apply(&binary_mul, t->data, t, apart(L, check_operand(L, 2, t), t));
  lua_settop(L, 1);
  return 1;
}

static int unary(lua_State *L, Unary *op) {
  Tensor *t = tensor_check(L, 1);
  op(tensor_like(L, t)->data, t->data, t->count);
  return 1;
}

static int negate(lua_State *L) { return unary(L, unary_neg); }

/*** e to the power of each number, as a new tensor.
@function Tensor:exp
@treturn Tensor */
static int exponential(lua_State *L) { return unary(L, unary_exp); }

/*** Natural logarithm, as a new tensor; -inf of 0 and NaN of negative numbers.
@function Tensor:log
@treturn Tensor */
static int logarithm(lua_State *L) { return unary(L, unary_log); }

/*** Hyperbolic tangents, as a new tensor.
@function Tensor:tanh
@treturn Tensor */
static int hyperbolic_tangent(lua_State *L) { return unary(L, unary_tanh); }

/*** 1/(1 + e^−x), as a new tensor.
@function Tensor:sigmoid
@treturn Tensor */
static int sigmoid(lua_State *L) { return unary(L, unary_sigmoid); }

/*** Absolute values, as a new tensor.
@function Tensor:abs
@treturn Tensor */
static int absolute(lua_State *L) { return unary(L, unary_abs); }

/*** Square roots, as a new tensor; NaN of negative numbers.
@function Tensor:sqrt
@treturn Tensor */
static int root(lua_State *L) { return unary(L, unary_sqrt); }

/*** Nearest integers, halves away from zero, as a new tensor.
@function Tensor:round
@treturn Tensor */
static int nearest(lua_State *L) { return unary(L, unary_round); }

/*** Largest integers that are not greater, as a new tensor.
@function Tensor:floor
@treturn Tensor */
static int lower(lua_State *L) { return unary(L, unary_floor); }

/*** -1, 0 or 1, as a new tensor.
@function Tensor:sign
@treturn Tensor */
static int sign(lua_State *L) { return unary(L, unary_sign); }

/*** Numbers below lo become lo, those above hi become hi, as a new tensor.
@function Tensor:clamp
@number lo may be -math.huge
@number hi at least lo; may be math.huge
@treturn Tensor */
static int clamp(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  lua_Number lo = luaL_checknumber(L, 2), hi = luaL_checknumber(L, 3);
  luaL_argcheck(L, lo == lo, 2, "number expected, got NaN");
  if (!(lo <= hi))
    luaL_argerror(L, 3,
                  lua_pushfstring(L, "number of at least %f expected, got %f", lo, hi));
  clamp_range(tensor_like(L, t)->data, t->data, (real)lo, (real)hi, t->count);
  return 1;
}

/*** A Lua function applied to each number as it is before the first call, as a new
tensor.
@function Tensor:map
@tparam func f takes a number, returns a number
@treturn Tensor */
static int map(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  Tensor *out = tensor_like(L, t);
  memcpy(out->data, t->data, t->count * sizeof *t->data);
  for (size_t i = 0; i < out->count; i++) {
    lua_pushvalue(L, 2);
    tensor_push_number(L, out->data[i]);
    lua_call(L, 1, 1);
    if (lua_type(L, -1) != LUA_TNUMBER)
      return luaL_error(L, "map: the function must return a number, got %s for number %I",
                        luaL_typename(L, -1), (LUAI_UACINT)i + 1);
    out->data[i] = (real)lua_tonumber(L, -1);
    lua_pop(L, 1);
  }
  return 1;
}

/*** Is every number finite, neither infinite nor NaN?
@function Tensor:isfinite
@treturn bool */
static int isfinite_all(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  lua_pushboolean(L, all_finite(t->data, t->count));
  return 1;
}

/*** Same shape and all numbers equal?  The same as `==`.
NaN equals nothing, so a tensor with NaN does not equal its copy.
@function Tensor:equal
@tparam Tensor other
@treturn bool */
static int equal(lua_State *L) {
  Tensor *a = tensor_check(L, 1), *b = tensor_check(L, 2);
  lua_pushboolean(L, tensor_same_shape(a, b) && all_equal(a->data, b->data, a->count));
  return 1;
}

/* Lua calls __eq for any two userdata, whichever of them has it. */
static int equals(lua_State *L) {
  if (tensor_test(L, 1) != NULL && tensor_test(L, 2) != NULL) return equal(L);
  lua_pushboolean(L, 0);
  return 1;
}

const luaL_Reg tensor_math_methods[] = {
    {"add", add},         {"mul", mul},
    {"gt", gt},           {"ge", ge},
    {"lt", lt},           {"le", le},
    {"eq", eq},           {"ne", ne},
    {"exp", exponential}, {"log", logarithm},
    {"abs", absolute},    {"sqrt", root},
    {"round", nearest},   {"floor", lower},
    {"sign", sign},       {"tanh", hyperbolic_tangent},
    {"clamp", clamp},     {"sigmoid", sigmoid},
    {"map", map},         {"isfinite", isfinite_all},
    {"equal", equal},     {NULL, NULL}};

const luaL_Reg tensor_math_metamethods[] = {
    {"__add", plus},  {"__sub", minus},  {"__mul", times}, {"__div", divide},
    {"__pow", power}, {"__unm", negate}, {"__eq", equals}, {NULL, NULL}};
