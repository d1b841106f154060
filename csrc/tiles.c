#include "tiles.h"

CLONES void norm_relu(real *h, size_t rows, size_t n, const real *bias,
                      const real *scale) {
  for (size_t k = 0; k < rows; k++, h += n) {
    real b = bias[k], s = scale[k];
    for (size_t i = 0; i < n; i++) {
      real v = (h[i] + b) * s;
      h[i] = v < 0 ? 0 : v; /* so written, NaN stays NaN */
    }
  }
}

CLONES void norm_relu_backward(const real *restrict h, real *restrict d, size_t rows,
                               size_t n, const real *scale, real *dbias, real *dlogs) {
  for (size_t k = 0; k < rows; k++, h += n, d += n) {
    real s = scale[k], sum = 0, dot = 0;
#pragma omp simd reduction(+ : sum, dot)
    for (size_t i = 0; i < n; i++) {
      real g = h[i] > 0 ? d[i] : 0;
      dot += g * h[i];
      g *= s;
      sum += g;
      d[i] = g;
    }
    dbias[k] = sum;
    dlogs[k] = dot;
  }
}

CLONES void add_shifted(real *restrict dst, const real *left, const real *mid,
                        const real *right, size_t w) {
  if (w == 1) {
    dst[0] += mid[0];
    return;
  }
  dst[0] += mid[0] + right[1];
  for (size_t x = 1; x + 1 < w; x++) dst[x] += left[x - 1] + mid[x] + right[x + 1];
  dst[w - 1] += left[w - 2] + mid[w - 1];
}
