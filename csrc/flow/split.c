/* Split and prior: send channels off, score them, draw them. */
#include "flow/split.h"

#include <stdio.h>
#include <string.h>

#include "base/size.h"
#include "base/threads.h"
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

static size_t reals(const Act *a) { return a->c * act_pixels(a); }

/* Channel c of sample n of the moments: add the features' part and bound the log-scale.
 */
static void finish_moments(const Added *added, const Act *ms, real bound, size_t n,
                           size_t c) {
  size_t hw = ms->h * ms->w;
  real *m = act_plane(ms, n, 2 * c);
  for (size_t k = 0; k < 2; k++)
    axpy_range(m + k * hw, act_plane(&added->a, n / added->repeat, 2 * c + k), 1, hw);
  moments_bound(m, 1, hw, bound);
}

/* Of channel c of sample n. */
static double score(const Act *z2, const Act *ms, size_t n, size_t c) {
  size_t hw = z2->h * z2->w;
  const real *m = act_plane(ms, n, 2 * c);
  return gaussian_log_prob(act_plane(z2, n, c), m, m + hw, hw);
}

/* The sum of each sample's scores, which lie behind each other. */
static void sum_scores(const double *scores, size_t samples, size_t each, double *logp) {
  for (size_t n = 0; n < samples; n++) {
    logp[n] = 0;
    for (size_t c = 0; c < each; c++) logp[n] += *scores++;
  }
}

static void moments_draw(const Act *ms, const Act *eps, real temperature, const Act *z) {
  size_t hw = z->h * z->w;
  for (size_t n = 0; n < eps->n; n++)
    for (size_t c = 0; c < eps->c; c++) {
      const real *m = act_plane(ms, n, 2 * c);
      gaussian_sample(m, m + hw, act_plane(eps, n, c), temperature, act_plane(z, n, c),
                      hw);
    }
}

/* Channel c of sample n of dz, and of the gradient da, two planes for each channel of z,
 * of what tanh or the bound made moments of. */
static void score_backward(const Act *z, const Act *ms, real bound, real g, const Act *dz,
                           const Act *da, size_t n, size_t c) {
  size_t hw = z->h * z->w;
  const real *m = act_plane(ms, n, 2 * c);
  real *d = act_plane(da, n, 2 * c);
  gaussian_backward(act_plane(z, n, c), m, m + hw, g, act_plane(dz, n, c), d, d + hw, hw);
  if (bound > 0)
    bound_backward(m + hw, d + hw, hw, bound);
  else
    for (size_t k = 0; k < 2 * hw; k++) d[k] *= 1 - m[k] * m[k];
}

/* A plane, which may lie elsewhere in the two. */
static void copy_plane(const Act *from, const Act *to, size_t n, size_t c) {
  memcpy(act_plane(to, n, c), act_plane(from, n, c), to->h * to->w * sizeof(real));
}

/* ---- split ---- */

static bool resize(const Flow *f, const Act *in, bool back, Act *out, char *why) {
  (void)why;
  *out = *in;
  out->c = back ? f->channels : ((const Split *)f)->stay;
  return true;
}

static size_t sent(const Flow *f) { return ((const Split *)f)->leave; }

static FlowShape condition(const Flow *f, const Act *y) {
  const Split *s = (const Split *)f;
  if (s->bound <= 0) return flow_no_shape();
  return (FlowShape){4, 1, {2 * s->leave, 0, y->h, y->w}};
}

/* What a split saves: (m, s). */
static Act moments_of(const Split *s, const FlowRun *r) {
  return act_nchw(r->saved, r->z.n, 2 * s->leave, r->z.h, r->z.w);
}

static size_t saved(const Flow *f, const FlowRun *r) {
  return 2 * ((const Split *)f)->leave * act_pixels(&r->z);
}

static size_t scratch(const Flow *f, const FlowRun *r, FlowPass pass) {
  Act ms = moments_of((const Split *)f, r);
  size_t more = r->z.n * ms.c / 2 * (sizeof(double) / sizeof(real)); /* scores */
  if (pass == PASS_BACKWARD) more = round_up(reals(&ms)) + reals(&r->z);
  return round_up(conv_scratch(&conv3x3, &r->z, &ms, r->threads)) + more;
}

/* What convolves has its scratch before the rest. */
static real *rest_of_scratch(const FlowRun *r, const Act *ms) {
  return r->scratch + round_up(conv_scratch(&conv3x3, &r->z, ms, r->threads));
}

/* From z1 to what the moments are made of. */
static void convolve(const Split *s, const FlowRun *r, const Act *z1, const Act *ms) {
  conv_forward(z1, s->weight->value, s->bias->value, &conv3x3, ms, NULL, r->scratch,
               r->threads);
}

static Added added_of(const FlowRun *r, const Act *ms) {
  return (Added){act_cnhw((real *)r->cond, r->rows, ms->c, ms->h, ms->w), r->repeat};
}

/* From there to channel c of sample n of the moments. */
static void make_moments(const Split *s, const Added *added, const Act *ms, size_t n,
                         size_t c) {
  if (s->bound > 0)
    finish_moments(added, ms, s->bound, n, c);
  else
    unary_tanh(act_plane(ms, n, 2 * c), act_plane(ms, n, 2 * c), 2 * ms->h * ms->w);
}

static void forward(Flow *f, const FlowRun *r) {
  const Split *s = (const Split *)f;
  Act first = act_channels(&r->y, 0, s->stay), ms = moments_of(s, r);
  Act second = act_channels(&r->y, s->stay, s->leave);
  Added added = added_of(r, &ms);
  double *scores = (double *)(void *)rest_of_scratch(r, &ms);
  convolve(s, r, &first, &ms);
#pragma omp parallel for collapse(2) schedule(static) num_threads(r->threads)
  for (size_t n = 0; n < r->y.n; n++)
    for (size_t c = 0; c < s->stay + s->leave; c++) {
      if (c >= s->leave) {
        copy_plane(&first, &r->z, n, c - s->leave);
        continue;
      }
      copy_plane(&second, &r->sent, n, c);
      make_moments(s, &added, &ms, n, c);
      scores[n * s->leave + c] = score(&r->sent, &ms, n, c);
    }
  sum_scores(scores, r->y.n, s->leave, r->logdet);
}

void split_draw(const Split *s, const FlowRun *r, const Act *eps, real temperature) {
  Act first = act_channels(&r->y, 0, s->stay), ms = moments_of(s, r);
  Act second = act_channels(&r->y, s->stay, s->leave);
  Added added = added_of(r, &ms);
  convolve(s, r, &r->z, &ms);
  for (size_t n = 0; n < ms.n; n++)
    for (size_t c = 0; c < s->leave; c++) make_moments(s, &added, &ms, n, c);
  copy_channels(&r->z, &first);
  moments_draw(&ms, eps, temperature, &second);
}

static void backward(Flow *f, const FlowRun *r) {
  const Split *s = (const Split *)f;
  Act ms = moments_of(s, r), draw = ms, back = r->z;
  Act dz2 = act_channels(&r->dy, s->stay, s->leave),
      dy1 = act_channels(&r->dy, 0, s->stay);
  Act dcond = act_cnhw(r->dcond, ms.n, ms.c, ms.h, ms.w);
  draw.data = rest_of_scratch(r, &ms);
  back.data = draw.data + round_up(reals(&ms));
#pragma omp parallel for collapse(2) schedule(static) num_threads(r->threads)
  for (size_t n = 0; n < ms.n; n++)
    for (size_t c = 0; c < s->leave; c++) {
      score_backward(&r->sent, &ms, s->bound, r->dlogdet[n], &dz2, &draw, n, c);
      for (size_t k = 2 * c; s->bound > 0 && k < 2 * c + 2; k++)
        copy_plane(&draw, &dcond, n, k);
    }
  real wb, bb;
  real *dw = param_accumulate(s->weight, &wb), *db = param_accumulate(s->bias, &bb);
  s->weight->largest = conv_backward(&r->z, s->weight->value, &conv3x3, &draw, &back, dw,
                                     wb, db, bb, NULL, r->scratch, r->threads);
#pragma omp parallel for collapse(2) schedule(static) num_threads(r->threads)
  for (size_t n = 0; n < back.n; n++)
    for (size_t c = 0; c < s->stay; c++)
      binary_add.tensor_tensor(act_plane(&dy1, n, c), act_plane(&back, n, c),
                               act_plane(&r->dz, n, c), back.h * back.w);
}

static void describe(const Flow *f, char *text) {
  const Split *s = (const Split *)f;
  snprintf(text, FLOW_WHY, " of %zu channels: %zu go on, %zu leave", f->channels, s->stay,
           s->leave);
}

const FlowOps flow_split = {.kind = "Split",
                            .resize = resize,
                            .sent = sent,
                            .condition = condition,
                            .saved = saved,
                            .scratch = scratch,
                            .forward = forward,
                            .backward = backward,
                            .describe = describe};

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

static void prior_moments(const Prior *p, const Added *added, const Act *ms, size_t n,
                          size_t c) {
  for (size_t k = 2 * c; k < 2 * c + 2; k++)
    fill_range(act_plane(ms, n, k), p->bias->value[k], ms->h * ms->w);
  finish_moments(added, ms, p->bound, n, c);
}

void prior_score_moments(const Prior *p, const Added *added, const Act *z, const Act *ms,
                         double *scores, double *logp, int threads) {
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
  for (size_t n = 0; n < z->n; n++)
    for (size_t c = 0; c < z->c; c++) {
      prior_moments(p, added, ms, n, c);
      scores[n * z->c + c] = score(z, ms, n, c);
    }
  sum_scores(scores, z->n, z->c, logp);
}

void prior_draw_moments(const Prior *p, const Added *added, const Act *ms, const Act *eps,
                        real temperature, const Act *z) {
  for (size_t n = 0; n < z->n; n++)
    for (size_t c = 0; c < z->c; c++) prior_moments(p, added, ms, n, c);
  moments_draw(ms, eps, temperature, z);
}

void prior_moments_backward(const Prior *p, const Act *z, const Act *ms, const real *g,
                            const Act *dz, const Act *dadded, real *scratch,
                            int threads) {
  Act da = act_nchw(scratch, ms->n, ms->c, ms->h, ms->w);
  real beta;
  real *db = param_accumulate(p->bias, &beta);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t c = 0; c < z->c; c++) {
    double sum[2] = {0};
    for (size_t n = 0; n < da.n; n++) {
      score_backward(z, ms, p->bound, g[n], dz, &da, n, c);
      for (size_t k = 0; k < 2; k++) {
        copy_plane(&da, dadded, n, 2 * c + k);
        sum[k] += reduce_sum(act_plane(&da, n, 2 * c + k), da.h * da.w);
      }
    }
    for (size_t k = 0; k < 2; k++)
      db[2 * c + k] = (beta == 0 ? 0 : db[2 * c + k]) + (real)sum[k];
  }
}
