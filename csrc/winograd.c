#include "winograd.h"

#include <string.h>

#include "gemm_block.h"
#include "taps.h"

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
    for (size_t i = 0; i < TAPS; i++)
      g[i] = CONST_VECTOR_AT(rows + (turned ? TAPS - 1 - i : i) * PANEL + l);
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
    for (size_t i = 0; i < TAPS; i++)
      VECTOR_AT(rows + (turned ? TAPS - 1 - i : i) * PANEL + l) = g[i];
  }
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

/* A row of squares whose upper pixels are row y of the plane. */
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

CLONES void winograd_unpatch(size_t few, real *panel) {
  for (size_t at = 0; at < few * PANEL; at += LANES) {
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

/* y = Aᵀ·m·A: m is read `step` apart. */
ALWAYS_INLINE void four_of_sixteen(const real *m, size_t step, Vector *y) {
  Vector t[4][2];
#pragma GCC unroll 4
  for (size_t i = 0; i < 4; i++) {
    const real *row = m + 4 * i * step;
    Vector b = CONST_VECTOR_AT(row + step), c = CONST_VECTOR_AT(row + 2 * step);
    t[i][0] = CONST_VECTOR_AT(row) + (b + c);
    t[i][1] = CONST_VECTOR_AT(row + 3 * step) + (b - c);
  }
#pragma GCC unroll 2
  for (size_t j = 0; j < 2; j++) {
    y[j] = t[0][j] + (t[1][j] + t[2][j]);
    y[2 + j] = t[3][j] + (t[1][j] - t[2][j]);
  }
}

/* Sums and differences of upper and lower, `n` numbers: to[0…] and to[step…]. */
ALWAYS_INLINE void sum_and_difference(const real *upper, const real *lower, size_t n,
                                      real *to, size_t step) {
  for (size_t l = 0; l < n; l += LANES) {
    Vector a = CONST_VECTOR_AT(upper + l), b = CONST_VECTOR_AT(lower + l);
    VECTOR_AT(to + l) = a + b;
    VECTOR_AT(to + step + l) = a - b;
  }
}

/* Wide channels whose 16 products lie in the first-level cache at a time. */
#define WIDE_ROWS ((size_t)8)

#define WIDEN_ARGS                                                                 \
  const real *u, size_t wide, size_t rows, size_t few, size_t first, size_t count, \
      const real *v, size_t n, bool add, real *out

ALWAYS_INLINE void widen(const int most, const int vectors, WIDEN_ARGS) {
  _Alignas(64) real m[POSITIONS * WIDE_ROWS * PANEL];
  for (size_t k = 0; k < rows; k += WIDE_ROWS) {
    const real *left = u + (k / PANEL * POSITIONS * few + first) * PANEL + k % PANEL;
    for (size_t p = 0; p < POSITIONS; p++)
      product(most, vectors, WIDE_ROWS, n, count,
              left_columns(left + p * few * PANEL, PANEL),
              right_rows(v + p * count * PANEL, PANEL), NULL, m + p * WIDE_ROWS * PANEL,
              PANEL);
    for (size_t r = 0; r < WIDE_ROWS && k + r < rows; r++)
      for (size_t l = 0; l < n; l += LANES) {
        Vector y[4];
        four_of_sixteen(m + r * PANEL + l, WIDE_ROWS * PANEL, y);
        for (size_t i = 0; i < 4; i++) {
          real *to = out + (i * wide + k + r) * PANEL + l;
          if (add) y[i] += CONST_VECTOR_AT(to);
          VECTOR_AT(to) = y[i];
        }
      }
  }
}

/* A·h·Aᵀ is not stored but for its sums and differences of the upper and the lower
 * pixels; those of left and right are formed where they are multiplied. */

/* c (+)= a·b for the four positions of a row i of patches.  b is the left, b[other…]
 * the right one of two columns; a's and c's positions are `step` apart. */
ALWAYS_INLINE void row_products(const int rows, const int vectors, size_t m, size_t n,
                                size_t k, Left a, const real *b, size_t other, bool add,
                                real *c, size_t step) {
#define POSITION(right)                                                    \
  do {                                                                     \
    product(rows, vectors, m, n, k, a, (right), add ? c : NULL, c, PANEL); \
    a.p += step, c += step;                                                \
  } while (0)
  POSITION(((Right){b, PANEL, 0, 0}));
  POSITION(((Right){b, PANEL, 1, other}));
  POSITION(((Right){b, PANEL, -1, other}));
  POSITION(((Right){b + other, PANEL, 0, 0}));
#undef POSITION
}

/* Rows of four panels that are worked on at a time. */
#define SOME_ROWS ((size_t)32)

/* The same for all positions, and `k` rows of four panels, `next` apart. */
ALWAYS_INLINE void all_products(const int rows, const int vectors, size_t m, size_t n,
                                size_t k, Left a, const real *b, size_t next, bool add,
                                real *c, size_t step) {
  _Alignas(64) real t[4 * SOME_ROWS * PANEL];
  const size_t mid = SOME_ROWS * PANEL, row = 4 * step;
  sum_and_difference(b, b + 2 * next, k * PANEL, t, 2 * mid);
  sum_and_difference(b + next, b + 3 * next, k * PANEL, t + mid, 2 * mid);
  const real *right[] = {b, t, t + 2 * mid, b + 2 * next};
  for (size_t i = 0; i < 4; i++, a.p += row, c += row)
    row_products(rows, vectors, m, n, k, a, right[i], i % 3 == 0 ? next : mid, add, c,
                 step);
}

#define NARROW_ARGS \
  const real *u, size_t wide, size_t few, const real *h, size_t n, real *v

ALWAYS_INLINE void narrow(const int rows, const int vectors, NARROW_ARGS) {
  for (size_t k = 0; k < wide; k += SOME_ROWS) {
    const real *left = u + k / PANEL * POSITIONS * few * PANEL + k % PANEL;
    size_t count = wide - k < SOME_ROWS ? wide - k : SOME_ROWS;
    all_products(rows, vectors, few, n, count, left_rows(left, PANEL), h + k * PANEL,
                 wide * PANEL, k > 0, v, few * PANEL);
  }
}

#define SUM_ARGS const real *v, size_t few, const real *h, size_t n, bool add, real *du

/* h: four panels, [n][PANEL] each: squares as rows, a block of wide channels. */
ALWAYS_INLINE void sum(const int rows, const int vectors, SUM_ARGS) {
  all_products(rows, vectors, few, PANEL, n, left_rows(v, PANEL), h, PANEL * PANEL, add,
               du, few * PANEL);
}

/* As many sums as the processor's registers hold. */
#if HAVE_CLONES
#define WITH_CLONES(name, most, ...)                                                \
  __attribute__((target("arch=x86-64-v4"))) static void name##_v4(ARGS_OF_##name) { \
    name(most, 2, __VA_ARGS__);                                                     \
  }                                                                                 \
  __attribute__((target("arch=x86-64-v3"))) static void name##_v3(ARGS_OF_##name) { \
    name(4, 1, __VA_ARGS__);                                                        \
  }                                                                                 \
  static void name##_any(ARGS_OF_##name) { name(2, 1, __VA_ARGS__); }
#else
#define WITH_CLONES(name, most, ...) \
  static void name##_any(ARGS_OF_##name) { name(2, 1, __VA_ARGS__); }
#endif
#define ARGS_OF_widen WIDEN_ARGS
#define ARGS_OF_narrow NARROW_ARGS
#define ARGS_OF_sum SUM_ARGS

WITH_CLONES(widen, 8, u, wide, rows, few, first, count, v, n, add, out)
WITH_CLONES(narrow, 12, u, wide, few, h, n, v)
WITH_CLONES(sum, 12, v, few, h, n, add, du)

void winograd_widen(WIDEN_ARGS) {
  BY_LEVEL(widen, u, wide, rows, few, first, count, v, n, add, out);
}

void winograd_narrow(NARROW_ARGS) { BY_LEVEL(narrow, u, wide, few, h, n, v); }

void winograd_sum(const real *v, size_t few, const real *h, size_t wide, size_t b,
                  size_t n, bool add, real *du) {
  _Alignas(64) real turned[4 * PANEL * PANEL];
  for (size_t i = 0; i < 4; i++)
    panel_transpose(h + (i * wide + b * PANEL) * PANEL, PANEL, n, panel_columns(wide, b),
                    turned + i * PANEL * PANEL);
  BY_LEVEL(sum, v, few, turned, n, add, du);
}
