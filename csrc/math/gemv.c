/* Products of a large matrix with few rows. */
#include "math/gemv.h"

#include "base/simd.h"

/* Rows of the weight that are read side by side: as many streams keep memory
 * busy. */
#define STREAMS 4

/* out[n][o] = w_o · x_n for STREAMS rows of w; the number of samples is known
 * when compiled, so that all sums stay in registers. */
ALWAYS_INLINE void dots(const int samples, const real *x, const real *w, size_t k,
                        real *out, size_t ldo) {
  Vector sum[4][STREAMS];
  size_t j = 0;
#pragma GCC unroll 4
  for (int n = 0; n < samples; n++)
#pragma GCC unroll 4
    for (int o = 0; o < STREAMS; o++) sum[n][o] = (Vector){0};
  for (; j + LANES <= k; j += LANES)
#pragma GCC unroll 4
    for (int o = 0; o < STREAMS; o++) {
      Vector part = CONST_VECTOR_AT(w + (size_t)o * k + j);
      __builtin_prefetch(w + (size_t)(STREAMS + o) * k + j);
#pragma GCC unroll 4
      for (int n = 0; n < samples; n++)
        sum[n][o] += part * CONST_VECTOR_AT(x + (size_t)n * k + j);
    }
  for (int n = 0; n < samples; n++)
    for (int o = 0; o < STREAMS; o++) {
      real total = 0;
      for (size_t l = 0; l < LANES; l++) total += sum[n][o][l];
      for (size_t i = j; i < k; i++) total += w[(size_t)o * k + i] * x[(size_t)n * k + i];
      out[(size_t)n * ldo + (size_t)o] = total;
    }
}

static real dot(const real *x, const real *w, size_t k) {
  real sum = 0;
#pragma omp simd reduction(+ : sum)
  for (size_t j = 0; j < k; j++) sum += w[j] * x[j];
  return sum;
}

CLONES void gemv_transposed(const real *x, const real *w, size_t rows, size_t m, size_t k,
                            real *out, size_t ldo) {
  size_t o = 0;
  for (; o + STREAMS <= m; o += STREAMS)
    for (size_t n = 0; n < rows; n += 4) {
      const real *xn = x + n * k, *wo = w + o * k;
      real *dst = out + n * ldo + o;
      if (rows - n >= 4)
        dots(4, xn, wo, k, dst, ldo);
      else if (rows - n == 3)
        dots(3, xn, wo, k, dst, ldo);
      else if (rows - n == 2)
        dots(2, xn, wo, k, dst, ldo);
      else
        dots(1, xn, wo, k, dst, ldo);
    }
  for (; o < m; o++)
    for (size_t n = 0; n < rows; n++) out[n * ldo + o] = dot(x + n * k, w + o * k, k);
}

/* out[j] += Σ_{i<4} a[i]·w[i·ldw + j] */
ALWAYS_INLINE void add_four(const real *a, const real *w, size_t k, size_t ldw,
                            real *restrict out) {
  const real *w1 = w + ldw, *w2 = w1 + ldw, *w3 = w2 + ldw;
  real a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3];
  for (size_t j = 0; j < k; j++)
    out[j] += a0 * w[j] + a1 * w1[j] + (a2 * w2[j] + a3 * w3[j]);
}

/* Let the cache fetch n numbers of four rows. */
ALWAYS_INLINE void prefetch_four(const real *w, size_t n, size_t ldw) {
  for (size_t j = 0; j < n; j += 64 / sizeof *w)
    for (size_t i = 0; i < 4; i++) __builtin_prefetch(w + i * ldw + j);
}

CLONES void gemv(const real *x, const real *w, size_t rows, size_t m, size_t k,
                 size_t ldw, real *out, size_t ldo) {
  for (size_t n = 0; n < rows; n++)
    for (size_t j = 0; j < k; j++) out[n * ldo + j] = 0;
  size_t o = 0;
  for (; o + 4 <= m; o += 4) {
    if (o + 8 <= m) prefetch_four(w + (o + 4) * ldw, k, ldw);
    for (size_t n = 0; n < rows; n++)
      add_four(x + n * m + o, w + o * ldw, k, ldw, out + n * ldo);
  }
  for (; o < m; o++)
    for (size_t n = 0; n < rows; n++) {
      real a = x[n * m + o];
      const real *row = w + o * ldw;
      real *restrict dst = out + n * ldo;
      for (size_t j = 0; j < k; j++) dst[j] += a * row[j];
    }
}
