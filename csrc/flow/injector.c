/* The passes of the affine injector. */
#include "flow/injector.h"

#include <stdio.h>

#include "base/threads.h"
#include "base/vmath.h"

/* Returns Σ s. */
CLONES static double plane_forward(const real *restrict y, const real *restrict t,
                                   const real *restrict r, real bound, real *restrict z,
                                   size_t n) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < n; i++) {
    real s = bound * v_tanh(r[i] / bound);
    z[i] = (y[i] + t[i]) * v_exp(s);
    sum += (double)s;
  }
  return sum;
}

CLONES static void plane_inverse(const real *restrict z, const real *restrict t,
                                 const real *restrict r, real bound, real *restrict y,
                                 size_t n) {
  for (size_t i = 0; i < n; i++)
    y[i] = z[i] * v_exp(-bound * v_tanh(r[i] / bound)) - t[i];
}

/* dt = dy = dz·exp(s) and ds = g + dz·z. */
CLONES static void plane_backward(const real *restrict z, const real *restrict r,
                                  real bound, const real *restrict dz, real g,
                                  real *restrict dy, real *restrict dt, real *restrict dr,
                                  size_t n) {
  for (size_t i = 0; i < n; i++) {
    real s = v_tanh(r[i] / bound);
    dy[i] = dt[i] = dz[i] * v_exp(bound * s);
    dr[i] = (g + dz[i] * z[i]) * (1 - s * s);
  }
}

static real bound_of(const Flow *f) { return ((const Injector *)f)->bound; }

static FlowShape condition(const Flow *f, const Act *y) {
  return (FlowShape){4, 1, {2 * f->channels, 0, y->h, y->w}};
}

/* Scratch of forward: a sum for each plane. */
static size_t scratch(const Flow *f, const FlowRun *r, FlowPass pass) {
  return pass == PASS_FORWARD ? r->y.n * f->channels * (sizeof(double) / sizeof(real))
                              : 0;
}

/* a (flow/injector.h) or its gradient, from the numbers of a tensor. */
static Act features_of(const FlowRun *r, const real *numbers) {
  return act_cnhw((real *)numbers, r->rows, 2 * r->y.c, r->y.h, r->y.w);
}

static void forward(Flow *f, const FlowRun *r) {
  Act a = features_of(r, r->cond);
  size_t all = r->y.c, hw = r->y.h * r->y.w;
  double *sums = (double *)(void *)r->scratch;
#pragma omp parallel for collapse(2) schedule(static) num_threads(r->threads)
  for (size_t n = 0; n < r->y.n; n++)
    for (size_t c = 0; c < all; c++) {
      size_t x = n / r->repeat;
      sums[n * all + c] = plane_forward(act_plane(&r->y, n, c), act_plane(&a, x, 2 * c),
                                        act_plane(&a, x, 2 * c + 1), bound_of(f),
                                        act_plane(&r->z, n, c), hw);
    }
  for (size_t n = 0; n < r->y.n; n++) {
    r->logdet[n] = 0;
    for (size_t c = 0; c < all; c++) r->logdet[n] += sums[n * all + c];
  }
}

static size_t inverse(Flow *f, const FlowRun *r) {
  Act a = features_of(r, r->cond);
#pragma omp parallel for collapse(2) schedule(static) num_threads(r->threads)
  for (size_t n = 0; n < r->z.n; n++)
    for (size_t c = 0; c < r->z.c; c++) {
      size_t x = n / r->repeat;
      plane_inverse(act_plane(&r->z, n, c), act_plane(&a, x, 2 * c),
                    act_plane(&a, x, 2 * c + 1), bound_of(f), act_plane(&r->y, n, c),
                    r->z.h * r->z.w);
    }
  return 0;
}

static void backward(Flow *f, const FlowRun *r) {
  Act a = features_of(r, r->cond), da = features_of(r, r->dcond);
#pragma omp parallel for collapse(2) schedule(static) num_threads(r->threads)
  for (size_t n = 0; n < r->z.n; n++)
    for (size_t c = 0; c < r->z.c; c++)
      plane_backward(act_plane(&r->z, n, c), act_plane(&a, n, 2 * c + 1), bound_of(f),
                     act_plane(&r->dz, n, c), r->dlogdet[n], act_plane(&r->dy, n, c),
                     act_plane(&da, n, 2 * c), act_plane(&da, n, 2 * c + 1),
                     r->z.h * r->z.w);
}

static void describe(const Flow *f, char *text) {
  snprintf(text, FLOW_WHY, " of %zu channels", f->channels);
}

const FlowOps flow_injector = {.kind = "Injector",
                               .condition = condition,
                               .scratch = scratch,
                               .forward = forward,
                               .inverse = inverse,
                               .backward = backward,
                               .describe = describe};
