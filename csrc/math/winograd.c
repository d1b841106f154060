/* 3×3 convolutions by F(2×2, 3×3): the transforms. */
#include "math/winograd.h"

#include "base/simd.h"
#include "math/filters3x3.h"
#include "math/pairs.h"

/* The last rows of Bᵀ and Aᵀ have the sign that saves a negation:
 *
 *        1  0 −1  0          1  0  0
 *   Bᵀ = 0  1  1  0      G = ½  ½  ½      Aᵀ = 1  1  1  0
 *        0 −1  1  0          ½ −½  ½           0  1 −1  1
 *        0 −1  0  1          0  0  1
 */

/* ---- filters ---- */

/* u = G·g along one axis, whose elements are `step` apart. */
ALWAYS_INLINE void filter_axis(const Vector *g, size_t step, Vector *u) {
  Vector sum = (g[0] + g[2 * step]) * (real)0.5, mid = g[step] * (real)0.5;
  u[0] = g[0];
  u[step] = sum + mid;
  u[2 * step] = sum - mid;
  u[3 * step] = g[2 * step];
}

ALWAYS_INLINE void filter_axis_back(const Vector *u, size_t step, Vector *g) {
  Vector sum = (u[step] + u[2 * step]) * (real)0.5;
  g[0] = u[0] + sum;
  g[step] = (u[step] - u[2 * step]) * (real)0.5;
  g[2 * step] = sum + u[3 * step];
}

CLONES void winograd_filter(const real *rows, bool turned, size_t few, real *u) {
  for (size_t l = 0; l < PANEL; l += LANES) {
    Vector g[9], half[12], whole[16];
    for (size_t i = 0; i < FILTER_SIZE; i++)
      g[i] = CONST_VECTOR_AT(rows + (turned ? FILTER_SIZE - 1 - i : i) * PANEL + l);
    for (size_t j = 0; j < 3; j++) filter_axis(g + j, 3, half + j);
    for (size_t i = 0; i < 4; i++) filter_axis(half + 3 * i, 1, whole + 4 * i);
    for (size_t p = 0; p < POSITIONS; p++) VECTOR_AT(u + p * few * PANEL + l) = whole[p];
  }
}

CLONES void winograd_filter_back(const real *du, bool turned, size_t few, real *rows) {
  for (size_t l = 0; l < PANEL; l += LANES) {
    Vector whole[16], half[12], g[9];
    for (size_t p = 0; p < POSITIONS; p++)
      whole[p] = CONST_VECTOR_AT(du + p * few * PANEL + l);
    for (size_t i = 0; i < 4; i++) filter_axis_back(whole + 4 * i, 1, half + 3 * i);
    for (size_t j = 0; j < 3; j++) filter_axis_back(half + j, 3, g + j);
    for (size_t i = 0; i < FILTER_SIZE; i++)
      VECTOR_AT(rows + (turned ? FILTER_SIZE - 1 - i : i) * PANEL + l) = g[i];
  }
}

void winograd_filters_ready(Precision how, WINOGRAD_READY_ARGS) {
#if HAVE_AVX512_BF16
  if (rounds_to_pairs(how)) winograd_pairs_avx512_bf16(widens, few, count, u);
#else
  (void)how, (void)widens, (void)few, (void)count, (void)u;
#endif
}

/* ---- patches ---- */

/* A row of Bᵀd is fa·a + fb·b, two rows of pixels; this times B, of n squares, gives
 * four rows of columns, `step` apart. */
CLONES static void patch_row(const real *restrict a, real fa, const real *restrict b,
                             real fb, size_t n, real *restrict cols, size_t step) {
  real *c0 = cols, *c1 = cols + step, *c2 = cols + 2 * step, *c3 = cols + 3 * step;
  for (size_t x = 0; x < n; x++) {
    real even = fa * a[2 * x] + fb * b[2 * x];
    real odd = fa * a[2 * x + 1] + fb * b[2 * x + 1];
    c0[x] = 0 - odd;
    c1[x] = even + odd;
    c2[x] = odd - even;
    c3[x] = 0 - even;
  }
  for (size_t x = 1; x < n; x++) {
    c0[x] += fa * a[2 * x - 1] + fb * b[2 * x - 1];
    c3[x - 1] += fa * a[2 * x] + fb * b[2 * x];
  }
}

/* Patches of a row of squares whose upper pixels are row y of the plane. */
static void patch_rows(const real *plane, size_t h, size_t w, size_t y, real *cols,
                       size_t step) {
  const real *d1 = plane + y * w, *d2 = d1 + w;
  bool above = y > 0, below = y + 2 < h; /* what lies outside counts as 0 */
  const real *d0 = above ? d1 - w : d1, *d3 = below ? d2 + w : d2;
  patch_row(d2, -1, d0, above, w / 2, cols, step);
  patch_row(d2, 1, d1, 1, w / 2, cols + 4 * step, step);
  patch_row(d2, 1, d1, -1, w / 2, cols + 8 * step, step);
  patch_row(d1, -1, d3, below, w / 2, cols + 12 * step, step);
}

void winograd_patches(const Act *in, size_t row0, size_t rows, size_t few, real *cols,
                      size_t ld) {
  size_t high = in->h / 2;
  for (size_t c = 0; c < in->c; c++)
    for (size_t r = 0; r < rows; r++)
      patch_rows(act_plane(in, (row0 + r) / high, c), in->h, in->w, (row0 + r) % high * 2,
                 cols + c * ld + r * (in->w / 2), few * ld);
}

/* d = B·n along one axis. */
ALWAYS_INLINE void unpatch_axis(Vector *n, size_t step) {
  Vector a = n[0], b = n[step], c = n[2 * step], d = n[3 * step];
  n[step] = b - c - d;
  n[2 * step] = b + c - a;
}

CLONES void winograd_unpatch(size_t few, size_t count, real *panel) {
  for (size_t at = 0; at < count * PANEL; at += LANES) {
    Vector n[16];
    for (size_t p = 0; p < POSITIONS; p++)
      n[p] = CONST_VECTOR_AT(panel + p * few * PANEL + at);
    for (size_t i = 0; i < 4; i++) unpatch_axis(n + i, 4);
    for (size_t i = 0; i < 4; i++) unpatch_axis(n + 4 * i, 1);
    for (size_t p = 0; p < POSITIONS; p++) VECTOR_AT(panel + p * few * PANEL + at) = n[p];
  }
}

CLONES void winograd_overlap(const real *restrict p, size_t ld, size_t n,
                             real *restrict dst) {
  const real *p0 = p, *p1 = p + ld, *p2 = p + 2 * ld, *p3 = p + 3 * ld;
  for (size_t x = 0; x < n; x++) {
    dst[2 * x] += p1[x];
    dst[2 * x + 1] += p2[x];
  }
  for (size_t x = 0; x + 1 < n; x++) {
    dst[2 * x + 1] += p0[x + 1];
    dst[2 * x + 2] += p3[x];
  }
}

/* ---- the products ---- */

void winograd_widen(Precision how, WIDEN_ARGS) {
  BY_PRECISION(how, widen)(u, wide, rows, few, first, count, v, n, add, out);
}

void winograd_narrow(Precision how, NARROW_ARGS) {
  BY_PRECISION(how, narrow)(u, wide, few, count, h, n, v);
}

void winograd_sum(Precision how, const real *v, size_t few, const real *h, size_t wide,
                  size_t b, size_t n, bool add, real *du) {
  _Alignas(64) real turned[4 * PANEL * PANEL];
  for (size_t i = 0; i < 4; i++)
    panel_transpose(h + (i * wide + b * PANEL) * PANEL, PANEL, n, panel_columns(wide, b),
                    turned + i * PANEL * PANEL);
  BY_PRECISION(how, sum)(v, few, turned, n, add, du);
}
