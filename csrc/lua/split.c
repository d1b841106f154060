/* Binding of flow/split.c: the classes "cglow.Split" and "cglow.Prior". */
#include "flow/split.h"

#include <string.h>

#include "lua/features.h"
#include "lua/guard.h"
#include "lua/open.h"

/*** @submodule cglow.flow */

#define SPLIT_TYPE "cglow.Split"
#define PRIOR_TYPE "cglow.Prior"

/* ---- split ---- */

enum {
  SPLIT_Z1 = FLOW_Z,
  SPLIT_Z2 = FLOW_COND,
  SPLIT_MS = FLOW_SAVED,
  SPLIT_SAMPLE_MS = FLOW_PASSING
};

static Split *check_split(lua_State *L) { return luaL_checkudata(L, 1, SPLIT_TYPE); }

/* Push room for m and s by turns, [n, 2·leave, h, w], kept in user value uv. */
static Tensor *push_moments(lua_State *L, int uv, const Split *s, const Tensor *like) {
  size_t dim[4] = {like->dim[0], split_moments_channels(s), like->dim[2], like->dim[3]};
  return reuse_tensor(L, 1, uv, 4, dim);
}

/* What features add for a layer with a bound, at index arg; of another layer nothing. */
static Added check_added(lua_State *L, int arg, real bound, size_t rows,
                         const Tensor *z) {
  size_t dim[4] = {rows, 0, z->dim[2], z->dim[3]};
  Added added = {{0}, 1};
  if (bound > 0)
    added.a = features_act(features_check(L, arg, z->dim[0], dim, &added.repeat));
  else
    flow_check_no_condition(L, arg);
  return added;
}

/*** Split the channels and score the second half.
@function Split:forward
@tparam Tensor y N×C×H×W
@tparam ?Tensor added what features of x add, 2·⌈C/2⌉×N×H×W
@treturn Tensor z1, goes on
@treturn Tensor z2, sent off
@treturn {number,...} log N(z2; m(z1), exp(s(z1))²) of each sample, nats */
static int split_forward(lua_State *L) {
  Split *s = check_split(L);
  Tensor *y = flow_check_input(L, 2, s->channels);
  lua_settop(L, 3);
  lua_Integer runs = guard_runs(L);
  Added added = check_added(L, 3, s->bound, split_moments_channels(s), y);
  s->ran = false;
  size_t n = y->dim[0], dim[4] = {n, s->stay, y->dim[2], y->dim[3]};
  int threads = parallel_threads();
  Act ms = flow_act(push_moments(L, SPLIT_MS, s, y)), ya = flow_act(y);
  Act z1 = flow_act(reuse_tensor(L, 1, SPLIT_Z1, 4, dim));
  dim[1] = s->leave;
  Act z2 = flow_act(reuse_tensor(L, 1, SPLIT_Z2, 4, dim));
  size_t doubles = flow_doubles(n);
  flow_ready_logdet(L, n);
  real *work = tensor_workspace(L, doubles + split_scratch(&z1, &ms, threads));
  double *logp = (double *)(void *)work;
  s->ran = false;
  guard_enter(L, runs, "forward");
  split_cut(&ya, &z1, &z2);
  split_moments(s, &z1, &added, &ms, work + doubles, threads);
  split_log_prob(&z2, &ms, logp);
  s->ran = true;
  flow_push_logdet(L, logp, n);
  guard_check(L, runs + 1, "forward");
  return 3;
}

static Tensor *check_half(lua_State *L, int arg, size_t channels, const Tensor *like) {
  size_t dim[4] = {like ? like->dim[0] : 0, channels, like ? like->dim[2] : 0,
                   like ? like->dim[3] : 0};
  return tensor_check_shape(L, arg, 4, dim);
}

static Act push_joined(lua_State *L, const Split *s, const Tensor *z1) {
  size_t dim[4] = {z1->dim[0], s->channels, z1->dim[2], z1->dim[3]};
  return flow_act(reuse_tensor(L, 1, FLOW_INVERSE, 4, dim));
}

/*** Put the halves together again.
@function Split:inverse
@tparam Tensor z1
@tparam Tensor z2
@treturn Tensor y */
static int split_inverse(lua_State *L) {
  Split *s = check_split(L);
  Tensor *z1 = check_half(L, 2, s->stay, NULL), *z2 = check_half(L, 3, s->leave, z1);
  lua_settop(L, 3);
  Act y = push_joined(L, s, z1), first = flow_act(z1), second = flow_act(z2);
  guard_count(L);
  split_join(&first, &second, &y);
  return 1;
}

/*** Draw the second half, z2 = m + exp(s)·temperature·eps, and join.
@function Split:sample
@tparam Tensor z1
@tparam Tensor eps standard normal numbers, of z2's shape
@number temperature
@tparam ?Tensor added as for `forward`, for N samples or for fewer that divide N
@treturn Tensor y */
static int split_sample(lua_State *L) {
  Split *s = check_split(L);
  Tensor *z1 = check_half(L, 2, s->stay, NULL), *eps = check_half(L, 3, s->leave, z1);
  real temperature = (real)luaL_checknumber(L, 4);
  lua_settop(L, 5);
  Added added = check_added(L, 5, s->bound, split_moments_channels(s), z1);
  int threads = parallel_threads();
  Act ms = flow_act(push_moments(L, SPLIT_SAMPLE_MS, s, z1)), y = push_joined(L, s, z1);
  Act first = flow_act(z1), noise = flow_act(eps);
  real *scratch = tensor_workspace(L, split_scratch(&first, &ms, threads));
  guard_count(L);
  split_moments(s, &first, &added, &ms, scratch, threads);
  split_draw(&first, &ms, &noise, temperature, &y);
  return 1;
}

/*** Gradient of g·log-density of the last `forward`.
@function Split:backward
@tparam Tensor dz1
@param g number, or list of N numbers
@tparam ?Tensor dadded where the gradient of what features add is written
@treturn Tensor dy, N×C×H×W */
static int backward_split(lua_State *L) {
  Split *s = check_split(L);
  lua_settop(L, 4);
  lua_Integer runs = guard_runs(L);
  if (!s->ran) return luaL_error(L, "backward: call forward first");
  Tensor *z1 = flow_kept(L, SPLIT_Z1), *z2 = flow_kept(L, SPLIT_Z2);
  Tensor *ms = flow_kept(L, SPLIT_MS);
  Tensor *dz1 = tensor_check_shape(L, 2, 4, z1->dim);
  Added dadded = check_added(L, 4, s->bound, split_moments_channels(s), z1);
  if (dadded.repeat > 1)
    return luaL_error(L, "backward: dadded of every sample expected");
  size_t n = z1->dim[0], dim[4] = {n, s->channels, z1->dim[2], z1->dim[3]};
  Act dy = flow_act(reuse_tensor(L, 1, FLOW_DY, 4, dim));
  flow_prepare_params(L);
  Act first = flow_act(z1), second = flow_act(z2), msa = flow_act(ms), d1 = flow_act(dz1);
  int threads = parallel_threads();
  real *work =
      tensor_workspace(L, round_up(n) + split_backward_scratch(&first, &msa, threads));
  flow_check_weights(L, 3, n, work);
  guard_enter(L, runs, "backward");
  split_backward(s, &first, &second, &msa, &d1, work, &dy, &dadded.a, work + round_up(n),
                 threads);
  return 1;
}

/*** Split (Lu & Huang 2020, section 3.2): half of the channels leave, scored by a
Gaussian whose moments a convolution reads off the other half.
@function split
@int channels C, at least 2
@number[opt=0] bound β: features of x add to the convolution, the mean is free and the
log-scale β·tanh(·/β); 0: no features, and both through tanh
@return an object with forward, inverse, sample, backward, parameters */
static int new_split(lua_State *L) {
  size_t c = flow_check_size(L, 1, "channels", 2, FLOW_SIZE_MAX);
  real bound = features_check_bound(L, 2);
  Split *s = flow_new(L, SPLIT_TYPE, sizeof *s);
  s->bound = bound;
  s->channels = c;
  s->stay = c / 2;
  s->leave = c - c / 2;
  size_t out = split_moments_channels(s);
  s->weight = flow_add_param(L, "conv.weight", 4, (size_t[]){out, s->stay, 3, 3});
  s->bias = flow_add_param(L, "conv.bias", 1, &out);
  return 1;
}

/* ---- prior ---- */

enum { PRIOR_MS = FLOW_SAVED, PRIOR_SAMPLE_MS = FLOW_PASSING };

static Prior *check_prior(lua_State *L) { return luaL_checkudata(L, 1, PRIOR_TYPE); }

static Tensor *check_latent(lua_State *L, int arg, const Prior *p) {
  size_t dim[4] = {0, p->dim[0], p->dim[1], p->dim[2]};
  return tensor_check_shape(L, arg, 4, dim);
}

/* Push room for the moments that a prior with features has for latents like z. */
static Act push_prior_moments(lua_State *L, int uv, const Prior *p, const Tensor *z) {
  size_t dim[4] = {z->dim[0], 2 * z->dim[1], z->dim[2], z->dim[3]};
  if (p->bound > 0) return flow_act(reuse_tensor(L, 1, uv, 4, dim));
  return (Act){0};
}

/*** Score the last latent.
@function Prior:log_prob
@tparam Tensor z N×C×H×W
@tparam ?Tensor added what features of x add, 2C×N×H×W
@treturn {number,...} log density of each sample, nats */
static int score_latent(lua_State *L) {
  Prior *p = check_prior(L);
  Tensor *z = check_latent(L, 2, p);
  lua_settop(L, 3);
  lua_Integer runs = guard_runs(L);
  Added added = check_added(L, 3, p->bound, 2 * p->dim[0], z);
  p->ran = false;
  Act za = flow_act(z), ms = push_prior_moments(L, PRIOR_MS, p, z);
  flow_ready_logdet(L, za.n);
  double *logp = (double *)(void *)tensor_workspace(L, flow_doubles(za.n));
  p->ran = false;
  guard_enter(L, runs, "log_prob");
  if (p->bound > 0) {
    prior_moments(p, &added, &ms);
    split_log_prob(&za, &ms, logp);
  } else {
    prior_log_prob(p, &za, logp);
  }
  p->ran = true;
  flow_keep_value(L, FLOW_Y, 2);
  flow_push_logdet(L, logp, za.n);
  guard_check(L, runs + 1, "log_prob");
  return 1;
}

/*** Gradient of g·log-density of the last `log_prob`.
@function Prior:backward
@param g number, or list of N numbers
@tparam ?Tensor dadded where the gradient of what features add is written
@treturn Tensor dz */
static int score_backward(lua_State *L) {
  Prior *p = check_prior(L);
  lua_settop(L, 3);
  lua_Integer runs = guard_runs(L);
  if (!p->ran) return luaL_error(L, "backward: call log_prob first");
  Tensor *z = flow_kept(L, FLOW_Y);
  Added dadded = check_added(L, 3, p->bound, 2 * p->dim[0], z);
  if (dadded.repeat > 1)
    return luaL_error(L, "backward: dadded of every sample expected");
  Act za = flow_act(z), ms = {0};
  if (p->bound > 0) ms = flow_act(flow_kept(L, PRIOR_MS));
  Act dz = flow_act(reuse_tensor(L, 1, FLOW_DY, 4, z->dim));
  if (p->mean || p->bias) flow_prepare_params(L);
  real *work = tensor_workspace(L, round_up(za.n) + 2 * z->count);
  flow_check_weights(L, 2, za.n, work);
  guard_enter(L, runs, "backward");
  if (p->bound > 0)
    prior_moments_backward(p, &za, &ms, work, &dz, &dadded.a, work + round_up(za.n));
  else
    prior_backward(p, &za, work, &dz, work + round_up(za.n));
  return 1;
}

/*** Draw z = mean + exp(logs)·temperature·eps.
@function Prior:sample
@tparam Tensor eps N×C×H×W standard normal numbers
@number temperature
@tparam ?Tensor added as for `log_prob`, for N samples or for fewer that divide N
@treturn Tensor z */
static int draw_latent(lua_State *L) {
  Prior *p = check_prior(L);
  Tensor *eps = check_latent(L, 2, p);
  real temperature = (real)luaL_checknumber(L, 3);
  lua_settop(L, 4);
  Added added = check_added(L, 4, p->bound, 2 * p->dim[0], eps);
  Act noise = flow_act(eps), ms = push_prior_moments(L, PRIOR_SAMPLE_MS, p, eps);
  Act z = flow_act(reuse_tensor(L, 1, FLOW_INVERSE, 4, eps->dim));
  guard_count(L);
  if (p->bound > 0) {
    prior_moments(p, &added, &ms);
    moments_draw(&ms, &noise, temperature, &z);
  } else {
    prior_draw(p, &noise, temperature, &z);
  }
  return 1;
}

/*** The prior on the last latent.
@function prior
@int channels C
@int height H; 0: any, and so for the width
@int width W
@bool learned false: N(0, 1); true: parameters `mean` and `logs`, C×H×W
@number[opt=0] bound β: features of x give mean and log-scale, with a parameter `bias`
for both, 2C, and the log-scale β·tanh(·/β)
@return an object with log_prob, sample, backward, parameters */
static int new_prior(lua_State *L) {
  static const char *const names[] = {"channels", "height", "width"};
  size_t dim[3];
  bool learned = lua_toboolean(L, 4);
  real bound = features_check_bound(L, 5);
  if (learned && bound > 0)
    luaL_argerror(L, 5,
                  lua_pushfstring(L, "no bound expected with a learned prior, got %f",
                                  (double)bound));
  for (int i = 0; i < 3; i++)
    dim[i] =
        flow_check_size(L, i + 1, names[i], i == 0 || learned ? 1 : 0, FLOW_SIZE_MAX);
  Prior *p = flow_new(L, PRIOR_TYPE, sizeof *p);
  memcpy(p->dim, dim, sizeof dim);
  p->bound = bound;
  if (bound > 0) p->bias = flow_add_param(L, "bias", 1, (size_t[]){2 * dim[0]});
  if (learned) {
    p->mean = flow_add_param(L, "mean", 3, dim);
    p->logs = flow_add_param(L, "logs", 3, dim);
  }
  return 1;
}

static int split_tostring(lua_State *L) {
  const Split *s = check_split(L);
  lua_pushfstring(L, SPLIT_TYPE " of %d channels: %d go on, %d leave", (int)s->channels,
                  (int)s->stay, (int)s->leave);
  return 1;
}

static int prior_tostring(lua_State *L) {
  const Prior *p = check_prior(L);
  const char *what = p->mean   ? "learned Gaussian"
                     : p->bias ? "Gaussian of features"
                               : "N(0, 1)";
  lua_pushfstring(L, PRIOR_TYPE " %s on %s", what,
                  tensor_push_shape(L, p->dim[1] > 0 && p->dim[2] > 0 ? 3 : 1, p->dim));
  return 1;
}

static const luaL_Reg split_methods[] = {
    {"forward", split_forward},     {"inverse", split_inverse},
    {"sample", split_sample},       {"backward", backward_split},
    {"__tostring", split_tostring}, {NULL, NULL}};
static const luaL_Reg prior_methods[] = {{"log_prob", score_latent},
                                         {"sample", draw_latent},
                                         {"backward", score_backward},
                                         {"__tostring", prior_tostring},
                                         {NULL, NULL}};
static const luaL_Reg functions[] = {
    {"split", new_split}, {"prior", new_prior}, {NULL, NULL}};

void open_split(lua_State *L) {
  flow_class(L, SPLIT_TYPE, split_methods);
  flow_class(L, PRIOR_TYPE, prior_methods);
  luaL_setfuncs(L, functions, 0);
}
