/* Losses over pixels and their gradients. */
#include "nn/loss.h"

#include <stdint.h>

#include "base/threads.h"
#include "base/vmath.h"

/* Pixels that are worked on together. */
#define SOME ((size_t)128)

CLONES bool loss_classes_fit(const real *classes, size_t count, size_t k) {
  int bad = 0;
  for (size_t i = 0; i < count; i++) {
    real v = classes[i] >= 1 && classes[i] <= (real)k ? classes[i] : 0;
    bad |= v < 1 || v != (real)(int32_t)v;
  }
  return !bad;
}

CLONES static void raise(real *largest, const real *z, size_t n) {
  for (size_t i = 0; i < n; i++) largest[i] = z[i] > largest[i] ? z[i] : largest[i];
}

CLONES static void add_exp(real *sum, const real *z, const real *largest, size_t n) {
  for (size_t i = 0; i < n; i++) sum[i] += v_exp(z[i] - largest[i]);
}

/* largest + log(sum): the largest number is taken out, so that nothing overflows and at
 * least one term of the sum is 1. */
CLONES static void finish_log_sum(real *sum, const real *largest, size_t n) {
  for (size_t i = 0; i < n; i++) sum[i] = v_log(sum[i]) + largest[i];
}

CLONES static void slope(const real *z, const real *log_sum, const real *classes,
                         real class, const real *mask, real scale, real *gradient,
                         size_t n) {
  for (size_t i = 0; i < n; i++)
    gradient[i] = v_exp(z[i] - log_sum[i]) - (classes[i] == class ? (real)1 : (real)0);
  for (size_t i = 0; mask != NULL && i < n; i++) gradient[i] *= mask[i];
  for (size_t i = 0; i < n; i++) gradient[i] *= scale;
}

/* n ≤ SOME pixels; z and gradient: of their first channel. */
static double entropy_of(const Act *out, const real *z, const real *classes,
                         const real *mask, real scale, const Act *gradient, real *dz,
                         size_t n) {
  real largest[SOME], log_sum[SOME] = {0};
  for (size_t i = 0; i < n; i++) largest[i] = z[i];
  for (size_t k = 1; k < out->c; k++) raise(largest, z + k * out->cs, n);
  for (size_t k = 0; k < out->c; k++) add_exp(log_sum, z + k * out->cs, largest, n);
  finish_log_sum(log_sum, largest, n);
  for (size_t k = 0; k < out->c; k++)
    slope(z + k * out->cs, log_sum, classes, (real)(k + 1), mask, scale,
          dz + k * gradient->cs, n);
  double sum = 0;
  for (size_t i = 0; i < n; i++) {
    size_t class = (size_t)classes[i] - 1;
    sum += (mask ? (double)mask[i] : 1) *
           ((double)log_sum[i] - (double)z[class * out->cs + i]);
  }
  return sum;
}

static double total(const double *sums, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += sums[i];
  return sum;
}

double loss_cross_entropy(const Act *out, const real *classes, const real *mask,
                          real scale, const Act *gradient, double *sums, int threads) {
  size_t rows = out->n * out->h, w = out->w;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t r = 0; r < rows; r++) {
    size_t at = r % out->h * w;
    const real *z = act_plane(out, r / out->h, 0) + at;
    real *dz = act_plane(gradient, r / out->h, 0) + at;
    sums[r] = 0;
    for (size_t x = 0; x < w; x += SOME)
      sums[r] +=
          entropy_of(out, z + x, classes + r * w + x, mask ? mask + r * w + x : NULL,
                     scale, gradient, dz + x, w - x < SOME ? w - x : SOME);
  }
  return total(sums, rows);
}

CLONES static double squares(const real *out, const real *target, const real *mask,
                             real scale, real *gradient, size_t n) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < n; i++) {
    real d = out[i] - target[i], weighted = mask ? mask[i] * d : d;
    gradient[i] = 2 * scale * weighted;
    sum += (double)d * (double)weighted;
  }
  return sum;
}

double loss_squared_error(const Act *out, const Act *target, const real *mask, real scale,
                          const Act *gradient, double *sums, int threads) {
  size_t rows = out->n * out->h, w = out->w;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t r = 0; r < rows; r++) {
    size_t n = r / out->h, at = r % out->h * w;
    sums[r] = 0;
    for (size_t k = 0; k < out->c; k++)
      sums[r] +=
          squares(act_plane(out, n, k) + at, act_plane(target, n, k) + at,
                  mask ? mask + r * w : NULL, scale, act_plane(gradient, n, k) + at, w);
  }
  return total(sums, rows);
}
