/* Normal densities: score, draw, gradient. */
#include "flow/gaussian.h"

#include "base/vmath.h"

static const double half_log_2pi = 0.91893853320467274178;

CLONES static double log_prob(const real *z, const real *m, const real *s, size_t n) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < n; i++) {
    real e = (z[i] - m[i]) * v_exp(-s[i]);
    sum += (double)(s[i] + (real)0.5 * e * e);
  }
  return sum;
}

CLONES static double log_prob_standard(const real *z, size_t n) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < n; i++) sum += 0.5 * (double)z[i] * (double)z[i];
  return sum;
}

double gaussian_log_prob(const real *z, const real *m, const real *s, size_t n) {
  return -(m ? log_prob(z, m, s, n) : log_prob_standard(z, n)) - half_log_2pi * (double)n;
}

CLONES static void backward(const real *restrict z, const real *restrict m,
                            const real *restrict s, real g, real *restrict dz,
                            real *restrict dm, real *restrict ds, size_t n) {
  for (size_t i = 0; i < n; i++) {
    real inv = v_exp(-s[i]), e = (z[i] - m[i]) * inv, d = g * e * inv;
    dz[i] = -d;
    dm[i] = d;
    ds[i] = g * (e * e - 1);
  }
}

void gaussian_backward(const real *z, const real *m, const real *s, real g, real *dz,
                       real *dm, real *ds, size_t n) {
  if (m != NULL)
    backward(z, m, s, g, dz, dm, ds, n);
  else
    for (size_t i = 0; i < n; i++) dz[i] = -g * z[i];
}

CLONES void gaussian_sample(const real *m, const real *s, const real *eps,
                            real temperature, real *z, size_t n) {
  if (m == NULL)
    for (size_t i = 0; i < n; i++) z[i] = temperature * eps[i];
  else
    for (size_t i = 0; i < n; i++) z[i] = m[i] + v_exp(s[i]) * temperature * eps[i];
}

CLONES void moments_bound(real *ms, size_t pairs, size_t hw, real bound) {
  for (; pairs > 0; pairs--, ms += 2 * hw)
    for (size_t i = hw; i < 2 * hw; i++) ms[i] = bound * v_tanh(ms[i] / bound);
}

CLONES void bound_backward(const real *s, real *d, size_t n, real bound) {
  for (size_t i = 0; i < n; i++) d[i] *= 1 - (s[i] / bound) * (s[i] / bound);
}
