/* Tensors in Lua: operators, elementwise functions, comparison. */
#include <string.h>

#include "lua/noreturn.h"
#include "lua/tensor_type.h"
#include "math/elementwise.h"

/*** @submodule cglow.Tensor */

static void number_or_tensor(lua_State *L, int arg) {
  if (lua_type(L, arg) != LUA_TNUMBER && tensor_test(L, arg) == NULL)
    luaL_typeerror(L, arg, "number or " TENSOR_TYPE);
}

/* args 1 and 2, of which at least one is a tensor, to a new tensor. */
static int binary(lua_State *L, const Binary *op) {
  number_or_tensor(L, 1);
  number_or_tensor(L, 2);
  Tensor *a = tensor_test(L, 1), *b = tensor_test(L, 2);
  if (a == NULL && b == NULL) return tensor_check(L, 1) != NULL; /* raises */
  if (a != NULL && b != NULL) tensor_check_like(L, 2, a);
  Tensor *out = tensor_like(L, a != NULL ? a : b);
  if (a == NULL)
    op->number_tensor(out->data, (real)lua_tonumber(L, 1), b->data, b->count);
  else if (b == NULL)
    op->tensor_number(out->data, a->data, (real)lua_tonumber(L, 2), a->count);
  else
    op->tensor_tensor(out->data, a->data, b->data, a->count);
  return 1;
}

/*** `+ - * /` and unary minus work number by number and give a new tensor:
between a tensor and a number in either order, or two tensors of the same
shape; nothing is broadcast.
@class field
@name Tensor:operators */
static int plus(lua_State *L) { return binary(L, &binary_add); }
static int minus(lua_State *L) { return binary(L, &binary_sub); }
static int times(lua_State *L) { return binary(L, &binary_mul); }
static int divide(lua_State *L) { return binary(L, &binary_div); }

/*** 1 where this is greater, 0 elsewhere (also where either is NaN).
@function Tensor:gt
@tparam number|Tensor other a tensor must have the same shape
@treturn Tensor */
static int gt(lua_State *L) { return binary(L, &binary_gt); }

/*** 1 where this is less, 0 elsewhere (also where either is NaN).
@function Tensor:lt
@tparam number|Tensor other a tensor must have the same shape
@treturn Tensor */
static int lt(lua_State *L) { return binary(L, &binary_lt); }

/*** 1 where both are equal, 0 elsewhere (also where either is NaN).
@function Tensor:eq
@tparam number|Tensor other a tensor must have the same shape
@treturn Tensor */
static int eq(lua_State *L) { return binary(L, &binary_eq); }

/* The tensor at arg, of t's shape; a copy of it, pushed, when it overlaps t
 * other than number by number. */
static const real *operand(lua_State *L, int arg, const Tensor *t) {
  Tensor *x = tensor_check_like(L, arg, t);
  if (x->data == t->data || !tensor_overlap(x, t)) return x->data;
  return memcpy(tensor_like(L, x)->data, x->data, x->count * sizeof *x->data);
}

/*** Add in place: this + scale·other.
@function Tensor:add
@tparam number|Tensor other a tensor must have the same shape
@number[opt=1] scale
@treturn Tensor itself */
static int add(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  number_or_tensor(L, 2);
  lua_Number scale = luaL_optnumber(L, 3, 1);
  if (lua_type(L, 2) == LUA_TNUMBER)
    binary_add.tensor_number(t->data, t->data, (real)(scale * lua_tonumber(L, 2)),
                             t->count);
  else
    axpy_range(t->data, operand(L, 2, t), (real)scale, t->count);
  lua_settop(L, 1);
  return 1;
}

/*** Multiply in place, number by number.
@function Tensor:mul
@tparam number|Tensor other a tensor must have the same shape
@treturn Tensor itself */
static int mul(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  number_or_tensor(L, 2);
  if (lua_type(L, 2) == LUA_TNUMBER)
    binary_mul.tensor_number(t->data, t->data, (real)lua_tonumber(L, 2), t->count);
  else
    binary_mul.tensor_tensor(t->data, t->data, operand(L, 2, t), t->count);
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

/*** A Lua function applied to each number, as a new tensor.
@function Tensor:map
@tparam func f takes a number, returns a number
@treturn Tensor */
static int map(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  Tensor *out = tensor_like(L, t);
  for (size_t i = 0; i < t->count; i++) {
    lua_pushvalue(L, 2);
    tensor_push_number(L, t->data[i]);
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
    {"add", add},       {"mul", mul},      {"gt", gt},
    {"lt", lt},         {"eq", eq},        {"exp", exponential},
    {"log", logarithm}, {"abs", absolute}, {"sqrt", root},
    {"round", nearest}, {"floor", lower},  {"sign", sign},
    {"clamp", clamp},   {"map", map},      {"isfinite", isfinite_all},
    {"equal", equal},   {NULL, NULL}};

const luaL_Reg tensor_math_metamethods[] = {
    {"__add", plus},   {"__sub", minus}, {"__mul", times}, {"__div", divide},
    {"__unm", negate}, {"__eq", equals}, {NULL, NULL}};
