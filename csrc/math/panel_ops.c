/* Norms, ReLUs and shifts over panels. */
#include "math/panel_ops.h"

#include <string.h>

#include "base/simd.h"

CLONES void norm_relu(real *h, size_t rows, size_t n, const real *bias,
                      const real *scale) {
  for (size_t k = 0; k < rows; k++, h += PANEL)
    for (size_t i = 0; i < n; i += LANES) {
      Vector v = (CONST_VECTOR_AT(h + i) + bias[k]) * scale[k];
      VECTOR_AT(h + i) = VECTOR_WHERE(~(v < 0), v); /* so written, NaN stays NaN */
    }
}

/* a and b become the sums of their lanes.  Halves are added to halves, in one
 * register for both. */
ALWAYS_INLINE void sum_lanes(const Vector *a, const Vector *b, real *sum_a, real *sum_b) {
#if VECTOR_BYTES == 32 && !defined(CGLOW_DOUBLE)
  Vector v = SHUFFLE(*a, *b, 0, 1, 2, 3, 8, 9, 10, 11) +
             SHUFFLE(*a, *b, 4, 5, 6, 7, 12, 13, 14, 15);
  v += SHUFFLE(v, v, 2, 3, 0, 1, 6, 7, 4, 5);
  v += SHUFFLE(v, v, 1, 0, 3, 2, 5, 4, 7, 6);
  *sum_a = v[0];
  *sum_b = v[4];
#else
  *sum_a = *sum_b = 0;
  for (size_t l = 0; l < LANES; l++) *sum_a += (*a)[l], *sum_b += (*b)[l];
#endif
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
    real sum_bias, sum_logs;
    sum_lanes(&bias, &logs, &sum_bias, &sum_logs);
    dbias[k] += sum_bias;
    dlogs[k] += sum_logs;
  }
}

CLONES void relu_panel(real *h, size_t channels, size_t ld, size_t n, bool relu) {
  for (size_t c = 0; c < channels; c++, h += ld) {
    for (size_t i = 0; relu && i < n; i += LANES) {
      Vector v = CONST_VECTOR_AT(h + i);
      VECTOR_AT(h + i) = VECTOR_WHERE(~(v < 0), v);
    }
    for (size_t i = n; i < PANEL; i++) h[i] = 0;
  }
}

CLONES void relu_panel_backward(const real *h, real *d, size_t channels, size_t rows,
                                size_t n, real *sums) {
  for (size_t c = 0; c < channels; c += 2) {
    Vector sum[2] = {{0}, {0}};
    size_t count = channels - c < 2 ? 1 : 2;
    for (size_t k = 0; k < count; k++)
      for (size_t r = 0; r < rows; r++, d += PANEL, h += h ? PANEL : 0)
        for (size_t i = 0; i < n; i += LANES) {
          Vector g = CONST_VECTOR_AT(d + i);
          if (h != NULL) g = VECTOR_WHERE(CONST_VECTOR_AT(h + i) > 0, g);
          VECTOR_AT(d + i) = g;
          sum[k] += g;
        }
    if (sums == NULL) continue;
    real a, b;
    sum_lanes(&sum[0], &sum[1], &a, &b);
    sums[c] += a;
    if (count > 1) sums[c + 1] += b;
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

/* Rows that are fetched ahead: each may lie in a page of its own. */
#define ROWS_AHEAD ((size_t)8)

CLONES void deinterleave_rows(const real *restrict src, size_t distance, size_t rows,
                              size_t n, real *restrict even, real *restrict odd) {
  for (; rows > 0; rows--, src += distance, even += PANEL, odd += PANEL) {
    for (size_t x = 0; rows > ROWS_AHEAD && x < 2 * n; x += LANES)
      __builtin_prefetch(src + ROWS_AHEAD * distance + x);
    for (size_t x = 0; x < n; x++) even[x] = src[2 * x], odd[x] = src[2 * x + 1];
  }
}

CLONES void interleave_rows(const real *restrict even, const real *restrict odd,
                            size_t distance, size_t rows, size_t n, real *restrict dst) {
  for (; rows > 0; rows--, dst += distance, even += PANEL, odd += PANEL)
    for (size_t x = 0; x < n; x++) dst[2 * x] = even[x], dst[2 * x + 1] = odd[x];
}
