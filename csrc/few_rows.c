#include "few_rows.h"

/* With the number of rows known at compile time the sums stay in registers. */
ALWAYS_INLINE void dots(const real *x, const real *w, size_t rows, size_t k, real *out,
                        size_t ldo) {
  real s[4] = {0};
  real s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
  for (size_t j = 0; j < k; j++) {
    s0 += w[j] * x[j];
    if (rows > 1) s1 += w[j] * x[k + j];
    if (rows > 2) s2 += w[j] * x[2 * k + j];
    if (rows > 3) s3 += w[j] * x[3 * k + j];
  }
  s[0] = s0, s[1] = s1, s[2] = s2, s[3] = s3;
  for (size_t n = 0; n < rows; n++) out[n * ldo] = s[n];
}

CLONES void few_rows_times_transposed(const real *x, const real *w, size_t rows, size_t m,
                                      size_t k, real *out, size_t ldo) {
  for (size_t o = 0; o < m; o++)
    for (size_t n = 0; n < rows; n += 4) {
      const real *xn = x + n * k, *wo = w + o * k;
      real *dst = out + n * ldo + o;
      if (rows - n >= 4)
        dots(xn, wo, 4, k, dst, ldo);
      else if (rows - n == 3)
        dots(xn, wo, 3, k, dst, ldo);
      else if (rows - n == 2)
        dots(xn, wo, 2, k, dst, ldo);
      else
        dots(xn, wo, 1, k, dst, ldo);
    }
}

/* out[j] += Σ_{i<4} a[i]·w[i·ldw + j] */
ALWAYS_INLINE void add_four(const real *a, const real *w, size_t k, size_t ldw,
                            real *restrict out) {
  const real *w1 = w + ldw, *w2 = w1 + ldw, *w3 = w2 + ldw;
  real a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3];
  for (size_t j = 0; j < k; j++)
    out[j] += a0 * w[j] + a1 * w1[j] + (a2 * w2[j] + a3 * w3[j]);
}

CLONES void few_rows_times(const real *x, const real *w, size_t rows, size_t m, size_t k,
                           size_t ldw, real *out, size_t ldo) {
  for (size_t n = 0; n < rows; n++)
    for (size_t j = 0; j < k; j++) out[n * ldo + j] = 0;
  size_t o = 0;
  for (; o + 4 <= m; o += 4)
    for (size_t n = 0; n < rows; n++)
      add_four(x + n * m + o, w + o * ldw, k, ldw, out + n * ldo);
  for (; o < m; o++)
    for (size_t n = 0; n < rows; n++) {
      real a = x[n * m + o];
      const real *row = w + o * ldw;
      real *restrict dst = out + n * ldo;
      for (size_t j = 0; j < k; j++) dst[j] += a * row[j];
    }
}
