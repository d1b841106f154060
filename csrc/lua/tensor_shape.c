/* Tensors in Lua: shape, views, copies, joining. */
#include <limits.h>
#include <string.h>

#include "lua/noreturn.h"
#include "lua/tensor_args.h"
#include "lua/tensor_methods.h"
#include "math/elementwise.h"

/*** @submodule cglow.Tensor */

/*** The shape; all of it is `t.shape`, too.
@function Tensor:size
@int[opt] dim a dimension, from 1 on
@treturn {int,...}|int all sizes as a list, or one */
static int size(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  if (!lua_isnoneornil(L, 2)) {
    lua_pushinteger(L, (lua_Integer)t->dim[tensor_check_dimension(L, 2, t)]);
    return 1;
  }
  tensor_push_sizes(L, t);
  return 1;
}

/*** How many dimensions, 1 to 4.
@function Tensor:dim
@treturn int */
static int dim(lua_State *L) {
  lua_pushinteger(L, tensor_check(L, 1)->ndim);
  return 1;
}

/*** How many numbers.
@function Tensor:count
@treturn int */
static int count(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)tensor_check(L, 1)->count);
  return 1;
}

/*** All numbers as one flat list, the last dimension running fastest.
@function Tensor:totable
@treturn {number,...} */
static int totable(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  luaL_argcheck(L, t->count <= INT_MAX, 1, "too many numbers for a Lua table");
  lua_createtable(L, (int)t->count, 0);
  for (size_t i = 0; i < t->count; i++) {
    tensor_push_number(L, t->data[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

static lua_Integer size_argument(lua_State *L, int i, bool list) {
  if (!list) return luaL_checkinteger(L, 2 + i);
  int is_integer;
  lua_rawgeti(L, 2, i + 1);
  lua_Integer v = lua_tointegerx(L, -1, &is_integer);
  if (!is_integer)
    luaL_argerror(L, 2,
                  lua_pushfstring(L, "dimension %d must be an integer, got %s", i + 1,
                                  luaL_typename(L, -1)));
  lua_pop(L, 1);
  return v;
}

static void no_such_shape(lua_State *L, const Tensor *t, int ndim,
                          const lua_Integer *want) {
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (int i = 0; i < ndim; i++) {
    lua_pushfstring(L, i > 0 ? "x%I" : "%I", (LUAI_UACINT)want[i]);
    luaL_addvalue(&b);
  }
  luaL_pushresult(&b);
  luaL_argerror(
      L, 2,
      lua_pushfstring(L,
                      "shape of %I numbers expected (positive sizes, one may be "
                      "-1), got %s",
                      (LUAI_UACINT)t->count, lua_tostring(L, -1)));
}

/* Reads a shape for t's numbers; one dimension may be -1: what is left. */
static int check_reshape(lua_State *L, const Tensor *t, size_t out[TENSOR_MAX_DIM]) {
  bool list = lua_istable(L, 2);
  lua_Integer want[TENSOR_MAX_DIM];
  lua_Integer ndim = list ? (lua_Integer)lua_rawlen(L, 2) : lua_gettop(L) - 1;
  if (ndim < 1 || ndim > TENSOR_MAX_DIM)
    luaL_argerror(
        L, 2,
        lua_pushfstring(L, "1 to 4 dimensions expected, got %I", (LUAI_UACINT)ndim));
  size_t known = 1;
  int unknown = -1;
  bool ok = true;
  for (int i = 0; i < ndim; i++) want[i] = size_argument(L, i, list);
  for (int i = 0; i < ndim; i++) {
    out[i] = (size_t)want[i];
    if (want[i] == -1 && unknown < 0)
      unknown = i;
    else
      ok = ok && want[i] > 0 && checked_mul(known, out[i], &known);
  }
  if (ok && unknown >= 0) {
    out[unknown] = t->count / known;
    ok = out[unknown] > 0 && checked_mul(known, out[unknown], &known);
  }
  if (!ok || known != t->count) no_such_shape(L, t, (int)ndim, want);
  return (int)ndim;
}

/*** The same numbers in another shape, as a view: writing to it writes to this.
@function Tensor:reshape
@param ... integers or one list; one of them may be -1: whatever is left
@treturn Tensor */
static int reshape(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  size_t shape[TENSOR_MAX_DIM];
  int ndim = check_reshape(L, t, shape);
  tensor_view(L, 1, ndim, shape, 0);
  return 1;
}

/* Push t's `length` slices from `start` on along dimension d, shaped `shape`:
 * a view where those numbers follow each other, a copy where not. */
static void push_slices(lua_State *L, const Tensor *t, int d, size_t start, size_t length,
                        int ndim, const size_t *shape) {
  size_t outer = tensor_outer(t, d), inner = tensor_inner(t, d);
  if (outer == 1) {
    tensor_view(L, 1, ndim, shape, start * inner);
    return;
  }
  Tensor *out = tensor_new(L, ndim, shape);
  for (size_t o = 0; o < outer; o++)
    memcpy(out->data + o * length * inner, t->data + (o * t->dim[d] + start) * inner,
           length * inner * sizeof *t->data);
}

/*** Part of a tensor along one dimension.
A view when every dimension before `dim` has size 1 (so always for the first
one), otherwise a copy.
@function Tensor:narrow
@int dim dimension, from 1 on
@int start first index to keep
@int length how many to keep
@treturn Tensor of as many dimensions */
static int narrow(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  int d = tensor_check_dimension(L, 2, t);
  size_t start = tensor_check_index(L, 3, t->dim[d]);
  lua_Integer length = luaL_checkinteger(L, 4);
  size_t room = t->dim[d] - start;
  if (length < 1 || (lua_Unsigned)length > room)
    luaL_argerror(L, 4,
                  lua_pushfstring(L, "length from 1 to %I expected, got %I",
                                  (LUAI_UACINT)room, (LUAI_UACINT)length));
  size_t shape[TENSOR_MAX_DIM];
  memcpy(shape, t->dim, sizeof shape);
  shape[d] = (size_t)length;
  push_slices(L, t, d, start, (size_t)length, t->ndim, shape);
  return 1;
}

/*** One index of one dimension, which the result does not have any more.
A view when every dimension before `dim` has size 1, otherwise a copy.
@function Tensor:select
@int dim dimension, from 1 on
@int index from 1 on
@treturn Tensor|number a number when the tensor has one dimension */
static int select_index(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  int d = tensor_check_dimension(L, 2, t);
  size_t i = tensor_check_index(L, 3, t->dim[d]);
  if (t->ndim == 1) {
    tensor_push_number(L, t->data[i]);
    return 1;
  }
  size_t shape[TENSOR_MAX_DIM];
  int ndim = tensor_dims_without(t, d, shape);
  push_slices(L, t, d, i, 1, ndim, shape);
  return 1;
}

/*** A copy with memory of its own.
@function Tensor:clone
@treturn Tensor */
static int clone(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  memcpy(tensor_like(L, t)->data, t->data, t->count * sizeof *t->data);
  return 1;
}

/*** Take over another tensor's numbers.
@function Tensor:copy
@tparam Tensor source of the same shape; may share memory
@treturn Tensor itself */
static int copy(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  Tensor *source = tensor_check_like(L, 2, t);
  memmove(t->data, source->data, t->count * sizeof *t->data);
  lua_settop(L, 1);
  return 1;
}

/*** Set every number.
@function Tensor:fill
@number value
@treturn Tensor itself */
static int fill(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  fill_range(t->data, (real)luaL_checknumber(L, 2), t->count);
  lua_settop(L, 1);
  return 1;
}

/*** Set every number to 0.
@function Tensor:zero
@treturn Tensor itself */
static int zero(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  fill_range(t->data, 0, t->count);
  lua_settop(L, 1);
  return 1;
}

/* Push a copy whose dimension i is t's dimension order[i]. */
static void push_permuted(lua_State *L, const Tensor *t,
                          const int order[TENSOR_MAX_DIM]) {
  size_t shape[TENSOR_MAX_DIM];
  for (int i = 0; i < t->ndim; i++) shape[i] = t->dim[order[i]];
  Tensor *out = tensor_new(L, t->ndim, shape);
  permute4(out->data, t->data, t->dim, order);
}

/*** A copy with its dimensions in another order.
@function Tensor:permute
@param ... each dimension once: (3, 1, 2) makes the third one the first
@treturn Tensor */
static int permute(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  int given = lua_gettop(L) - 1;
  if (given != t->ndim)
    return luaL_error(L, "permute: %d dimensions expected, got %d", t->ndim, given);
  int order[TENSOR_MAX_DIM] = {0, 1, 2, 3};
  bool seen[TENSOR_MAX_DIM] = {false};
  for (int i = 0; i < t->ndim; i++) {
    order[i] = tensor_check_dimension(L, 2 + i, t);
    luaL_argcheck(L, !seen[order[i]], 2 + i,
                  "each dimension once expected, got one twice");
    seen[order[i]] = true;
  }
  push_permuted(L, t, order);
  return 1;
}

/*** A copy with two dimensions exchanged.
@function Tensor:transpose
@int a dimension, from 1 on
@int b dimension
@treturn Tensor */
static int transpose(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  int a = tensor_check_dimension(L, 2, t), b = tensor_check_dimension(L, 3, t);
  int order[TENSOR_MAX_DIM] = {0, 1, 2, 3};
  order[a] = b;
  order[b] = a;
  push_permuted(L, t, order);
  return 1;
}

/* The tensors of the list at arg 1 in a list of our own, pushed.  What the caller's
 * list holds is read this once: making the result may run a finalizer, and that may
 * put other tensors into it. */
static lua_Integer push_tensors(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
  luaL_argcheck(L, n > 0, 1, "at least one tensor expected, got an empty list");
  luaL_argcheck(L, n <= INT_MAX, 1, "too many tensors");
  lua_createtable(L, (int)n, 0);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, 1, i);
    if (tensor_test(L, -1) == NULL)
      luaL_argerror(L, 1,
                    lua_pushfstring(L, "element [%I]: " TENSOR_TYPE " expected, got %s",
                                    (LUAI_UACINT)i, luaL_typename(L, -1)));
    lua_rawseti(L, -2, i);
  }
  return n;
}

/* Element i of the list at index `list` that push_tensors made, which keeps it alive. */
static Tensor *list_tensor(lua_State *L, int list, lua_Integer i) {
  lua_rawgeti(L, list, i);
  Tensor *t = tensor_check(L, -1);
  lua_pop(L, 1);
  return t;
}

/* Element i must have this shape; a dim of 0 matches any size. */
static Tensor *list_tensor_like(lua_State *L, int list, lua_Integer i, int ndim,
                                const size_t *shape) {
  Tensor *t = list_tensor(L, list, i);
  bool ok = t->ndim == ndim;
  for (int k = 0; ok && k < ndim; k++) ok = shape[k] == 0 || shape[k] == t->dim[k];
  if (!ok)
    luaL_argerror(L, 1,
                  lua_pushfstring(L, "element [%I]: shape %s expected, got %s",
                                  (LUAI_UACINT)i, tensor_push_shape(L, ndim, shape),
                                  tensor_push_shape(L, t->ndim, t->dim)));
  return t;
}

/* Copies the listed tensors side by side into the new tensor `out`: slices of
 * `inner` numbers per index of the joined dimension, `outer` of them apart. */
static void join(lua_State *L, int list, lua_Integer n, Tensor *out, size_t outer) {
  size_t at = 0, row = out->count / outer;
  for (lua_Integer i = 1; i <= n; i++) {
    Tensor *t = list_tensor(L, list, i);
    size_t part = t->count / outer;
    for (size_t o = 0; o < outer; o++)
      memcpy(out->data + o * row + at, t->data + o * part, part * sizeof *t->data);
    at += part;
  }
}

/*** Join tensors along one dimension; the others must agree.
@function cat
@tparam {Tensor,...} list
@int[opt=1] dim dimension, from 1 on
@treturn Tensor */
static int cat(lua_State *L) {
  lua_settop(L, 2);
  lua_Integer n = push_tensors(L);
  Tensor *first = list_tensor(L, 3, 1);
  int d = lua_isnoneornil(L, 2) ? 0 : tensor_check_dimension(L, 2, first);
  size_t shape[TENSOR_MAX_DIM], total = 0;
  memcpy(shape, first->dim, sizeof shape);
  shape[d] = 0;
  for (lua_Integer i = 1; i <= n; i++)
    if (!checked_add(total, list_tensor_like(L, 3, i, first->ndim, shape)->dim[d],
                     &total))
      return luaL_error(L, "cat: the joined dimension overflows");
  shape[d] = total;
  join(L, 3, n, tensor_new(L, first->ndim, shape), tensor_outer(first, d));
  return 1;
}

/*** Put tensors of one shape beside each other along a new first dimension.
@function stack
@tparam {Tensor,...} list each of at most three dimensions
@treturn Tensor of one dimension more */
static int stack(lua_State *L) {
  lua_settop(L, 1);
  lua_Integer n = push_tensors(L);
  Tensor *first = list_tensor(L, 2, 1);
  if (first->ndim == TENSOR_MAX_DIM)
    luaL_argerror(L, 1,
                  lua_pushfstring(L, "tensors of at most 3 dimensions expected, got %s",
                                  tensor_push_shape(L, first->ndim, first->dim)));
  for (lua_Integer i = 2; i <= n; i++) list_tensor_like(L, 2, i, first->ndim, first->dim);
  size_t shape[TENSOR_MAX_DIM] = {(size_t)n};
  memcpy(shape + 1, first->dim, (TENSOR_MAX_DIM - 1) * sizeof *shape);
  join(L, 2, n, tensor_new(L, first->ndim + 1, shape), 1);
  return 1;
}

const luaL_Reg tensor_shape_methods[] = {
    {"size", size},           {"dim", dim},         {"count", count},
    {"totable", totable},     {"reshape", reshape}, {"narrow", narrow},
    {"select", select_index}, {"clone", clone},     {"copy", copy},
    {"fill", fill},           {"zero", zero},       {"permute", permute},
    {"transpose", transpose}, {NULL, NULL}};

const luaL_Reg tensor_shape_functions[] = {{"cat", cat}, {"stack", stack}, {NULL, NULL}};
