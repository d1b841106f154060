/* Split and prior: where latents leave the flow and are scored.
 *
 * Split (design section 2): y = (z1, z2); (m, s) = even/odd channels of
 * tanh(conv3×3(z1)); z2 is scored by N(m, exp(s)²); z1 goes on.
 * Prior: N(0, 1), or N(mean, exp(logs)²) with learned mean and logs. */
#include <string.h>

#include "math/conv.h"
#include "flow/gaussian.h"
#include "lua/flow.h"
#include "base/vmath.h"

/*** @submodule cglow.flow */

#define SPLIT_TYPE "cglow.Split"
#define PRIOR_TYPE "cglow.Prior"

static const ConvGeometry conv3x3 = {3, 3, 1, 1, 1, 1};

/* ---- split ---- */

typedef struct Split {
  size_t c, half, rest; /* channels of y; of z1; of z2 */
  Param *weight, *bias;
} Split;

enum {
  SPLIT_Z1 = FLOW_Z,
  SPLIT_Z2 = FLOW_COND,
  SPLIT_MS = FLOW_SAVED,
  SPLIT_SAMPLE_MS = FLOW_PASSING
};

static Split *check_split(lua_State *L) { return luaL_checkudata(L, 1, SPLIT_TYPE); }

/* Push room for m and s by turns, [n, 2·rest, h, w], kept in user value uv. */
static Tensor *push_moments(lua_State *L, int uv, const Split *s, const Tensor *like) {
  size_t dim[4] = {like->dim[0], 2 * s->rest, like->dim[2], like->dim[3]};
  return owned_tensor(L, 1, uv, 4, dim);
}

/* ms = tanh(conv(z1)) */
static void find_moments(lua_State *L, const Split *s, const Tensor *z1, const Tensor *ms) {
  Act in = flow_act(z1), out = flow_act(ms);
  int threads = parallel_threads();
  real *scratch = tensor_workspace(L, conv_scratch(&conv3x3, &in, &out, threads));
  conv_forward(&in, s->weight->value, s->bias->value, &conv3x3, &out, NULL, scratch,
               threads);
  for (size_t i = 0; i < ms->count; i++) ms->data[i] = v_tanh(ms->data[i]);
}

static void copy_half(const Tensor *from, size_t from_channel, const Tensor *to,
                      size_t to_channel, size_t channels) {
  size_t hw = from->dim[2] * from->dim[3];
  for (size_t n = 0; n < from->dim[0]; n++)
    memcpy(to->data + (n * to->dim[1] + to_channel) * hw,
           from->data + (n * from->dim[1] + from_channel) * hw,
           channels * hw * sizeof(real));
}

/*** Split the channels and score the second half.
@function Split:forward
@tparam Tensor y N×C×H×W
@treturn Tensor z1, goes on
@treturn Tensor z2, sent off
@treturn {number,...} log N(z2; m(z1), exp(s(z1))²) of each sample, nats */
static int split_forward(lua_State *L) {
  Split *s = check_split(L);
  Tensor *y = flow_check_input(L, 2, s->c);
  lua_settop(L, 2);
  size_t n = y->dim[0], hw = y->dim[2] * y->dim[3];
  size_t dim[4] = {n, s->half, y->dim[2], y->dim[3]};
  Tensor *ms = push_moments(L, SPLIT_MS, s, y);
  Tensor *z1 = owned_tensor(L, 1, SPLIT_Z1, 4, dim);
  dim[1] = s->rest;
  Tensor *z2 = owned_tensor(L, 1, SPLIT_Z2, 4, dim);
  copy_half(y, 0, z1, 0, s->half);
  copy_half(y, s->half, z2, 0, s->rest);
  find_moments(L, s, z1, ms);
  double *logp = (double *)tensor_workspace(L, flow_doubles(n));
  for (size_t i = 0; i < n; i++) {
    logp[i] = 0;
    for (size_t c = 0; c < s->rest; c++) {
      const real *m = ms->data + (i * s->rest + c) * 2 * hw;
      logp[i] += gaussian_log_prob(z2->data + (i * s->rest + c) * hw, m, m + hw, hw);
    }
  }
  flow_push_logdet(L, logp, n);
  return 3;
}

static Tensor *check_half(lua_State *L, int arg, size_t channels, const Tensor *like) {
  size_t dim[4] = {like ? like->dim[0] : 0, channels, like ? like->dim[2] : 0,
                   like ? like->dim[3] : 0};
  return tensor_check_shape(L, arg, 4, dim);
}

static Tensor *push_joined(lua_State *L, const Split *s, const Tensor *z1) {
  size_t dim[4] = {z1->dim[0], s->c, z1->dim[2], z1->dim[3]};
  Tensor *y = owned_tensor(L, 1, FLOW_INVERSE, 4, dim);
  copy_half(z1, 0, y, 0, s->half);
  return y;
}

/*** Put the halves together again.
@function Split:inverse
@tparam Tensor z1
@tparam Tensor z2
@treturn Tensor y */
static int split_inverse(lua_State *L) {
  Split *s = check_split(L);
  Tensor *z1 = check_half(L, 2, s->half, NULL), *z2 = check_half(L, 3, s->rest, z1);
  lua_settop(L, 3);
  copy_half(z2, 0, push_joined(L, s, z1), s->half, s->rest);
  return 1;
}

/*** Draw the second half, z2 = m + exp(s)·temperature·eps, and join.
@function Split:sample
@tparam Tensor z1
@tparam Tensor eps standard normal numbers, of z2's shape
@number temperature
@treturn Tensor y */
static int split_sample(lua_State *L) {
  Split *s = check_split(L);
  Tensor *z1 = check_half(L, 2, s->half, NULL), *eps = check_half(L, 3, s->rest, z1);
  real temperature = (real)luaL_checknumber(L, 4);
  lua_settop(L, 4);
  Tensor *ms = push_moments(L, SPLIT_SAMPLE_MS, s, z1), *y = push_joined(L, s, z1);
  find_moments(L, s, z1, ms);
  size_t hw = z1->dim[2] * z1->dim[3];
  for (size_t n = 0; n < z1->dim[0]; n++)
    for (size_t c = 0; c < s->rest; c++) {
      const real *m = ms->data + (n * s->rest + c) * 2 * hw;
      gaussian_sample(m, m + hw, eps->data + (n * s->rest + c) * hw, temperature,
                      y->data + (n * s->c + s->half + c) * hw, hw);
    }
  return 1;
}

/* Out of step only when forward stopped half-way, for want of memory. */
static bool same_batch(const Tensor *a, const Tensor *b) {
  return a->dim[0] == b->dim[0] && a->dim[2] == b->dim[2] && a->dim[3] == b->dim[3];
}

/*** Gradient of g·log-density of the last `forward`.
@function Split:backward
@tparam Tensor dz1
@param g number, or list of N numbers
@treturn Tensor dy, N×C×H×W */
static int split_backward(lua_State *L) {
  Split *s = check_split(L);
  lua_settop(L, 3);
  Tensor *z1 = flow_kept(L, SPLIT_Z1), *z2 = flow_kept(L, SPLIT_Z2);
  Tensor *ms = flow_kept(L, SPLIT_MS);
  Tensor *dz1 = tensor_check_shape(L, 2, 4, z1->dim);
  if (!same_batch(ms, z1) || !same_batch(z2, z1))
    return luaL_error(L, "backward: call forward first");
  size_t n = z1->dim[0], hw = z1->dim[2] * z1->dim[3];
  size_t dim[4] = {n, s->c, z1->dim[2], z1->dim[3]};
  Tensor *dy = owned_tensor(L, 1, FLOW_DY, 4, dim);
  flow_prepare_params(L);
  Act za = flow_act(z1), msa = flow_act(ms);
  int threads = parallel_threads();
  size_t weights = (n + 15) & ~(size_t)15, raw = (ms->count + 15) & ~(size_t)15;
  size_t back = (z1->count + 15) & ~(size_t)15;
  real *work = tensor_workspace(
      L, weights + raw + back + conv_scratch(&conv3x3, &za, &msa, threads));
  flow_check_weights(L, 3, n, work);
  real *draw = work + weights, *dback = draw + raw;
  for (size_t i = 0; i < n; i++)
    for (size_t c = 0; c < s->rest; c++) {
      size_t at = (i * s->rest + c) * hw;
      const real *m = ms->data + 2 * at;
      real *d = draw + 2 * at;
      gaussian_backward(z2->data + at, m, m + hw, work[i],
                        dy->data + (i * s->c + s->half + c) * hw, d, d + hw, hw);
      for (size_t k = 0; k < 2 * hw; k++) d[k] *= 1 - m[k] * m[k];
    }
  Act draw_act = act_nchw(draw, n, 2 * s->rest, z1->dim[2], z1->dim[3]);
  Act back_act = act_nchw(dback, n, s->half, z1->dim[2], z1->dim[3]);
  real wb, bb;
  real *dw = param_accumulate(s->weight, &wb), *db = param_accumulate(s->bias, &bb);
  conv_backward(&za, s->weight->value, &conv3x3, &draw_act, &back_act, dw, wb, db, bb, NULL,
                dback + back, threads);
  for (size_t i = 0; i < z1->count; i++) dback[i] += dz1->data[i];
  for (size_t i = 0; i < n; i++)
    memcpy(dy->data + i * s->c * hw, dback + i * s->half * hw,
           s->half * hw * sizeof(real));
  return 1;
}

/*** Split (design section 2): half of the channels leave, scored by a Gaussian
whose moments a convolution reads off the other half.
@function split
@int channels C, at least 2
@return an object with forward, inverse, sample, backward, parameters */
static int new_split(lua_State *L) {
  size_t c = flow_check_size(L, 1, "channels", 2, FLOW_SIZE_MAX);
  Split *s = flow_new(L, SPLIT_TYPE, sizeof *s);
  s->c = c;
  s->half = c / 2;
  s->rest = c - c / 2;
  size_t out = 2 * s->rest;
  s->weight = flow_add_param(L, "conv.weight", 4, (size_t[]){out, s->half, 3, 3});
  s->bias = flow_add_param(L, "conv.bias", 1, &out);
  return 1;
}

/* ---- prior ---- */

typedef struct Prior {
  size_t dim[3];
  Param *mean, *logs; /* NULL: standard normal */
} Prior;

static Prior *check_prior(lua_State *L) { return luaL_checkudata(L, 1, PRIOR_TYPE); }

static Tensor *check_latent(lua_State *L, int arg, const Prior *p) {
  size_t dim[4] = {0, p->dim[0], p->dim[1], p->dim[2]};
  return tensor_check_shape(L, arg, 4, dim);
}

/*** Score the last latent.
@function Prior:log_prob
@tparam Tensor z N×C×H×W
@treturn {number,...} log density of each sample, nats */
static int prior_log_prob(lua_State *L) {
  Prior *p = check_prior(L);
  Tensor *z = check_latent(L, 2, p);
  lua_settop(L, 2);
  size_t n = z->dim[0], d = z->count / n;
  double *logp = (double *)tensor_workspace(L, flow_doubles(n));
  for (size_t i = 0; i < n; i++)
    logp[i] = gaussian_log_prob(z->data + i * d, p->mean ? p->mean->value : NULL,
                                p->mean ? p->logs->value : NULL, d);
  flow_keep_value(L, FLOW_Y, 2);
  flow_push_logdet(L, logp, n);
  return 1;
}

static void add_rows(Param *param, const real *rows, size_t n) {
  real beta;
  real *g = param_accumulate(param, &beta);
  for (size_t j = 0; j < param->count; j++) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)rows[i * param->count + j];
    g[j] = (beta == 0 ? 0 : g[j]) + (real)sum;
  }
}

/*** Gradient of g·log-density of the last `log_prob`.
@function Prior:backward
@param g number, or list of N numbers
@treturn Tensor dz */
static int prior_backward(lua_State *L) {
  Prior *p = check_prior(L);
  lua_settop(L, 2);
  Tensor *z = flow_kept(L, FLOW_Y);
  size_t n = z->dim[0], d = z->count / n, weights = (n + 15) & ~(size_t)15;
  Tensor *dz = owned_tensor(L, 1, FLOW_DY, 4, z->dim);
  if (p->mean) flow_prepare_params(L);
  real *work = tensor_workspace(L, weights + 2 * z->count);
  flow_check_weights(L, 2, n, work);
  real *dm = work + weights, *ds = dm + z->count;
  for (size_t i = 0; i < n; i++)
    gaussian_backward(z->data + i * d, p->mean ? p->mean->value : NULL,
                      p->mean ? p->logs->value : NULL, work[i], dz->data + i * d, dm + i * d,
                      ds + i * d, d);
  if (p->mean) {
    add_rows(p->mean, dm, n);
    add_rows(p->logs, ds, n);
  }
  return 1;
}

/*** Draw z = mean + exp(logs)·temperature·eps.
@function Prior:sample
@tparam Tensor eps N×C×H×W standard normal numbers
@number temperature
@treturn Tensor z */
static int prior_sample(lua_State *L) {
  Prior *p = check_prior(L);
  Tensor *eps = check_latent(L, 2, p);
  real temperature = (real)luaL_checknumber(L, 3);
  lua_settop(L, 3);
  Tensor *z = owned_tensor(L, 1, FLOW_INVERSE, 4, eps->dim);
  size_t n = eps->dim[0], d = eps->count / n;
  for (size_t i = 0; i < n; i++)
    gaussian_sample(p->mean ? p->mean->value : NULL, p->mean ? p->logs->value : NULL,
                    eps->data + i * d, temperature, z->data + i * d, d);
  return 1;
}

/*** The prior on the last latent.
@function prior
@int channels C
@int height H
@int width W
@bool learned false: N(0, 1); true: parameters `mean` and `logs`, C×H×W
@return an object with log_prob, sample, backward, parameters */
static int new_prior(lua_State *L) {
  static const char *const names[] = {"channels", "height", "width"};
  size_t dim[3];
  for (int i = 0; i < 3; i++) dim[i] = flow_check_size(L, i + 1, names[i], 1, FLOW_SIZE_MAX);
  bool learned = lua_toboolean(L, 4);
  Prior *p = flow_new(L, PRIOR_TYPE, sizeof *p);
  memcpy(p->dim, dim, sizeof dim);
  if (learned) {
    p->mean = flow_add_param(L, "mean", 3, dim);
    p->logs = flow_add_param(L, "logs", 3, dim);
  }
  return 1;
}

static int split_tostring(lua_State *L) {
  const Split *s = check_split(L);
  lua_pushfstring(L, SPLIT_TYPE " of %d channels: %d go on, %d leave", (int)s->c,
                  (int)s->half, (int)s->rest);
  return 1;
}

static int prior_tostring(lua_State *L) {
  const Prior *p = check_prior(L);
  lua_pushfstring(L, PRIOR_TYPE " %s on %s", p->mean ? "learned Gaussian" : "N(0, 1)",
                  tensor_push_shape(L, 3, p->dim));
  return 1;
}

static const luaL_Reg split_methods[] = {{"forward", split_forward},
                                         {"inverse", split_inverse},
                                         {"sample", split_sample},
                                         {"backward", split_backward},
                                         {"__tostring", split_tostring},
                                         {NULL, NULL}};
static const luaL_Reg prior_methods[] = {{"log_prob", prior_log_prob},
                                         {"sample", prior_sample},
                                         {"backward", prior_backward},
                                         {"__tostring", prior_tostring},
                                         {NULL, NULL}};
static const luaL_Reg functions[] = {{"split", new_split}, {"prior", new_prior}, {NULL, NULL}};

void open_split(lua_State *L) {
  flow_type(L, SPLIT_TYPE, split_methods);
  flow_type(L, PRIOR_TYPE, prior_methods);
  luaL_setfuncs(L, functions, 0);
}
