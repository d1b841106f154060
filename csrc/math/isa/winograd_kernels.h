/* The products of math/winograd.h for one instruction set (math/isa/kernels.h). */
#ifndef CGLOW_MATH_ISA_WINOGRAD_KERNELS_H
#define CGLOW_MATH_ISA_WINOGRAD_KERNELS_H

#include "math/isa/gemm_kernels.h"
#include "math/winograd.h"

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

/* Some wide channels of out, from k on, from their 16 products: m[16][some][PANEL]. */
ALWAYS_INLINE void widen_block(const real *m, size_t some, size_t k, size_t rows,
                               size_t wide, size_t n, bool add, real *out) {
  for (size_t r = 0; r < some && k + r < rows; r++)
    for (size_t l = 0; l < n; l += LANES) {
      Vector y[4];
      four_of_sixteen(m + r * PANEL + l, some * PANEL, y);
      for (size_t i = 0; i < 4; i++) {
        real *to = out + (i * wide + k + r) * PANEL + l;
        if (add) y[i] += CONST_VECTOR_AT(to);
        VECTOR_AT(to) = y[i];
      }
    }
}

#ifdef PAIRS
#include "math/isa/winograd_pair_kernels.h"
#else

/* Sums and differences of upper and lower, `n` numbers: to[0…] and to[step…]. */
ALWAYS_INLINE void sum_and_difference(const real *upper, const real *lower, size_t n,
                                      real *to, size_t step) {
  for (size_t l = 0; l < n; l += LANES) {
    Vector a = CONST_VECTOR_AT(upper + l), b = CONST_VECTOR_AT(lower + l);
    VECTOR_AT(to + l) = a + b;
    VECTOR_AT(to + step + l) = a - b;
  }
}

/* Wide channels whose 16 products lie in the first-level cache at a time, or in the
 * second-level's, where v is rounded for each time. */
#ifdef TILES
#define WIDE_ROWS ((size_t)32)
#elif defined ROUNDED
#define WIDE_ROWS ((size_t)16)
#else
#define WIDE_ROWS ((size_t)8)
#endif

void FOR_ISA(widen)(WIDEN_ARGS) {
  KERNEL_BEGINS;
  _Alignas(64) real m[POSITIONS * WIDE_ROWS * PANEL];
  for (size_t k = 0; k < rows; k += WIDE_ROWS) {
    const real *left = u + (k / PANEL * POSITIONS * few + first) * PANEL + k % PANEL;
    for (size_t p = 0; p < POSITIONS; p++)
      product(WIDEN_ROWS, 2, WIDE_ROWS, n, count,
              left_columns(left + p * few * PANEL, PANEL),
              right_rows(v + p * count * PANEL, PANEL), NULL, m + p * WIDE_ROWS * PANEL,
              PANEL);
    widen_block(m, WIDE_ROWS, k, rows, wide, n, add, out);
  }
}

/* A·h·Aᵀ is not stored but for its sums and differences of the upper and the lower
 * pixels; those of left and right are formed where they are multiplied. */

/* c (+)= a·b for the four positions of a row i of patches.  b is the left, b[other…]
 * the right one of two columns; a's and c's positions are `step` apart. */
ALWAYS_INLINE void row_products(size_t m, size_t n, size_t k, Left a, const real *b,
                                size_t other, bool add, real *c, size_t step) {
#define POSITION(right)                                                     \
  do {                                                                      \
    product(NARROW_ROWS, 2, m, n, k, a, (right), add ? c : NULL, c, PANEL); \
    a.p += step, c += step;                                                 \
  } while (0)
  POSITION(((Right){b, PANEL, 0, 0, false}));
  POSITION(((Right){b, PANEL, 1, other, false}));
  POSITION(((Right){b, PANEL, -1, other, false}));
  POSITION(((Right){b + other, PANEL, 0, 0, false}));
#undef POSITION
}

/* Rows of four panels that are worked on at a time. */
#define SOME_ROWS ((size_t)32)

/* Sums for all positions, and `k` rows of four panels, `next` apart. */
ALWAYS_INLINE void all_products(size_t m, size_t n, size_t k, Left a, const real *b,
                                size_t next, bool add, real *c, size_t step) {
  _Alignas(64) real t[4 * SOME_ROWS * PANEL];
  const size_t mid = SOME_ROWS * PANEL, row = 4 * step;
  sum_and_difference(b, b + 2 * next, k * PANEL, t, 2 * mid);
  sum_and_difference(b + next, b + 3 * next, k * PANEL, t + mid, 2 * mid);
  const real *right[] = {b, t, t + 2 * mid, b + 2 * next};
  for (size_t i = 0; i < 4; i++, a.p += row, c += row)
    row_products(m, n, k, a, right[i], i % 3 == 0 ? next : mid, add, c, step);
}

void FOR_ISA(narrow)(NARROW_ARGS) {
  KERNEL_BEGINS;
  for (size_t k = 0; k < wide; k += SOME_ROWS) {
    const real *left = u + k / PANEL * POSITIONS * few * PANEL + k % PANEL;
    size_t rows = wide - k < SOME_ROWS ? wide - k : SOME_ROWS;
    all_products(count, n, rows, left_rows(left, PANEL), h + k * PANEL, wide * PANEL,
                 k > 0, v, few * PANEL);
  }
}

/* h: four panels, [n][PANEL] each: squares as rows, a block of wide channels. */
void FOR_ISA(sum)(SUM_ARGS) {
  KERNEL_BEGINS;
  all_products(few, PANEL, n, left_rows(v, PANEL), h, PANEL * PANEL, add, du,
               few * PANEL);
}

#endif

#endif
