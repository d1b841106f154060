#include "tiles.h"

CLONES void norm_relu(real *h, size_t rows, size_t n, const real *bias,
                      const real *scale) {
  for (size_t k = 0; k < rows; k++, h += PANEL)
    for (size_t i = 0; i < n; i += LANES) {
      Vector v = (CONST_VECTOR_AT(h + i) + bias[k]) * scale[k];
      VECTOR_AT(h + i) = VECTOR_WHERE(~(v < 0), v); /* so written, NaN stays NaN */
    }
}

CLONES void norm_relu_backward(const real *h, real *d, size_t rows, size_t n,
                               const real *scale, real *dbias, real *dlogs) {
  for (size_t k = 0; k < rows;
       k++, h += PANEL, d += PANEL, dbias += LANES, dlogs += LANES) {
    Vector bias = CONST_VECTOR_AT(dbias), logs = CONST_VECTOR_AT(dlogs);
    for (size_t i = 0; i < n; i += LANES) {
      Vector out = CONST_VECTOR_AT(h + i),
             g = VECTOR_WHERE(out > 0, CONST_VECTOR_AT(d + i));
      logs += g * out;
      g *= scale[k];
      bias += g;
      VECTOR_AT(d + i) = g;
    }
    VECTOR_AT(dbias) = bias;
    VECTOR_AT(dlogs) = logs;
  }
}

void sum_lanes(const real *lanes, size_t rows, real *out) {
  for (size_t k = 0; k < rows; k++, lanes += LANES) {
    real sum = 0;
    for (size_t l = 0; l < LANES; l++) sum += lanes[l];
    out[k] = sum;
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
