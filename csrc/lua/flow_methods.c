/* Flow layers in Lua: one class for each FlowOps, with the same methods for all. */
#include "lua/flow_methods.h"

#include <stdio.h>
#include <string.h>

#include "lua/class.h"
#include "lua/flow_run.h"
#include "lua/guard.h"

/*** Flow layers in C: invertible, with the log-determinant of their Jacobian.

In Lua a flow layer is anything with these four methods; N is the batch size:

* `z, logdet = layer:forward(y, cond, keep)`: `logdet` is a list of N numbers;
  `keep` (default true) is false when no backward will follow
* `y = layer:inverse(z, cond)`
* `dy, dcond = layer:backward(dz, g, into)`: through the last forward, the gradient of
  a loss with gradient `dz` with respect to z and `g` with respect to logdet (a
  number for every sample, or a list of N); adds to the parameters' gradients; `into`,
  where given, is the tensor that dcond is written to
* `params = layer:parameters(prefix)`: a list of `Param`

Layers whose condition can be worked on once for many inverses have two more,
`prepare` and `inverse_prepared`.

`cond` is the condition, nil for an unconditional layer; it may have fewer samples
than y, each for several of y in turn, where no backward follows. Tensors that a layer
returns belong to it and are overwritten by its next call.
@module cglow.flow */

#define HEAD ((sizeof(FlowObject) + 15) & ~(size_t)15)

typedef struct ClassName {
  char text[40];
} ClassName;

static ClassName class_of(const FlowOps *ops) {
  ClassName name;
  snprintf(name.text, sizeof name.text, "cglow.%s", ops->kind);
  return name;
}

static FlowObject *check_object(lua_State *L, int arg) {
  return luaL_checkudata(L, arg, lua_tostring(L, lua_upvalueindex(1)));
}

Flow *flow_layer_check(lua_State *L, const FlowOps *ops) {
  ClassName name = class_of(ops);
  return ((FlowObject *)luaL_checkudata(L, 1, name.text))->flow;
}

/* Give the layer on top of the stack a store of its own. */
static void add_store(lua_State *L, FlowObject *o) {
  FlowStore *s = lua_newuserdatauv(L, sizeof *s, 1);
  memset(s, 0, sizeof *s);
  lua_setiuservalue(L, -2, FLOW_STORE);
  o->store = s;
}

void *flow_layer_new(lua_State *L, const FlowOps *ops, size_t size, size_t channels) {
  ClassName name = class_of(ops);
  FlowObject *o = flow_new(L, name.text, HEAD + size);
  o->flow = (Flow *)(void *)((char *)o + HEAD);
  o->flow->ops = ops;
  o->flow->channels = channels;
  add_store(L, o);
  return o->flow;
}

/* ---- the passes ---- */

/* Push a tensor for what a layer sends, if it does; returns how many were pushed. */
static int push_sent(lua_State *L, const Flow *f, FlowRun *r) {
  if (f->ops->sent == NULL) return 0;
  r->sent = r->z;
  r->sent.c = f->ops->sent(f);
  flow_push_act(L, FLOW_SENT, &r->sent);
  return 1;
}

/* After the last allocation: is the store still the one that hidden lies in?  A finalizer
 * may have exchanged or enlarged it, and gone no further. */
static void check_store(lua_State *L, const FlowObject *o, const FlowRun *r,
                        const char *what) {
  if (r->hidden != NULL && r->hidden != o->store->data)
    luaL_error(L, "%s: a finalizer has taken the layer's store meanwhile", what);
}

static int forward(lua_State *L) {
  FlowObject *o = check_object(L, 1);
  Flow *f = o->flow;
  FlowRun r = flow_run_for(L, f, false);
  bool keep = flow_keep(L, 4);
  lua_settop(L, 3);
  lua_Integer runs = guard_runs(L);
  FlowShape shape = flow_condition(f, &r.y);
  r.cond = flow_run_condition(L, 3, shape, &r);
  o->ran = false;
  r.saved = flow_push_saved(L, f, &r);
  if (keep && (shape.ndim == 0 || r.repeat == 1)) r.hidden = flow_push_hidden(L, o, &r);
  flow_push_act(L, FLOW_Z, &r.z);
  int z = lua_gettop(L), made = 1 + push_sent(L, f, &r);
  flow_ready_logdet(L, r.y.n);
  real *work = flow_take_workspace(L, f, &r, PASS_FORWARD, flow_doubles(r.y.n));
  r.logdet = (double *)(void *)work;
  o->ran = false; /* once more: a finalizer may have run forward */
  check_store(L, o, &r, "forward");
  if (o->store->owner == o || r.hidden != NULL) o->store->owner = NULL;
  guard_enter(L, runs, "forward");
  f->ops->forward(f, &r);
  if (r.hidden != NULL) o->store->owner = o;
  flow_keep_value(L, FLOW_Y, keep && f->ops->reads_y ? 2 : 0);
  flow_keep_value(L, FLOW_COND, keep && r.cond ? 3 : 0);
  o->ran = keep;
  o->rows = r.rows;
  for (int i = 0; i < made; i++) lua_pushvalue(L, z + i);
  flow_push_logdet(L, r.logdet, r.y.n);
  guard_check(L, runs + 1, "forward");
  return made + 1;
}

static void refuse_sample(lua_State *L, const Flow *f, size_t sample) {
  if (sample > 0) luaL_error(L, f->ops->no_inverse, (int)sample);
}

/* Take the workspace for a pass that leaves what forward saved alone. */
static void take_passing(lua_State *L, const Flow *f, FlowRun *r, FlowPass pass) {
  size_t count = flow_saved_count(f, r);
  real *work = flow_take_workspace(L, f, r, pass, count);
  r->saved = count > 0 ? work : NULL;
}

/* y from z at index 2 and, at index 3, a condition or what was prepared from one; into
 * the tensor at index 4, if there is one. */
static int run_inverse(lua_State *L, bool ready) {
  Flow *f = check_object(L, 1)->flow;
  FlowRun r = flow_run_for(L, f, true);
  lua_settop(L, 4);
  if (ready)
    r.prepared = flow_run_condition(L, 3, f->ops->prepared(f, &r.y), &r);
  else
    r.cond = flow_run_condition(L, 3, flow_condition(f, &r.y), &r);
  flow_push_result(L, 4, tensor_check(L, 2), FLOW_INVERSE, &r.y);
  int y = lua_gettop(L);
  take_passing(L, f, &r, PASS_INVERSE);
  guard_count(L);
  refuse_sample(L, f, f->ops->inverse(f, &r));
  lua_settop(L, y);
  return 1;
}

static int inverse(lua_State *L) { return run_inverse(L, false); }

/*** The inverse, from what `prepare` made.
@function Flow:inverse_prepared
@tparam Tensor z N×C×H×W
@tparam ?Tensor prepared for N samples, or for fewer that divide N
@tparam[opt] Tensor out where y goes: of z's shape, without memory of z's
@treturn Tensor y */
static int inverse_prepared(lua_State *L) { return run_inverse(L, true); }

/* A run on the condition at index 2 alone. */
static FlowRun run_condition(lua_State *L, const Flow *f) {
  FlowRun r = {.rows = 1, .repeat = 1, .threads = parallel_threads()};
  r.y.n = 1;
  FlowShape shape = flow_condition(f, &r.y);
  if (shape.ndim > 0) {
    const Tensor *t = tensor_check_shape(L, 2, shape.ndim, shape.dim);
    r.y.n = t->dim[shape.sample];
    r.y.h = t->dim[2];
    r.y.w = t->dim[3];
  }
  r.cond = flow_run_condition(L, 2, shape, &r);
  return r;
}

/*** Everything of the inverse that depends on the condition alone, for many samples to
come: the 1×1 convolution's inverses of W, the coupling's part of its first convolution.
@function Flow:prepare
@tparam[opt] Tensor cond
@treturn ?Tensor for `inverse_prepared`; nil when there is nothing to prepare */
static int prepare(lua_State *L) {
  Flow *f = check_object(L, 1)->flow;
  lua_settop(L, 2);
  FlowRun r = run_condition(L, f);
  FlowShape shape = f->ops->prepared(f, &r.y);
  if (shape.ndim == 0) return lua_pushnil(L), 1;
  shape.dim[shape.sample] = r.rows;
  r.prepared = tensor_new(L, shape.ndim, shape.dim)->data;
  int prepared = lua_gettop(L);
  take_passing(L, f, &r, PASS_PREPARE);
  guard_count(L);
  refuse_sample(L, f, f->ops->prepare(f, &r));
  lua_settop(L, prepared);
  return 1;
}

FlowRun flow_layer_look(lua_State *L, Flow *f, size_t lists) {
  lua_settop(L, 2);
  FlowRun r = run_condition(L, f);
  for (size_t i = 0; i < lists; i++) {
    lua_createtable(L, (int)r.rows, 0);
    for (size_t k = 1; k <= r.rows; k++) {
      lua_pushnumber(L, 0);
      lua_rawseti(L, -2, (lua_Integer)k);
    }
  }
  size_t numbers = flow_doubles(lists * r.rows), count = flow_saved_count(f, &r);
  real *work = flow_take_workspace(L, f, &r, PASS_PREPARE, numbers + count);
  r.logdet = (double *)(void *)work;
  r.saved = count > 0 ? work + numbers : NULL;
  guard_count(L);
  return r;
}

/* A run on what forward has kept, with dz at index 2. */
static FlowRun run_kept(lua_State *L, const FlowObject *o) {
  const FlowOps *ops = o->flow->ops;
  if (ops->stateless) {
    FlowRun r = flow_run_for(L, o->flow, true);
    r.dz = flow_act(tensor_check(L, 2));
    return r;
  }
  if (!o->ran) luaL_error(L, "backward: call forward (with keep) first");
  const Tensor *z = flow_kept(L, FLOW_Z);
  FlowRun r = {.z = flow_act(z), .rows = 1, .repeat = z->dim[0]};
  r.dz = flow_act(tensor_check_shape(L, 2, 4, z->dim));
  r.y = ops->reads_y ? flow_act(flow_kept(L, FLOW_Y)) : r.z;
  if (ops->sent) {
    r.sent = flow_act(flow_kept(L, FLOW_SENT));
    r.y.c += r.sent.c;
  }
  r.threads = parallel_threads();
  return r;
}

/* The condition that forward has kept, and where its gradient goes, which is pushed: to
 * the tensor at index 4, if there is one, or to one of the layer's own. */
static void push_dcond(lua_State *L, const FlowObject *o, FlowRun *r) {
  FlowShape shape = flow_condition(o->flow, &r->y);
  if (shape.ndim == 0) {
    lua_pushnil(L);
    return;
  }
  if (o->rows != r->y.n)
    luaL_error(L, "backward: forward's condition had %d rows for %d samples",
               (int)o->rows, (int)r->y.n);
  r->rows = o->rows;
  r->repeat = 1;
  r->cond = flow_kept(L, FLOW_COND)->data;
  shape.dim[shape.sample] = r->rows;
  bool own = lua_isnil(L, 4);
  const Tensor *t = own ? reuse_tensor(L, 1, FLOW_DCOND, shape.ndim, shape.dim)
                        : tensor_check_shape(L, 4, shape.ndim, shape.dim);
  luaL_argcheck(L,
                own || !(tensor_overlap(t, tensor_check(L, 2)) ||
                         tensor_overlap(t, flow_kept(L, FLOW_COND))),
                4, "a tensor that shares no memory with dz or the condition expected");
  if (!own) lua_pushvalue(L, 4);
  r->dcond = t->data;
}

static int backward(lua_State *L) {
  FlowObject *o = check_object(L, 1);
  Flow *f = o->flow;
  lua_settop(L, 4);
  lua_Integer runs = guard_runs(L);
  FlowRun r = run_kept(L, o);
  r.dy = r.y;
  flow_push_act(L, FLOW_DY, &r.dy);
  int dy = lua_gettop(L);
  push_dcond(L, o, &r);
  int dcond = lua_gettop(L);
  lua_getiuservalue(L, 1, FLOW_SAVED);
  const Tensor *saved = tensor_test(L, -1);
  r.saved = saved ? saved->data : NULL;
  r.hidden = flow_push_hidden(L, o, &r);
  flow_prepare_params(L);
  real *g = flow_take_workspace(L, f, &r, PASS_BACKWARD, r.y.n);
  if (!f->ops->stateless) flow_check_weights(L, 3, r.y.n, g);
  r.dlogdet = g;
  check_store(L, o, &r, "backward");
  guard_enter(L, runs, "backward");
  if (f->ops->recompute != NULL && o->store->owner != o) {
    f->ops->recompute(f, &r);
    o->store->owner = o;
  }
  f->ops->backward(f, &r);
  lua_pushvalue(L, dy);
  lua_pushvalue(L, dcond);
  return 2;
}

/*** Let this layer keep its hidden activations where another keeps its own, to
save memory: backward then computes them again where they were overwritten.
@function Coupling:share_store
@param other another layer of the same kind */
static int share_store(lua_State *L) {
  FlowObject *o = check_object(L, 1), *other = check_object(L, 2);
  lua_getiuservalue(L, 2, FLOW_STORE);
  lua_setiuservalue(L, 1, FLOW_STORE);
  o->store = other->store;
  return 0;
}

/*** End what `share_store` began: keep hidden activations for oneself again.
@function Coupling:own_store */
static int own_store(lua_State *L) {
  FlowObject *o = check_object(L, 1);
  lua_settop(L, 1);
  add_store(L, o);
  return 0;
}

static int to_string(lua_State *L) {
  const Flow *f = check_object(L, 1)->flow;
  char text[FLOW_WHY] = "";
  if (f->ops->describe) f->ops->describe(f, text);
  lua_pushfstring(L, "cglow.%s%s", f->ops->kind, text);
  return 1;
}

void flow_layer_class(lua_State *L, const FlowOps *ops, const luaL_Reg *more) {
  static const luaL_Reg methods[] = {{"forward", forward},
                                     {"inverse", inverse},
                                     {"backward", backward},
                                     {"__tostring", to_string},
                                     {NULL, NULL}};
  static const luaL_Reg preparing[] = {
      {"prepare", prepare}, {"inverse_prepared", inverse_prepared}, {NULL, NULL}};
  static const luaL_Reg recomputing[] = {
      {"share_store", share_store}, {"own_store", own_store}, {NULL, NULL}};
  ClassName name = class_of(ops);
  flow_class(L, name.text, methods);
  if (ops->prepared != NULL) class_add(L, name.text, preparing);
  if (ops->recompute != NULL) class_add(L, name.text, recomputing);
  if (more != NULL) class_add(L, name.text, more);
}
