/* Sums that become the gradients of the coupling's biases and logs. */
#include "flow/coupling/scale_grads.h"

static void accumulate(real *g, size_t i, double sum, real beta) {
  g[i] = (beta == 0 ? 0 : g[i]) + (real)sum;
}

/* Add up n numbers of each tile's sums. */
CLONES static void norm_sums(const real *sums, size_t stride, size_t tiles, size_t n,
                             Gradient to) {
  double total[PANEL] = {0};
  for (size_t t = 0; t < tiles; t++, sums += stride)
    for (size_t k = 0; k < n; k++) total[k] += (double)sums[k];
  for (size_t k = 0; k < n; k++) accumulate(to.g, k, total[k], to.beta);
}

void coupling_norm_gradients(const Coupling *c, const CouplingPlan *p, const real *sums,
                             size_t b, const Gradient *to) {
  for (size_t i = 0; i < 4; i++)
    norm_sums(sums + i * c->width + b * PANEL, 4 * c->width, p->tiles,
              panel_columns(c->width, b), (Gradient){to[i].g + b * PANEL, to[i].beta});
}

/* Σ d and Σ d·v over a plane. */
CLONES static void plane_sums(const real *d, const real *v, size_t n, double *sum,
                              double *dot) {
  double s = 0, t = 0;
#pragma omp simd reduction(+ : s, t)
  for (size_t x = 0; x < n; x++) {
    s += (double)d[x];
    t += (double)d[x] * (double)v[x];
  }
  *sum += s;
  *dot += t;
}

/* d bias3 = Σ dv;  d logs3 = 3·Σ dv·v, since dv already carries the scale. */
void coupling_conv3_gradients(const Coupling *c, const CouplingPlan *p, const real *v,
                              const real *dv, size_t o, Gradient dbias, Gradient dlogs) {
  double sum = 0, dot = 0;
  size_t plane = p->h * p->w;
  for (size_t n = 0; n < p->n; n++) {
    size_t at = (n * out_channels(c) + o) * plane;
    plane_sums(dv + at, v + at, plane, &sum, &dot);
  }
  accumulate(dbias.g, o, sum, dbias.beta);
  accumulate(dlogs.g, o, 3 * dot, dlogs.beta);
}
