/* The affine transform of a coupling, its inverse and its gradient. */
#include "flow/coupling/transform.h"

#include <math.h>
#include <string.h>

#include "base/vmath.h"

/* ---- as published: t = tanh(vt·st), r = tanh(vr·sr), σ = sigmoid(r + 2) ---- */

/* One logarithm for so many σ; their product cannot underflow: σ > 0.73. */
#define PRODUCT_PIXELS 256

/* At most PRODUCT_PIXELS of a channel: returns Π σ. */
CLONES static double published_product(const real *vt, const real *vr, real st, real sr,
                                       const real *y, real *z, size_t n) {
  real sigma[PRODUCT_PIXELS];
  for (size_t x = 0; x < n; x++) {
    real t = v_tanh(vt[x] * st);
    sigma[x] = v_sigmoid(v_tanh(vr[x] * sr) + 2);
    z[x] = (y[x] + t) * sigma[x];
  }
  double product = 1;
  for (size_t x = 0; x < n; x++) product *= (double)sigma[x];
  return product;
}

CLONES static void published_inverse(const real *vt, const real *vr, real st, real sr,
                                     const real *z, real *y, size_t n) {
  for (size_t x = 0; x < n; x++) {
    real t = v_tanh(vt[x] * st), s = v_sigmoid(v_tanh(vr[x] * sr) + 2);
    y[x] = z[x] / s - t;
  }
}

/* The backward pass; g is the gradient of each log σ. */
CLONES static void published_backward(const real *restrict vt, const real *restrict vr,
                                      real st, real sr, const real *restrict y,
                                      const real *restrict dz, real g, real *restrict dy,
                                      real *restrict dvt, real *restrict dvr, size_t n) {
  for (size_t x = 0; x < n; x++) {
    real t = v_tanh(vt[x] * st), r = v_tanh(vr[x] * sr), s = v_sigmoid(r + 2);
    real dt = dz[x] * s;
    real dr = (1 - s) * (g + dt * (y[x] + t));
    dy[x] = dt;
    dvt[x] = dt * (1 - t * t) * st;
    dvr[x] = dr * (1 - r * r) * sr;
  }
}

/* ---- with bound α: t = vt·st, log σ = α·tanh(vr·sr/α) ---- */

/* Returns Σ log σ. */
CLONES static double bounded_forward(const real *restrict vt, const real *restrict vr,
                                     real st, real sr, real bound, const real *restrict y,
                                     real *restrict z, size_t n) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (size_t x = 0; x < n; x++) {
    real log_scale = bound * v_tanh(vr[x] * sr / bound);
    z[x] = (y[x] + vt[x] * st) * v_exp(log_scale);
    sum += (double)log_scale;
  }
  return sum;
}

CLONES static void bounded_inverse(const real *restrict vt, const real *restrict vr,
                                   real st, real sr, real bound, const real *restrict z,
                                   real *restrict y, size_t n) {
  for (size_t x = 0; x < n; x++)
    y[x] = z[x] * v_exp(-bound * v_tanh(vr[x] * sr / bound)) - vt[x] * st;
}

CLONES static void bounded_backward(const real *restrict vt, const real *restrict vr,
                                    real st, real sr, real bound, const real *restrict y,
                                    const real *restrict dz, real g, real *restrict dy,
                                    real *restrict dvt, real *restrict dvr, size_t n) {
  for (size_t x = 0; x < n; x++) {
    real r = v_tanh(vr[x] * sr / bound), dt = dz[x] * v_exp(bound * r);
    real dr = g + dt * (y[x] + vt[x] * st);
    dy[x] = dt;
    dvt[x] = dt * st;
    dvr[x] = dr * (1 - r * r) * sr;
  }
}

/* ---- a channel of a run ---- */

/* What a channel's transform reads of v: its shifts, raw scales and their factors. */
typedef struct VRun {
  const real *t, *r;
  real st, sr;
} VRun;

static inline VRun v_at(const Coupling *c, const CouplingPlan *p, const real *v, Run run,
                        size_t ch) {
  size_t plane = p->h * p->w, base = (run.n * out_channels(c) + 2 * ch) * plane + run.at;
  return (VRun){v + base, v + base + plane, v_exp(3 * c->logs3->value[2 * ch]),
                v_exp(3 * c->logs3->value[2 * ch + 1])};
}

/* Adds Σ log σ to log_sum. */
static double published_forward(const VRun *a, const real *y, real *z, size_t pixels,
                                double log_sum) {
  for (size_t x = 0; x < pixels; x += PRODUCT_PIXELS) {
    size_t n = pixels - x < PRODUCT_PIXELS ? pixels - x : PRODUCT_PIXELS;
    log_sum += log(published_product(a->t + x, a->r + x, a->st, a->sr, y + x, z + x, n));
  }
  return log_sum;
}

/* Returns Σ log σ. */
static double transform_run(const Coupling *c, const CouplingPlan *p, const real *v,
                            const Act *y2, const Act *z2, Run run) {
  double log_sum = 0;
  for (size_t ch = 0; ch < coupling_change(c); ch++) {
    VRun a = v_at(c, p, v, run, ch);
    const real *src = act_plane(y2, run.n, ch) + run.at;
    real *dst = act_plane(z2, run.n, ch) + run.at;
    if (c->bound > 0)
      log_sum += bounded_forward(a.t, a.r, a.st, a.sr, c->bound, src, dst, run.pixels);
    else
      log_sum = published_forward(&a, src, dst, run.pixels, log_sum);
  }
  return log_sum;
}

static void invert_run(const Coupling *c, const CouplingPlan *p, const real *v,
                       const Act *z2, const Act *y2, Run run) {
  for (size_t ch = 0; ch < coupling_change(c); ch++) {
    VRun a = v_at(c, p, v, run, ch);
    const real *src = act_plane(z2, run.n, ch) + run.at;
    real *dst = act_plane(y2, run.n, ch) + run.at;
    if (c->bound > 0)
      bounded_inverse(a.t, a.r, a.st, a.sr, c->bound, src, dst, run.pixels);
    else
      published_inverse(a.t, a.r, a.st, a.sr, src, dst, run.pixels);
  }
}

void coupling_use(const Coupling *c, const CouplingPlan *p, const real *v,
                  const CouplingUse *use, size_t i) {
  Run run = run_at(p, i);
  if (use->run_logs != NULL)
    use->run_logs[i] = transform_run(c, p, v, &use->from2, &use->to2, run);
  else
    invert_run(c, p, v, &use->from2, &use->to2, run);
  if (use->from1.data == NULL) return;
  for (size_t ch = 0; ch < use->from1.c; ch++)
    memcpy(act_plane(&use->to1, run.n, ch) + run.at,
           act_plane(&use->from1, run.n, ch) + run.at, run.pixels * sizeof(real));
}

void coupling_logdet(const CouplingPlan *p, const double *run_logs, double *logdet) {
  for (size_t n = 0; n < p->n; n++) {
    logdet[n] = 0;
    for (size_t i = 0; i < sample_runs(p); i++) logdet[n] += *run_logs++;
  }
}

void coupling_run_backward(const Coupling *c, const CouplingPlan *p, const Act *y2,
                           const real *v, const Act *dz2, const real *dlogdet,
                           const Act *dy2, real *dv, Run run) {
  size_t plane = p->h * p->w;
  for (size_t ch = 0; ch < coupling_change(c); ch++) {
    VRun a = v_at(c, p, v, run, ch);
    const real *y = act_plane(y2, run.n, ch) + run.at;
    const real *dz = act_plane(dz2, run.n, ch) + run.at;
    real *dy = act_plane(dy2, run.n, ch) + run.at, *dt = dv + (a.t - v);
    if (c->bound > 0)
      bounded_backward(a.t, a.r, a.st, a.sr, c->bound, y, dz, dlogdet[run.n], dy, dt,
                       dt + plane, run.pixels);
    else
      published_backward(a.t, a.r, a.st, a.sr, y, dz, dlogdet[run.n], dy, dt, dt + plane,
                         run.pixels);
  }
}
