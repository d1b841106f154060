#include "tiles.h"

#include <string.h>

#include "vector.h"

CLONES void norm_relu(real *h, size_t rows, size_t n, const real *bias,
                      const real *scale) {
  for (size_t k = 0; k < rows; k++, h += PANEL)
    for (size_t i = 0; i < n; i += LANES) {
      Vector v = (CONST_VECTOR_AT(h + i) + bias[k]) * scale[k];
      VECTOR_AT(h + i) = VECTOR_WHERE(~(v < 0), v); /* so written, NaN stays NaN */
    }
}

/* Halves added to halves, until one number is left. */
ALWAYS_INLINE real sum_of(const Vector *v) {
  real part[LANES];
  memcpy(part, v, sizeof part);
  for (size_t n = LANES / 2; n > 0; n /= 2)
    for (size_t l = 0; l < n; l++) part[l] += part[l + n];
  return part[0];
}

CLONES void norm_relu_backward(const real *h, real *d, size_t rows, size_t n,
                               const real *scale, real *dbias, real *dlogs) {
  for (size_t k = 0; k < rows; k++, h += PANEL, d += PANEL) {
    Vector bias = {0}, logs = {0};
    for (size_t i = 0; i < n; i += LANES) {
      Vector out = CONST_VECTOR_AT(h + i),
             g = VECTOR_WHERE(out > 0, CONST_VECTOR_AT(d + i));
      logs += g * out;
      g *= scale[k];
      bias += g;
      VECTOR_AT(d + i) = g;
    }
    dbias[k] += sum_of(&bias);
    dlogs[k] += sum_of(&logs);
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
