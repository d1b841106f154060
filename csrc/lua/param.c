/* Binding of optim/param.c: the class "cglow.Param". */
#include "lua/param.h"

#include <lauxlib.h>
#include <string.h>

#include "lua/check.h"
#include "lua/class.h"
#include "lua/open.h"
#include "lua/tensor.h"
#include "math/elementwise.h"
#include "optim/deferred.h"

/*** Trainable parameters.
@module cglow.Param */

enum { UV_VALUE = 1, UV_GRAD, UV_PENDING, UV_NAME, UV_COUNT = 4 };

/* By parameter (light userdata): the tensor through which Lua looks at its gradient, as
 * long as there is one. */
static const char looks_key = 0;

Param *param_new(lua_State *L, const char *name, int ndim, const size_t *dim) {
  Param *p = lua_newuserdatauv(L, sizeof *p, UV_COUNT);
  memset(p, 0, sizeof *p);
  luaL_setmetatable(L, PARAM_TYPE);
  Tensor *t = tensor_zeros(L, ndim, dim);
  tensor_belongs_to(L, -2, p);
  lua_setiuservalue(L, -2, UV_VALUE);
  p->value = t->data;
  p->step_scale = 1;
  p->count = t->count;
  p->rows = dim[0];
  p->cols = t->count / dim[0];
  lua_pushstring(L, name);
  lua_setiuservalue(L, -2, UV_NAME);
  return p;
}

Param *param_check(lua_State *L, int arg) { return luaL_checkudata(L, arg, PARAM_TYPE); }

void param_ensure_grad(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  Param *p = lua_touserdata(L, idx);
  p->lent = false;
  if (p->grad != NULL) return;
  lua_getiuservalue(L, idx, UV_VALUE);
  Tensor *g = tensor_like(L, lua_touserdata(L, -1));
  if (p->grad == NULL) { /* else a finalizer has computed one meanwhile, which stays */
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, idx, UV_GRAD);
    p->grad = g->data;
  }
  p->lent = false;
  lua_pop(L, 2);
}

void param_end_look(lua_State *L, int idx) {
  Param *p = lua_touserdata(L, idx);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &looks_key);
  lua_pushnil(L);
  lua_rawsetp(L, -2, p);
  lua_pop(L, 1);
  p->exposed = false;
}

void param_move_grad(lua_State *L, int idx, int flat, size_t at) {
  idx = lua_absindex(L, idx);
  flat = lua_absindex(L, flat);
  Param *p = lua_touserdata(L, idx);
  lua_getiuservalue(L, idx, UV_VALUE);
  const Tensor *value = lua_touserdata(L, -1);
  Tensor *g = tensor_view(L, flat, value->ndim, value->dim, at);
  if (p->dense) memcpy(g->data, p->grad, p->count * sizeof *p->grad);
  lua_setiuservalue(L, idx, UV_GRAD);
  lua_pop(L, 1);
  p->grad = g->data;
  p->lent = false;
  param_end_look(L, idx);
}

static void ensure_pending_room(lua_State *L, int idx, size_t n) {
  Param *p = lua_touserdata(L, idx);
  if (p->pending_room >= n) return;
  size_t dim[2] = {n, p->rows + p->cols};
  Tensor *t = tensor_new(L, 2, dim);
  if (p->pending > 0 || p->pending_room >= n) { /* a finalizer has been here */
    lua_pop(L, 1);
    return;
  }
  param_settle(p); /* which reads the old u and v */
  lua_setiuservalue(L, idx, UV_PENDING);
  p->pending_room = n;
  p->u = t->data;
  p->v = t->data + n * p->rows;
}

/* Push the tensor through which Lua looks at the gradient of the parameter at idx: a
 * view, so that the parameter learns when nobody holds it any more. */
static void push_look(lua_State *L, int idx) {
  Param *p = lua_touserdata(L, idx);
  bool lent = p->lent || p->grad == NULL;
  param_ensure_grad(L, idx);
  p->lent = lent;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &looks_key);
  if (lua_rawgetp(L, -1, p) == LUA_TNIL) {
    lua_pop(L, 1);
    lua_getiuservalue(L, idx, UV_GRAD);
    const Tensor *g = lua_touserdata(L, -1);
    tensor_view(L, -1, g->ndim, g->dim, 0);
    tensor_belongs_to(L, idx, NULL);
    lua_remove(L, -2);
    if (lua_rawgetp(L, -2, p) == LUA_TNIL) { /* else a finalizer has looked meanwhile */
      lua_pop(L, 1);
      lua_pushvalue(L, -1);
      lua_rawsetp(L, -3, p);
    } else {
      lua_remove(L, -2);
    }
  }
  lua_remove(L, -2);
  param_materialise(p);
  p->exposed = true;
}

/* Does Lua still hold what push_look gave it?  If not, the gradient may be kept in any
 * form again, and its memory goes back when it was made for that and holds nothing. */
static void look_away(lua_State *L, int idx) {
  Param *p = lua_touserdata(L, idx);
  if (p->exposed) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &looks_key);
    p->exposed = lua_rawgetp(L, -1, p) != LUA_TNIL;
    lua_pop(L, 2);
    /* A gradient of zeros needs no memory; while Lua held it, zero_grad had to write
     * them. */
    if (!p->exposed && p->dense) p->dense = largest_magnitude(p->grad, 1, p->count, 0) > 0;
  }
  if (p->lent && !p->dense && !p->exposed) {
    lua_pushnil(L);
    lua_setiuservalue(L, idx, UV_GRAD);
    p->grad = NULL;
    p->lent = false;
  }
}

void param_prepare(lua_State *L, int idx, size_t n, bool outer) {
  idx = lua_absindex(L, idx);
  Param *p = lua_touserdata(L, idx);
  look_away(L, idx);
  if (param_may_be_pending(p, n, outer)) {
    ensure_pending_room(L, idx, n);
    return;
  }
  param_ensure_grad(L, idx);
  if (p->pending > 0) param_materialise(p);
}

static int param_index(lua_State *L) {
  Param *p = param_check(L, 1);
  const char *key = luaL_checkstring(L, 2);
  if (strcmp(key, "value") == 0) {
    lua_getiuservalue(L, 1, UV_VALUE);
  } else if (strcmp(key, "grad") == 0) {
    push_look(L, 1);
  } else if (strcmp(key, "name") == 0) {
    lua_getiuservalue(L, 1, UV_NAME);
  } else if (strcmp(key, "step_scale") == 0) {
    lua_pushnumber(L, p->step_scale);
  } else if (strcmp(key, "has_grad") == 0) {
    lua_pushboolean(L, p->dense || p->pending > 0);
  } else {
    luaL_getmetatable(L, PARAM_TYPE);
    if (lua_getfield(L, -1, key) == LUA_TNIL || key[0] == '_')
      return luaL_error(
          L,
          "a cglow.Param has no field '%s' (it has name, value, "
          "grad, gradient, gradient_zeros, has_grad, step_scale, zero_grad)",
          key);
  }
  return 1;
}

static void set_step_scale(lua_State *L, Param *p) {
  double scale = luaL_checknumber(L, 3);
  if (!(scale >= 0 && scale <= 1e9))
    luaL_error(L, "cglow.Param: step_scale must be from 0 to 1e9, got %f", scale);
  p->step_scale = scale;
}

static int param_newindex(lua_State *L) {
  Param *p = param_check(L, 1);
  const char *key = luaL_checkstring(L, 2);
  if (strcmp(key, "step_scale") == 0) return set_step_scale(L, p), 0;
  if (strcmp(key, "name") != 0)
    return luaL_error(L,
                      "cannot assign to '%s' of a cglow.Param: only its name and "
                      "step_scale can be set; use p.value:copy(t) to change its "
                      "numbers",
                      key);
  luaL_checktype(L, 3, LUA_TSTRING);
  lua_settop(L, 3);
  lua_setiuservalue(L, 1, UV_NAME);
  return 0;
}

/*** The gradient as it is now, in a tensor of its own; unlike a look at `grad` this does
not ask the parameter to keep its gradient in memory.
@function Param:gradient
@treturn Tensor of the value's shape */
static int gradient(lua_State *L) {
  const Param *p = param_check(L, 1);
  lua_getiuservalue(L, 1, UV_VALUE);
  Tensor *g = tensor_like(L, lua_touserdata(L, -1));
  param_copy_gradient(p, g->data);
  return 1;
}

/*** How many numbers of the gradient are 0, without a copy of it.
@function Param:gradient_zeros
@treturn int */
static int gradient_zeros(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)param_gradient_zeros(param_check(L, 1)));
  return 1;
}

/*** The gradient counts as zero from now on.
@function Param:zero_grad */
static int zero_grad(lua_State *L) {
  param_zero_grad(param_check(L, 1));
  return 0;
}

Param *param_push_listed(lua_State *L, lua_Integer i) {
  return check_listed(L, i, PARAM_TYPE);
}

/*** The gradients of all these count as zero from now on.
@function zero_grad
@tparam {Param,...} parameters */
static int zero_all(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
  for (lua_Integer i = 1; i <= n; i++) {
    param_zero_grad(param_push_listed(L, i));
    lua_pop(L, 1);
  }
  return 0;
}

/* A fingerprint reads so many numbers of a parameter, spread over all of it. */
#define PRINT_NUMBERS 8

static uint64_t print_of(Param *p, uint64_t hash) {
  size_t n = p->count < PRINT_NUMBERS ? p->count : PRINT_NUMBERS;
  const real *value = param_value(p);
  for (size_t i = 0; i < n; i++) {
    uint64_t bits = 0;
    memcpy(&bits, value + i * (p->count - 1) / (n > 1 ? n - 1 : 1), sizeof(real));
    hash = (hash ^ bits) * 0x100000001b3u; /* FNV-1a */
    hash ^= hash >> 29;
  }
  return hash;
}

/*** A number that tells whether parameters have changed: made of some numbers of each, so
that it costs next to nothing. A step of an optimizer changes all of them.
@function fingerprint
@tparam {Param,...} parameters
@treturn int */
static int fingerprint(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  uint64_t hash = 0xcbf29ce484222325u;
  lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
  for (lua_Integer i = 1; i <= n; i++) {
    hash = print_of(param_push_listed(L, i), hash);
    lua_pop(L, 1);
  }
  lua_pushinteger(L, (lua_Integer)hash);
  return 1;
}

static int param_tostring(lua_State *L) {
  param_check(L, 1);
  lua_getiuservalue(L, 1, UV_NAME);
  lua_getiuservalue(L, 1, UV_VALUE);
  Tensor *t = lua_touserdata(L, -1);
  const char *name = lua_tostring(L, -2), *shape = tensor_push_shape(L, t->ndim, t->dim);
  lua_pushfstring(L, "cglow.Param %s  %s", name, shape);
  return 1;
}

/*** A trainable parameter: a name, a value and a gradient of the same shape.
For layers written in Lua; C layers make their own.
@function Param
@tparam Tensor value its numbers are copied
@string[opt="param"] name
@treturn Param with fields `name`, `value`, `grad` (formed when asked for),
`has_grad` (false while the gradient is zero by construction), `step_scale` (1:
what optimizers made from now on multiply their step size by) */
static int new_param(lua_State *L) {
  Tensor *t = tensor_check(L, 1);
  Param *p = param_new(L, luaL_optstring(L, 2, "param"), t->ndim, t->dim);
  memcpy(p->value, t->data, t->count * sizeof *t->data);
  return 1;
}

static const luaL_Reg methods[] = {{"__index", param_index},
                                   {"__newindex", param_newindex},
                                   {"__tostring", param_tostring},
                                   {"gradient", gradient},
                                   {"gradient_zeros", gradient_zeros},
                                   {"zero_grad", zero_grad},
                                   {NULL, NULL}};

static const luaL_Reg functions[] = {{"Param", new_param},
                                     {"zero_grad", zero_all},
                                     {"fingerprint", fingerprint},
                                     {NULL, NULL}};

void open_param(lua_State *L) {
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &looks_key);
  class_new(L, PARAM_TYPE, methods);
  luaL_setfuncs(L, functions, 0);
}
