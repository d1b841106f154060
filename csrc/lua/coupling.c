/* Binding of flow/coupling/coupling.c: the flow layer "cglow.Coupling".
 *
 * The hidden layers that backward reads are by far the largest memory of a
 * model.  They lie in a store; each layer has its own, unless layers share
 * one (recomputation): then a layer whose store was overwritten since runs its
 * network again at the start of backward, which gives the same numbers. */
#include "flow/coupling/coupling.h"

#include <string.h>

#include "flow/coupling/transform.h"
#include "lua/features.h"
#include "lua/flow.h"

/*** @submodule cglow.flow */

#define COUPLING_TYPE "cglow.Coupling"
#define STORE_TYPE "cglow.HiddenStore"

typedef struct Store {
  real *data;
  size_t room;
  const void *owner; /* whose hidden layers lie in it */
} Store;

typedef struct CouplingLayer {
  Coupling c;
  Store *store;
} CouplingLayer;

/* The store takes the place of this user value of other layers. */
enum { COUPLING_STORE = FLOW_SAVED, COUPLING_V = FLOW_SAVED2 };

static CouplingLayer *check(lua_State *L) { return luaL_checkudata(L, 1, COUPLING_TYPE); }

static void new_store(lua_State *L) {
  Store *s = lua_newuserdatauv(L, sizeof *s, 1);
  memset(s, 0, sizeof *s);
  luaL_setmetatable(L, STORE_TYPE);
}

/* Push the tensor of the layer's store, of at least `count` reals. */
static real *push_room(lua_State *L, CouplingLayer *k, size_t count) {
  lua_getiuservalue(L, 1, COUPLING_STORE);
  Store *s = k->store;
  if (s->room < count) {
    s->owner = NULL;
    s->room = 0;
    Tensor *t = tensor_new(L, 1, &count);
    s->data = t->data;
    s->room = count;
    lua_setiuservalue(L, -2, 1);
  }
  lua_getiuservalue(L, -1, 1);
  lua_remove(L, -2);
  return s->data;
}

/* hx at index arg, N×cond×H×W, or NULL for an unconditional layer. */
static Tensor *check_hx(lua_State *L, int arg, const Coupling *c, size_t n, size_t h,
                        size_t w, size_t *repeat) {
  *repeat = 1;
  if (c->cond == 0) {
    flow_check_no_condition(L, arg);
    return NULL;
  }
  size_t dim[4] = {0, c->cond, h, w};
  return flow_check_condition(L, arg, n, 4, dim, repeat);
}

/* pre at index arg, width×N×H×W. */
static Tensor *check_pre(lua_State *L, int arg, const Coupling *c, size_t n, size_t h,
                         size_t w, size_t *repeat) {
  size_t dim[4] = {c->width, 0, h, w};
  return features_check(L, arg, n, dim, repeat);
}

/* The condition at index 3: hx or pre. */
static Tensor *check_cond(lua_State *L, const Coupling *c, const Tensor *y,
                          size_t *repeat) {
  size_t n = y->dim[0], h = y->dim[2], w = y->dim[3];
  return c->features ? check_pre(L, 3, c, n, h, w, repeat)
                     : check_hx(L, 3, c, n, h, w, repeat);
}

static CouplingPlan plan_for(const Tensor *y) {
  return coupling_plan(y->dim[0], y->dim[2], y->dim[3]);
}

/* Push and return v for y's batch, kept in user value uv. */
static Tensor *push_v(lua_State *L, int uv, const Coupling *c, const Tensor *y) {
  size_t dim[4] = {y->dim[0], 2 * coupling_change(c), y->dim[2], y->dim[3]};
  return reuse_tensor(L, 1, uv, 4, dim);
}

/* Run the network on the first channels of y, given the condition's numbers (hx, or pre
 * with features; data NULL: none).  With fewer conditions than samples, hx's part of the
 * first convolution is computed once for each condition, not once for each sample. */
static void run_network(lua_State *L, const Coupling *c, const CouplingPlan *p,
                        const Tensor *y, const Act *hx, const Act *pre, size_t repeat,
                        real *hidden, real *v) {
  int threads = parallel_threads();
  Act all = flow_act(y);
  CouplingInput in = {act_channels(&all, 0, coupling_keep1(c)), *hx, *pre, repeat};
  size_t forward = coupling_forward_scratch(c, p, threads), own_pre = 0;
  bool precompute = hx->data != NULL && repeat > 1;
  if (precompute) own_pre = round_up(hx->n * c->width * p->h * p->w);
  real *scratch = tensor_workspace(
      L,
      forward + own_pre + (precompute ? coupling_precompute_scratch(c, p, threads) : 0));
  if (precompute) {
    in.pre = act_nchw(scratch + forward, hx->n, c->width, p->h, p->w);
    coupling_precompute(c, hx, in.pre.data, scratch + forward + own_pre, threads);
    in.hx.data = NULL;
  }
  coupling_network(c, p, &in, hidden, v, scratch, threads);
}

/* The same from the layer's condition, which may be NULL. */
static void run_on(lua_State *L, const Coupling *c, const CouplingPlan *p,
                   const Tensor *y, const Tensor *cond, size_t repeat, real *hidden,
                   real *v) {
  Act hx = {0}, pre = {0};
  if (cond != NULL && c->features)
    pre = features_act(cond);
  else if (cond != NULL)
    hx = flow_act(cond);
  run_network(L, c, p, y, &hx, &pre, repeat, hidden, v);
}

static int forward(lua_State *L) {
  CouplingLayer *k = check(L);
  const Coupling *c = &k->c;
  Tensor *y = flow_check_input(L, 2, c->channels);
  bool keep = flow_keep(L, 4);
  lua_settop(L, 3);
  size_t repeat;
  Tensor *cond = check_cond(L, c, y, &repeat);
  if (repeat > 1) keep = false;
  CouplingPlan p = plan_for(y);
  flow_keep_value(L, FLOW_Y, 0);
  real *hidden = keep ? push_room(L, k, coupling_hidden_count(c, &p)) : NULL;
  Tensor *v = push_v(L, COUPLING_V, c, y);
  int v_at = lua_gettop(L);
  Tensor *z = reuse_tensor(L, 1, FLOW_Z, 4, y->dim);
  if (k->store->owner == k || keep) k->store->owner = NULL;
  run_on(L, c, &p, y, cond, repeat, hidden, v->data);
  if (keep) k->store->owner = k;

  Act ya = flow_act(y), za = flow_act(z);
  Act y2 = act_channels(&ya, coupling_keep1(c), coupling_change(c));
  Act z2 = act_channels(&za, coupling_keep1(c), coupling_change(c));
  size_t one = coupling_keep1(c) * p.h * p.w, all = c->channels * p.h * p.w;
  for (size_t n = 0; n < p.n; n++)
    memcpy(z->data + n * all, y->data + n * all, one * sizeof(real));
  double *sums = (double *)tensor_workspace(L, flow_doubles(p.n * p.h + p.n));
  coupling_transform(c, &p, v->data, &y2, &z2, sums + p.n, sums, parallel_threads());
  flow_keep_value(L, FLOW_Y, keep ? 2 : 0);
  flow_keep_value(L, FLOW_COND, keep && cond ? 3 : 0);
  flow_keep_value(L, COUPLING_V, v_at);
  flow_push_logdet(L, sums, p.n);
  return 2;
}

static int finish_inverse(lua_State *L, const Coupling *c, const CouplingPlan *p,
                          const Tensor *z, const real *v) {
  Tensor *y = reuse_tensor(L, 1, FLOW_INVERSE, 4, z->dim);
  Act za = flow_act(z), ya = flow_act(y);
  Act z2 = act_channels(&za, coupling_keep1(c), coupling_change(c));
  Act y2 = act_channels(&ya, coupling_keep1(c), coupling_change(c));
  size_t one = coupling_keep1(c) * p->h * p->w, all = c->channels * p->h * p->w;
  for (size_t n = 0; n < p->n; n++)
    memcpy(y->data + n * all, z->data + n * all, one * sizeof(real));
  coupling_invert(c, p, v, &z2, &y2, parallel_threads());
  return 1;
}

static int inverse(lua_State *L) {
  CouplingLayer *k = check(L);
  Tensor *z = flow_check_input(L, 2, k->c.channels);
  lua_settop(L, 3);
  size_t repeat;
  Tensor *cond = check_cond(L, &k->c, z, &repeat);
  CouplingPlan p = plan_for(z);
  Tensor *v = push_v(L, FLOW_PASSING, &k->c, z);
  run_on(L, &k->c, &p, z, cond, repeat, NULL, v->data);
  return finish_inverse(L, &k->c, &p, z, v->data);
}

/*** The part of the first convolution that depends on the condition alone, for
many samples to come.
@function Coupling:prepare
@tparam Tensor hx N×cond×H×W; with features, what is added to the first convolution
@treturn Tensor N×width×H×W for `inverse_prepared` (without condition: nil; with
features: a copy of the argument) */
static int prepare(lua_State *L) {
  CouplingLayer *k = check(L);
  const Coupling *c = &k->c;
  lua_settop(L, 2);
  if (c->features) return features_copy(L, 2, c->width);
  if (c->cond == 0) return lua_pushnil(L), 1;
  Tensor *hx = flow_check_input(L, 2, c->cond);
  size_t dim[4] = {hx->dim[0], c->width, hx->dim[2], hx->dim[3]};
  Tensor *pre = tensor_new(L, 4, dim);
  int threads = parallel_threads();
  CouplingPlan p = coupling_plan(1, dim[2], dim[3]);
  real *scratch = tensor_workspace(L, coupling_precompute_scratch(c, &p, threads));
  Act x = flow_act(hx);
  coupling_precompute(c, &x, pre->data, scratch, threads);
  return 1;
}

/*** The inverse, from what `prepare` made.
@function Coupling:inverse_prepared
@tparam Tensor z N×C×H×W
@tparam ?Tensor pre for N samples, or for fewer that divide N
@treturn Tensor y */
static int inverse_prepared(lua_State *L) {
  CouplingLayer *k = check(L);
  const Coupling *c = &k->c;
  Tensor *z = flow_check_input(L, 2, c->channels);
  lua_settop(L, 3);
  if (c->cond == 0 || c->features) return inverse(L);
  size_t repeat, dim[4] = {0, c->width, z->dim[2], z->dim[3]};
  Tensor *pre = flow_check_condition(L, 3, z->dim[0], 4, dim, &repeat);
  CouplingPlan p = plan_for(z);
  Tensor *v = push_v(L, FLOW_PASSING, c, z);
  Act none = {0}, ready = act_nchw(pre->data, pre->dim[0], c->width, p.h, p.w);
  run_network(L, c, &p, z, &none, &ready, repeat, NULL, v->data);
  return finish_inverse(L, c, &p, z, v->data);
}

/* Push where the gradient of the condition kept in user value FLOW_COND goes: the tensor
 * at index 4, if there is one, or one of the layer's own. */
static Tensor *push_dcond(lua_State *L, const Tensor *cond) {
  if (lua_isnil(L, 4)) return reuse_tensor(L, 1, FLOW_DCOND, 4, cond->dim);
  Tensor *t = tensor_check_shape(L, 4, 4, cond->dim);
  lua_pushvalue(L, 4);
  return t;
}

static int backward(lua_State *L) {
  CouplingLayer *k = check(L);
  const Coupling *c = &k->c;
  lua_settop(L, 4);
  Tensor *y = flow_kept(L, FLOW_Y), *v = flow_kept(L, COUPLING_V);
  Tensor *cond = c->cond > 0 || c->features ? flow_kept(L, FLOW_COND) : NULL;
  Tensor *dz = tensor_check_shape(L, 2, 4, y->dim);
  CouplingPlan p = plan_for(y);
  int threads = parallel_threads();
  real *hidden = push_room(L, k, coupling_hidden_count(c, &p));
  if (k->store->owner != k) {
    run_on(L, c, &p, y, cond, 1, hidden, v->data);
    k->store->owner = k;
  }
  flow_prepare_params(L);
  Tensor *dy = reuse_tensor(L, 1, FLOW_DY, 4, y->dim);
  Act dhx = {0}, hx = {0}, dpre = {0};
  if (cond == NULL) {
    lua_pushnil(L);
  } else if (c->features) {
    dpre = features_act(push_dcond(L, cond));
  } else {
    dhx = flow_act(push_dcond(L, cond));
    hx = flow_act(cond);
  }
  size_t weights = round_up(p.n);
  real *scratch =
      tensor_workspace(L, weights + coupling_backward_scratch(c, &p, threads));
  flow_check_weights(L, 3, p.n, scratch);
  Act ya = flow_act(y), dza = flow_act(dz), dya = flow_act(dy);
  coupling_backward(c, &p, &ya, &hx, hidden, v->data, &dza, scratch, &dya, &dhx, &dpre,
                    scratch + weights, threads);
  return 2;
}

/*** Let this layer keep its hidden activations where another keeps its own, to
save memory: backward then runs the network again where they were overwritten.
@function Coupling:share_store
@param other another coupling layer */
static int share_store(lua_State *L) {
  CouplingLayer *k = check(L);
  CouplingLayer *other = luaL_checkudata(L, 2, COUPLING_TYPE);
  lua_getiuservalue(L, 2, COUPLING_STORE);
  lua_setiuservalue(L, 1, COUPLING_STORE);
  k->store = other->store;
  return 0;
}

/*** End what `share_store` began: keep hidden activations for oneself again.
@function Coupling:own_store */
static int own_store(lua_State *L) {
  CouplingLayer *k = check(L);
  new_store(L);
  k->store = lua_touserdata(L, -1);
  lua_setiuservalue(L, 1, COUPLING_STORE);
  return 0;
}

static void add_params(lua_State *L, Coupling *c) {
  size_t w = c->width, out = 2 * coupling_change(c), in = c->cond + coupling_keep1(c);
  c->conv1 = flow_add_param(L, "net.conv1.weight", 4, (size_t[]){w, in, 3, 3});
  c->bias1 = flow_add_param(L, "net.norm1.bias", 1, &w);
  c->logs1 = flow_add_param(L, "net.norm1.logs", 1, &w);
  c->conv2 = flow_add_param(L, "net.conv2.weight", 4, (size_t[]){w, w, 1, 1});
  c->bias2 = flow_add_param(L, "net.norm2.bias", 1, &w);
  c->logs2 = flow_add_param(L, "net.norm2.logs", 1, &w);
  c->conv3 = flow_add_param(L, "net.conv3.weight", 4, (size_t[]){out, w, 3, 3});
  c->bias3 = flow_add_param(L, "net.conv3.bias", 1, &out);
  c->logs3 = flow_add_param(L, "net.conv3.logs", 1, &out);
}

/*** Affine coupling, z2 = (y2 + t)·σ (Lu & Huang 2020, section 3.2; Glow section 3.3).
With features of x its condition is width×N×H×W, what a 1×1 convolution of the features
adds to the output of the first convolution, and `backward` takes a third argument, the
tensor that the condition's gradient is written to.
@function coupling
@int channels C of y, at least 2
@int cond channels of the condition hx; 0: unconditional, or with features
@int width channels of the two hidden layers
@number[opt=0] bound α: shift t without bound, log σ = α·tanh(r/α); 0: t through tanh
and σ = sigmoid(r + 2) with r through tanh, as published
@bool[opt=false] features the condition is added to the first convolution
@return a flow layer on N×C×H×W with condition N×cond×H×W */
static int new_coupling(lua_State *L) {
  size_t channels = flow_check_size(L, 1, "channels", 2, FLOW_SIZE_MAX);
  size_t cond = flow_check_size(L, 2, "cond", 0, FLOW_SIZE_MAX);
  size_t width = flow_check_size(L, 3, "width", 1, FLOW_SIZE_MAX);
  real bound = features_check_bound(L, 4);
  bool features = lua_toboolean(L, 5);
  if (features && cond > 0)
    luaL_argerror(L, 2,
                  lua_pushfstring(L, "0 expected with features, got %d", (int)cond));
  lua_settop(L, 3);
  CouplingLayer *k = flow_new(L, COUPLING_TYPE, sizeof *k);
  k->c.channels = channels;
  k->c.cond = cond;
  k->c.width = width;
  k->c.bound = bound;
  k->c.features = features;
  new_store(L);
  k->store = lua_touserdata(L, -1);
  lua_setiuservalue(L, -2, COUPLING_STORE);
  add_params(L, &k->c);
  return 1;
}

static int to_string(lua_State *L) {
  const Coupling *c = &check(L)->c;
  lua_pushfstring(L, COUPLING_TYPE " of %d channels, width %d, ", (int)c->channels,
                  (int)c->width);
  if (c->features)
    lua_pushliteral(L, "with features");
  else if (c->cond > 0)
    lua_pushfstring(L, "conditional on %d channels", (int)c->cond);
  else
    lua_pushliteral(L, "unconditional");
  lua_concat(L, 2);
  return 1;
}

static const luaL_Reg methods[] = {{"forward", forward},
                                   {"inverse", inverse},
                                   {"prepare", prepare},
                                   {"inverse_prepared", inverse_prepared},
                                   {"backward", backward},
                                   {"share_store", share_store},
                                   {"own_store", own_store},
                                   {"__tostring", to_string},
                                   {NULL, NULL}};
static const luaL_Reg functions[] = {{"coupling", new_coupling}, {NULL, NULL}};

void open_coupling(lua_State *L) {
  luaL_newmetatable(L, STORE_TYPE);
  lua_pop(L, 1);
  flow_type(L, COUPLING_TYPE, methods);
  luaL_setfuncs(L, functions, 0);
}
