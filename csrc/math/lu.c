/* LU factors of small matrices, in double. */
#include "math/lu.h"

#include <math.h>

#include "base/real.h"

static size_t pivot_row(const double *a, size_t n, size_t k) {
  size_t best = k;
  for (size_t i = k + 1; i < n; i++)
    if (fabs(a[i * n + k]) > fabs(a[best * n + k])) best = i;
  return best;
}

ALWAYS_INLINE void subtract_row(double *restrict dst, const double *restrict src,
                                double factor, size_t n) {
  for (size_t j = 0; j < n; j++) dst[j] -= factor * src[j];
}

static void swap_rows(double *a, size_t n, size_t i, size_t k) {
  if (i == k) return;
  for (size_t j = 0; j < n; j++) {
    double t = a[i * n + j];
    a[i * n + j] = a[k * n + j];
    a[k * n + j] = t;
  }
}

CLONES double lu_factor(double *a, size_t *pivot, size_t n) {
  double logdet = 0;
  for (size_t k = 0; k < n; k++) {
    pivot[k] = pivot_row(a, n, k);
    swap_rows(a, n, k, pivot[k]);
    double d = a[k * n + k];
    logdet += log(fabs(d));
    if (d == 0) continue; /* log gave −inf; the rest only has to be defined */
    for (size_t i = k + 1; i < n; i++) {
      double f = a[i * n + k] /= d;
      if (f != 0) subtract_row(a + i * n + k + 1, a + k * n + k + 1, f, n - k - 1);
    }
  }
  return logdet;
}

/* Rows of the inverse are solved together, so every inner loop runs along a
 * row: start from the permuted identity, then L, then U. */
CLONES void lu_inverse(const double *lu, const size_t *pivot, size_t n, double *inverse) {
  for (size_t i = 0; i < n * n; i++) inverse[i] = i % (n + 1) == 0;
  for (size_t k = 0; k < n; k++) swap_rows(inverse, n, k, pivot[k]);
  for (size_t k = 0; k < n; k++)
    for (size_t i = k + 1; i < n; i++)
      if (lu[i * n + k] != 0)
        subtract_row(inverse + i * n, inverse + k * n, lu[i * n + k], n);
  for (size_t k = n; k-- > 0;) {
    for (size_t j = 0; j < n; j++) inverse[k * n + j] /= lu[k * n + k];
    for (size_t i = 0; i < k; i++)
      if (lu[i * n + k] != 0)
        subtract_row(inverse + i * n, inverse + k * n, lu[i * n + k], n);
  }
}

double matrix_norm1(const double *a, size_t n) {
  double most = 0;
  for (size_t j = 0; j < n; j++) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += fabs(a[i * n + j]);
    if (!(sum <= most)) most = sum; /* NaN gets through */
  }
  return most;
}
