/* The kinds of flow layers: how each is made, and what it has beside the common
 * methods. */
#include "base/size.h"
#include "flow/actnorm.h"
#include "flow/coupling/layer.h"
#include "flow/injector.h"
#include "flow/invconv.h"
#include "flow/split.h"
#include "flow/squeeze.h"
#include "lua/features.h"
#include "lua/flow_methods.h"
#include "lua/flow_run.h"
#include "lua/guard.h"
#include "lua/open.h"
#include "lua/precision.h"
#include "lua/rng.h"

/*** @submodule cglow.flow */

/* ---- squeeze ---- */

/*** Space to channels: N×C×H×W to N×4C×H/2×W/2 (RealNVP, section 3.6).
@function squeeze
@return a flow layer without parameters, log-det 0 */
static int new_squeeze(lua_State *L) {
  flow_layer_new(L, &flow_squeeze, sizeof(Flow), 0);
  return 1;
}

/* ---- actnorm ---- */

/*** Activation normalisation, z = (y + b)·exp(s) per channel (Lu & Huang 2020, section
3.2; Glow, section 3.1).
@function actnorm
@int channels C
@bool conditional true: the condition is N×2C and (s, b) = tanh of its halves;
false: s and b are the parameters `logs` and `bias`
@return a flow layer on N×C×H×W */
static int new_actnorm(lua_State *L) {
  size_t c = flow_check_size(L, 1, "channels", 1, FLOW_SIZE_MAX);
  bool conditional = lua_toboolean(L, 2);
  ActNorm *a = flow_layer_new(L, &flow_actnorm, sizeof *a, c);
  a->conditional = conditional;
  if (conditional) return 1;
  a->bias = flow_add_param(L, "bias", 1, &c);
  a->logs = flow_add_param(L, "logs", 1, &c);
  return 1;
}

/*** Set the parameters of an unconditional layer so that each channel of a batch comes
out with mean 0 and variance 1 (Glow, section 3.1).
@function ActNorm:start
@tparam Tensor y N×C×H×W */
static int start(lua_State *L) {
  const ActNorm *a = (const ActNorm *)flow_layer_check(L, &flow_actnorm);
  Act y = flow_act(flow_check_input(L, 2, a->flow.channels));
  if (a->conditional)
    return luaL_error(L, "start: the layer is conditional, it has no parameters");
  actnorm_start(a, &y);
  return 0;
}

static const luaL_Reg actnorm_methods[] = {{"start", start}, {NULL, NULL}};

/* ---- 1×1 convolution ---- */

/*** Invertible 1×1 convolution, z = W y at every pixel (Lu & Huang 2020, section 3.2;
Glow, section 3.2).
@function invconv
@int channels C
@bool conditional true: the condition is N×C·C and W = tanh of it, row-major;
false: W is the parameter `weight`, C×C
@return a flow layer on N×C×H×W */
static int new_invconv(lua_State *L) {
  size_t c = flow_check_size(L, 1, "channels", 1, 4096);
  bool conditional = lua_toboolean(L, 2);
  InvConv *v = flow_layer_new(
      L, &flow_invconv, sizeof *v + (conditional ? 0 : 2 * c * c * sizeof(real)), c);
  v->conditional = conditional;
  if (conditional) return 1;
  v->factors.w = (real *)(void *)(v + 1);
  v->factors.inverse = v->factors.w + c * c;
  v->weight = flow_add_param(L, "weight", 2, (size_t[]){c, c});
  for (size_t i = 0; i < c; i++) v->weight->value[i * (c + 1)] = 1;
  return 1;
}

/*** How close each W of a condition is to singular.
@function InvConv:diagnose
@tparam[opt] Tensor cond N×C·C
@treturn {number,...} log|det W| of each
@treturn {number,...} reciprocal condition number (1-norm) of each, 0 when
singular */
static int diagnose(lua_State *L) {
  Flow *f = flow_layer_check(L, &flow_invconv);
  FlowRun r = flow_layer_look(L, f, 2);
  invconv_diagnose((const InvConv *)f, &r);
  for (size_t k = 0; k < 2; k++)
    for (size_t i = 0; i < r.rows; i++) {
      lua_pushnumber(L, r.logdet[k * r.rows + i]);
      lua_rawseti(L, (int)k - 3, (lua_Integer)i + 1);
    }
  return 2;
}

/* The unconditional 1×1 convolution at the top of the stack, the i-th of a list. */
static InvConv *check_weight(lua_State *L, int i) {
  FlowObject *o = luaL_testudata(L, -1, "cglow.InvConv");
  if (o != NULL && !((InvConv *)(void *)o->flow)->conditional)
    return (InvConv *)(void *)o->flow;
  luaL_argerror(
      L, 1,
      lua_pushfstring(L, "unconditional 1x1 convolutions expected, got %s as [%d]",
                      luaL_tolstring(L, -1, NULL), i));
  return NULL;
}

static bool among(InvConv *const *list, size_t count, const InvConv *v) {
  for (size_t i = 0; i < count; i++)
    if (list[i] == v) return true;
  return false;
}

/*** Factorise the weights of unconditional 1×1 convolutions side by side, before their
forward passes, each of which would wait for its own. They keep log|det W| and the inverse
for as long as the weight has the same bits.
@function factorise
@tparam {InvConv,...} layers */
static int factorise(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  int listed = (int)lua_rawlen(L, 1), threads = parallel_threads();
  size_t most = 0, count = 0;
  luaL_checkstack(L, listed + LUA_MINSTACK, "too many layers");
  for (int i = 1; i <= listed; i++) {
    lua_rawgeti(L, 1, i);
    most = max_size(most, check_weight(L, i)->flow.channels);
  }
  size_t room = round_up((size_t)listed * sizeof(InvConv *) / sizeof(real));
  real *work = tensor_workspace(L, room + invconv_factorise_scratch(most, threads));
  InvConv **layers = (InvConv **)(void *)work;
  for (int i = 1; i <= listed; i++, lua_pop(L, 1)) {
    lua_pushvalue(L, i + 1);
    InvConv *v = check_weight(L, i);
    if (!among(layers, count, v)) layers[count++] = v;
  }
  guard_count(L);
  invconv_factorise(layers, count, work + room, threads);
  return 0;
}

static const luaL_Reg invconv_methods[] = {{"diagnose", diagnose}, {NULL, NULL}};

/* ---- injector ---- */

/*** Affine injector, z = (y + t)·exp(s) with t and s from features of x at each pixel
(SRFlow: Lugmayr et al. 2020, section 3.2). Its condition is 2C×N×H×W, t and what s is
bounded from by turns.
@function injector
@int channels C
@number bound β: s = β·tanh(·/β)
@return a flow layer on N×C×H×W, without parameters */
static int new_injector(lua_State *L) {
  size_t c = flow_check_size(L, 1, "channels", 1, FLOW_SIZE_MAX / 2);
  luaL_checknumber(L, 2);
  real bound = features_check_bound(L, 2);
  if (bound <= 0)
    luaL_argerror(L, 2,
                  lua_pushfstring(L, "bound above 0 expected, got %f", (double)bound));
  Injector *j = flow_layer_new(L, &flow_injector, sizeof *j, c);
  j->bound = bound;
  return 1;
}

/* ---- coupling ---- */

static void add_params(lua_State *L, Coupling *c) {
  size_t w = c->width, out = out_channels(c), in = in_channels(c);
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

#define START 0.05 /* Glow's */

/* The hidden layers at random and the last one 0: the layer starts as a constant scale,
 * and every parameter gets a gradient after a step. */
static void start_coupling(const Coupling *c, Rng *rng) {
  Param *const hidden[] = {c->conv1, c->bias1, c->logs1, c->conv2,
                           c->bias2, c->logs2, NULL};
  for (Param *const *p = hidden; *p != NULL; p++) {
    rng_normal(rng, (*p)->value, (*p)->count);
    for (size_t k = 0; k < (*p)->count; k++) (*p)->value[k] *= (real)START;
  }
}

/*** Affine coupling, z2 = (y2 + t)·σ (Lu & Huang 2020, section 3.2; Glow, section 3.3).
With features of x its condition is width×N×H×W, what a 1×1 convolution of the features
adds to the output of the first convolution.
@function coupling
@int channels C of y, at least 2
@int cond channels of the condition hx; 0: unconditional, or with features
@int width channels of the two hidden layers
@number[opt=0] bound α: shift t without bound, log σ = α·tanh(r/α); 0: t through tanh
and σ = sigmoid(r + 2) with r through tanh, as published
@bool[opt=false] features the condition is added to the first convolution
@tparam[opt] Rng|boolean rng what starts the hidden layers, N(0, 0.05²): the default
generator when absent; false: all parameters are 0, for a file to fill
@return a flow layer on N×C×H×W with condition N×cond×H×W */
static int new_coupling(lua_State *L) {
  size_t channels = flow_check_size(L, 1, "channels", 2, FLOW_SIZE_MAX);
  size_t cond = flow_check_size(L, 2, "cond", 0, FLOW_SIZE_MAX);
  size_t width = flow_check_size(L, 3, "width", 1, FLOW_SIZE_MAX);
  real bound = features_check_bound(L, 4);
  bool features = lua_toboolean(L, 5),
       blank = lua_isboolean(L, 6) && !lua_toboolean(L, 6);
  Rng *rng = blank ? NULL : rng_check(L, 6);
  if (features && cond > 0)
    luaL_argerror(L, 2,
                  lua_pushfstring(L, "0 expected with features, got %d", (int)cond));
  Coupling *c = flow_layer_new(L, &flow_coupling, sizeof *c, channels);
  c->cond = cond;
  c->width = width;
  c->bound = bound;
  c->features = features;
  c->precision = precision_in_force(L);
  add_params(L, c);
  if (rng != NULL) start_coupling(c, rng);
  return 1;
}

/* ---- split ---- */

/*** Split (Lu & Huang 2020, section 3.2): half of the channels leave, scored by a
Gaussian whose moments a convolution reads off the other half. In place of z, `forward`
gives z1, which goes on, and z2, which leaves; the log-determinant is log N(z2; m(z1),
exp(s(z1))²). With a bound the condition is 2·⌈C/2⌉×N×H×W, what features of x add.
@function split
@int channels C, at least 2
@number[opt=0] bound β: features of x add to the convolution, the mean is free and the
log-scale β·tanh(·/β); 0: no features, and both through tanh
@return a flow layer on N×C×H×W, which also samples */
static int new_split(lua_State *L) {
  size_t c = flow_check_size(L, 1, "channels", 2, FLOW_SIZE_MAX);
  real bound = features_check_bound(L, 2);
  Split *s = flow_layer_new(L, &flow_split, sizeof *s, c);
  s->bound = bound;
  s->stay = c / 2;
  s->leave = c - c / 2;
  size_t out = 2 * s->leave;
  s->weight = flow_add_param(L, "conv.weight", 4, (size_t[]){out, s->stay, 3, 3});
  s->bias = flow_add_param(L, "conv.bias", 1, &out);
  return 1;
}

/* One of the halves of y, of the size of `like` if there is one. */
static Act check_half(lua_State *L, int arg, size_t channels, const Act *like) {
  size_t dim[4] = {0, channels, 0, 0};
  if (like != NULL) dim[0] = like->n, dim[2] = like->h, dim[3] = like->w;
  return flow_act(tensor_check_shape(L, arg, 4, dim));
}

/*** Put the halves together again.
@function Split:inverse
@tparam Tensor z1
@tparam Tensor z2
@treturn Tensor y */
static int join(lua_State *L) {
  const Split *s = (const Split *)flow_layer_check(L, &flow_split);
  Act z1 = check_half(L, 2, s->stay, NULL), z2 = check_half(L, 3, s->leave, &z1), y = z1;
  lua_settop(L, 3);
  y.c = s->flow.channels;
  flow_push_act(L, FLOW_INVERSE, &y);
  guard_count(L);
  split_join(&z1, &z2, &y);
  return 1;
}

/*** Draw the second half, z2 = m + exp(s)·temperature·eps, and join.
@function Split:sample
@tparam Tensor z1
@tparam Tensor eps standard normal numbers, of z2's shape
@number temperature
@tparam ?Tensor added as for `forward`, for N samples or for fewer that divide N
@treturn Tensor y */
static int sample(lua_State *L) {
  const Split *s = (const Split *)flow_layer_check(L, &flow_split);
  FlowRun r = {.z = check_half(L, 2, s->stay, NULL), .rows = 1};
  Act eps = check_half(L, 3, s->leave, &r.z);
  real temperature = (real)luaL_checknumber(L, 4);
  lua_settop(L, 5);
  r.y = r.z;
  r.y.c = s->flow.channels;
  r.repeat = r.y.n;
  r.threads = parallel_threads();
  r.cond = flow_run_condition(L, 5, flow_condition(&s->flow, &r.y), &r);
  flow_push_act(L, FLOW_INVERSE, &r.y);
  size_t count = flow_saved_count(&s->flow, &r);
  r.saved = flow_take_workspace(L, &s->flow, &r, PASS_INVERSE, count);
  guard_count(L);
  split_draw(s, &r, &eps, temperature);
  return 1;
}

static const luaL_Reg split_methods[] = {
    {"inverse", join}, {"sample", sample}, {NULL, NULL}};

/* ---- all of them ---- */

static const struct {
  const FlowOps *ops;
  const luaL_Reg *more;
  const char *name;
  lua_CFunction make;
} kinds[] = {{&flow_squeeze, NULL, "squeeze", new_squeeze},
             {&flow_actnorm, actnorm_methods, "actnorm", new_actnorm},
             {&flow_invconv, invconv_methods, "invconv", new_invconv},
             {&flow_injector, NULL, "injector", new_injector},
             {&flow_coupling, NULL, "coupling", new_coupling},
             {&flow_split, split_methods, "split", new_split}};

void open_flow_layers(lua_State *L) {
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    flow_layer_class(L, kinds[i].ops, kinds[i].more);
    lua_pushcfunction(L, kinds[i].make);
    lua_setfield(L, -2, kinds[i].name);
  }
  lua_pushcfunction(L, factorise);
  lua_setfield(L, -2, "factorise");
}
