/* Binding of optim/optim.c: userdata "cglow.Optimizer".  Options, groups and names
 * are lua/cglow/optim.lua's. */
#include "optim/optim.h"

#include <lauxlib.h>
#include <math.h>
#include <string.h>

#include "base/threads.h"
#include "lua/class.h"
#include "lua/guard.h"
#include "lua/open.h"
#include "lua/param.h"
#include "lua/tensor.h"
#include "optim/deferred.h"

#define OPTIM_TYPE "cglow.Optimizer"

/* PARAMS keeps the parameters alive; M and V are lists of moment tensors. */
enum { UV_PARAMS = 1, UV_M, UV_V, UV_COUNT = 3 };

/* Far more than any model has; no size computed from it overflows. */
#define OPTIM_MAX ((size_t)1 << 20)

typedef struct Optimizer {
  bool adam;
  uint64_t t; /* steps taken */
  size_t count, chunks;
  OptimSlot slot[];
} Optimizer;

static Optimizer *check(lua_State *L) {
  Optimizer *o = luaL_checkudata(L, 1, OPTIM_TYPE);
  if (o->count == 0) luaL_error(L, "this optimizer has been collected");
  return o;
}

/* Push a zero tensor of the shape of the parameter on top of the stack. */
static Tensor *push_moment(lua_State *L, Param *p) {
  lua_getfield(L, -1, "value");
  Tensor *value = tensor_check(L, -1);
  Tensor *t = tensor_zeros(L, value->ndim, value->dim);
  tensor_belongs_to(L, -3, p);
  lua_remove(L, -2);
  return t;
}

/* Where new_optimizer keeps what it makes on the stack. */
enum { AT_SCALES = 2, AT_DECAYS, AT_SELF, AT_PARAMS, AT_M, AT_V, AT_PLACES };

/* Enter the parameter on top of the stack in the table of places. */
static void claim_param(lua_State *L, const Param *p, size_t i) {
  if (lua_rawgetp(L, AT_PLACES, p) != LUA_TNIL) {
    lua_getfield(L, -2, "name");
    luaL_argerror(
        L, 1,
        lua_pushfstring(L, "each parameter once expected, got '%s' as [%d] and [%d]",
                        lua_tostring(L, -1), (int)lua_tointeger(L, -2), (int)i + 1));
  }
  lua_pop(L, 1);
  lua_pushinteger(L, (lua_Integer)i + 1);
  lua_rawsetp(L, AT_PLACES, p);
}

/* Element i of the list of factors at this index. */
static double check_factor(lua_State *L, int list, size_t i) {
  lua_rawgeti(L, list, (lua_Integer)i + 1);
  double scale = lua_tonumber(L, -1);
  if (lua_type(L, -1) != LUA_TNUMBER || !(scale >= 0 && scale <= 1e9))
    luaL_argerror(
        L, list,
        lua_pushfstring(L, "element [%d]: number from 0 to 1e9 expected, got %s",
                        (int)i + 1, luaL_tolstring(L, -1, NULL)));
  lua_pop(L, 1);
  return scale;
}

/* new({Param, …}, {scale, …}[, {decay, …}]): Adam with decays, SGD without */
static int new_optimizer(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, AT_SCALES, LUA_TTABLE);
  bool adam = !lua_isnoneornil(L, AT_DECAYS);
  if (adam) luaL_checktype(L, AT_DECAYS, LUA_TTABLE);
  lua_settop(L, AT_DECAYS);
  size_t n = lua_rawlen(L, 1);
  luaL_argcheck(L, n > 0 && n <= OPTIM_MAX, 1, "list of 1 to 2^20 parameters expected");
  size_t bytes = sizeof(Optimizer) + n * sizeof(OptimSlot);
  Optimizer *o = lua_newuserdatauv(L, bytes, UV_COUNT);
  memset(o, 0, bytes);
  luaL_setmetatable(L, OPTIM_TYPE);
  o->adam = adam;
  for (int uv = UV_PARAMS; uv <= UV_V; uv++) {
    lua_createtable(L, (int)n, 0);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, AT_SELF, uv);
  }
  lua_newtable(L); /* place of each parameter: none may be updated twice */
  for (size_t i = 0; i < n; i++) {
    OptimSlot *s = &o->slot[i];
    s->param = param_push_listed(L, (lua_Integer)i + 1);
    claim_param(L, s->param, i);
    s->scale = check_factor(L, AT_SCALES, i) * s->param->step_scale;
    s->m = push_moment(L, s->param)->data;
    lua_rawseti(L, AT_M, (lua_Integer)i + 1);
    if (adam) {
      s->decay = check_factor(L, AT_DECAYS, i);
      s->v = push_moment(L, s->param)->data;
      lua_rawseti(L, AT_V, (lua_Integer)i + 1);
    }
    lua_rawseti(L, AT_PARAMS, (lua_Integer)i + 1);
    o->count = i + 1;
  }
  o->chunks = optim_layout(o->slot, o->count);
  lua_settop(L, AT_SELF);
  return 1;
}

/* Nil and a message that names the parameter of this slot. */
static int refuse_step(lua_State *L, size_t slot) {
  lua_pushnil(L);
  lua_getiuservalue(L, 1, UV_PARAMS);
  lua_rawgeti(L, -1, (lua_Integer)slot + 1);
  lua_getfield(L, -1, "name");
  lua_pushfstring(
      L,
      "the gradient of '%s' is not finite, or too large to square: no step was "
      "taken",
      lua_tostring(L, -1));
  lua_replace(L, -4);
  lua_pop(L, 2);
  return 2;
}

static double check_hyper(lua_State *L, int arg) {
  double v = luaL_checknumber(L, arg);
  if (!(v >= 0 && v <= 1e30))
    luaL_argerror(L, arg,
                  lua_pushfstring(L, "number from 0 to 1e30 expected, got %f", v));
  return v;
}

/* What the arguments of a step are, from index 2 on.  A and B: Adam's β1, β2; SGD's
 * momentum.  PARTS: so many gradients have been added up, and their mean is stepped by.
 */
enum { LR, A, B, EPS, CLIP_VALUE, CLIP_NORM, DECAY, PARTS, HYPERS };

/* step(lr, a, b, eps, clip_value, clip_norm, decay, parts).  Returns the norm of the
 * gradient after clipping each element (true when clip_norm is 0, which spares the
 * work), or nil and a message when a gradient is not finite; then nothing has changed. */
static int step(lua_State *L) {
  Optimizer *o = check(L);
  double arg[HYPERS];
  for (int i = 0; i < HYPERS; i++) arg[i] = check_hyper(L, i + 2);
  if (!(arg[PARTS] >= 1))
    luaL_argerror(L, PARTS + 2,
                  lua_pushfstring(L, "1 or more expected, got %f", arg[PARTS]));
  lua_settop(L, 1);
  lua_Integer runs = guard_runs(L);
  int threads = parallel_threads();
  size_t scratch = OPTIM_SCRATCH * (size_t)threads;
  size_t sums = o->chunks * sizeof(double) / sizeof(real);
  real *work = tensor_workspace(L, scratch + sums);
  guard_enter(L, runs, "step");
  optim_settle(o->slot, o->count);
  double scale = 1 / arg[PARTS], clip = arg[CLIP_VALUE] * arg[PARTS], norm = 0;
  size_t bad;
  if (arg[CLIP_NORM] > 0) {
    norm = scale *
           sqrt(optim_square_norm(o->slot, o->count, clip, &bad,
                                  (double *)(void *)(work + scratch), work, threads));
    if (norm > arg[CLIP_NORM]) scale *= arg[CLIP_NORM] / norm;
  } else {
    double most = o->adam && clip == 0 ? OPTIM_GRADIENT_MAX : HUGE_VAL;
    bad = optim_first_bad(o->slot, o->count, most, (bool *)(void *)(work + scratch), work,
                          threads);
  }
  if (bad < o->count) return refuse_step(L, bad);
  o->t++;
  if (o->adam) {
    AdamStep s = {arg[LR], arg[A], arg[B], arg[EPS], clip, scale, arg[DECAY], o->t};
    optim_adam(o->slot, o->count, &s, work, threads);
  } else {
    SgdStep s = {arg[LR], arg[A], clip, scale};
    optim_sgd(o->slot, o->count, &s, work, threads);
  }
  if (arg[CLIP_NORM] > 0)
    lua_pushnumber(L, norm);
  else
    lua_pushboolean(L, 1);
  return 1;
}

/* A new list of what the list in user value uv holds: the optimizer relies on
 * its own to keep the moments in memory. */
static void push_list(lua_State *L, int uv) {
  lua_getiuservalue(L, 1, uv);
  lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
  lua_createtable(L, (int)n, 0);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, -2, i);
    lua_rawseti(L, -2, i);
  }
  lua_remove(L, -2);
}

/* moments() -> {m, …}, {v, …}, steps: the tensors themselves, not copies. */
static int moments(lua_State *L) {
  Optimizer *o = check(L);
  push_list(L, UV_M);
  push_list(L, UV_V);
  lua_pushinteger(L, (lua_Integer)o->t);
  return 3;
}

static int set_steps(lua_State *L) {
  Optimizer *o = check(L);
  lua_Integer t = luaL_checkinteger(L, 2);
  if (t < 0)
    luaL_argerror(L, 2,
                  lua_pushfstring(L, "0 or more steps expected, got %I", (LUAI_UACINT)t));
  o->t = (uint64_t)t;
  return 0;
}

/* Steps that are due need the slots.  A finalizer may still use what was collected:
 * nobody would make the steps that it leaves due. */
static int collect(lua_State *L) {
  Optimizer *o = luaL_checkudata(L, 1, OPTIM_TYPE);
  optim_settle(o->slot, o->count);
  o->count = 0;
  return 0;
}

static const luaL_Reg methods[] = {{"step", step},
                                   {"moments", moments},
                                   {"set_steps", set_steps},
                                   {"__gc", collect},
                                   {NULL, NULL}};
static const luaL_Reg functions[] = {{"optimizer", new_optimizer}, {NULL, NULL}};

void open_optim(lua_State *L) {
  class_new(L, OPTIM_TYPE, methods);
  luaL_setfuncs(L, functions, 0);
}
