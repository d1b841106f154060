/* Split and prior: send channels off, score them, draw them. */
#include "flow/split.h"

#include <stdio.h>
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

static size_t reals(const Act *a) { return a->c * act_pixels(a); }

/* Add the features' part and bound the log-scales. */
static void finish_moments(const Added *added, const Act *ms, real bound) {
  size_t hw = ms->h * ms->w;
  for (size_t n = 0; n < ms->n; n++)
    for (size_t c = 0; c < ms->c; c++)
      axpy_range(act_plane(ms, n, c), act_plane(&added->a, n / added->repeat, c), 1, hw);
  moments_bound(ms->data, ms->n * ms->c / 2, hw, bound);
}

void moments_log_prob(const Act *z2, const Act *ms, double *logp) {
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
  size_t conv = conv_scratch(&conv3x3, &r->z, &ms, r->threads);
  return conv +
         (pass == PASS_BACKWARD ? round_up(reals(&ms)) + round_up(reals(&r->z)) : 0);
}

static void make_moments(const Split *s, const FlowRun *r, const Act *ms) {
  conv_forward(&r->z, s->weight->value, s->bias->value, &conv3x3, ms, NULL, r->scratch,
               r->threads);
  if (s->bound > 0) {
    Added added = {act_cnhw((real *)r->cond, r->rows, ms->c, ms->h, ms->w), r->repeat};
    finish_moments(&added, ms, s->bound);
  } else {
    unary_tanh(ms->data, ms->data, reals(ms));
  }
}

static void forward(Flow *f, const FlowRun *r) {
  const Split *s = (const Split *)f;
  Act first = act_channels(&r->y, 0, s->stay), ms = moments_of(s, r);
  Act second = act_channels(&r->y, s->stay, s->leave);
  copy_channels(&first, &r->z);
  copy_channels(&second, &r->sent);
  make_moments(s, r, &ms);
  moments_log_prob(&r->sent, &ms, r->logdet);
}

void split_draw(const Split *s, const FlowRun *r, const Act *eps, real temperature) {
  Act first = act_channels(&r->y, 0, s->stay), ms = moments_of(s, r);
  Act second = act_channels(&r->y, s->stay, s->leave);
  make_moments(s, r, &ms);
  copy_channels(&r->z, &first);
  moments_draw(&ms, eps, temperature, &second);
}

static void backward(Flow *f, const FlowRun *r) {
  const Split *s = (const Split *)f;
  Act ms = moments_of(s, r), draw = ms, back = r->z;
  Act dz2 = act_channels(&r->dy, s->stay, s->leave),
      dy1 = act_channels(&r->dy, 0, s->stay);
  draw.data = r->scratch;
  back.data = draw.data + round_up(reals(&ms));
  score_backward(&r->sent, &ms, s->bound, r->dlogdet, &dz2, draw.data);
  if (s->bound > 0) {
    Act dcond = act_cnhw(r->dcond, ms.n, ms.c, ms.h, ms.w);
    copy_planes(&draw, &dcond);
  }
  real wb, bb;
  real *dw = param_accumulate(s->weight, &wb), *db = param_accumulate(s->bias, &bb);
  s->weight->largest =
      conv_backward(&r->z, s->weight->value, &conv3x3, &draw, &back, dw, wb, db, bb, NULL,
                    back.data + round_up(reals(&back)), r->threads);
  for (size_t i = 0; i < reals(&back); i++) back.data[i] += r->dz.data[i];
  copy_channels(&back, &dy1);
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
