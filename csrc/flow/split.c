/* Split and prior: cut the channels, score what leaves, draw it. */
#include "flow/split.h"

#include <string.h>

#include "base/size.h"
#include "flow/gaussian.h"
#include "math/conv.h"
#include "math/elementwise.h"

static void copy_channels(const Act *from, const Act *to) {
  for (size_t n = 0; n < from->n; n++)
    memcpy(act_plane(to, n, 0), act_plane(from, n, 0),
           from->c * from->h * from->w * sizeof(real));
}

void split_join(const Act *z1, const Act *z2, const Act *y) {
  Act first = act_channels(y, 0, z1->c), second = act_channels(y, z1->c, z2->c);
  copy_channels(z1, &first);
  copy_channels(z2, &second);
}

void split_cut(const Act *y, const Act *z1, const Act *z2) {
  Act first = act_channels(y, 0, z1->c), second = act_channels(y, z1->c, z2->c);
  copy_channels(&first, z1);
  copy_channels(&second, z2);
}

size_t split_scratch(const Act *z1, const Act *ms, int threads) {
  return conv_scratch(&conv3x3, z1, ms, threads);
}

static size_t reals(const Act *a) { return a->c * act_pixels(a); }

size_t split_backward_scratch(const Act *z1, const Act *ms, int threads) {
  return round_up(reals(ms)) + round_up(reals(z1)) + split_scratch(z1, ms, threads);
}

/* Add the features' part and bound the log-scales. */
static void finish_moments(const Added *added, const Act *ms, real bound) {
  size_t hw = ms->h * ms->w;
  for (size_t n = 0; n < ms->n; n++)
    for (size_t c = 0; c < ms->c; c++)
      axpy_range(act_plane(ms, n, c), act_plane(&added->a, n / added->repeat, c), 1, hw);
  moments_bound(ms->data, ms->n * ms->c / 2, hw, bound);
}

void split_moments(const Split *s, const Act *z1, const Added *added, const Act *ms,
                   real *scratch, int threads) {
  conv_forward(z1, s->weight->value, s->bias->value, &conv3x3, ms, NULL, scratch,
               threads);
  if (s->bound > 0)
    finish_moments(added, ms, s->bound);
  else
    unary_tanh(ms->data, ms->data, reals(ms));
}

void split_log_prob(const Act *z2, const Act *ms, double *logp) {
  size_t hw = z2->h * z2->w;
  for (size_t n = 0; n < z2->n; n++) {
    logp[n] = 0;
    for (size_t c = 0; c < z2->c; c++) {
      const real *m = act_plane(ms, n, 2 * c);
      logp[n] += gaussian_log_prob(act_plane(z2, n, c), m, m + hw, hw);
    }
  }
}

void moments_draw(const Act *ms, const Act *eps, real temperature, const Act *z) {
  size_t hw = z->h * z->w;
  for (size_t n = 0; n < eps->n; n++)
    for (size_t c = 0; c < eps->c; c++) {
      const real *m = act_plane(ms, n, 2 * c);
      gaussian_sample(m, m + hw, act_plane(eps, n, c), temperature, act_plane(z, n, c),
                      hw);
    }
}

void split_draw(const Act *z1, const Act *ms, const Act *eps, real temperature,
                const Act *y) {
  Act first = act_channels(y, 0, z1->c), second = act_channels(y, z1->c, eps->c);
  copy_channels(z1, &first);
  moments_draw(ms, eps, temperature, &second);
}

/* dz, and the gradient da [n, 2c, h, w] of what tanh or the bound made moments of. */
static void score_backward(const Act *z, const Act *ms, real bound, const real *g,
                           const Act *dz, real *da) {
  size_t hw = z->h * z->w;
  for (size_t n = 0; n < z->n; n++)
    for (size_t c = 0; c < z->c; c++, da += 2 * hw) {
      const real *m = act_plane(ms, n, 2 * c);
      gaussian_backward(act_plane(z, n, c), m, m + hw, g[n], act_plane(dz, n, c), da,
                        da + hw, hw);
      if (bound > 0)
        bound_backward(m + hw, da + hw, hw, bound);
      else
        for (size_t k = 0; k < 2 * hw; k++) da[k] *= 1 - m[k] * m[k];
    }
}

/* Copy plane by plane: the two may be laid out differently. */
static void copy_planes(const Act *from, const Act *to) {
  for (size_t n = 0; n < to->n; n++)
    for (size_t c = 0; c < to->c; c++)
      memcpy(act_plane(to, n, c), act_plane(from, n, c), to->h * to->w * sizeof(real));
}

void split_backward(const Split *s, const Act *z1, const Act *z2, const Act *ms,
                    const Act *dz1, const real *g, const Act *dy, const Act *dadded,
                    real *scratch, int threads) {
  real *dconv = scratch, *dback = dconv + round_up(reals(ms));
  Act dz2 = act_channels(dy, s->stay, s->leave), dy1 = act_channels(dy, 0, s->stay);
  score_backward(z2, ms, s->bound, g, &dz2, dconv);
  Act draw = act_nchw(dconv, z1->n, ms->c, z1->h, z1->w);
  Act back = act_nchw(dback, z1->n, z1->c, z1->h, z1->w);
  if (s->bound > 0) copy_planes(&draw, dadded);
  real wb, bb;
  real *dw = param_accumulate(s->weight, &wb), *db = param_accumulate(s->bias, &bb);
  conv_backward(z1, s->weight->value, &conv3x3, &draw, &back, dw, wb, db, bb, NULL,
                dback + round_up(reals(z1)), threads);
  for (size_t i = 0; i < reals(z1); i++) dback[i] += dz1->data[i];
  copy_channels(&back, &dy1);
}

/* ---- prior ---- */

static const real *value(const Param *p) { return p == NULL ? NULL : p->value; }

void prior_log_prob(const Prior *p, const Act *z, double *logp) {
  size_t d = z->c * z->h * z->w;
  for (size_t n = 0; n < z->n; n++)
    logp[n] = gaussian_log_prob(act_plane(z, n, 0), value(p->mean), value(p->logs), d);
}

void prior_draw(const Prior *p, const Act *eps, real temperature, const Act *z) {
  size_t d = z->c * z->h * z->w;
  for (size_t n = 0; n < z->n; n++)
    gaussian_sample(value(p->mean), value(p->logs), act_plane(eps, n, 0), temperature,
                    act_plane(z, n, 0), d);
}

void prior_backward(const Prior *p, const Act *z, const real *g, const Act *dz,
                    real *scratch) {
  size_t d = z->c * z->h * z->w;
  real *dm = scratch, *ds = dm + z->n * d;
  for (size_t n = 0; n < z->n; n++)
    gaussian_backward(act_plane(z, n, 0), value(p->mean), value(p->logs), g[n],
                      act_plane(dz, n, 0), dm + n * d, ds + n * d, d);
  if (p->mean == NULL) return;
  param_add_rows(p->mean, dm, z->n);
  param_add_rows(p->logs, ds, z->n);
}

void prior_moments(const Prior *p, const Added *added, const Act *ms) {
  for (size_t n = 0; n < ms->n; n++)
    for (size_t c = 0; c < ms->c; c++)
      fill_range(act_plane(ms, n, c), p->bias->value[c], ms->h * ms->w);
  finish_moments(added, ms, p->bound);
}

void prior_moments_backward(const Prior *p, const Act *z, const Act *ms, const real *g,
                            const Act *dz, const Act *dadded, real *scratch) {
  Act da = act_nchw(scratch, ms->n, ms->c, ms->h, ms->w);
  score_backward(z, ms, p->bound, g, dz, da.data);
  copy_planes(&da, dadded);
  real beta;
  real *db = param_accumulate(p->bias, &beta);
  for (size_t c = 0; c < da.c; c++) {
    double sum = 0;
    for (size_t n = 0; n < da.n; n++)
      sum += reduce_sum(act_plane(&da, n, c), da.h * da.w);
    db[c] = (beta == 0 ? 0 : db[c]) + (real)sum;
  }
}
