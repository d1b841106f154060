/* Binding of the prior, which ends the flow: the class "cglow.Prior". */
#include <string.h>

#include "flow/split.h"
#include "lua/features.h"
#include "lua/flow_run.h"
#include "lua/guard.h"
#include "lua/open.h"

/*** @submodule cglow.flow */

#define PRIOR_TYPE "cglow.Prior"

static Prior *check_prior(lua_State *L) { return luaL_checkudata(L, 1, PRIOR_TYPE); }

/* What features add to the moments of a prior with a bound, at index arg; nothing to
 * those of another. */
static Added check_added(lua_State *L, int arg, const Prior *p, const Tensor *z) {
  size_t dim[4] = {2 * p->dim[0], 0, z->dim[2], z->dim[3]};
  Added added = {{0}, 1};
  if (p->bound > 0)
    added.a = features_act(features_check(L, arg, z->dim[0], dim, &added.repeat));
  else
    flow_check_no_condition(L, arg);
  return added;
}

static Tensor *check_latent(lua_State *L, int arg, const Prior *p) {
  size_t dim[4] = {0, p->dim[0], p->dim[1], p->dim[2]};
  return tensor_check_shape(L, arg, 4, dim);
}

/* The moments of latents like z, with features. */
static Act moments_like(const Tensor *z, real *data) {
  return act_nchw(data, z->dim[0], 2 * z->dim[1], z->dim[2], z->dim[3]);
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
  Added added = check_added(L, 3, p, z);
  p->ran = false;
  Act za = flow_act(z), ms = moments_like(z, NULL);
  if (p->bound > 0) flow_push_act(L, FLOW_SAVED, &ms);
  flow_ready_logdet(L, za.n);
  size_t scores = p->bound > 0 ? za.n * za.c : 0;
  double *logp = (double *)(void *)tensor_workspace(L, flow_doubles(za.n + scores));
  p->ran = false;
  guard_enter(L, runs, "log_prob");
  if (p->bound > 0)
    prior_score_moments(p, &added, &za, &ms, logp + za.n, logp, parallel_threads());
  else
    prior_log_prob(p, &za, logp);
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
  Added dadded = check_added(L, 3, p, z);
  if (dadded.repeat > 1)
    return luaL_error(L, "backward: dadded of every sample expected");
  Act za = flow_act(z), ms = {0};
  if (p->bound > 0) ms = flow_act(flow_kept(L, FLOW_SAVED));
  Act dz = flow_act(reuse_tensor(L, 1, FLOW_DY, 4, z->dim));
  if (p->mean || p->bias) flow_prepare_params(L);
  real *work = tensor_workspace(L, round_up(za.n) + 2 * z->count);
  flow_check_weights(L, 2, za.n, work);
  guard_enter(L, runs, "backward");
  if (p->bound > 0)
    prior_moments_backward(p, &za, &ms, work, &dz, &dadded.a, work + round_up(za.n),
                           parallel_threads());
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
  Added added = check_added(L, 4, p, eps);
  Act noise = flow_act(eps), z = flow_act(reuse_tensor(L, 1, FLOW_INVERSE, 4, eps->dim));
  Act ms = moments_like(eps, p->bound > 0 ? tensor_workspace(L, 2 * eps->count) : NULL);
  guard_count(L);
  if (p->bound > 0)
    prior_draw_moments(p, &added, &ms, &noise, temperature, &z);
  else
    prior_draw(p, &noise, temperature, &z);
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

static int prior_tostring(lua_State *L) {
  const Prior *p = check_prior(L);
  const char *what = p->mean   ? "learned Gaussian"
                     : p->bias ? "Gaussian of features"
                               : "N(0, 1)";
  lua_pushfstring(L, PRIOR_TYPE " %s on %s", what,
                  tensor_push_shape(L, p->dim[1] > 0 && p->dim[2] > 0 ? 3 : 1, p->dim));
  return 1;
}

static const luaL_Reg prior_methods[] = {{"log_prob", score_latent},
                                         {"sample", draw_latent},
                                         {"backward", score_backward},
                                         {"__tostring", prior_tostring},
                                         {NULL, NULL}};
static const luaL_Reg functions[] = {{"prior", new_prior}, {NULL, NULL}};

void open_prior(lua_State *L) {
  flow_class(L, PRIOR_TYPE, prior_methods);
  luaL_setfuncs(L, functions, 0);
}
